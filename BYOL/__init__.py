"""BYOL: self-supervised training of image backbones without labels (arXiv 2006.07733).

``BYOL.pretrain("photos/")`` trains a backbone, ``BYOL.load_backbone("runs/NAME")`` returns it, and
``from BYOL.byol import BYOL`` is the model itself. The command line, ``byol``, does the same.

Importing this package imports nothing else, so that ``byol --help`` and a mistyped flag answer at
once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from BYOL.api import embed, evaluate, pretrain
    from BYOL.runs.load import load_backbone, load_classifier

__all__ = ["__version__", "embed", "evaluate", "load_backbone", "load_classifier", "pretrain"]

# Public name → the module that defines it, imported at the first use.
_MODULES = {
    "embed": "BYOL.api",
    "evaluate": "BYOL.api",
    "load_backbone": "BYOL.runs.load",
    "load_classifier": "BYOL.runs.load",
    "pretrain": "BYOL.api",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """The version of the installed package; a checkout that is not installed has none."""
    from importlib import metadata

    try:
        return metadata.version("BYOL")
    except metadata.PackageNotFoundError:
        return "0+unknown"
