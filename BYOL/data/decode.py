"""One file becomes uint8 pixels, or a named error; never a crash, whatever is in the file."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_QUICK_BYTES = 1 << 20  # a larger file is looked at before it is decoded: it may be a bomb


class BrokenImageError(Exception):
    """A file that is no picture: its message is the reason, without the name."""


class ImageFile:
    """A picture whose header has been read and whose pixels have not yet.

    Args:
        path: the file.
        channels: 1, 3 or 4: what the pixels will be converted to.

    Raises:
        BrokenImageError: the header is not that of a picture.
    """

    def __init__(self, path: Path, channels: int):
        self.path = path
        self.mode = MODES[channels]
        with self._named_errors():
            self._image = Image.open(path)
            width, height = self._image.size
            turned = self._image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            self.size = (width, height) if turned else (height, width)  # upright: height, width

    def decode(self) -> Image.Image:
        """8-bit pixels of the wanted mode, upright, at full size.

        Transparency is laid over white unless four channels are wanted; 16-bit values are scaled
        to 8 bits; of an animation the first frame is taken.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        with self._named_errors():
            self._image.load()
            return _convert(ImageOps.exif_transpose(self._image), self.mode)

    def crops(self, boxes: Sequence[Sequence[float]], side: int) -> list[Tensor]:
        """Cut boxes (top, left, height, width of the upright picture), each made side × side.

        A JPEG is decoded at a half, a quarter or an eighth of its size where the smallest box
        still has ``side`` pixels then; that takes a fraction of the time.

        Returns:
            (C, side, side) uint8 each; bicubic, antialiased.

        Raises:
            BrokenImageError: the file cannot be decoded.
        """
        height, width = self.size
        with self._named_errors():
            share = min(1.0, side / min(min(box[2:]) for box in boxes))
            full = self._image.size
            self._image.draft(self.mode if self.mode != "RGBA" else "RGB",
                              (math.ceil(full[0] * share), math.ceil(full[1] * share)))  # fmt: skip
        image = self.decode()
        x, y = image.width / width, image.height / height
        cut = [
            image.resize(
                (side, side),
                Image.Resampling.BICUBIC,
                box=(left * x, top * y, (left + w) * x, (top + h) * y),
            )
            for top, left, h, w in boxes
        ]
        return [to_tensor(view) for view in cut]

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # Pillow warns of a suspiciously large picture, then refuses one twice as large.
                warnings.simplefilter("ignore")
                yield
        except Image.DecompressionBombError as error:
            raise BrokenImageError("more pixels than any honest picture has") from error
        except Exception as error:  # decoders raise nearly anything on hostile bytes
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            reason = reason.replace(str(self.path), self.path.name)[:200]
            raise BrokenImageError(reason) from error


def read_image(path: Path, channels: int) -> Tensor:
    """A file as (C, H, W) uint8.

    Raises:
        BrokenImageError: the file cannot be decoded.
    """
    quick = _read_jpeg(path, channels) if path.suffix.lower() in (".jpg", ".jpeg") else None
    if quick is not None:
        return quick
    return to_tensor(ImageFile(path, channels).decode())


def _read_jpeg(path: Path, channels: int) -> Tensor | None:
    """A small JPEG by torchvision, which takes half of Pillow's time; None if it will not."""
    from torchvision.io import ImageReadMode, decode_jpeg

    mode = {1: ImageReadMode.GRAY, 3: ImageReadMode.RGB}.get(channels)
    try:
        with path.open("rb") as file:
            content = bytearray(file.read(_QUICK_BYTES + 1))
        if mode is None or not 0 < len(content) <= _QUICK_BYTES:
            return None
        encoded = torch.frombuffer(content, dtype=torch.uint8)
        return decode_jpeg(encoded, mode=mode, apply_exif_orientation=True)
    except (OSError, RuntimeError):
        return None  # Pillow may read it, or says what is wrong with it


def to_tensor(image: Image.Image) -> Tensor:
    """(C, H, W) uint8 of an 8-bit PIL image."""
    pixels = np.array(image)
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


def is_grey(path: Path) -> bool | None:
    """Whether a file is a grey picture, from its header alone; None if it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
    except Exception:
        return None


def image_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the upright picture, from the file's header; None if it is no picture."""
    try:
        return ImageFile(path, 3).size
    except BrokenImageError:
        return None


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if mode == "RGBA":
        return image.convert("RGBA")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode == mode:
        return image
    if image.mode in ("LAB", "HSV", "CMYK", "YCbCr", "P"):
        image = image.convert("RGB")
    return image.convert(mode)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit and 32-bit integers, and floats: by the range that their kind means."""
    values = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        values = values * 255 if values.size and values.max() <= 1 else values
    else:
        values = values / 257 if values.size and values.max() > 255 else values
    return Image.fromarray(np.clip(np.nan_to_num(values).round(), 0, 255).astype(np.uint8))
