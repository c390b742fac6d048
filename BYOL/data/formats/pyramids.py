"""Large images that are read window by window: whole slides and pyramids, with bounded memory.

Slides are read by OpenSlide if it is installed, TIFF pyramids by tifffile. A window is a part of
one level, so an image of any size takes the memory of some of its compressed tiles.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from BYOL.data.formats.slide_files import check_slide
from BYOL.data.formats.supported import SLIDES, ending_of
from BYOL.data.formats.tiff_windows import TiffPyramid, plausible_mpp
from BYOL.data.formats.windows import Form, ScaledWindows, Windows

_LARGE = 1 << 28  # bytes of values; smaller images are decoded as a whole
_TOLERANCE = 0.02  # of a requested resolution


def open_windows(path: Path, level: int | None, mpp: float | None) -> Windows | None:
    """Open a large image for reading in windows; None: decode it as a whole.

    Args:
        path: the file.
        level: of a pyramid; 0 is the full resolution, which is the default.
        mpp: micrometers per pixel of the result, instead of ``level``.

    Raises:
        ValueError: the image does not have this level or resolution, or a library is missing.
    """
    pyramid = _open_pyramid(path, wanted=level is not None or mpp is not None)
    if pyramid is None:
        return None
    if mpp is None:
        number = level or 0
        if number >= len(pyramid.downsamples):
            raise ValueError(f"it has {len(pyramid.downsamples)} levels, none with number {number}")
        return pyramid.level(number)
    if pyramid.mpp is None:
        raise ValueError("it does not declare its resolution: give --level")
    scale = mpp / pyramid.mpp
    if scale < 1 - _TOLERANCE:
        raise ValueError(f"it has {pyramid.mpp:g} micrometers per pixel, more than --mpp={mpp:g}")
    usable = [d for d in pyramid.downsamples if d <= scale * (1 + _TOLERANCE)]
    number = pyramid.downsamples.index(max(usable))
    rest = scale / pyramid.downsamples[number]
    opened = pyramid.level(number)
    return opened if abs(rest - 1) <= _TOLERANCE else ScaledWindows(opened, rest)


class _Pyramid(Protocol):
    downsamples: list[float]
    mpp: float | None

    def level(self, number: int) -> Windows:
        """Open a level."""


def _open_pyramid(path: Path, wanted: bool) -> "_Pyramid | None":
    """The levels of an image; None if it is to be decoded as a whole.

    Args:
        path: the file.
        wanted: whether a certain level is needed, of an image of any size.
    """
    slide = ending_of(path.name) in SLIDES
    if slide:
        with suppress(ImportError):
            import openslide

            check_slide(path)
            with suppress(openslide.OpenSlideError):
                return OpenSlidePyramid(openslide.OpenSlide(path))
    try:
        pyramid = TiffPyramid(path)
    except Exception as error:
        if slide:
            needed = "it needs pip install 'BYOL[slides]', or is damaged"
            raise ValueError(f"{needed}: {error}") from error
        if wanted:
            raise ValueError("it has no levels: only slides and TIFF pyramids do") from error
        return None
    return pyramid if slide or wanted or pyramid.nbytes > _LARGE else None


class OpenSlidePyramid:
    """The levels of a slide that OpenSlide reads.

    Args:
        slide: opened by OpenSlide.
    """

    def __init__(self, slide: Any):
        self._slide = slide
        self.downsamples = [float(d) for d in slide.level_downsamples]
        across = slide.properties.get("openslide.mpp-x")
        self.mpp = plausible_mpp(across)

    def level(self, number: int) -> "OpenSlideWindows":
        """Open a level."""
        return OpenSlideWindows(self._slide, number)


class OpenSlideWindows:
    """A level of a slide, in RGB; what was not scanned is white.

    Args:
        slide: opened by OpenSlide.
        level: its number.
    """

    dtype = np.dtype(np.uint8)
    form = Form()

    def __init__(self, slide: Any, level: int):
        self._slide, self._level = slide, level
        self.width, self.height = slide.level_dimensions[level]
        self._scale = slide.level_downsamples[level]

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The colours of a window, (height, width, 3)."""
        from PIL import Image

        corner = round(left * self._scale), round(top * self._scale)  # of level 0
        window = self._slide.read_region(corner, self._level, (width, height))
        white = Image.new("RGBA", window.size, "white")
        return np.asarray(Image.alpha_composite(white, window).convert("RGB"))

    def hidden(self, top: int, left: int, height: int, width: int) -> None:
        """Nothing is hidden."""

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()
