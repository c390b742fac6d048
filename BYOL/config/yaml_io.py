"""A run's settings as a YAML file."""

import dataclasses
from pathlib import Path
from typing import Any

from BYOL.config.pretrain import PretrainConfig
from BYOL.config.validation import refuse_nulls, with_pairs
from BYOL.errors import UserError


def save_config(config: PretrainConfig, path: Path) -> None:
    """Write the configuration as YAML that ``byol pretrain --config`` reads."""
    import yaml

    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def read_settings(path: Path) -> dict[str, Any]:
    """A YAML file of settings as plain data: no objects, no aliases (which may have no end).

    Raises:
        UserError: no such file, not YAML, or not a table of names and values.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise UserError(f"{path} has an alias (*NAME): settings are plain values")
        values = yaml.safe_load(text)
    except UserError:
        raise
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if mark := getattr(error, "problem_mark", None):
            reason = f"line {mark.line + 1}: {getattr(error, 'problem', None) or reason}"
        raise UserError(f"{path} cannot be read: {reason}") from error
    values = {} if values is None else values
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UserError(f"{path} is not a table of settings: write NAME: VALUE on every line")
    return values


def load_config(path: Path) -> PretrainConfig:
    """Read what :func:`save_config` wrote.

    Raises:
        UserError: no such file, not YAML, or not the settings of a run.
    """
    values = read_settings(path)
    fields = {field.name: field for field in dataclasses.fields(PretrainConfig)}
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise UserError(f"{path} is not the configuration of a run: it has no setting {unknown[0]}")
    refuse_nulls(PretrainConfig, values)
    try:
        return PretrainConfig(**with_pairs(PretrainConfig, values))
    except (TypeError, OverflowError) as error:
        raise UserError(f"{path} has a value of the wrong type: {error}") from error
