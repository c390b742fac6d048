"""A set of pictures: in memory, or as files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from BYOL.data.decode import BrokenImageError, ImageFile, image_size, read_image


class PathTable:
    """Millions of relative paths as one byte string and an array of offsets.

    Args:
        paths: in the order of the set.
    """

    def __init__(self, paths: Sequence[str]):
        encoded = [path.encode("utf-8", "surrogateescape") for path in paths]
        self._bytes = b"".join(encoded)
        self._ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].decode("utf-8", "surrogateescape")


@dataclass(frozen=True, eq=False)
class Images:
    """What every set of pictures knows.

    Args:
        name: for messages and folder names.
        channels: of every picture as it is handed out.
        labels: (n,) int64 class of every picture, or None; from a file of labels also (n, t) bool
            tags or float64 values.
        classes: names of the classes, tags or values.
    """

    name: str
    channels: int
    labels: np.ndarray | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        raise NotImplementedError

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

    def _labels_of(self, indices: np.ndarray) -> np.ndarray | None:
        return None if self.labels is None else self.labels[indices]


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

    def sample_name(self, index: int) -> str:
        """Its name, or its number."""
        return self.names[index] if self.names else str(index)

    def read(self, index: int) -> Tensor:
        """(C, H, W) uint8."""
        return self.data[index]

    def subset(self, indices: np.ndarray) -> "ArrayImages":
        """The pictures at ``indices``, copied."""
        names = PathTable([self.names[int(i)] for i in indices]) if self.names else None
        data = self.data[torch.as_tensor(indices)]
        return replace(self, data=data, names=names, labels=self._labels_of(indices))


@dataclass(frozen=True, eq=False)
class FileImages(Images):
    """Pictures in files of any size and mode.

    Args:
        root: the folder.
        paths: relative to it.
    """

    root: Path
    paths: PathTable

    def __len__(self) -> int:
        return len(self.paths)

    def sample_name(self, index: int) -> str:
        """The path relative to the root."""
        return self.paths[index]

    def open(self, index: int) -> ImageFile:
        """The file, its header read and its pixels not yet."""
        return ImageFile(self.root / self.paths[index], self.channels)

    def size(self, index: int) -> tuple[int, int] | None:
        """(height, width) of the upright picture; None if it is no picture."""
        return image_size(self.root / self.paths[index])

    def read(self, index: int) -> Tensor:
        """(C, H, W) uint8."""
        return read_image(self.root / self.paths[index], self.channels)

    def subset(self, indices: np.ndarray) -> "FileImages":
        """The pictures at ``indices``."""
        paths = PathTable([self.paths[int(i)] for i in indices])
        return replace(self, paths=paths, labels=self._labels_of(indices))


def readable(images: Images, indices: list[int]) -> list[Tensor]:
    """The pictures at ``indices`` that can be read, each (C, H, W) uint8."""
    found = []
    for index in indices:
        try:
            found.append(images.read(index))
        except BrokenImageError:
            continue
    return found
