"""The names that the specification imports from this module."""

from BYOL.model.loss import criterion, regression_loss
from BYOL.views.transforms import MultiViewDataInjector, get_byol_transforms

__all__ = ["MultiViewDataInjector", "criterion", "get_byol_transforms", "regression_loss"]
