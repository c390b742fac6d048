"""Photographs for training at a small size: decoded once, reduced and stored.

Without this, every epoch decodes each photograph again, which takes longer than the training step
of a small view. The stored pixels have twice the side of the views; they are in memory or in a
mapped file. Boxes are drawn from the size of the original, so the draws are the same with and
without. Evaluation always reads the original files.
"""

import atexit
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL._hardware import thread_pool
from BYOL._waiting import waiting
from BYOL.data.dataset import FileImages
from BYOL.data.decode import BrokenImageError, ImageFile
from BYOL.data.frame_images import FrameImages
from BYOL.errors import DataError

log = logging.getLogger(__name__)
LARGEST_VIEW = 128  # pixels; larger views cost more to train on than to decode
TIMES = 2  # side of the stored image divided by the side of a view
_CHUNK = 256  # images that are decoded together


@dataclass(frozen=True, eq=False)
class Store:
    """Pixels of images of any size, stored one after the other.

    Args:
        sizes: (n, 2) height and width of the originals; 0 for unreadable files.
        kept: (n, 2) height and width of the stored pixels.
        starts: (n,) offset of the pixels of each image.
        memory: uint8 pixels of all images, or None if they are in ``file``.
        file: the file that holds the pixels, or None.
    """

    sizes: np.ndarray
    kept: np.ndarray
    starts: np.ndarray
    memory: Tensor | None
    file: Path | None = None

    @cached_property
    def pixels(self) -> Tensor:
        """All bytes; each process maps the file itself."""
        if self.memory is not None:
            return self.memory
        assert self.file is not None
        return torch.from_numpy(np.memmap(self.file, np.uint8, "c"))  # "c": torch wants no const

    def image(self, index: int, channels: int) -> Tensor:
        """The image at ``index`` as (C, h, w) uint8, a view of the bytes."""
        height, width = self.kept[index].tolist()
        start = int(self.starts[index])
        part = self.pixels[start : start + channels * height * width]
        return part.view(channels, height, width)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the mapping, which another process creates itself."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


class ReducedFile(ImageFile):
    """An image with stored reduced pixels; only training crops use them."""

    def __init__(self, images: "ReducedImages", index: int):
        self.size = tuple(images.store.sizes[images.rows[index]].tolist())
        if not all(self.size):
            raise BrokenImageError("it cannot be read")
        self._images = images
        self._index = index

    def crops(self, boxes: Sequence[Sequence[int]], sides: Sequence[int]) -> list[Tensor]:
        """Like :meth:`BYOL.data.decode.ImageFile.crops`, with boxes rounded to stored pixels."""
        images = self._images
        whole = images.store.image(int(images.rows[self._index]), images.channels)[None]
        y, x = whole.shape[2] / self.size[0], whole.shape[3] / self.size[1]
        crops = []
        for (top, left, height, width), side in zip(boxes, sides, strict=True):
            t, u = round(top * y), round(left * x)
            b, r = max(round((top + height) * y), t + 1), max(round((left + width) * x), u + 1)
            cut = whole[:, :, min(t, whole.shape[2] - 1) : b, min(u, whole.shape[3] - 1) : r]
            crops.append(F.interpolate(cut, (side, side), mode="bicubic", antialias=True)[0])
        return crops

    def decode(self, min_size: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Decode the original file."""
        return self._original.decode(min_size)

    def crop_subpixel(self, box: Sequence[float], side: int) -> Tensor:
        """Crop from the original file, so evaluation does not depend on the stored pixels."""
        height, width = self._original.size  # of a file that may have changed since it was stored
        y, x = height / self.size[0], width / self.size[1]
        top, left, h, w = box
        return self._original.crop_subpixel((top * y, left * x, h * y, w * x), side)

    @cached_property
    def _original(self) -> ImageFile:
        return FileImages.open(self._images, self._index)


@dataclass(frozen=True, eq=False)
class ReducedImages(FileImages):
    """Files whose reduced pixels are stored for training.

    Args:
        store: the pixels.
        rows: (n,) position of each image in ``store``.
    """

    store: Store = field(kw_only=True)
    rows: np.ndarray = field(kw_only=True)

    def open(self, index: int) -> ImageFile:
        """The image at ``index``; its training crops come from the store."""
        return ReducedFile(self, index)

    def subset(self, indices: np.ndarray) -> "ReducedImages":
        """The images at ``indices``."""
        paths = self.paths.take(indices)
        return replace(self, paths=paths, rows=self.rows[indices], **self._annotations_at(indices))


def reduce_images(images: FileImages, view: int, budget: int, cache: Path) -> FileImages:
    """Store the pixels of photographs that are trained on at a small size.

    Args:
        images: files.
        view: side of the largest view.
        budget: bytes of memory; larger stores are written to a file.
        cache: the folder of this file.

    Returns:
        The images with their store, or ``images`` if views are large or the disk is full; a warning
        line then reports it.
    """
    if view > LARGEST_VIEW or isinstance(images, FrameImages):
        return images
    side = view * TIMES
    most = _store_bytes(images, side)
    if most <= budget:
        return _fill_store(images, side, None)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_stale(cache)
        file = cache / f"decoded-{socket.gethostname()}-{os.getpid()}.bin"
        atexit.register(_remove_own_file, file, os.getpid())
        return _fill_store(images, side, file)
    except OSError as error:
        log.info(
            f"{images.name}: no room to keep decoded images in {cache} "
            f"({error.strerror or error}): every epoch decodes them anew"
        )
        return images


def _store_bytes(images: FileImages, side: int) -> int:
    """The estimated size of the store of all images, from the sizes of some of them."""
    sizes = [size for i in images.probes(32) if (size := images.size(i))]
    some = [np.prod(_reduced_size(size, side)) * images.channels for size in sizes]
    return int(np.mean(some) * len(images)) if some else 0


def _reduced_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width with ``side`` pixels along the shorter side; never enlarged."""
    share = min(side / min(size), 1.0)
    return max(round(size[0] * share), 1), max(round(size[1] * share), 1)


def _fill_store(images: FileImages, side: int, file: Path | None) -> ReducedImages:
    """Decode all images into a store, in memory or in ``file``.

    Raises:
        UserError: no image can be read.
    """
    n = len(images)
    sizes, kept = np.zeros((n, 2), np.int64), np.zeros((n, 2), np.int64)
    starts, at = np.zeros(n, np.int64), 0
    parts: list[Tensor] = []
    output = file.open("wb") if file else None
    threads = torch.get_num_threads()
    try:
        with waiting("decoding images", n) as work, thread_pool(threads) as pool:
            for first in range(0, n, _CHUNK):
                some = range(first, min(first + _CHUNK, n))
                for i, result in zip(
                    some, pool.map(lambda i: _decode_reduced(images, i, side), some), strict=True
                ):
                    work.done += 1
                    if result is None:
                        continue
                    sizes[i], pixels = result
                    kept[i], starts[i], at = pixels.shape[1:], at, at + pixels.numel()
                    if output:
                        output.write(pixels.numpy().data)
                    else:
                        parts.append(pixels.flatten())
    except BaseException:
        if file:
            file.unlink(missing_ok=True)
        raise
    finally:
        if output:
            output.close()
    if not at:
        raise DataError(f"DATA={images.place}: none of its {n} files is an image")
    memory = None if file else torch.cat(parts)
    store = Store(sizes, kept, starts, memory, file)
    known = {f.name: getattr(images, f.name) for f in fields(FileImages)}
    return ReducedImages(**known, store=store, rows=np.arange(n))


def _decode_reduced(images: FileImages, i: int, side: int) -> tuple[tuple[int, int], Tensor] | None:
    """The original size and the (C, h, w) reduced pixels; None if the image cannot be read."""
    try:
        file = images.open(i)
        size = _reduced_size(file.size, side)
        whole = file.decode(size)
    except BrokenImageError:
        return None
    pixels = torch.from_numpy(whole).permute(2, 0, 1)
    if pixels.shape[1:] != size:
        pixels = F.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0]
    return file.size, pixels.contiguous()


def _remove_own_file(file: Path, process: int) -> None:
    if os.getpid() == process:  # not a forked loader worker
        file.unlink(missing_ok=True)


def _remove_stale(cache: Path) -> None:
    """Remove the files of killed processes of this host."""
    for file in cache.glob(f"decoded-{socket.gethostname()}-*.bin"):
        number = file.stem.rpartition("-")[2]
        if not number.isdigit():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except OSError:
            continue
