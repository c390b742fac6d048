"""The transforms of the specification: callables for one image or a batch."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from BYOL._console import printable
from BYOL._plain import is_number, plain
from BYOL._random import fold
from BYOL.errors import UserError
from BYOL.views.centre_crop import centre_crop, centre_crop_box
from BYOL.views.config import ViewConfig, paper_views
from BYOL.views.ops import per_channel
from BYOL.views.pipeline import make_view
from BYOL.views.pixel_range import PixelRange
from BYOL.views.pixels import cut, to_pixels

_LEAST_STD = 1e-6  # networks compute in float32
log = logging.getLogger(__name__)
_UNSCALED_VALUE = 16.0  # exceeded by images in [0, 255] and never by (noisy) images in [0, 1]


def get_byol_transforms(
    size: int | Sequence[int], mean: Sequence[float], std: Sequence[float], **changes: Any
) -> tuple["ViewTransform", "ViewTransform", "EvalTransform"]:
    """Return the paper's two view transforms and the deterministic evaluation transform.

    Args:
        size: side length of the result in pixels, or a pair of equal side lengths.
        mean: mean of each channel, in [0, 1].
        std: standard deviation of each channel, above 0, at most 1.
        changes: fields of :class:`~BYOL.views.config.ViewConfig` that differ from the paper, for
            both views, for example ``crop_scale=(0.2, 1)`` or ``hue=0``. ``blur`` and ``solarize``
            may be pairs with one value for each view.

    Returns:
        ``t, t1, eval_t``. Each takes a PIL image, a (C, H, W) tensor or a (B, C, H, W) batch, uint8
        or float in [0, 1], on any device, and returns normalised float32 of the same rank. ``t``
        and ``t1`` draw independently for every image of a batch and follow ``torch.manual_seed``.

    Raises:
        UserError: ``size`` is not positive, ``mean`` and ``std`` are out of range or differ in
            length, or a name or value in ``changes`` is not accepted.
    """
    mean, std, side = plain(mean), plain(std), plain(size)
    sides = list(side) if isinstance(side, list | tuple) else [side]
    if not sides or any(side != sides[0] for side in sides):
        raise UserError(f"size={size!r} is not square: give one number of pixels")
    for name, values in (("mean", mean), ("std", std)):
        _check_statistics(name, values)
    if len(mean) != len(std):
        raise UserError(f"mean={mean} and std={std} must have a number per channel")
    mean, std = [float(value) for value in mean], [float(value) for value in std]
    first, second = paper_views(sides[0], **changes)
    return (
        ViewTransform(first, mean, std),
        ViewTransform(second, mean, std),
        EvalTransform(first.size, mean, std),
    )


def _check_statistics(name: str, values: Any) -> None:
    """Check the mean or the standard deviations of the channels of images in [0, 1].

    Raises:
        UserError: the values are no numbers, or those of images with other values, such as 0 to
            255.
    """
    if not isinstance(values, list | tuple) or not values or not all(map(is_number, values)):
        raise UserError(f"{name}={printable(repr(values))} must have a finite number per channel")
    least = 0 if name == "mean" else _LEAST_STD
    if not all(least <= value <= 1 for value in values):
        raise UserError(
            f"{name}={printable(repr(values))} is out of range: give numbers from {least:g} to 1, "
            "because images have values from 0 to 1 (divide statistics of 0 to 255 by 255)"
        )


class ViewTransform:
    """One random view of an image, or of every image of a batch.

    Args:
        config: the augmentations.
        mean: mean of each channel.
        std: standard deviation of each channel.
    """

    def __init__(self, config: ViewConfig, mean: Sequence[float], std: Sequence[float]):
        self.config = config
        self.mean = list(mean)
        self.std = list(std)

    @torch.no_grad()
    def __call__(self, image: Any) -> Tensor:
        """Return a PIL image, (C, H, W) or (B, C, H, W) as normalised float32 of the same rank."""
        batch, single = as_batch(image, len(self.mean))
        # One number from torch's generator determines all draws, so torch.manual_seed applies.
        key = fold(int(torch.randint(2**62, ()).item()))
        ids = torch.arange(len(batch))
        view = make_view(self.config, batch, ids, key, self.mean, self.std)
        return view[0] if single else view


class EvalTransform:
    """The evaluation transform: resize, centre crop, normalise.

    Args:
        size: side length of the result in pixels.
        mean: mean of each channel.
        std: standard deviation of each channel.
        pixel_range: values of black and white in PIL images of high bit depth. If None, the range
            is determined from each image.
        no_data: value that marks pixels without data in such images; they become black.
    """

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        pixel_range: PixelRange | None = None,
        no_data: float | None = None,
    ):
        self.size = size
        self.mean = list(mean)
        self.std = list(std)
        self.pixel_range = pixel_range
        self.no_data = no_data

    @torch.no_grad()
    def __call__(self, image: Any) -> Tensor:
        """Return a PIL image, (C, H, W) or (B, C, H, W) as normalised float32 of the same rank.

        A PIL image may have any mode and an EXIF orientation. It is preprocessed like a file in
        ``byol embed``, except that ``byol embed`` decodes large JPEGs at a reduced size.
        """
        if isinstance(image, Image.Image):
            return normalise(self._centre_crop(image), self.mean, self.std)[0]
        batch, single = as_batch(image, len(self.mean))
        x = normalise(centre_crop(batch, self.size), self.mean, self.std)
        return x[0] if single else x

    def _centre_crop(self, image: Image.Image) -> Tensor:
        if 0 in image.size:
            raise UserError(_no_pixels(*image.size))
        upright = ImageOps.exif_transpose(image)
        pixels = to_pixels(upright, len(self.mean), self.pixel_range, self.no_data)
        height, width = pixels.shape[:2]
        top, left, down, across = centre_crop_box(height, width, self.size)
        crop = cut(pixels, (left, top, left + across, top + down), self.size)
        return torch.from_numpy(crop).permute(2, 0, 1)[None].float() * (1 / 255)


class MultiViewDataInjector:
    """Several transforms of the same image, for the ``transform`` of a torchvision data set.

    Args:
        transforms: callables that take an image.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> list[Any]:
        """Return one result for each transform, in order."""
        return [transform(image) for transform in self.transforms]


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (x − mean) / std for each channel of ``x`` (B, C, H, W)."""
    if not x.shape[1] == len(mean) == len(std):
        raise UserError(
            f"mean has {len(mean)} and std {len(std)} numbers for images of {x.shape[1]} channels"
        )
    return (x - per_channel(mean, x)) / per_channel(std, x)


class _Reported:
    """Whether the warning about unscaled floats was logged: once per process is enough."""

    floats = False


def _warn_of_floats(message: str) -> None:
    if not _Reported.floats:
        _Reported.floats = True
        log.warning(message)


def _no_pixels(width: int, height: int) -> str:
    return f"a transform got images of {width} × {height} px: give images with pixels"


def as_batch(image: Any, channels: int) -> tuple[Tensor, bool]:
    """Return an image as a batch (B, C, H, W), and whether it was a single image.

    Args:
        image: a PIL image or a tensor that :class:`ViewTransform` accepts.
        channels: number of channels that a PIL image is converted to.

    Raises:
        UserError: ``image`` is neither a PIL image nor a uint8 or float tensor of three or four
            dimensions, or has no pixels.
    """
    if not isinstance(image, Tensor):
        if not hasattr(image, "getbands"):
            raise UserError(
                f"a transform got {type(image).__name__}: give a PIL image, "
                "a (C, H, W) tensor or a (B, C, H, W) batch"
            )
        if 0 in image.size:
            raise UserError(_no_pixels(*image.size))
        pixels = to_pixels(ImageOps.exif_transpose(image), channels)
        image = torch.from_numpy(pixels.transpose(2, 0, 1))
    if image.ndim not in (3, 4) or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise UserError(
            f"a transform got a {image.dtype} tensor of shape {tuple(image.shape)}: give "
            "(C, H, W) or (B, C, H, W), uint8 or float in [0, 1]"
        )
    if 0 in image.shape[-2:]:
        raise UserError(_no_pixels(image.shape[-1], image.shape[-2]))
    # On a GPU this check would force the host to wait.
    if image.is_floating_point() and image.device.type == "cpu":
        sample = image[..., ::8, ::8]
        if sample.numel() and float(sample.amax()) > _UNSCALED_VALUE:
            _warn_of_floats(
                f"a transform got floats up to {float(sample.amax()):g}, which are read as 0 to 1: "
                "give uint8, or divide by 255"
            )
    return (image[None], True) if image.ndim == 3 else (image, False)
