"""The axes of arrays of images: which one holds the images, and which one the channels."""

from dataclasses import dataclass

import numpy as np

from BYOL.errors import DataError

_COLOURS = (3, 4)  # channels of a colour image
_USUAL = 4  # channels that need no remark
_MOST_CHANNELS = 16  # more are accepted only if they are configured: they may be slices of volumes
_LAYOUTS = "(n, height, width), (n, height, width, channels) or (n, channels, height, width)"


@dataclass(frozen=True, eq=False)
class Layout:
    """An array of images in one order of axes.

    Args:
        pixels: (n, C, H, W), a view of the array.
        remarks: one line for each assumption that users may not expect.
    """

    pixels: np.ndarray
    remarks: tuple[str, ...] = ()


def to_nchw(
    pixels: np.ndarray,
    whose: str,
    channels: int | None = None,
    *,
    confirm: str = "--channels={}",
    several: bool = False,
) -> Layout:
    """Transpose an array to (n, C, H, W) without a copy.

    (H, W) and (H, W, 3 or 4) are a single image. For (n, H, W, C) and (n, C, H, W), the axis of the
    channels is the one with ``channels`` entries, else the odd one of square images, else the one
    with fewer entries.

    Args:
        pixels: the array.
        whose: the start of an error message about it.
        channels: the configured number of channels, or None.
        confirm: how a user configures a number of channels, for messages.
        several: whether the first axis always holds images, so that there is no single image.

    Raises:
        UserError: the array has another number of axes, no images, or so many channels that they
            may be slices of volumes.
    """
    shape = pixels.shape
    if 0 in shape:
        raise DataError(f"{whose} of shape {shape}: there is no image in it")
    if pixels.ndim == 5:
        raise DataError(
            f"{whose} of shape {shape}: these are volumes; save slices of them as {_LAYOUTS}"
        )
    if pixels.ndim == 2 and not several:
        remark = f"an array of shape {shape} is read as one grey image, not as a table"
        return Layout(np.asarray(pixels[:])[None, None], (remark,))
    if pixels.ndim == 3:
        return Layout(pixels[:, None]) if several else _three_axes(pixels)
    if pixels.ndim != 4:
        raise DataError(f"{whose} of shape {shape}: pass {_LAYOUTS}")
    last = _channels_last(shape, channels)
    count = shape[3] if last else shape[1]
    cube = shape[1] == shape[2] == shape[3] > _USUAL
    if (count > _MOST_CHANNELS or cube) and channels != count:
        raise DataError(
            f"{whose} of shape {shape}: {count} channels, or {count} slices of volumes? Give "
            f"{confirm.format(count)} if they are channels; else save slices as {_LAYOUTS}"
        )
    return _four_axes(pixels, last, channels is not None)


def longer_side(shape: tuple[int, ...], channels: int | None) -> int | None:
    """The longer side of the images in an array of this shape, in pixels; None without images."""
    if 0 in shape or not 2 <= len(shape) <= 4:
        return None
    if len(shape) < 4:
        pixels = np.broadcast_to(np.uint8(0), shape)
        return max(to_nchw(pixels, "", channels).pixels.shape[2:])
    return max(shape[1:3] if _channels_last(shape, channels) else shape[2:])


def _three_axes(pixels: np.ndarray) -> Layout:
    """(n, H, W) grey images, or a single colour image (H, W, C)."""
    shape = pixels.shape
    if shape[2] in _COLOURS and min(shape[:2]) > max(_COLOURS):
        remark = f"an array of shape {shape} is read as one image of {shape[2]} channels"
        return Layout(np.asarray(pixels[:]).transpose(2, 0, 1)[None], (remark,))
    few = shape[0] in _COLOURS
    remark = f"an array of shape {shape} is read as {shape[0]} grey images"
    return Layout(pixels[:, None], (remark,) if few else ())


def _four_axes(pixels: np.ndarray, last: bool, configured: bool) -> Layout:
    """(n, H, W, C) or (n, C, H, W) as (n, C, H, W)."""
    shape = pixels.shape
    count, height, width = (shape[3], *shape[1:3]) if last else shape[1:]
    either = max(shape[1], shape[3]) <= _USUAL  # both axes may hold channels
    remarks: tuple[str, ...] = ()
    if (count > _USUAL or either) and not configured:
        axis = "last" if last else "second"
        remarks = (
            f"an array of shape {shape} is read as {len(pixels):,} images of {height} × {width} "
            f"pixels with {count} channels, the {axis} axis",
        )
    return Layout(pixels.transpose(0, 3, 1, 2) if last else pixels, remarks)


def _channels_last(shape: tuple[int, ...], channels: int | None) -> bool:
    """Whether the channels of (n, a, b, c) are the last axis."""
    _, a, b, c = shape
    if channels is not None and (a == channels) != (c == channels):
        return c == channels
    return a == b if (a == b) != (b == c) else a > c
