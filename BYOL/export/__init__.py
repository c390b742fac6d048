"""A trained backbone for other programs: its weights in files, and the Python that loads them."""

from BYOL.export.weights import SUFFIXES, export_backbone, load_weights

__all__ = ["SUFFIXES", "export_backbone", "load_weights"]
