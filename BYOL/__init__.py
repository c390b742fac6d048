"""BYOL: learn image representations without labels (arXiv 2006.07733).

``from BYOL.byol import BYOL`` is the model, ``byol pretrain`` the whole path from a folder of
pictures to a backbone. Importing this package imports nothing else, so that ``byol --help`` and a
mistyped flag answer at once.
"""

__version__ = "0.1.0"
