"""Sets of images: in memory, or as encoded files."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from BYOL._random import evenly_spaced
from BYOL.data.decode import BrokenImageError, ImageFile, image_size, read_image
from BYOL.data.formats.stored import Encoded, ReadOptions
from BYOL.data.path_table import PathTable
from BYOL.views.pixel_range import PixelRange

UNLABELLED = "no labels: "  # start of the remark that gives the reason
_DIGEST_IMAGES = 64  # images whose pixels identify a set without names


@dataclass(frozen=True, eq=False)
class Images:
    """The interface of every set of images.

    Args:
        name: used in messages and folder names.
        channels: of every image that :meth:`read` returns.
        labels: (n,) int64 class of every image, or None; from a file of labels also (n, t) bool
            tags or float64 values.
        classes: the names of the classes, tags or values.
        groups: (n,) int64, equal for images of one patient, camera or scene, which never appear in
            both the training and the test split; -1 where the file of groups has no row. None:
            every image is its own group.
        remarks: one line for each property of the set that users may not expect.
        prefix: the folder of this split in DATA with a slash, such as ``train/``; empty without
            splits, and for shards, whose names contain it.
    """

    name: str
    channels: int
    labels: np.ndarray | None
    classes: tuple[str, ...]
    groups: np.ndarray | None = field(default=None, kw_only=True)
    remarks: tuple[str, ...] = field(default=(), kw_only=True)
    prefix: str = field(default="", kw_only=True)

    def __len__(self) -> int:
        raise NotImplementedError

    def probes(self, most: int) -> list[int]:
        """At most ``most`` indices of representative images: evenly spaced, or cheap to read."""
        return evenly_spaced(len(self), most).tolist()

    @property
    def digest(self) -> str:
        """A hash that is equal for equal names in equal order; without names, for equal pixels."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the set, one line each, that are printed before a run starts."""
        return self.remarks

    def sample_name(self, index: int) -> str:
        """The name of the image at ``index``: its path in the folder, or its index."""
        raise NotImplementedError

    def file_name(self, index: int) -> str:
        """The name of the image at ``index`` relative to DATA, in the column ``file`` of tables."""
        return self.prefix + self.sample_name(index).replace(os.sep, "/")

    def read(self, index: int) -> Tensor:
        """The image at ``index`` as (C, H, W) uint8.

        Raises:
            BrokenImageError: it cannot be read.
        """
        raise NotImplementedError

    def subset(self, indices: np.ndarray) -> "Images":
        """The images at ``indices``, in that order."""
        raise NotImplementedError

    def _annotations_at(self, indices: np.ndarray) -> dict[str, Any]:
        """``labels`` and ``groups`` of the images at ``indices``, which every subset keeps."""
        fields = {"labels": self.labels, "groups": self.groups}
        return {name: None if all_ is None else all_[indices] for name, all_ in fields.items()}


@dataclass(frozen=True, eq=False)
class ArrayImages(Images):
    """Images of one size in memory.

    Args:
        data: (n, C, H, W) uint8.
        names: the names of the images; None: their indices.
    """

    data: Tensor
    names: PathTable | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def digest(self) -> str:
        """A hash of the names; without names, of the pixels of some images."""
        if self.names is not None:
            return self.names.digest()
        some = self.data[evenly_spaced(len(self), _DIGEST_IMAGES)].numpy().tobytes()
        return hashlib.blake2b(some, digest_size=16).hexdigest()

    def sample_name(self, index: int) -> str:
        """The name of the image at ``index``, or ``index``."""
        return self.names[index] if self.names else str(index)

    def read(self, index: int) -> Tensor:
        """The image at ``index`` as (C, H, W) uint8."""
        return self.data[index]

    def subset(self, indices: np.ndarray) -> "ArrayImages":
        """The images at ``indices``, copied."""
        names = self.names.take(indices) if self.names else None
        data = self.data[torch.as_tensor(indices)]
        return replace(self, data=data, names=names, **self._annotations_at(indices))


@dataclass(frozen=True, eq=False)
class EncodedImages(Images):
    """Images of any size and mode, each an image file or the bytes of one.

    Args:
        pixel_range: the values of black and white for images that are not 8-bit.
        options: what the user configures about stored values.
    """

    pixel_range: PixelRange | None = field(default=None, kw_only=True)
    options: ReadOptions = field(default=ReadOptions(), kw_only=True)

    @property
    def place(self) -> str:
        """The location of the set, for messages."""
        raise NotImplementedError

    def encoded(self, index: int) -> Encoded:
        """The file of the image at ``index``, or its content."""
        raise NotImplementedError

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Start to read ``ranges`` (first, end) of a streamed set and drop all others."""

    def names_table(self) -> PathTable:
        """The names of all images."""
        raise NotImplementedError

    def options_of(self, index: int) -> ReadOptions:
        """``options``, and the frame of the image at ``index`` if it is a part of its file."""
        return self.options

    def open(self, index: int) -> ImageFile:
        """The image at ``index`` with its header read and its pixels not yet decoded."""
        options = self.options_of(index)
        return ImageFile(self.encoded(index), self.channels, self.pixel_range, options)

    def size(self, index: int) -> tuple[int, int] | None:
        """(height, width) of the upright image at ``index``; None if it is not an image."""
        return image_size(self.encoded(index))

    def read(self, index: int) -> Tensor:
        """The image at ``index`` as (C, H, W) uint8."""
        options = self.options_of(index)
        return read_image(self.encoded(index), self.channels, self.pixel_range, options)


@dataclass(frozen=True, eq=False)
class FileImages(EncodedImages):
    """Images in the files of a folder.

    Args:
        root: the folder.
        paths: relative to ``root``.
    """

    root: Path
    paths: PathTable

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def digest(self) -> str:
        """A hash of the paths."""
        return self.paths.digest()

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.root)

    def sample_name(self, index: int) -> str:
        """The path of the image at ``index``, relative to the root."""
        return self.paths[index]

    def encoded(self, index: int) -> Path:
        """The file of the image at ``index``."""
        return self.root / self.paths[index]

    def names_table(self) -> PathTable:
        """The relative paths."""
        return self.paths

    @property
    def has_frames(self) -> bool:
        """Whether some images are parts of a file."""
        return False

    def is_file(self, index: int) -> bool:
        """Whether the image at ``index`` is the only one of its file."""
        return self.frame_number(index) is None

    def frame_number(self, index: int) -> int | None:
        """The number of the image at ``index`` in its file; None if it is the only one."""
        return None

    def subset(self, indices: np.ndarray) -> "FileImages":
        """The images at ``indices``."""
        return replace(self, paths=self.paths.take(indices), **self._annotations_at(indices))


def readable(images: Images, indices: list[int]) -> list[Tensor]:
    """The images at ``indices`` that can be read, each (C, H, W) uint8."""
    pixels = []
    for index in indices:
        try:
            pixels.append(images.read(index))
        except BrokenImageError:
            continue
    return pixels


def unlabelled_reason(images: Images) -> str:
    """The reason, in parentheses, why class folders give ``images`` no labels; empty if unknown."""
    reasons = (remark for remark in images.remarks if remark.startswith(UNLABELLED))
    return next((f" ({reason.removeprefix(UNLABELLED)})" for reason in reasons), "")
