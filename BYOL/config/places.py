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
    for name in _PLACES:
        given = getattr(config, name)
        if given is not None and (path := Path(given).expanduser()).exists():
            found[name] = os.path.abspath(path)  # noqa: PTH100  # links stay as they are named
    return dataclasses.replace(config, **found)
