"""What every command can be told: one dataclass a command, nothing imported that takes time.

The command line, the YAML files and the Python functions all take these; a run's folder holds the
one that made it. ``pretrain`` has a run's settings, ``commands`` those of everything else,
``checks`` what values are accepted, ``files`` reads and writes them.
"""

from BYOL.config.pretrain import PretrainConfig
from BYOL.config.yaml_io import load_config, save_config

__all__ = ["PretrainConfig", "load_config", "save_config"]
