"""Settings that name places: files, folders and hosts. Which of them a file may set."""

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from BYOL._console import printable
from BYOL.config.data_names import (
    ARRAY_SEPARATOR,
    DIGITS,
    check_named_images,
    is_digits,
    names_array,
)
from BYOL.config.fields import Info, fields_of, info_of, names_where
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.validation import logger_names
from BYOL.errors import SettingsError

# Settings that name what a run reads. config.yaml stores them as absolute paths.
_INPUTS = tuple(names_where(PretrainConfig, lambda info: info.place in ("images", "input")))
_REMOTE = (
    "hf-hub:",
    "local-dir:",
)  # prefixes of a backbone that may contact a host or read a folder
_BUILT_IN = (None, DIGITS, False)
_BUILT_IN_TEACHERS = ("auto", "lite0")  # from a package whose content is checked
_FORMER = {"wandb"}  # former settings that named places


def _names_a_place(info: Info) -> bool:
    return info.place is not None


def signed_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``values`` that the signature of the file covers.

    An earlier version signed the settings that it had, and its file names all of them.

    Args:
        values: the values of a config.yaml, by the names in the file; or those of a run.
    """
    covered = place_names() | _FORMER
    return {name: value for name, value in values.items() if name in covered}


def place_names() -> set[str]:
    """The names of the settings of a run that name places."""
    return set(names_where(PretrainConfig, _names_a_place))


def values_naming_places(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``values`` that name a place, except built-in ones and defaults.

    Args:
        settings: the dataclass that the file fills.
        values: the values of the file, by name.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    places = set(names_where(settings, _names_a_place))
    return {
        name: value
        for name, value in values.items()
        if name in places
        and isinstance(value, str | list | bool)  # other types are refused when they are converted
        and value not in _BUILT_IN
        and value != defaults.get(name)
        and _may_name_place(name, str(value))
    }


def named_places(config: PretrainConfig, *, trusted: bool) -> tuple[PretrainConfig, dict[str, Any]]:
    """The settings of a run, and those of them that name a place.

    Without trust the settings have no teacher that names a place, because evaluation would open it.
    """
    places = values_naming_places(PretrainConfig, vars(config))
    if "teacher" in places and not trusted:
        unknown: dict[str, Any] = {"teacher": None, "teacher_size": None, "teacher_bands": None}
        config = dataclasses.replace(config, target="ema", **unknown)
    return config, places


def _may_name_place(name: str, value: str) -> bool:
    """Whether ``value`` of the setting ``name`` contacts a host or names a file."""
    if name == "backbone":
        return value.startswith(_REMOTE)
    if name == "teacher":
        return value not in _BUILT_IN_TEACHERS
    return name != "logger" or not {"wandb", "mlflow"}.isdisjoint(logger_names(value))


def check_named_places(
    settings: type,
    values: Mapping[str, Any],
    file: str,
    *,
    trusted: bool,
    overridden: Collection[str] = (),
    has_flags: bool = True,
) -> None:
    """Refuse a file that names places without permission, or that names forbidden places.

    Args:
        settings: the dataclass that the file fills.
        values: the values of the file, by name.
        file: how the user named the file, for the message.
        trusted: whether the user wrote the file or passed ``--trust``.
        overridden: settings that the command line sets as well; these are not checked.
        has_flags: whether the command has flags for these settings, for the message.

    Raises:
        UserError: names the first such setting.
    """
    for name, value in values_naming_places(settings, values).items():
        if name in overridden:
            continue
        if not trusted:
            flag = f"--{name} on the command line, or " if has_flags else ""
            raise SettingsError(
                f"{file} names {name}={printable(value)}: a file opens no place by itself; give "
                f"{flag}--trust if you trust the file"
            )
        if info_of(fields_of(settings)[name]).place == "images":
            check_named_images(str(value), file)


def expand_home(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a leading ``~`` expanded, for settings whose field asks for it."""

    def expanded(value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(item) for item in value]
        return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111

    home = {name for name, field in fields_of(settings).items() if info_of(field).home}
    return {k: expanded(v) if k in home else v for k, v in values.items()}


def with_absolute_paths(config: PretrainConfig) -> PretrainConfig:
    """The settings with absolute paths, so that the run can be opened from any folder."""
    paths: dict[str, Any] = {}
    if config.out is not None:
        paths["out"] = _absolute(Path(config.out).expanduser())
    for name in _INPUTS:
        value = getattr(config, name)
        if is_digits(value):
            continue
        path, inside = _split_array(str(value))
        if path.expanduser().exists():
            paths[name] = _absolute(path.expanduser()) + inside
    return dataclasses.replace(config, **paths)


def with_moved_paths(config: PretrainConfig, folder: Path) -> PretrainConfig:
    """The settings with the present folder of the run, and new paths if its images moved with it.

    A path that no longer exists is looked for at the same position relative to the run folder.

    Args:
        config: the settings in the run folder, as :func:`with_absolute_paths` returned them.
        folder: the present location of the run folder.
    """
    paths: dict[str, Any] = {}
    for name in _INPUTS:
        old = getattr(config, name)
        if old is None or config.out is None:
            continue
        path, inside = _split_array(old)
        if not path.is_absolute() or path.exists():
            continue
        moved = Path(_absolute(folder / os.path.relpath(path, config.out)))
        if moved.exists():
            paths[name] = str(moved) + inside
    if config.out is not None:
        paths["out"] = _absolute(folder)
    return dataclasses.replace(config, **paths)


def _split_array(value: str) -> tuple[Path, str]:
    """The file of ``FILE.h5::NAME``, and ``::NAME``, which is empty for other values."""
    if not names_array(value):
        return Path(value), ""
    file, separator, name = value.partition(ARRAY_SEPARATOR)
    return Path(file), separator + name


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  # symbolic links are not resolved
