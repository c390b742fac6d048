"""Decode one image file to uint8 pixels, or raise a named error for any damaged content."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from BYOL._untrusted import read_start
from BYOL.data.formats.jpeg import decode_upright
from BYOL.data.formats.readers import open_source
from BYOL.data.formats.stored import Encoded, Header, ReadOptions, StoredImage
from BYOL.data.pipeline import interpret, to_channels
from BYOL.errors import first_line
from BYOL.views.pixel_range import PixelRange
from BYOL.views.pixels import cut

_QUICK_BYTES = 1 << 20  # larger JPEG files are opened by their header first
_DEFAULTS = ReadOptions()
_KEPT_HEADERS = 1024  # several times the number of files that are sampled


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
    except UnidentifiedImageError as error:  # its message is an object and its address in memory
        raise BrokenImageError("it is no image of a supported format, or damaged") from error
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
        channels: of the decoded pixels: 1, 3 or 4, or the number of bands of the file.
        pixel_range: the values of black and white if the image is not 8-bit; None: estimated from
            this image alone.
        options: what the user configures about stored values.

    Raises:
        BrokenImageError: the file has no valid image header.
    """

    def __init__(
        self,
        source: Encoded,
        channels: int,
        pixel_range: PixelRange | None = None,
        options: ReadOptions = _DEFAULTS,
    ):
        self.source = source
        self.channels = channels
        self.pixel_range = pixel_range
        self.options = options
        with image_errors(source):
            self._opened = open_source(source, options)
            self.size = self._opened.header.size

    def close(self) -> None:
        """Close the file, which Pillow keeps open until the pixels are decoded."""
        self._opened.close()

    def decode(self, min_size: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Decode to upright 8-bit pixels with the requested channels: :mod:`BYOL.data.pipeline`.

        Args:
            min_size: sufficient height and width; a JPEG may be decoded smaller, at lower cost.

        Returns:
            (H, W, C) uint8.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        with image_errors(self.source):
            stored = self._opened.read(self.channels, min_size)
            image = interpret(stored, self.options)
            return to_channels(image, self.channels, self.pixel_range)

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


def read_image(
    source: Encoded,
    channels: int,
    pixel_range: PixelRange | None = None,
    options: ReadOptions = _DEFAULTS,
) -> Tensor:
    """Read a file, or its content, as (C, H, W) uint8; see :class:`ImageFile`.

    Raises:
        BrokenImageError: the file cannot be decoded.
    """
    quick = None
    if options.no_data is None:
        quick = read_small_jpeg(source, channels, _QUICK_BYTES)
    if quick is None:
        quick = ImageFile(source, channels, pixel_range, options).decode()
    return to_tensor(quick)


def read_small_jpeg(source: Encoded, channels: int, most: int) -> np.ndarray | None:
    """Decode a small upright JPEG to (H, W, C) uint8; None for any other file.

    Args:
        source: the file, or its content.
        channels: 1 or 3.
        most: the largest file size in bytes.
    """
    if isinstance(source, Path):
        if not source.name.lower().endswith((".jpg", ".jpeg")):
            return None
        try:
            if source.stat().st_size > most:
                return None
            content = read_start(source, most + 1)
        except (OSError, ValueError):
            return None  # the next reader reports the error
    else:
        content = source
    return decode_upright(content, channels) if len(content) <= most else None


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Convert (H, W, C) pixels to a (C, H, W) tensor."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def read_header(source: Encoded, options: ReadOptions = _DEFAULTS) -> Header | None:
    """The header of an image file; None if it is not an image.

    A file is opened once, however many parts of a command need its header.
    """
    if not isinstance(source, Path):
        return _read_header(source, options)
    try:
        state = source.stat()
    except (OSError, ValueError):
        return None
    if not S_ISREG(state.st_mode):  # a change inside of a folder does not show
        return _read_header(source, options)
    version = state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino
    return _header_of_version(source, options, version)


@lru_cache(maxsize=_KEPT_HEADERS)
def _header_of_version(
    source: Path, options: ReadOptions, version: tuple[int, ...]
) -> Header | None:
    """The header of a file; ``version`` changes when the file does."""
    return _read_header(source, options)


def _read_header(source: Encoded, options: ReadOptions) -> Header | None:
    try:
        with image_errors(source), contextlib.closing(open_source(source, options)) as opened:
            return opened.header
    except BrokenImageError:
        return None


def read_stored(source: Encoded, options: ReadOptions = _DEFAULTS) -> StoredImage:
    """All values of an image file: upright, not inverted, missing values marked, in their own type.

    Raises:
        BrokenImageError: the file cannot be decoded.
    """
    with image_errors(source), contextlib.closing(open_source(source, options)) as opened:
        return interpret(opened.read(0), options)


def image_size(source: Encoded) -> tuple[int, int] | None:
    """(height, width) of the upright image from the file's header; None if it is not an image."""
    header = read_header(source)
    return header.size if header else None
