"""The specification's transforms: callables for one image or a batch."""

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from BYOL._bit_depth import Range
from BYOL._pixels import cut, to_pixels
from BYOL._random import fold
from BYOL.errors import UserError
from BYOL.views.config import ViewConfig, paper_views
from BYOL.views.ops import per_channel
from BYOL.views.pipeline import make_view

_NO_SHARE = 16.0  # no picture in [0, 1], however noisy, but any in [0, 255]


def get_byol_transforms(
    size: int | Sequence[int], mean: Sequence[float], std: Sequence[float], **changes: Any
) -> tuple["ViewTransform", "ViewTransform", "EvalTransform"]:
    """The paper's two views, and the deterministic transform of evaluation.

    Args:
        size: side of the result in pixels; a pair of equal sides will do.
        mean: of every channel, in [0, 1].
        std: of every channel, above 0.
        changes: what is to differ from the paper, for both views: ``crop_scale=(0.2, 1)``,
            ``hue=0``, any field of :class:`~BYOL.views.config.ViewConfig`; ``blur`` and
            ``solarize`` may be a pair, one for each view.

    Returns:
        ``t, t1, eval_t``. Each takes a PIL image, a (C, H, W) tensor or a (B, C, H, W) batch, uint8
        or float in [0, 1], on any device, and gives normalised float32 of the same rank. ``t`` and
        ``t1`` draw for every image of a batch by itself; ``torch.manual_seed`` governs them.

    Raises:
        UserError: a size or a deviation that is not positive, not as many deviations as means, an
            unknown change or one out of its range.
    """
    sides = list(size) if isinstance(size, Sequence) else [operator.index(size)]
    if len(set(sides)) != 1:
        raise UserError(f"size={size} is not square: give one number of pixels")
    if np.ndim(mean) != 1 or np.ndim(std) != 1 or len(mean) != len(std) or not len(mean):
        raise UserError(f"mean={mean} and std={std} must have a number per channel")
    mean, std = [float(value) for value in mean], [float(value) for value in std]
    if min(std) <= 0:
        raise UserError(f"std={std} is out of range: give numbers above 0")
    first, second = paper_views(int(sides[0]), **changes)
    return (
        ViewTransform(first, mean, std),
        ViewTransform(second, mean, std),
        EvalTransform(first.size, mean, std),
    )


class ViewTransform:
    """One random view of an image, or of every image of a batch.

    Args:
        config: what may happen.
        mean: of every channel.
        std: of every channel.
    """

    def __init__(self, config: ViewConfig, mean: Sequence[float], std: Sequence[float]):
        self.config = config
        self.mean = list(mean)
        self.std = list(std)

    @torch.no_grad()
    def __call__(self, image: Any) -> Tensor:
        """PIL image, (C, H, W) or (B, C, H, W) → normalised float32 with the same rank."""
        batch, single = as_batch(image, len(self.mean))
        # One number from torch's generator, so that torch.manual_seed governs; the rest follows.
        key = fold(int(torch.randint(2**62, ()).item()))
        ids = torch.arange(len(batch))
        view = make_view(self.config, batch, ids, key, self.mean, self.std)
        return view[0] if single else view


class EvalTransform:
    """The image as it is: resized, its centre cut out, normalised.

    Args:
        size: side of the result in pixels.
        mean: of every channel.
        std: of every channel.
        pixel_range: values of black and white in PIL images of more than 8 bits; None: judged by
            each image alone.
    """

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        pixel_range: Range | None = None,
    ):
        self.size = size
        self.mean = list(mean)
        self.std = list(std)
        self.pixel_range = pixel_range

    @torch.no_grad()
    def __call__(self, image: Any) -> Tensor:
        """PIL image, (C, H, W) or (B, C, H, W) → normalised float32 with the same rank.

        A PIL image may be of any mode and turned by EXIF; it is shown as ``byol embed`` shows a
        file, but that large JPEGs are decoded at a part of their size there.
        """
        if isinstance(image, Image.Image):
            return normalise(self._shown(image), self.mean, self.std)[0]
        batch, single = as_batch(image, len(self.mean))
        x = normalise(centre(batch, self.size), self.mean, self.std)
        return x[0] if single else x

    def _shown(self, image: Image.Image) -> Tensor:
        upright = ImageOps.exif_transpose(image)
        pixels = to_pixels(upright, len(self.mean), self.pixel_range)
        height, width = pixels.shape[:2]
        top, left, side, _ = centre_box(height, width, self.size)
        small = cut(pixels, (left, top, left + side, top + side), self.size)
        return torch.from_numpy(small).permute(2, 0, 1)[None] * (1 / 255)


class MultiViewDataInjector:
    """Several transforms of the same image, for a torchvision data set's ``transform``.

    Args:
        transforms: callables of an image.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> list[Any]:
        """One result for each transform, in order."""
        return [transform(image) for transform in self.transforms]


def shown_share(size: int) -> float:
    """How much of the shorter side evaluation shows: the paper's 224 of 256; small images whole."""
    return 0.875 if size > 96 else 1.0


def centre_box(height: int, width: int, size: int) -> tuple[float, float, float, float]:
    """Top, left, height and width of what evaluation at ``size`` pixels shows; between pixels."""
    side = min(height, width) * shown_share(size)
    return (height - side) / 2, (width - side) / 2, side, side


def centre(images: Tensor, size: int) -> Tensor:
    """Resize the shorter side to size / :func:`shown_share`, then cut out the centre.

    Args:
        images: (B, C, H, W) uint8, or float in [0, 1].
        size: of the result.

    Returns:
        (B, C, size, size) float32 in [0, 1].
    """
    x = images.float() if images.is_floating_point() else images * (1 / 255)
    height, width = x.shape[-2:]
    scale = round(size / shown_share(size)) / min(height, width)
    new = (max(round(height * scale), size), max(round(width * scale), size))
    if new != (height, width):
        x = F.interpolate(x, new, mode="bicubic", antialias=True).clamp_(0, 1)
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    return x[..., top : top + size, left : left + size]


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x − mean) / std, per channel of (B, C, H, W)."""
    if not x.shape[1] == len(mean) == len(std):
        raise UserError(
            f"mean has {len(mean)} and std {len(std)} numbers for images of {x.shape[1]} channels"
        )
    return (x - per_channel(mean, x)) / per_channel(std, x)


def as_batch(image: Any, channels: int) -> tuple[Tensor, bool]:
    """Any accepted image as (B, C, H, W), and whether it was a single one.

    Args:
        image: as :class:`ViewTransform` and :class:`EvalTransform` take it.
        channels: that a PIL image is converted to.

    Raises:
        UserError: neither a PIL image nor a tensor of three or four dimensions, uint8 or float.
    """
    if not isinstance(image, Tensor):
        if not hasattr(image, "getbands"):
            raise UserError(
                f"a transform got {type(image).__name__}: give a PIL image, "
                "a (C, H, W) tensor or a (B, C, H, W) batch"
            )
        pixels = to_pixels(ImageOps.exif_transpose(image), channels)
        image = torch.from_numpy(pixels.transpose(2, 0, 1))
    if image.ndim not in (3, 4) or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise UserError(
            f"a transform got a {image.dtype} tensor of shape {tuple(image.shape)}: give "
            "(C, H, W) or (B, C, H, W), uint8 or float in [0, 1]"
        )
    if image.is_floating_point() and image.device.type == "cpu":  # a GPU would be waited for
        some = image[..., ::8, ::8]
        if some.numel() and float(some.amax()) > _NO_SHARE:
            warnings.warn(
                f"a transform got floats up to {float(some.amax()):g}, which are read as 0 to 1: "
                "give uint8, or divide by 255",
                stacklevel=3,
            )
    return (image[None], True) if image.ndim == 3 else (image, False)
