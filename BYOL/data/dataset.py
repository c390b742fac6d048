"""A set of pictures: in memory, or as files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from BYOL._bit_depth import Range
from BYOL._random import evenly_spaced
from BYOL.data.decode import BrokenImageError, Encoded, ImageFile, image_size, read_image
from BYOL.data.path_table import PathTable

UNLABELLED = "no labels: "  # begins the remark that says why
_LOOKED_AT = 64  # pictures that tell a set without names from others


@dataclass(frozen=True, eq=False)
class Images:
    """What every set of pictures knows.

    Args:
        name: for messages and folder names.
        channels: of every picture as it is handed out.
        labels: (n,) int64 class of every picture, or None; from a file of labels also (n, t) bool
            tags or float64 values.
        classes: names of the classes, tags or values.
        groups: (n,) int64, equal for pictures of one patient, camera or part, which do not judge
            each other; -1 where a file of groups has not named the picture. None: each stands
            for itself.
        remarks: a line for everything about the set as a whole that its user may not expect.
    """

    name: str
    channels: int
    labels: np.ndarray | None
    classes: tuple[str, ...]
    groups: np.ndarray | None = field(default=None, kw_only=True)
    remarks: tuple[str, ...] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        raise NotImplementedError

    def probes(self, most: int) -> list[int]:
        """A few pictures to judge the others by: evenly spread, or what is quickly read."""
        return evenly_spaced(len(self), most).tolist()

    @property
    def digest(self) -> str:
        """Equal for sets of the same names in the same order; without names, of the same pixels."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """What a run says of the set before it begins, a warning a line."""
        return self.remarks

    def sample_name(self, index: int) -> str:
        """What the picture is called: its path in the folder, or its number."""
        raise NotImplementedError

    def read(self, index: int) -> Tensor:
        """The picture as (C, H, W) uint8.

        Raises:
            BrokenImageError: it cannot be read.
        """
        raise NotImplementedError

    def subset(self, indices: np.ndarray) -> "Images":
        """The pictures at ``indices``, in that order."""
        raise NotImplementedError

    def _told_of(self, indices: np.ndarray) -> dict[str, Any]:
        """``labels`` and ``groups`` of the pictures at ``indices``: what every subset keeps."""
        told = {"labels": self.labels, "groups": self.groups}
        return {name: None if all_ is None else all_[indices] for name, all_ in told.items()}


@dataclass(frozen=True, eq=False)
class ArrayImages(Images):
    """Pictures of one size in memory.

    Args:
        data: (n, C, H, W) uint8.
        names: what the pictures are called, if not their numbers.
    """

    data: Tensor
    names: PathTable | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def digest(self) -> str:
        """Of the names; without any, of the pixels of some."""
        if self.names is not None:
            return self.names.digest()
        some = self.data[evenly_spaced(len(self), _LOOKED_AT)].numpy().tobytes()
        return hashlib.blake2b(some, digest_size=16).hexdigest()

    def sample_name(self, index: int) -> str:
        """Its name, or its number."""
        return self.names[index] if self.names else str(index)

    def read(self, index: int) -> Tensor:
        """(C, H, W) uint8."""
        return self.data[index]

    def subset(self, indices: np.ndarray) -> "ArrayImages":
        """The pictures at ``indices``, copied."""
        names = self.names.take(indices) if self.names else None
        data = self.data[torch.as_tensor(indices)]
        return replace(self, data=data, names=names, **self._told_of(indices))


@dataclass(frozen=True, eq=False)
class EncodedImages(Images):
    """Pictures of any size and mode, each a file, or what would be in one.

    Args:
        pixel_range: which values are black and white, where there are more than 8 bits.
    """

    pixel_range: Range | None = field(default=None, kw_only=True)

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        raise NotImplementedError

    def encoded(self, index: int) -> Encoded:
        """The file, or its content."""
        raise NotImplementedError

    def hold(self, ranges: Sequence[tuple[int, int]]) -> None:
        """The pictures from … to are wanted soon, and no others; for sets that are streamed."""

    def names_table(self) -> PathTable:
        """What all of them are called."""
        raise NotImplementedError

    def open(self, index: int) -> ImageFile:
        """The file, its header read and its pixels not yet."""
        return ImageFile(self.encoded(index), self.channels, self.pixel_range)

    def size(self, index: int) -> tuple[int, int] | None:
        """(height, width) of the upright picture; None if it is no picture."""
        return image_size(self.encoded(index))

    def read(self, index: int) -> Tensor:
        """(C, H, W) uint8."""
        return read_image(self.encoded(index), self.channels, self.pixel_range)


@dataclass(frozen=True, eq=False)
class FileImages(EncodedImages):
    """Pictures in files.

    Args:
        root: the folder.
        paths: relative to it.
    """

    root: Path
    paths: PathTable

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def digest(self) -> str:
        """Of the paths."""
        return self.paths.digest()

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.root)

    def sample_name(self, index: int) -> str:
        """The path relative to the root."""
        return self.paths[index]

    def encoded(self, index: int) -> Path:
        """The file."""
        return self.root / self.paths[index]

    def names_table(self) -> PathTable:
        """The paths."""
        return self.paths

    def subset(self, indices: np.ndarray) -> "FileImages":
        """The pictures at ``indices``."""
        return replace(self, paths=self.paths.take(indices), **self._told_of(indices))


def readable(images: Images, indices: list[int]) -> list[Tensor]:
    """The pictures at ``indices`` that can be read, each (C, H, W) uint8."""
    found = []
    for index in indices:
        try:
            found.append(images.read(index))
        except BrokenImageError:
            continue
    return found


def why_unlabelled(images: Images) -> str:
    """What a message adds where class folders tell no labels: a picture lies beside them."""
    reasons = (remark for remark in images.remarks if remark.startswith(UNLABELLED))
    return next((f" ({reason.removeprefix(UNLABELLED)})" for reason in reasons), "")
