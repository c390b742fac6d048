"""Settings: one dataclass per command. Importing them is fast.

The command line, YAML files and the Python functions all fill these dataclasses. ``pretrain`` has
the settings of a run, in six groups from the modules ``*_settings``. The other commands' settings
are in ``evaluate``, ``features``, ``curation``, ``export``, ``report``, ``datasets``,
``inspection`` and ``sweep``. ``fields`` holds the metadata of settings and checks values,
``from_values`` builds settings, and ``yaml_io`` reads and writes the settings of a run.
"""

from BYOL.config.pretrain import PretrainConfig
from BYOL.config.yaml_io import load_config, save_config

__all__ = ["PretrainConfig", "load_config", "save_config"]
