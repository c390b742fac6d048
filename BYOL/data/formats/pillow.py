"""Files that Pillow reads: PNG, JPEG with EXIF data, WebP, GIF, BMP, and those of its plugins."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from BYOL.data.formats.jpeg import decode_jpeg
from BYOL.data.formats.libtiff import libtiff_errors
from BYOL.data.formats.png_chunks import ORIENTATION, png_orientation
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    Layout,
    ReadOptions,
    StoredImage,
    content,
    readable,
    upright_size,
    whole,
)
from BYOL.data.formats.supported import open_image
from BYOL.views.colour import changes_colours
from BYOL.views.pixels import MODES, TRANSPARENT, convert, is_high_depth

_GREY = ("1", "L", "LA", "La", "I", "F")


class PillowFile:
    """A file opened by Pillow. An animation has its first frame only.

    Args:
        source: the file, or its content.
        options: with a no-data value, the stored colours are returned.
        notes: see :class:`BYOL.data.formats.stored.Header`.
    """

    def __init__(self, source: Encoded, options: ReadOptions, notes: tuple[str, ...] = ()):
        self.source = source
        self.options = options
        self.image = open_image(readable(source))
        image = self.image
        if image.format == "PNG":
            self.orientation = png_orientation(image)
        else:
            self.orientation = int(image.getexif().get(ORIENTATION, 1) or 1)
        if self.orientation not in range(1, 9):
            self.orientation = 1
        width, height = image.size
        if image.format == "TIFF":  # Pillow returns the upright size, and the upright pixels
            self.orientation = 1
        self.size = upright_size(height, width, self.orientation)
        self.notes = notes

    @cached_property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        mode = self.image.mode
        layout: Layout = "grey" if mode in _GREY or mode.startswith("I;16") else "rgb"
        channels = 1 if layout == "grey" else 3
        return Header(self.size, layout, channels, channels, is_high_depth(self.image), self.notes)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values; 8-bit images are converted to ``channels`` by Pillow."""
        if self.image.format == "TIFF":
            with libtiff_errors(self.source):
                return self._read(channels, min_size)
        return self._read(channels, min_size)

    def _read(self, channels: int, min_size: tuple[int, int]) -> StoredImage:
        image = self.image
        if not channels or self.options.no_data is not None:
            return self._read_stored()
        if image.format == "JPEG" and (decoded := self._decode_jpeg(channels, min_size)):
            return decoded
        image.load()
        if is_high_depth(image):
            return self._deep()
        return self._converted(channels if channels in MODES else self.header.channels)

    def _decode_jpeg(self, channels: int, min_size: tuple[int, int]) -> StoredImage | None:
        """Decode by libjpeg-turbo; None where only Pillow can."""
        encoded = content(self.source)
        profile = self.image.info.get("icc_profile")
        profile = profile if profile and changes_colours(profile) else None
        stored = upright_size(*min_size, self.orientation)
        wanted = self.header.channels if profile else channels
        pixels = decode_jpeg(encoded, wanted, stored)
        if pixels is None:
            return None
        return replace(_stored(pixels, self.orientation), profile=profile)

    def _read_stored(self) -> StoredImage:
        image = self.image
        image.load()
        if is_high_depth(image):
            return self._deep()
        transparent = image.mode in TRANSPARENT or "transparency" in image.info
        stored = self._converted(4 if transparent else self.header.channels)
        if transparent and self.header.layout == "grey":
            grey = stored.values[..., [0, 3]]
            return replace(stored, values=grey, layout="grey", transparent=True)
        return replace(stored, transparent=transparent)

    def _deep(self) -> StoredImage:
        """Grey values of high bit depth, of which GDAL declares no data as the transparent one."""
        values = np.asarray(self.image)[..., None]
        transparent = self.image.info.get("transparency")
        no_data = transparent if isinstance(transparent, int) else None
        profile = self.image.info.get("icc_profile")
        return StoredImage(values, "grey", self.orientation, no_data=no_data, profile=profile)

    def _converted(self, channels: int) -> StoredImage:
        pixels = np.array(convert(self.image, channels))
        return _stored(pixels[..., None] if pixels.ndim == 2 else pixels, self.orientation)

    def close(self) -> None:
        """Close the file, which Pillow keeps open until the pixels are decoded."""
        self.image.close()


def _stored(pixels: np.ndarray, orientation: int) -> StoredImage:
    return StoredImage(pixels, "grey" if pixels.shape[2] == 1 else "rgb", orientation)


def open_with_pillow(source: Encoded, head: bytes, options: ReadOptions) -> PillowFile:
    """Open any file of a supported format that Pillow knows."""
    return PillowFile(whole(source, head), options)
