"""A run's settings as a YAML file."""

import dataclasses
from pathlib import Path
from typing import Any

from BYOL.config.pretrain import PretrainConfig
from BYOL.errors import UserError
from BYOL.views.config import Pair


def save_config(config: PretrainConfig, path: Path) -> None:
    """Write the configuration as YAML that ``byol pretrain --config`` reads."""
    import yaml

    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def load_config(path: Path) -> PretrainConfig:
    """Read what :func:`save_config` wrote.

    Raises:
        UserError: no such file, not YAML, or not the settings of a run.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    fields = {field.name: field for field in dataclasses.fields(PretrainConfig)}
    if not isinstance(values, dict) or not values.keys() <= fields.keys():
        unknown = (
            sorted(map(str, values.keys() - fields.keys())) if isinstance(values, dict) else []
        )
        detail = f": it has no setting {unknown[0]}" if unknown else ""
        raise UserError(f"{path} is not the configuration of a run{detail}")
    pairs = {name for name, field in fields.items() if field.type is Pair}
    settled: dict[str, Any] = {n: tuple(v) if n in pairs else v for n, v in values.items()}
    try:
        return PretrainConfig(**settled)
    except TypeError as error:
        raise UserError(f"{path} has a value of the wrong type: {error}") from error
