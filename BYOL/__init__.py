"""BYOL: self-supervised learning of image representations (arXiv 2006.07733).

``from BYOL.byol import BYOL`` imports the model. ``byol pretrain`` trains a backbone on a folder of
images, and ``BYOL.load_backbone("runs/NAME")`` loads it. Importing this package imports nothing
else, so that ``byol --help`` and the message for a mistyped flag appear at once.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from BYOL.runs.load import load_backbone, load_classifier

__all__ = ["__version__", "load_backbone", "load_classifier"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("load_backbone", "load_classifier"):
        import BYOL.runs.load

        return getattr(BYOL.runs.load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
