"""Decode one image file to uint8 pixels, or raise a named error for any damaged content."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from BYOL._pixels import MODES, Range, cut, is_high_depth, to_pixels, to_uint8
from BYOL.data.formats.jpeg import decode_jpeg, jpeg_size, upright
from BYOL.data.formats.supported import register_readers
from BYOL.data.formats.tiff import band_shape, read_bands
from BYOL.errors import first_line

_ORIENTATION = 0x0112  # EXIF
Encoded = Path | bytes  # a file, or its content
_HEAD_BYTES = 1 << 16  # bytes at the start of a file that nearly always contain its header
_QUICK_BYTES = 1 << 20  # larger JPEG files are opened by their header first


register_readers()


class BrokenImageError(Exception):
    """A file that is not a readable image; the message is the reason, without the file name."""


@contextmanager
def image_errors(source: Encoded) -> Iterator[None]:
    """Turn every error in the block into a :class:`BrokenImageError` with one line."""
    try:
        with warnings.catch_warnings():
            # Pillow warns about suspiciously large images and rejects those twice as large.
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BrokenImageError(
            f"more than {most / 1e6:.0f} million pixels: cut it into tiles"
        ) from error
    except Exception as error:  # decoders raise nearly any exception on hostile bytes
        reason = first_line(error)
        if isinstance(source, Path):
            reason = reason.replace(str(source), source.name)
        reason = reason[:200]
        raise BrokenImageError(reason) from error


class ImageFile:
    """An image with its header read and its pixels not yet decoded.

    Args:
        source: the file, or its content.
        channels: 1, 3 or 4: the channels of the decoded pixels; all bands of a multi-band TIFF.
        pixel_range: the values of black and white for high bit depth; None: estimated from this
            image alone.

    Raises:
        BrokenImageError: the file has no valid image header.
    """

    def __init__(self, source: Encoded, channels: int, pixel_range: Range | None = None):
        self.source = source
        self.channels = channels
        self.pixel_range = pixel_range
        with image_errors(self.source):
            head = read_head(source)
            size = jpeg_size(head)
            self.bands = band_shape(source, head)
            self.is_jpeg, self.transposed, self.orientation = self.bands is None, False, 1
            if self.bands is not None:
                self.size = self.bands[:2]
            elif size is not None and _within_pixel_limit(size):
                self.size = size
            else:
                self._read_header_with_pillow()
        if len(head) < _HEAD_BYTES:
            self.source = head  # the complete file: no need to read it again

    def _read_header_with_pillow(self) -> None:
        image = self._image
        self.is_jpeg = image.format == "JPEG"
        # If a PNG has no EXIF data, Pillow searches it after the pixels and decodes all of them.
        has_exif = image.format != "PNG" or "exif" in image.info
        self.orientation = int(image.getexif().get(_ORIENTATION, 1) or 1) if has_exif else 1
        # For a TIFF, Pillow returns the upright size.
        self.transposed = self.orientation in (5, 6, 7, 8) and image.format != "TIFF"
        width, height = image.size
        self.size = (width, height) if self.transposed else (height, width)  # height, width

    @cached_property
    def _image(self) -> Image.Image:
        return Image.open(_readable_source(self.source))

    def close(self) -> None:
        """Close the file, which Pillow keeps open until the pixels are decoded."""
        if "_image" in self.__dict__:
            self._image.close()

    def decode(self, min_size: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Decode to upright 8-bit pixels with the requested channels.

        Transparency is composited over white unless four channels are requested. High bit depth is
        scaled to 8 bits. An animation yields its first frame.

        Args:
            min_size: sufficient height and width; a JPEG may be decoded smaller, at lower cost.

        Returns:
            (H, W, C) uint8.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        with image_errors(self.source):
            if self.bands or self.channels not in MODES:
                return self._decode_bands()
            if self.is_jpeg:
                stored = min_size[::-1] if self.transposed else min_size
                pixels = decode_jpeg(_content(self.source), self.channels, stored)
                if pixels is not None:
                    return np.ascontiguousarray(upright(pixels, self.orientation))
            self._image.load()
            image = self._image if self.orientation == 1 else ImageOps.exif_transpose(self._image)
            return to_pixels(image, self.channels, self.pixel_range)

    def _decode_bands(self) -> np.ndarray:
        count = self.bands[2] if self.bands else len(self._image.getbands())
        if not self.bands or count != self.channels:
            raise ValueError(f"it has {count} bands, not {self.channels}")
        values = read_bands(self.source)
        if values.dtype == np.uint8:
            return values
        return to_uint8(values, self.pixel_range)

    def crops(self, boxes: Sequence[Sequence[int]], sides: Sequence[int]) -> list[Tensor]:
        """Cut ``boxes`` (top, left, height, width when upright), each resized to side × side.

        A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if every box keeps ``side`` pixels; the
        boxes are then rounded to the pixels of this size.

        Args:
            boxes: one per crop.
            sides: one per crop, in pixels.

        Returns:
            (C, side, side) uint8 each; bicubic, antialiased.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        whole = self._decode_for(boxes, sides)
        image = torch.from_numpy(whole).permute(2, 0, 1)[None]
        y, x = whole.shape[0] / self.size[0], whole.shape[1] / self.size[1]
        with image_errors(self.source):
            parts = [
                image[
                    :,
                    :,
                    round(top * y) : round((top + h) * y),
                    round(left * x) : round((left + w) * x),
                ]
                for top, left, h, w in boxes
            ]
            return [
                F.interpolate(part, (side, side), mode="bicubic", antialias=True)[0]
                for part, side in zip(parts, sides, strict=True)
            ]

    def crop_subpixel(self, box: Sequence[float], side: int) -> Tensor:
        """Crop like :meth:`crops`, for one ``box`` whose edges may lie between pixels; slower."""
        whole = self._decode_for([box], [side])
        y, x = whole.shape[0] / self.size[0], whole.shape[1] / self.size[1]
        top, left, h, w = box
        edges = (left * x, top * y, (left + w) * x, (top + h) * y)
        return to_tensor(cut(whole, edges, side))

    def _decode_for(self, boxes: Sequence[Sequence[float]], sides: Sequence[int]) -> np.ndarray:
        """Decode the image at a size that gives every box at least its ``side`` pixels."""
        scales = (side / max(min(box[2:]), 1) for box, side in zip(boxes, sides, strict=True))
        scale = min(max(scales), 1.0)
        return self.decode((math.ceil(self.size[0] * scale), math.ceil(self.size[1] * scale)))


def read_image(source: Encoded, channels: int, pixel_range: Range | None = None) -> Tensor:
    """Read a file, or its content, as (C, H, W) uint8; see :class:`ImageFile`.

    Raises:
        BrokenImageError: the file cannot be decoded.
    """
    quick = read_small_jpeg(source, channels, _QUICK_BYTES)
    if quick is None:
        quick = ImageFile(source, channels, pixel_range).decode()
    return to_tensor(quick)


def read_small_jpeg(source: Encoded, channels: int, most: int) -> np.ndarray | None:
    """Decode a small upright JPEG to (H, W, C) uint8; None for any other file.

    This takes a tenth of the time that Pillow needs for the header.

    Args:
        source: the file, or its content.
        channels: 1 or 3.
        most: the largest file size in bytes.
    """
    if isinstance(source, Path):
        if source.suffix.lower() not in (".jpg", ".jpeg"):
            return None
        try:
            with source.open("rb", buffering=0) as file:
                content = file.read(most + 1)
        except OSError:
            return None  # the next reader reports the error
    else:
        content = source
    size = jpeg_size(content) if len(content) <= most else None
    return decode_jpeg(content, channels) if _within_pixel_limit(size) else None


def _within_pixel_limit(size: tuple[int, int] | None) -> bool:
    """Whether ``size`` is known and below Pillow's limit; Pillow reports the error for others."""
    return size is not None and size[0] * size[1] <= (Image.MAX_IMAGE_PIXELS or 0)


def read_head(source: Encoded) -> bytes:
    """The first bytes of a file, which identify its format; all bytes of passed content."""
    if not isinstance(source, Path):
        return source
    with source.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES)


def _readable_source(source: Encoded) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source)


def _content(source: Encoded) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Convert (H, W, C) pixels to a (C, H, W) tensor."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def is_grey(source: Encoded) -> bool | None:
    """Whether the header declares a grey image; None if the file is not an image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_readable_source(source)) as image:
                return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
    except Exception:
        return None


def band_count(source: Encoded) -> int | None:
    """The number of bands of a TIFF that Pillow cannot read; None for any other file."""
    try:
        shape = band_shape(source, read_head(source))
    except Exception:
        return None
    return shape[2] if shape else None


def high_depth_values(source: Encoded) -> np.ndarray | None:
    """The values of an image of high bit depth; None for any other file."""
    try:
        if band_shape(source, read_head(source)):
            values = read_bands(source)
            return None if values.dtype == np.uint8 else values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_readable_source(source)) as image:
                return np.asarray(image) if is_high_depth(image) else None
    except Exception:
        return None


def image_size(source: Encoded) -> tuple[int, int] | None:
    """(height, width) of the upright image from the file's header; None if it is not an image."""
    try:
        with contextlib.closing(ImageFile(source, 3)) as file:
            return file.size
    except BrokenImageError:
        return None
