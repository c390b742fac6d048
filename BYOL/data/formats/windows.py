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

    def close(self) -> None:
        """Close the file."""


class ScaledWindows:
    """A level that is reduced to a lower resolution, by antialiased interpolation.

    Args:
        source: the level.
        scale: its pixels per pixel of the result, above 1.
    """

    def __init__(self, source: Windows, scale: float):
        self._source, self._scale = source, scale
        self.height, self.width = (max(round(n / scale), 1) for n in (source.height, source.width))
        self.dtype, self.form = source.dtype, source.form

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window of the reduced image."""
        import torch
        import torch.nn.functional as F

        down, across = self._source.height / self.height, self._source.width / self.width
        y, bottom = round(top * down), round((top + height) * down)
        x, right = round(left * across), round((left + width) * across)
        values = self._source.read(y, x, bottom - y, right - x)
        flat = values if values.ndim == 3 else values[..., None]
        planes = torch.from_numpy(flat.astype(np.float32)).permute(2, 0, 1)[None]
        small = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)[0]
        result = small.permute(1, 2, 0).numpy()
        if self.dtype.kind in "iu":
            info = np.iinfo(self.dtype)
            result = np.rint(result).clip(info.min, info.max)
        result = result.astype(self.dtype)
        return result if values.ndim == 3 else result[..., 0]

    def close(self) -> None:
        """Close the level."""
        self._source.close()
