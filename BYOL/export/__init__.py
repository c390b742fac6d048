"""A trained backbone for other programs: its weights in files, and the Python that loads them."""

from BYOL.model.weights import export_backbone, load_weights

__all__ = ["export_backbone", "load_weights"]
