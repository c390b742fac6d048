"""The settings of a run as a YAML file."""

import dataclasses
from pathlib import Path
from typing import Any

from BYOL._console import printable
from BYOL._files import write_atomically
from BYOL._untrusted import open_plain
from BYOL.config.conversion import convert_all
from BYOL.config.fields import fields_of
from BYOL.config.from_values import present_name, without_former_settings
from BYOL.config.paths import place_names, signed_values
from BYOL.config.plain_yaml import plain_yaml
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.signing import is_signed, signature_line
from BYOL.config.view_settings import ViewSettings
from BYOL.errors import SettingsError, UserError, first_line

_MOST_BYTES = 1 << 20
MAX_CHANNELS, MAX_SIDE = 1024, 8192  # of the input of a network from another person's file


def save_config(config: PretrainConfig, path: Path) -> None:
    """Write the settings as YAML that ``byol pretrain --config`` reads, signed by the user.

    The file is written atomically, and never through a symbolic link.

    Raises:
        UserError: the file cannot be written.
    """
    import yaml

    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    text += signature_line(signed_values(vars(config)), path.parent)
    data = text.encode("utf-8", "surrogateescape")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings as plain data; see :func:`parse_settings_text`.

    Raises:
        UserError: the file cannot be read, is not YAML, or is not a table of names and values.
    """
    return parse_settings_text(_text_of(path), path)


def _text_of(path: Path) -> str:
    """The text of the file of settings at ``path``.

    Raises:
        UserError: the file does not exist, is no file, is too large, or is not text.
    """
    try:
        with open_plain(path, _MOST_BYTES) as file:
            return file.read().decode("utf-8")
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise SettingsError(f"{path} cannot be read: {reason}") from error


def parse_settings_text(text: str, path: Path) -> dict[str, Any]:
    """Parse settings as plain data. Objects and aliases, which may be endless, are refused.

    Args:
        text: YAML.
        path: the path of the file, for messages.

    Raises:
        UserError: the text is not YAML, or not a table of names and values.
    """
    import yaml

    try:
        values = plain_yaml(text)
    except UserError:
        raise
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = first_line(error)
        if mark := getattr(error, "problem_mark", None):
            reason = f"line {mark.line + 1}: {getattr(error, 'problem', None) or reason}"
        raise SettingsError(f"{path} cannot be read: {reason}") from error
    values = {} if values is None else values
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise SettingsError(f"{path} is not a table of settings: write NAME: VALUE on every line")
    return values


def load_config(path: Path) -> PretrainConfig:
    """Read the settings that :func:`save_config` wrote to ``path``.

    Raises:
        UserError: the file cannot be read, is not YAML, or has no settings of a run.
    """
    return read_run_config(path)[0]


def read_run_config(path: Path) -> tuple[PretrainConfig, bool]:
    """Read the settings that :func:`save_config` wrote to ``path``, and check their signature.

    Returns:
        The settings, and whether this user wrote them for the folder in which the file is.

    Raises:
        UserError: as :func:`load_config`.
    """
    text = _text_of(path)
    values = parse_settings_text(text, path)
    return _run_config(values, path), is_signed(text, signed_values(values), path.parent)


def signed_by_user(path: Path) -> bool:
    """Whether ``path`` is the config.yaml of a run that this user made in the same folder."""
    try:
        return read_run_config(path)[1]
    except UserError:
        return False


def _run_config(values: dict[str, Any], path: Path) -> PretrainConfig:
    """The settings of a run from the values of its config.yaml, old names included."""
    fields = fields_of(PretrainConfig)
    values = {
        present_name(name, fields, warn=False): value
        for name, value in without_former_settings(values).items()
    }
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise SettingsError(
            f"{path} is not the configuration of a run: it has no setting {printable(unknown[0])}"
        )
    for name in place_names() & values.keys() - {"pretrained"}:
        if not isinstance(values[name], str | None):
            value = printable(values[name])
            raise SettingsError(f"{path}: {name}={value} is not text: write it in quotes")
    try:
        config = PretrainConfig(**convert_all(PretrainConfig, values))
    except UserError as error:
        raise SettingsError(f"{path}: {error}") from error
    return config


def check_resolved(views: ViewSettings, channels: int | None, path: Path) -> None:
    """Make sure that a run has resolved what its backbone is built from.

    Args:
        views: settings of the run, with the size and the normalization of its images.
        channels: the number of channels of its images.
        path: the path of its settings, for messages.

    Raises:
        UserError: names the setting.
    """
    limits = {"channels": (channels, MAX_CHANNELS), "image_size": (views.image_size, MAX_SIDE)}
    for name, (value, most) in limits.items():
        if value is None or value > most:
            raise SettingsError(f"{path}: {name}={value} is not from 1 to {most}")
    for name, values in (("mean", views.mean), ("std", views.std)):
        if values is None or len(values) != channels:
            raise SettingsError(f"{path}: {name}={values} is not one number for each channel")
