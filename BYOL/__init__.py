"""BYOL: self-supervised training of image backbones without labels (arXiv 2006.07733).

``BYOL.pretrain("photos/")`` trains a backbone, ``BYOL.load_backbone("runs/NAME")`` returns it, and
``from BYOL.byol import BYOL`` is the model itself. The command line, ``byol``, does the same.

Importing this package imports nothing else, so that ``byol --help`` and a mistyped flag answer at
once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from BYOL.api import embed, evaluate, pretrain
    from BYOL.runs.load import load_backbone, load_classifier

__all__ = ["__version__", "embed", "evaluate", "load_backbone", "load_classifier", "pretrain"]

__version__ = "0.1.0"

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
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
