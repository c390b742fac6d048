"""The recipe of ``--preset auto``, a pure function from facts about images and machine to settings.

Each group of settings has a reason.

The numbers are in ``recipe_tables``. The functions here only select and limit them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from BYOL.config.fields import names_where
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.recipe_tables import (
    ADAMW_BACKBONES,
    CPU_MINUTES,
    FEW,
    FEW_ON_CPU,
    FROM_WEIGHTS,
    LARGE_SET,
    LEAST_SIDE,
    MANY_CHANNELS,
    OPTIMIZERS,
    PAPER_RECIPE,
    PLAIN_IMAGE_SIZES,
    PLAIN_NETWORKS,
    SHARED_SETTINGS,
    SIZES,
    SMALL_SIDE,
    TEACHER,
    TEACHER_OPTIMIZERS,
    TRANSFORMERS,
    VIEW_SHARE,
    WEIGHTS_EPOCHS,
    WEIGHTS_IMAGE_SIZE,
)

# The settings that a recipe may choose. A resumed run takes them from its own config.yaml.
CHOSEN = tuple(names_where(PretrainConfig, lambda info: info.chosen is not None))


@dataclass(frozen=True)
class Facts:
    """The facts that a recipe depends on.

    Args:
        images: number of training images.
        side: median of their shorter sides in pixels; None where no header could be read.
        same_size: whether all sampled images have the same size.
        channels: number of channels of the images.
        accelerator: cpu, gpu or mps.
        cores: number of cores that this process may use.
        bf16: whether the hardware multiplies bf16.
        memory: bytes of the GPU's memory, or of the memory that is available; None if unknown.
        minutes: time limit of the whole command, or None.
        weights: whether the backbone starts from trained weights.
        weights_backbone: the backbone that the weights belong to, where that is known.
        teacher: whether the targets are the features of a teacher.
        unit: processes times accumulated parts: the batch is a multiple of it.
        specified: settings that the user has specified; the recipe never changes them.
    """

    images: int
    side: int | None
    same_size: bool = True
    channels: int = 3
    accelerator: str = "cpu"
    cores: int = 1
    bf16: bool = False
    memory: int | None = None
    minutes: float | None = None
    weights: bool = False
    weights_backbone: str | None = None
    teacher: bool = False
    unit: int = 1
    specified: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gpu(self) -> bool:
        """Whether the run has a GPU; an Apple GPU counts as a fast CPU."""
        return self.accelerator == "gpu"

    @property
    def small(self) -> bool:
        """Whether the images are small enough to be trained on at their own size."""
        return self.side is not None and self.side <= SMALL_SIDE


@dataclass(frozen=True)
class Recipe:
    """Chosen settings and the reasons.

    Args:
        settings: values of :class:`BYOL.config.PretrainConfig`; none that the user has specified.
        reasons: sentences for the user.
    """

    settings: dict[str, Any]
    reasons: tuple[str, ...]


def choose_recipe(facts: Facts) -> Recipe:
    """Choose the settings that fit ``facts``, with the reasons."""
    backbone, why_backbone = _backbone(facts)
    large = backbone not in PLAIN_NETWORKS and (not facts.gpu or backbone != "resnet18")
    image_size, view_size, why_size = _sizes(facts, backbone, large)
    batch_size, why_batch = _batch(facts, large)
    settings: dict[str, Any] = {
        **SHARED_SETTINGS,
        **_optimization(facts, backbone, large),
        "backbone": backbone,
        "image_size": image_size,
        "view_size": view_size,
        "batch_size": batch_size,
    }
    if facts.channels not in (1, 3):
        settings |= MANY_CHANNELS
    batch_size = facts.specified.get("batch_size", batch_size)
    epochs, minutes, why_length = _length(facts, large, batch_size)
    settings |= {"epochs": epochs, "minutes": minutes}
    settings |= schedule(facts.specified.get("epochs", epochs), float(epochs))
    kept = {name: value for name, value in settings.items() if name not in facts.specified}
    reasons = (why_backbone, why_size, why_batch, why_length)
    return Recipe(kept, tuple(filter(None, reasons)))


def schedule(epochs: int, length: float, checks: int = 10) -> dict[str, Any]:
    """The settings that follow from the length of a run.

    Args:
        epochs: number of epochs, of which the last may be incomplete.
        length: number of epochs without rounding.
        checks: number of online evaluations in the run.
    """
    return {
        "warmup_epochs": round(min(0.06 * length, 5.0), 4),
        "knn_every": max(math.ceil(epochs / checks), 1),
        "checkpoint_every": max(epochs // 10, 1),
    }


def fit_length(steps: float, per_epoch: int, most_epochs: int | None) -> dict[str, Any]:
    """Epochs and steps of a run that has time for ``steps`` optimizer steps.

    Args:
        steps: number of steps that fit the time limit; at least one is made.
        per_epoch: number of steps per epoch.
        most_epochs: maximum number of epochs; None for no limit.

    Returns:
        ``epochs``, and ``steps`` if the run does not end with a complete epoch.
    """
    whole = max(int(steps), 1)
    if most_epochs is not None and whole >= most_epochs * per_epoch:
        return {"epochs": most_epochs, "steps": None}
    if whole >= 20 * per_epoch:  # rounding to whole epochs changes the time by 2.5 % at most
        return {"epochs": round(whole / per_epoch), "steps": None}
    return {"epochs": math.ceil(whole / per_epoch), "steps": whole}


def _backbone(facts: Facts) -> tuple[str, str]:
    if "backbone" in facts.specified:
        return facts.specified["backbone"], ""
    if facts.weights_backbone:
        return facts.weights_backbone, f"{facts.weights_backbone}: the backbone of the weights"
    if not facts.gpu:
        if facts.weights:
            return "resnet18", "resnet18: the smallest usual network with published weights"
        return "plain6", "plain6: a small network, because there is no GPU"
    if facts.small or facts.images < LARGE_SET:
        images = "small images" if facts.small else f"fewer than {LARGE_SET:,} images"
        return "resnet18", f"resnet18: enough for {images}"
    return "resnet50", "resnet50: a large set of photographs on a GPU"


def _sizes(facts: Facts, backbone: str, large: bool) -> tuple[int, int | None, str]:
    """The image size, the view size (None: the same) and the reason."""
    side = facts.side or 224
    specified = facts.specified.get("image_size")
    if specified is None and (views := facts.specified.get("view_size")):
        specified = image_size_for(views, None)
    if specified is not None:
        image_size, why = specified, ""
    elif backbone.startswith(TRANSFORMERS):
        image_size, why = _transformer_size(facts, backbone, side)
    elif facts.small:
        exact = side if facts.same_size else side // 4 * 4
        image_size = max(exact, 32 if backbone.startswith("convnext") else LEAST_SIDE)
        why = f"{image_size} px: the size of the images"
    else:
        image_size = min(_most_side(facts, backbone, large), side // 8 * 8)
        where = "GPU" if facts.gpu else "CPU"
        why = f"{image_size} px: images have {side} px, and larger ones cost more time on this "
        why += f"{where}"
    views = None
    if not facts.gpu and image_size >= 24 and not backbone.startswith(TRANSFORMERS):
        views = round(image_size * VIEW_SHARE / 4) * 4
    return image_size, views, why


def _most_side(facts: Facts, backbone: str, large: bool) -> int:
    """The largest image size whose gain is worth the time."""
    if backbone in PLAIN_NETWORKS and not facts.gpu:
        minutes = facts.minutes or CPU_MINUTES
        return next(side for most, side in PLAIN_IMAGE_SIZES if minutes <= most)
    return WEIGHTS_IMAGE_SIZE[facts.gpu] if facts.weights else SIZES[facts.gpu, large][0]


def image_size_for(view_size: int, side: int | None) -> int:
    """The image size that evaluation uses if only the view size is specified.

    Views are three quarters of the image size, as in the presets that have both. Small images
    of about that size are evaluated at their own size.

    Args:
        view_size: the side of the views in pixels.
        side: the side of all images, if it is small and known.
    """
    if side is not None and side <= 2 * view_size:
        return side
    return round(view_size / VIEW_SHARE / 8) * 8 or view_size


def _transformer_size(facts: Facts, backbone: str, side: int) -> tuple[int, str]:
    if facts.gpu or facts.weights or not backbone.startswith(("vit_", "deit")):
        return 224, f"224 px: {backbone} is built for it"
    # A multiple of the patches: what is left of an image at its edges would not be seen.
    patch = int(named[1]) if (named := re.search(r"patch(\d+)", backbone)) else 16
    size = max(min(side, 96), 2 * patch) // patch * patch
    return size, f"{size} px: larger images cost more time on this CPU"


def _batch(facts: Facts, large: bool) -> tuple[int, str]:
    """The batch size: a power of two times ``unit``, at least 2, at most half of the images."""
    usual = SIZES[facts.gpu, large][1]
    if not facts.gpu and facts.images < FEW:
        usual = min(usual, 64)
    limit = min(usual, max(facts.images // 2, 2))
    per_unit = max(limit // facts.unit, 2)
    batch = facts.unit * 2 ** int(math.log2(per_unit))
    if "batch_size" in facts.specified:
        return batch, ""
    if batch < usual:
        return batch, f"batches of {batch}: at most half of the {facts.images:,} images"
    return batch, f"batches of {batch}"


def _optimization(facts: Facts, backbone: str, large: bool) -> dict[str, Any]:
    """Optimizer, learning rate, weight decay and τ for the backbone and its initial weights."""
    few = facts.images < FEW
    plain = backbone in PLAIN_NETWORKS
    fixed_targets = facts.teacher and plain and not facts.weights
    usual = "sgd" if plain and (fixed_targets or not few) else "lars"
    usual = "adamw" if backbone.startswith(ADAMW_BACKBONES) else usual
    optimizer = facts.specified.get("optimizer", usual)
    table = FROM_WEIGHTS if facts.weights else OPTIMIZERS
    slow = facts.gpu or facts.weights  # long runs, and initial weights to preserve
    chosen = {**table[optimizer], "tau": 0.99 if slow else 0.98 if few else 0.97}
    if optimizer == "adamw":
        chosen["predictor_lr_scale"] = None
    if few and plain and not facts.gpu:
        chosen |= FEW_ON_CPU
    if facts.gpu and large and optimizer == "lars":
        chosen |= {**PAPER_RECIPE, **(table[optimizer] if facts.weights else {})}
    if facts.teacher:
        chosen |= {**TEACHER, **(TEACHER_OPTIMIZERS.get(optimizer, {}) if fixed_targets else {})}
    return chosen


def _length(facts: Facts, large: bool, batch_size: int) -> tuple[int, float | None, str]:
    """The (maximum) number of epochs, the time limit in minutes, and the reason."""
    _, _, least, most, steps = SIZES[facts.gpu, large]
    if facts.weights:
        least, most = min(least, 20), min(most, WEIGHTS_EPOCHS)
    per_epoch = max(facts.images // max(batch_size, 1), 1)
    own = min(max(math.ceil(steps / per_epoch), least), most)
    if "epochs" in facts.specified or "steps" in facts.specified:
        return own, facts.minutes, ""
    if facts.minutes is not None:
        unit = "minute" if facts.minutes == 1 else "minutes"
        return own, facts.minutes, f"{facts.minutes:g} {unit}: --minutes"
    if facts.gpu or facts.unit > 1:
        return own, None, f"{own} epochs: the usual length for {facts.images:,} images"
    return own, CPU_MINUTES, f"at most {CPU_MINUTES:g} minutes: the default without a GPU"
