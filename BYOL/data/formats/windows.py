"""Parts of large images: what a reader of windows offers, and windows of a lower resolution."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from BYOL.data.formats.stored import Layout


@dataclass(frozen=True)
class Form:
    """What the values of an image are, which its tiles declare like the image.

    Args:
        layout: see :class:`BYOL.data.formats.stored.Header`.
        alpha: whether a band after the colours is declared as an opacity.
        transparent: whether it is one, which is composed over white.
        no_data: the value that marks pixels without data; None: none.
        profile: the ICC profile of the colours.
    """

    layout: Layout = "rgb"
    alpha: bool = False
    transparent: bool = False
    no_data: float | int | None = None
    profile: bytes | None = None


class Windows(Protocol):
    """An open image of which parts are read."""

    height: int
    width: int
    dtype: np.dtype
    form: Form

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window inside the image, (height, width) or (height, width, bands)."""

    def hidden(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """The pixels (height, width) of a window that a mask hides; None: there is no mask."""

    def close(self) -> None:
        """Close the file."""


class ScaledWindows:
    """A level that is reduced to a lower resolution, by antialiased interpolation.

    Pixels without data have no part in it. A pixel of the result has no data if less than half of
    what it covers has data.

    Args:
        source: the level.
        scale: its pixels per pixel of the result, above 1.
    """

    def __init__(self, source: Windows, scale: float):
        self._source, self._scale = source, scale
        self.height, self.width = (max(round(n / scale), 1) for n in (source.height, source.width))
        self.dtype, self.form = source.dtype, source.form
        self._marker = as_type(self.form.no_data, self.dtype)

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window of the reduced image."""
        down, across = self._source.height / self.height, self._source.width / self.width
        y, bottom = round(top * down), round((top + height) * down)
        x, right = round(left * across), round((left + width) * across)
        box = y, x, bottom - y, right - x
        values = self._source.read(*box)
        flat = values if values.ndim == 3 else values[..., None]
        missing = self._missing(flat, self._source.hidden(*box))
        wide = self.dtype.kind in "iu" and self.dtype.itemsize > 2
        planes = flat.astype(np.float64 if wide or self.dtype == np.float64 else np.float32)
        if missing is None:
            result = self._as_stored(_resized(planes, (height, width), "bicubic"))
        else:
            reduced, empty = _reduced(planes, missing, (height, width))
            result = self._as_stored(reduced)
            result[empty] = self._nothing
        return result if values.ndim == 3 else result[..., 0]

    def hidden(self, top: int, left: int, height: int, width: int) -> None:
        """Nothing is hidden: pixels without data have a value that says so."""

    @property
    def _nothing(self) -> np.generic:
        """The value of pixels without data."""
        if self._marker is not None:
            return self._marker
        return self.dtype.type(np.nan if self.dtype.kind == "f" else 0)

    def _missing(self, values: np.ndarray, hidden: np.ndarray | None) -> np.ndarray | None:
        """The mask of ``values`` that are no data; None if all are data."""
        missing = without_data(values, self.form)
        if self.dtype.kind == "f":
            missing |= ~np.isfinite(values)
        if hidden is not None:
            missing |= hidden[..., None]
        return missing if missing.any() else None

    def _as_stored(self, result: np.ndarray) -> np.ndarray:
        """Interpolated values in the type of the image, none of which is the number of no data."""
        if self.dtype.kind not in "iu":
            return result.astype(self.dtype)
        info = np.iinfo(self.dtype)
        stored = np.rint(result).clip(info.min, info.max).astype(self.dtype)
        if self._marker is not None:
            marker = int(self._marker)
            beside = marker + 1 if marker == info.min else marker - 1
            stored[without_data(stored, self.form)] = beside
        return stored

    def close(self) -> None:
        """Close the level."""
        self._source.close()


def as_type(number: float | int | None, dtype: np.dtype) -> np.generic | None:
    """``number`` in a type; None if the type cannot hold it, or without a number."""
    if number is None or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(number)
    info = np.iinfo(dtype)
    known = info.min <= number <= info.max and number == int(number)
    return dtype.type(int(number)) if known else None


def without_data(values: np.ndarray, form: Form) -> np.ndarray:
    """The mask of (H, W, C) values that are the number of no data; of a colour, all three are."""
    marker = as_type(form.no_data, values.dtype)
    if marker is None:
        return np.zeros(values.shape, bool)
    marked = values == marker
    if form.layout == "rgb":
        marked[..., :3] = marked[..., :3].all(axis=2, keepdims=True)
    return marked


def _resized(planes: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """(H, W, C) values, antialiased, in ``size``."""
    import torch
    import torch.nn.functional as F

    stacked = torch.from_numpy(planes).permute(2, 0, 1)[None]
    return F.interpolate(stacked, size, mode=mode, antialias=True)[0].permute(1, 2, 0).numpy()


def _reduced(
    planes: np.ndarray, missing: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Values that are interpolated without the missing ones, and the mask of those without data.

    Near missing values the weights are those of bilinear interpolation, none of which is negative,
    so that the result is within the values that are there.

    Args:
        planes: (H, W, C) values.
        missing: the mask of those that have no part.
        size: (height, width) of the result.
    """
    import torch
    import torch.nn.functional as F

    known = np.where(missing, 0, planes).astype(np.float64)
    share = _resized((~missing).astype(np.float64), size, "bilinear")
    inner = _resized(known, size, "bilinear") / share.clip(1e-9)
    holes = torch.from_numpy((_resized(missing.astype(np.float32), size, "bilinear") > 0) * 1.0)
    # bilinear weights reach one pixel of the result, bicubic ones two
    near = F.max_pool2d(holes.permute(2, 0, 1)[None], 3, stride=1, padding=1)[0]
    touched = near.permute(1, 2, 0).numpy() > 0
    return np.where(touched, inner, _resized(known, size, "bicubic")), share < 0.5
