"""Recipes: one row each, with where its numbers come from."""

import dataclasses
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.errors import UserError

# The paper, appendix J, and the authors' configs/byol.py. Their batch is 4096 pictures: on few
# devices keep the rate per 256 and give the batch that fits.
_PAPER: dict[str, Any] = {
    "backbone": "resnet50",
    "batch_size": 4096,
    "optimizer": "lars",
    "warmup_epochs": 10.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    # Measured by us: docs/results.md, "Digits".
    "digits": {
        "backbone": "plain5",
        "image_size": 16,
        "hidden_size": 512,
        "output_size": 128,
        "epochs": 80,
        "batch_size": 64,
        "optimizer": "sgd",
        "lr": 0.2,
        "weight_decay": 1e-4,
        "warmup_epochs": 5.0,
        "tau": 0.98,
        "crop_scale": (0.5, 1.0),
        "crop_ratio": (0.6, 1.67),
        "rotate": 20.0,
        "flip": 0.0,
        "blur": (0.0, 0.0),
        "solarize": (0.0, 0.0),
        "knn_every": 20,
    },
    # Measured by us on CIFAR-10: docs/results.md, "CIFAR-10".
    "small": {
        "backbone": "resnet18",
        "hidden_size": 1024,
        "output_size": 256,
        "epochs": 200,
        "batch_size": 256,
        "optimizer": "sgd",
        "lr": 0.3,
        "weight_decay": 1e-4,
        "warmup_epochs": 1.0,
        "tau": 0.97,
        "crop_scale": (0.2, 1.0),
        "blur": (0.0, 0.0),
    },
    "paper-100": {**_PAPER, "epochs": 100, "lr": 0.45, "weight_decay": 1e-6, "tau": 0.99},
    "paper-300": {**_PAPER, "epochs": 300, "lr": 0.3, "weight_decay": 1e-6, "tau": 0.99},
    "paper-1000": {**_PAPER, "epochs": 1000, "lr": 0.2, "weight_decay": 1.5e-6, "tau": 0.996},
}


def preset_values(name: str) -> dict[str, Any]:
    """The settings of a preset that differ from :class:`PretrainConfig`'s own.

    Raises:
        UserError: unknown name.
    """
    if name not in PRESETS:
        raise UserError(f"--preset={name} is unknown: choose one of auto, {', '.join(PRESETS)}")
    return {"preset": name, **PRESETS[name]}


def preset_for(data: str | None, side: int | None) -> str:
    """What ``--preset auto`` means.

    Args:
        data: as given to ``byol pretrain``.
        side: the pictures' size in pixels where it is known and common to all.
    """
    if data in (None, "digits"):
        return "digits"
    return "small" if side is not None and side <= 96 else "paper-300"


def preset_config(name: str, **changes: Any) -> PretrainConfig:
    """A preset as a configuration, with changes: ``preset_config("small", epochs=10)``."""
    known = {field.name for field in dataclasses.fields(PretrainConfig)}
    for change in changes:
        if change not in known:
            raise UserError(f"{change} is no setting of a run; see BYOL.config.PretrainConfig")
    return PretrainConfig(**{**preset_values(name), **changes})
