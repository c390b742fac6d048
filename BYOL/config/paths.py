"""Settings that name files."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from BYOL.config.pretrain import PretrainConfig

_PLACES = ("data", "labels", "groups", "weights")


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
