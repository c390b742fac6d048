"""Settings that name places: files, folders, hosts. Which of them a file may set, and for whom."""

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from BYOL.config.data_names import check_named_images
from BYOL.config.pretrain import PretrainConfig
from BYOL.errors import UserError

_PLACES = ("data", "labels", "groups", "weights")
# Settings of any command whose value names what is read, written or contacted.
NAMING = frozenset(
    (
        *_PLACES, "data_root", "out", "backbone", "pretrained", "wandb", "run", "reference",
        "labelled", "like", "to", "grid", "kept", "sweep",
    )
)  # fmt: skip
_IMAGES = ("data", "labelled", "like")  # of these, those that name images
_REMOTE = ("hf-hub:", "local-dir:")  # beginnings of a backbone that is more than a name
_BUILT_IN = (None, "digits", False)


def place_values(config: Any) -> dict[str, Any]:
    """The settings of a run, by name, that name places: what a signature covers."""
    names = sorted(NAMING & {field.name for field in dataclasses.fields(config)})
    return {name: getattr(config, name) for name in names}


def named_places(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values of a file that name a place other than a built-in one or the default.

    Args:
        settings: the dataclass that the file fills.
        values: of the file.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    return {
        name: value
        for name, value in values.items()
        if name in NAMING
        and isinstance(value, str | list | bool)  # others are of the wrong type, and refused
        and value not in _BUILT_IN
        and value != defaults.get(name)
        and (name != "backbone" or str(value).startswith(_REMOTE))
    }


def check_named_places(
    settings: type,
    values: Mapping[str, Any],
    file: str,
    *,
    trusted: bool,
    overridden: Collection[str] = (),
) -> None:
    """Refuse a file that names places, unless the user allows it; and places no file may name.

    Args:
        settings: the dataclass that the file fills.
        values: of the file.
        file: how the user named the file, for the message.
        trusted: the user has written the file, or has said ``--trust``.
        overridden: settings that the command line sets itself.

    Raises:
        UserError: names the first such setting.
    """
    for name, value in named_places(settings, values).items():
        if name in overridden:
            continue
        if not trusted:
            raise UserError(
                f"{file} names {name}={shown(value)}: a file opens no place by itself; give "
                f"--{name} on the command line, or --trust if you trust the file"
            )
        if name in _IMAGES:
            check_named_images(str(value), file)


def shown(value: object) -> str:
    """A value of a file as a message may have it: short, and without control characters."""
    text = "".join(sign if sign.isprintable() else "?" for sign in str(value))
    return text if len(text) <= 120 else f"{text[:119]}…"


def rooted(config: PretrainConfig) -> PretrainConfig:
    """The same with absolute paths: a run is opened from other folders than it was started in."""
    found: dict[str, Any] = {}
    if config.out is not None:
        found["out"] = _absolute(Path(config.out).expanduser())
    for name in _PLACES:
        given = getattr(config, name)
        if given in (None, "digits"):  # which is built in, whatever lies here by that name
            continue
        if (path := Path(given).expanduser()).exists():
            found[name] = _absolute(path)
    return dataclasses.replace(config, **found)


def found_again(config: PretrainConfig, folder: Path) -> PretrainConfig:
    """The same where a run and its pictures have moved together, to another machine say.

    Args:
        config: what :func:`rooted` made, as the run's folder has it.
        folder: where that folder is now.
    """
    found: dict[str, Any] = {}
    for name in _PLACES:
        was = getattr(config, name)
        if was is None or config.out is None or not Path(was).is_absolute() or Path(was).exists():
            continue
        moved = Path(_absolute(folder / os.path.relpath(was, config.out)))
        if moved.exists():
            found[name] = str(moved)
    return dataclasses.replace(config, **found)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  # links stay as they are named
