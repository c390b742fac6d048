"""A trained backbone or classifier as files for other programs, with Python code that loads it."""

from BYOL.export.timm_format import save_backbone
from BYOL.model.weights import export_backbone, load_weights

__all__ = ["export_backbone", "load_weights", "save_backbone"]
