"""BYOL: learn image representations without labels (arXiv 2006.07733).

``from BYOL.byol import BYOL`` is the model, ``byol pretrain`` the whole path from a folder of
pictures to a backbone, ``BYOL.load_backbone("runs/NAME")`` what it has learnt. Importing this
package imports nothing else, so that ``byol --help`` and a mistyped flag answer at once.
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
