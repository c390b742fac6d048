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

# For small pictures, measured by us on CIFAR-10 (docs/results.md): the authors' optimizer, decay
# and rate of a step (.2 for 256 pictures is 3.2 for their 4096; here it is 3.2 for 256), and a
# predictor that learns ten times as fast. With a ResNet-18 the best of four from the 20th epoch on
# ("A ResNet-18 on one GPU"), with plain6 after 14 epochs ("CIFAR-10") and on few pictures ("Two
# thousand pictures").
_LARS: dict[str, Any] = {
    "optimizer": "lars",
    "lr": 3.2,
    "weight_decay": 1.5e-6,
    "predictor_lr_scale": 10.0,
}

# On a GPU an epoch takes seconds and a checkpoint nearly one, hence only every tenth (and, as
# always, every ten minutes).
_LONG: dict[str, Any] = {**_SMALL, **_LARS, "warmup_epochs": 5.0, "checkpoint_every": 10}

# MoCo v3 (Chen et al. 2021, arXiv 2104.02057, section 4 and its ViT configuration): AdamW, warm-up
# of 40 epochs, weight decay .1, momentum .99, three-layer projector, patch embedding frozen.
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
    "small": {**_SMALL, **_LARS},
    # Minutes on a CPU: views of 24 px and batches of 128. On CIFAR-10 (plain6, 16 epochs, three
    # seeds) 200-NN .584; .574 with the authors' brightness, and with that .545 with a rate of .3, a
    # decay of 1e-4 and λ = 1, which is level after 40 epochs. LARS is three points behind after 16
    # and after 40: docs/results.md, "Recipes for longer runs".
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
    # τ is the authors' at the number of steps that 50,000 pictures make: 20,000 to 156,000 against
    # their 12,500 (.97), 31,000 (.99), 94,000 (.99) and 312,000 (.996).
    "32px-100": {**_LONG, "epochs": 100, "tau": 0.98},
    "32px-200": {**_LONG, "epochs": 200, "tau": 0.99},
    "32px-400": {**_LONG, "epochs": 400, "tau": 0.99},
    "32px-800": {**_LONG, "epochs": 800, "tau": 0.993},
    # solo-learn's scripts/pretrain/cifar/byol.yaml (92.58 linear on CIFAR-10). Their LARS caps the
    # adapted rate at the plain one; ours, the authors', does not. Their brightness of .4 is
    # torchvision's, which multiplies: .2, added as the authors do, is the like of it.
    "solo-cifar": {
        "backbone": "resnet18",
        "image_size": 32,
        "hidden_size": 4096,
        "output_size": 256,
        "epochs": 1000,
        "batch_size": 256,
        "optimizer": "lars",
        "lr": 1.0,
        "trust": 0.02,
        "weight_decay": 1e-5,
        "warmup_epochs": 10.0,
        "tau": 0.99,
        "blur": (0.0, 0.0),
        "brightness": 0.2,
    },
    # lightly's cifar10_benchmark.py (86.9 kNN at 200 epochs): SGD .06 for 128 pictures, weight
    # decay 5e-4, τ .99 throughout, no warm-up. Their loss is a quarter of the paper's, hence here a
    # quarter of the rate and four times the decay for the same steps. Brightness as in solo-cifar.
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
    # Fewer than 10,000 pictures: "small" in batches of 64, with τ and warm-up of "digits" and less
    # change of brightness. Measured by us on 2,000 pictures: 200-NN .401 after 100 epochs, with a
    # brightness of .4 .376; .494 after 400: docs/results.md, "Two thousand pictures".
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
    # Grey pictures such as X-rays and microscopy, where up and down or a turn mean little and
    # inverted values or an extreme crop would show something else. Our choice; measured once, on
    # 2,000 grey photographs: docs/results.md, "Two thousand pictures".
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
    # Satellite and other pictures of many channels, whose values are measurements: only small
    # changes of brightness and contrast. Our choice, not measured yet.
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
    # Going on from timm's weights on pictures of one's own: the authors' rate for short runs, cut
    # to a quarter so that the weights are not lost in the warm-up. Our choice, not measured yet.
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
    # Group-norm and weight standardisation after Richemond et al. 2020 (arXiv 2010.10241), who
    # reach 73.9 in 1,000 epochs; the other settings are those of "paper-1000".
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
    """The settings of a preset that differ from :class:`PretrainConfig`'s own.

    Raises:
        UserError: unknown name.
    """
    if name not in PRESETS:
        raise UserError(f"--preset={name} is unknown: choose one of auto, {', '.join(PRESETS)}")
    return {"preset": name, **PRESETS[name]}


def preset_for(data: str | None, side: int | None) -> str:
    """The preset of :class:`BYOL.sklearn.BYOLEmbedder` where none is specified.

    Args:
        data: as given to ``byol pretrain``.
        side: the pictures' size in pixels where it is known and common to all.
    """
    if data in (None, "digits"):
        return "digits"
    return "small" if side is not None and side <= 96 else "paper-300"


def preset_config(name: str, **changes: Any) -> PretrainConfig:
    """A preset as a configuration, with changes: ``preset_config("small", epochs=10)``.

    With the name "auto" the images and the machine decide about all that ``changes`` does not.
    """
    known = {field.name for field in dataclasses.fields(PretrainConfig)}
    for change in changes:
        if change not in known:
            raise UserError(f"{change} is no setting of a run; see BYOL.config.PretrainConfig")
    if name == "auto":
        return PretrainConfig(**{"recipe": {"specified": sorted(changes)}, **changes})
    return PretrainConfig(**{**preset_values(name), **changes})


# Networks that are trained by AdamW elsewhere, by the preset that is for them.
_FAMILIES = {"vit": ("vit_", "deit", "beit", "eva02", "swin"), "convnext": ("convnext",)}


def misfit(config: PretrainConfig) -> str | None:
    """What is wrong with a preset whose optimizer, or whose network, was changed; None: nothing.

    Rates of one optimizer are no rates of another: LARS's 3.2 throws AdamW out at the first step.
    """
    usual = PRESETS.get(config.preset, {})
    kept = config.lr == usual.get("lr")
    families = (name for name, begins in _FAMILIES.items() if config.backbone.startswith(begins))
    family = next(families, None)
    if family and config.optimizer != "adamw":
        return (
            f"--backbone={config.backbone} learns by AdamW elsewhere, and here by "
            f"{config.optimizer}: --preset {family} is for it"
        )
    if config.optimizer == usual.get("optimizer", config.optimizer) or not kept:
        return None
    return (
        f"--optimizer={config.optimizer} has the rate of the preset {config.preset}, {config.lr:g} "
        f"for {usual['optimizer']}: give --lr and --weight-decay with it"
    )
