"""Presets: named recipes, each with the source of its numbers."""

import dataclasses
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.config.data_names import is_digits
from BYOL.config.mulan import MULAN_PRESETS
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.errors import SettingsError

# The paper, appendix J, and the authors' configs/byol.py. Their batch size is 4096 images. On few
# devices, keep the learning rate per 256 images and specify a batch size that fits.
_PAPER: dict[str, Any] = {
    "backbone": "resnet50",
    "batch_size": 4096,
    "optimizer": "lars",
    "warmup_epochs": 10.0,
}

_SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "hidden_size": 1024,
    "output_size": 256,
    "epochs": 200,
    "batch_size": 256,
    "warmup_epochs": 1.0,
    "tau": 0.97,
    "crop_scale": (0.2, 1.0),
    "blur": (0.0, 0.0),
}

# For small images, measured by us on CIFAR-10 (docs/results/): the authors' optimizer, weight
# decay and learning rate per step (.2 per 256 images is 3.2 for their 4096; here it is 3.2 for
# 256), and a predictor with ten times the learning rate. It was the best of four with a ResNet-18
# from the 20th epoch on ("A ResNet-18 on one GPU"), with plain6 after 14 epochs ("CIFAR-10"), and
# on few images ("Two thousand images").
_LARS: dict[str, Any] = {
    "optimizer": "lars",
    "lr": 3.2,
    "weight_decay": 1.5e-6,
    "predictor_lr_scale": 10.0,
}

# On a GPU an epoch takes seconds and a checkpoint nearly one second. A checkpoint is therefore
# saved only every tenth epoch (and, as always, every ten minutes).
_LONG: dict[str, Any] = {**_SMALL, **_LARS, "warmup_epochs": 5.0, "checkpoint_every": 10}

# MoCo v3 (Chen et al. 2021, arXiv 2104.02057, section 4 and its ViT configuration): AdamW, warm-up
# of 40 epochs, weight decay .1, momentum .99, three-layer projector, frozen patch embedding.
_ADAMW: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1.5e-4,
    "weight_decay": 0.1,
    "warmup_epochs": 40.0,
    "tau": 0.99,
    "depth_proj": 3,
    "epochs": 300,
    "batch_size": 4096,
}

PRESETS: dict[str, dict[str, Any]] = {
    # Measured by us: docs/results/digits.md.
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
    "small": {**_SMALL, **_LARS},
    # For minutes on a CPU: views of 24 px and batches of 128. On CIFAR-10 (plain6, 16 epochs, three
    # seeds), 200-NN is .584. It is .574 with the authors' brightness. With that brightness, a
    # learning rate of .3, a weight decay of 1e-4 and λ = 1, it is .545, and equal after 40 epochs.
    # LARS is three points lower after 16 and 40 epochs: docs/results/ablations-jpeg.md.
    "32px-minutes": {
        **_SMALL,
        "optimizer": "sgd",
        "lr": 0.1,
        "weight_decay": 1e-3,
        "predictor_lr_scale": 10.0,
        "backbone": "plain6",
        "epochs": 16,
        "batch_size": 128,
        "view_size": 24,
        "brightness": 0.2,
    },
    # τ is the authors' value for the number of steps, which is 20,000 to 156,000 for 50,000 images.
    # The authors used .97 for 12,500 steps, .99 for 31,000 and 94,000, and .996 for 312,000.
    "32px-100": {**_LONG, "epochs": 100, "tau": 0.98},
    "32px-200": {**_LONG, "epochs": 200, "tau": 0.99},
    "32px-400": {**_LONG, "epochs": 400, "tau": 0.99},
    "32px-800": {**_LONG, "epochs": 800, "tau": 0.993},
    # solo-learn's scripts/pretrain/cifar/byol.yaml (92.58 linear on CIFAR-10). Their LARS limits
    # the adapted learning rate to the original one; ours follows the authors and does not. Their
    # brightness of .4 multiplies, as in torchvision. It corresponds to .2 here, which is added.
    "solo-cifar": {
        "backbone": "resnet18",
        "image_size": 32,
        "hidden_size": 4096,
        "output_size": 256,
        "epochs": 1000,
        "batch_size": 256,
        "optimizer": "lars",
        "lr": 1.0,
        "trust_coefficient": 0.02,
        "weight_decay": 1e-5,
        "warmup_epochs": 10.0,
        "tau": 0.99,
        "blur": (0.0, 0.0),
        "brightness": 0.2,
    },
    # lightly's cifar10_benchmark.py (86.9 k-NN at 200 epochs): SGD .06 for 128 images, weight decay
    # 5e-4, constant τ of .99, no warm-up. Their loss is a quarter of the paper's. The same steps
    # therefore need a quarter of the learning rate and four times the weight decay here. Brightness
    # as in solo-cifar.
    "lightly-cifar": {
        "backbone": "resnet18",
        "image_size": 32,
        "hidden_size": 1024,
        "output_size": 256,
        "epochs": 200,
        "batch_size": 128,
        "optimizer": "sgd",
        "lr": 0.03,
        "weight_decay": 2e-3,
        "warmup_epochs": 0.0,
        "tau": 0.99,
        "tau_schedule": "constant",
        "blur": (0.0, 0.0),
        "brightness": 0.2,
    },
    # 64 to 128 px: the authors' README on Imagenette (92.3 with an online classifier).
    "128px": {
        "backbone": "resnet18",
        "image_size": 128,
        "epochs": 1000,
        "batch_size": 256,
        "optimizer": "lars",
        "lr": 2.0,
        "weight_decay": 1e-6,
        "warmup_epochs": 10.0,
        "tau": 0.996,
    },
    # Fewer than 10,000 images: "small" with batches of 64, τ and warm-up of "digits", and a smaller
    # change of brightness. Measured by us on 2,000 images: 200-NN is .401 after 100 epochs (.376
    # with a brightness of .4) and .494 after 400 epochs: docs/results/ablations-jpeg.md.
    "few": {
        **_SMALL,
        **_LARS,
        "brightness": 0.2,
        "epochs": 400,
        "batch_size": 64,
        "warmup_epochs": 5.0,
        "tau": 0.98,
        "knn_every": 50,
    },
    # Grayscale images such as X-rays and microscopy, where orientation means little, and inverted
    # values or an extreme crop would change the content. Our choice, measured once on 2,000
    # grayscale photographs: docs/results/ablations-jpeg.md.
    "grey": {
        **_SMALL,
        **_LARS,
        "channels": 1,
        "warmup_epochs": 5.0,
        "tau": 0.99,
        "crop_scale": (0.3, 1.0),
        "brightness": 0.2,
        "vertical_flip": 0.5,
        "rotate": 20.0,
        "grey": 0.0,
        "blur": (0.5, 0.1),
        "solarize": (0.0, 0.0),
    },
    # Satellite and other images of many channels, whose values are measurements: only small changes
    # of brightness and contrast. Our choice, not measured yet.
    "many-channel": {
        **_SMALL,
        **_LARS,
        "warmup_epochs": 5.0,
        "tau": 0.99,
        "vertical_flip": 0.5,
        "brightness": 0.2,
        "contrast": 0.2,
        "grey": 0.0,
        "solarize": (0.0, 0.0),
    },
    # Training from timm's weights on other images: a quarter of the authors' learning rate for
    # short runs, so that the weights are not lost in the warm-up. Our choice, not measured yet.
    "pretrained": {
        **_PAPER,
        "pretrained": True,
        "epochs": 100,
        "batch_size": 256,
        "lr": 0.1,
        "tau": 0.99,
    },
    "vit": {**_ADAMW, "backbone": "vit_small_patch16_224", "freeze_patches": True},
    "convnext": {**_ADAMW, "backbone": "convnext_tiny"},
    "paper-40": {**_PAPER, "epochs": 40, "lr": 0.45, "weight_decay": 1e-6, "tau": 0.97},
    "paper-100": {**_PAPER, "epochs": 100, "lr": 0.45, "weight_decay": 1e-6, "tau": 0.99},
    "paper-300": {**_PAPER, "epochs": 300, "lr": 0.3, "weight_decay": 1e-6, "tau": 0.99},
    "paper-1000": {**_PAPER, "epochs": 1000, "lr": 0.2, "weight_decay": 1.5e-6, "tau": 0.996},
    **MULAN_PRESETS,
    # Group normalization and weight standardization after Richemond et al. 2020 (arXiv 2010.10241),
    # who report 73.9 after 1,000 epochs. The other settings are those of "paper-1000".
    "paper-gn-ws": {
        **_PAPER,
        "norm": "gn-ws",
        "epochs": 1000,
        "lr": 0.2,
        "weight_decay": 1.5e-6,
        "tau": 0.996,
    },
}


def preset_values(name: str) -> dict[str, Any]:
    """The settings of the preset ``name`` that differ from the defaults of :class:`PretrainConfig`.

    Raises:
        UserError: the name is unknown.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise SettingsError(f"--preset={name} is unknown: choose one of auto, {', '.join(PRESETS)}")
    return {"preset": name, **PRESETS[name]}


def preset_for(data: str | None, side: int | None) -> str:
    """The preset of :class:`BYOL.sklearn.BYOLEmbedder` if none is specified.

    Args:
        data: the setting of ``byol pretrain``.
        side: the side of all images in pixels; None if it is unknown or differs.
    """
    if is_digits(data):
        return "digits"
    return "small" if side is not None and side <= 96 else "paper-300"


def preset_config(name: str, /, **changes: Any) -> PretrainConfig:
    """The settings of a run from a preset with changes: ``preset_config("small", epochs=10)``.

    With the name "auto", all settings that are not in ``changes`` are chosen later, from the images
    and the machine.

    Raises:
        UserError: an unknown name or setting, or a value out of range.
    """
    known = {field.name for field in dataclasses.fields(PretrainConfig)}
    for change in changes:
        if change not in known:
            raise SettingsError(f"{change} is no setting of a run: see BYOL.config.PretrainConfig")
    if name == "auto":
        return PretrainConfig(**{"recipe": {"specified": sorted(changes)}, **changes})
    return PretrainConfig(**{**preset_values(name), **changes})


# Preset → prefixes of backbones that are usually trained with AdamW.
_FAMILIES = {"vit": ("vit_", "deit", "beit", "eva02", "swin"), "convnext": ("convnext",)}


def misfit(config: OptimizationSettings, preset: str, backbone: str) -> str | None:
    """The problem of a preset whose optimizer or backbone was changed; None if there is none.

    A learning rate of one optimizer does not suit another: with LARS's 3.2, AdamW diverges at the
    first step.
    """
    usual = PRESETS.get(preset, {})
    kept = config.lr == usual.get("lr")
    families = (name for name, begins in _FAMILIES.items() if backbone.startswith(begins))
    family = next(families, None)
    if family and config.optimizer != "adamw":
        return (
            f"--backbone={backbone} is usually trained with AdamW, and here with "
            f"{config.optimizer}: --preset {family} is for it"
        )
    if config.optimizer == usual.get("optimizer", config.optimizer) or not kept:
        return None
    return (
        f"--optimizer={config.optimizer} has the learning rate of the preset {preset}, "
        f"{config.lr:g} for {usual['optimizer']}: give --lr and --weight-decay with it"
    )
