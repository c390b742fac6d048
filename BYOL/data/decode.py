"""One file becomes uint8 pixels, or a named error; never a crash, whatever is in the file."""

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

from BYOL._bit_depth import Range, eight_bits, is_deep
from BYOL._pixels import MODES, cut, to_pixels
from BYOL.data.formats.jpeg import decode_jpeg, jpeg_size, upright
from BYOL.data.formats.supported import teach_pillow
from BYOL.data.formats.tiff import band_shape, read_bands
from BYOL.errors import first_line

_ORIENTATION = 0x0112  # EXIF
Encoded = Path | bytes  # a file, or what is in one
_HEAD_BYTES = 1 << 16  # of a file, in which its header is nearly always
_QUICK_BYTES = 1 << 20  # of a JPEG that is read whole at once; of a larger one only its header


teach_pillow()


class BrokenImageError(Exception):
    """A file that is no picture: its message is the reason, without the name."""


@contextmanager
def named_errors(source: Encoded) -> Iterator[None]:
    """Whatever goes wrong within is a :class:`BrokenImageError` of one line."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of a suspiciously large picture, then refuses one twice as large.
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BrokenImageError(
            f"more than {most / 1e6:.0f} million pixels: cut it into tiles"
        ) from error
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        reason = first_line(error)
        if isinstance(source, Path):
            reason = reason.replace(str(source), source.name)
        reason = reason[:200]
        raise BrokenImageError(reason) from error


class ImageFile:
    """A picture whose header has been read and whose pixels have not yet.

    Args:
        source: the file, or its content.
        channels: 1, 3 or 4: what the pixels will be converted to; of a TIFF of bands, all of them.
        pixel_range: which values of a picture deeper than 8 bits are black and white; without it
            they are judged by the picture alone.

    Raises:
        BrokenImageError: the header is not that of a picture.
    """

    def __init__(self, source: Encoded, channels: int, pixel_range: Range | None = None):
        self.source = source
        self.channels = channels
        self.pixel_range = pixel_range
        with named_errors(self.source):
            head = beginning(source)
            size = jpeg_size(head)
            self.bands = band_shape(source, head)
            self.is_jpeg, self.turned, self.orientation = self.bands is None, False, 1
            if self.bands is not None:
                self.size = self.bands[:2]
            elif size is not None and _is_honest(size):
                self.size = size
            else:
                self._ask_pillow()
        if len(head) < _HEAD_BYTES:
            self.source = head  # all of it: no need to read it again

    def _ask_pillow(self) -> None:
        image = self._image
        self.is_jpeg = image.format == "JPEG"
        # Asked for what a PNG has not, Pillow looks for it behind the pixels, and decodes them all.
        asked = image.format != "PNG" or "exif" in image.info
        self.orientation = int(image.getexif().get(_ORIENTATION, 1) or 1) if asked else 1
        # Of a TIFF Pillow gives the upright size.
        self.turned = self.orientation in (5, 6, 7, 8) and image.format != "TIFF"
        width, height = image.size
        self.size = (width, height) if self.turned else (height, width)  # upright: height, width

    @cached_property
    def _image(self) -> Image.Image:
        return Image.open(_opened(self.source))

    def close(self) -> None:
        """Close the file, which Pillow keeps open until the pixels are decoded."""
        if "_image" in self.__dict__:
            self._image.close()

    def decode(self, least: tuple[int, int] = (0, 0)) -> np.ndarray:
        """8-bit pixels of the wanted kind, upright.

        Transparency is laid over white unless four channels are wanted; deeper values are scaled
        to 8 bits; of an animation the first frame is taken.

        Args:
            least: height and width that suffice; a JPEG may come smaller then, at less cost.

        Returns:
            (H, W, C) uint8.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        with named_errors(self.source):
            if self.bands or self.channels not in MODES:
                return self._decode_bands()
            if self.is_jpeg:
                stored = least[::-1] if self.turned else least
                pixels = decode_jpeg(_content(self.source), self.channels, stored)
                if pixels is not None:
                    return np.ascontiguousarray(upright(pixels, self.orientation))
            self._image.load()
            image = self._image if self.orientation == 1 else ImageOps.exif_transpose(self._image)
            return to_pixels(image, self.channels, self.pixel_range)

    def _decode_bands(self) -> np.ndarray:
        found = self.bands[2] if self.bands else len(self._image.getbands())
        if not self.bands or found != self.channels:
            raise ValueError(f"it has {found} bands, not {self.channels}")
        values = read_bands(self.source)
        if values.dtype == np.uint8:
            return values
        return eight_bits(values, self.pixel_range)

    def crops(self, boxes: Sequence[Sequence[int]], sides: Sequence[int]) -> list[Tensor]:
        """Cut boxes (top, left, height, width of the upright picture), each made side × side.

        A JPEG is decoded at a half, a quarter or an eighth of its size where every box still has
        its ``side`` pixels then; the boxes are rounded to its pixels.

        Args:
            boxes: of every crop.
            sides: of every crop, in pixels.

        Returns:
            (C, side, side) uint8 each; bicubic, antialiased.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        whole = self._enough_for(boxes, sides)
        image = torch.from_numpy(whole).permute(2, 0, 1)[None]
        y, x = whole.shape[0] / self.size[0], whole.shape[1] / self.size[1]
        with named_errors(self.source):
            cut = [
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
                for part, side in zip(cut, sides, strict=True)
            ]

    def crop_between_pixels(self, box: Sequence[float], side: int) -> Tensor:
        """What :meth:`crops` does, for one box whose edges may lie between pixels; slower."""
        whole = self._enough_for([box], [side])
        y, x = whole.shape[0] / self.size[0], whole.shape[1] / self.size[1]
        top, left, h, w = box
        edges = (left * x, top * y, (left + w) * x, (top + h) * y)
        return to_tensor(cut(whole, edges, side))

    def _enough_for(self, boxes: Sequence[Sequence[float]], sides: Sequence[int]) -> np.ndarray:
        """The picture, no smaller than it takes for every box to have its ``side`` pixels."""
        shares = (side / max(min(box[2:]), 1) for box, side in zip(boxes, sides, strict=True))
        share = min(max(shares), 1.0)
        return self.decode((math.ceil(self.size[0] * share), math.ceil(self.size[1] * share)))


def read_image(source: Encoded, channels: int, pixel_range: Range | None = None) -> Tensor:
    """A file, or its content, as (C, H, W) uint8; see :class:`ImageFile`.

    Raises:
        BrokenImageError: the file cannot be decoded.
    """
    quick = read_small_jpeg(source, channels, _QUICK_BYTES)
    if quick is None:
        quick = ImageFile(source, channels, pixel_range).decode()
    return to_tensor(quick)


def read_small_jpeg(source: Encoded, channels: int, most: int) -> np.ndarray | None:
    """(H, W, C) uint8 of a small upright JPEG, or None.

    To decode such a file takes a tenth of the time in which Pillow reads its header.

    Args:
        source: the file, or its content.
        channels: 1 or 3.
        most: bytes of a file that is small.
    """
    if isinstance(source, Path):
        if source.suffix.lower() not in (".jpg", ".jpeg"):
            return None
        try:
            with source.open("rb", buffering=0) as file:
                content = file.read(most + 1)
        except OSError:
            return None  # whoever reads it next says what is wrong with it
    else:
        content = source
    size = jpeg_size(content) if len(content) <= most else None
    return decode_jpeg(content, channels) if _is_honest(size) else None


def _is_honest(size: tuple[int, int] | None) -> bool:
    """Whether a size is known and no bomb's; of others Pillow says what is wrong."""
    return size is not None and size[0] * size[1] <= (Image.MAX_IMAGE_PIXELS or 0)


def beginning(source: Encoded) -> bytes:
    """What tells of a file which kind it is: its first bytes, or all of what is given."""
    if not isinstance(source, Path):
        return source
    with source.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES)


def _opened(source: Encoded) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source)


def _content(source: Encoded) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(C, H, W) of (H, W, C)."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def is_grey(source: Encoded) -> bool | None:
    """Whether a file is a grey picture, from its header alone; None if it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_opened(source)) as image:
                return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
    except Exception:
        return None


def band_count(source: Encoded) -> int | None:
    """The bands of a TIFF that has more of them, or deeper ones, than Pillow reads; else None."""
    try:
        shape = band_shape(source, beginning(source))
    except Exception:
        return None
    return shape[2] if shape else None


def deep_values(source: Encoded) -> np.ndarray | None:
    """The values of a picture of more than 8 bits; None of any other, and of what is no picture."""
    try:
        if band_shape(source, beginning(source)):
            values = read_bands(source)
            return None if values.dtype == np.uint8 else values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_opened(source)) as image:
                return np.asarray(image) if is_deep(image) else None
    except Exception:
        return None


def image_size(source: Encoded) -> tuple[int, int] | None:
    """(height, width) of the upright picture, from the file's header; None if it is no picture."""
    try:
        with contextlib.closing(ImageFile(source, 3)) as file:
            return file.size
    except BrokenImageError:
        return None
