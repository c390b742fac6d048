"""Fields that many settings share: files to read or write, random seeds, and fixed settings."""

from dataclasses import MISSING
from typing import Any

from BYOL.config.fields import setting


def output_path(default: str | None, help: str) -> Any:
    """A setting of the basic help that names what is written; None: it is not written."""
    return setting(default, help, place="output", home=True, basic=True)


def input_path(help: str) -> Any:
    """An optional setting of the basic help that names a file to read."""
    return setting(None, help, place="input", home=True, basic=True)


def random_seed(help: str, *, basic: bool = False) -> Any:
    """A random seed, which is 0 by default."""
    return setting(0, help, low=0, high=2**63 - 1, basic=basic)


def fixed_setting(default: Any = MISSING, help: str = "", **known: Any) -> Any:
    """A setting that a resumed run must not change."""
    return setting(default, help, on_resume="fixed", **known)
