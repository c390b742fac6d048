"""Features and small grey pictures of a whole set, in files that are mapped into memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL._evenly import evenly
from BYOL.curation.covariance import shrunk_covariance
from BYOL.curation.embeddings import Batches, Embeddings, write_npy
from BYOL.curation.temp_folder import temporary_folder
from BYOL.data.dataset import EncodedImages, FileImages, Images
from BYOL.data.decode import BrokenImageError
from BYOL.errors import UserError
from BYOL.views.config import Sight

GREY_SIDE = (
    16  # pixels: a cut edge moves them little, another picture of the same kind does not fit
)
BLANK = 0.02  # standard deviation of values in [0, 1] below which there is nothing to see
_BESIDE = GREY_SIDE**2 + 1  # numbers beside the features
_WHITENED = 20_000  # pictures from which the covariance is estimated
_CHUNK = 8192
_FEW = 8  # pictures below which there is no covariance worth the name


class Looks(nn.Module):
    """A picture's features beside its grey miniature and its contrast, in one pass.

    Features are averaged over the picture and its mirror image, so that a mirrored copy has
    exactly the same.

    Args:
        network: (B, C, S, S) → (B, d).
        sight: how the pictures were normalised.

    The contrast is the standard deviation of a miniature's values in the channel that has most:
    grey values of bands that rise where others fall have none.

    Shapes: (B, C, S, S) → (B, d + GREY_SIDE² + 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, sight: Sight):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(sight.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(sight.std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        features = (self.network(x) + self.network(x.flip(3))) / 2
        pixels = x * self.std + self.mean
        small = F.interpolate(pixels, (GREY_SIDE, GREY_SIDE), mode="bilinear", antialias=True)
        grey, channels = small.mean(dim=1).flatten(1), small.flatten(2)
        contrast = channels.std(dim=2, correction=0).amax(dim=1, keepdim=True)
        return torch.cat((features.float(), grey.float(), contrast.float()), dim=1)


@dataclass(frozen=True)
class Collection:
    """What is known of every picture that could be read.

    Args:
        features: (n, d) float32, as the network gives them.
        directions: (n, d) float32, whitened features of unit length.
        greys: (n, GREY_SIDE²) float32 in [0, 1].
        sets: the sets that the pictures are from, by split.
        places: (n, 2) int64: number of the set, number of the picture in it.
        contrasts: (n,) float32: of :class:`Looks`.
    """

    features: np.ndarray
    directions: np.ndarray
    greys: np.ndarray
    sets: dict[str, Images]
    places: np.ndarray
    contrasts: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def place(self, i: int) -> tuple[Images, int]:
        """The set of picture i, and its number there."""
        number, index = self.places[i].tolist()
        return list(self.sets.values())[number], index

    def file(self, i: int) -> str:
        """The path of picture i, or split and number where it is in no file of its own."""
        images, index = self.place(i)
        if isinstance(images, FileImages):
            return str(images.root / images.paths[index])
        return f"{list(self.sets)[int(self.places[i, 0])]}/{images.sample_name(index)}"

    def identity(self, i: int) -> tuple[int, int] | None:
        """What tells the file of picture i from others, by whatever name; None if nothing does."""
        images, index = self.place(i)
        if not isinstance(images, FileImages):
            return None
        try:
            about = images.encoded(index).stat()
        except OSError:  # it has gone since it was looked at
            return None
        # some network file systems do not number theirs
        return (about.st_dev, about.st_ino) if about.st_ino else None

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of picture i; (0, 0) if it has gone."""
        images, index = self.place(i)
        if isinstance(images, EncodedImages):
            return images.size(index) or (0, 0)
        height, width = images.read(index).shape[1:]
        return height, width

    def thumbnail(self, i: int, side: int) -> Tensor | None:
        """(C, h, w) uint8, of ``side`` pixels or more; None where it cannot be read any more."""
        images, index = self.place(i)
        try:
            if isinstance(images, EncodedImages):
                pixels = images.open(index).decode((side, side))
                return torch.from_numpy(pixels).permute(2, 0, 1)
            return images.read(index)
        except BrokenImageError:
            return None

    def blank(self) -> np.ndarray:
        """(n,) bool: pictures on which nothing can be seen."""
        return self.contrasts < BLANK


@contextmanager
def collected(
    batches: Callable[[nn.Module], Batches],
    network: nn.Module,
    sight: Sight,
    sets: dict[str, Images],
    whitening: float = 1.0,
) -> Iterator[Collection]:
    """Look at everything once, and keep what was found in a temporary folder.

    Args:
        batches: from a network to what it makes of the pictures.
        network: (B, C, S, S) → (B, d).
        sight: how it is shown them.
        sets: the pictures by split.
        whitening: how far, see :func:`whitened`.

    Raises:
        UserError: fewer than two pictures can be read, features that are no vectors, or no room in
            the temporary folder.
    """
    places: list[np.ndarray] = []
    numbers = {name: k for k, name in enumerate(sets)}
    total = sum(map(len, sets.values()))

    with temporary_folder() as room:

        def noted() -> Batches:
            for split, images, ids, vectors in batches(Looks(network, sight)):
                if not places:
                    d = vectors[0].size - _BESIDE
                    room.reserve(4 * total * (vectors[0].size + d))  # looks, and directions of them
                places.append(np.stack([np.full_like(ids, numbers[split]), ids], axis=1))
                yield split, images, ids, vectors

        with room.watched():
            file = room.folder / "looks.npy"
            write_npy(file, Embeddings(noted()), lambda _: None)
            looks = np.load(file, mmap_mode="r")
            if len(looks) < 2:
                raise UserError("one picture alone has no neighbours: give at least two")
            d = looks.shape[1] - _BESIDE
            directions = whitened(looks[:, :d], room.folder / "directions.npy", whitening)
        greys, contrasts = looks[:, d:-1], np.array(looks[:, -1])
        yield Collection(looks[:, :d], directions, greys, sets, np.concatenate(places), contrasts)


def whitened(features: np.ndarray, file: Path, whitening: float = 1.0) -> np.ndarray:
    """Unit vectors in which every direction of the set's spread counts the same.

    Briefly trained features lie in a narrow cone, where all cosines are near 1; after whitening
    those of unrelated pictures are near 0. The covariance is Ledoit and Wolf's (2004), which gives
    up little of the measured one where there are many pictures and most of it where there are few.

    Args:
        features: (n, d).
        file: the .npy to write, chunk by chunk: a full disk is an OSError to one who writes, and
            the end of the process to one who has mapped the file.
        whitening: in [0, 1]: 1 as said above, 0 leaves the spread as it is.

    Returns:
        (n, d) float32, mapped from ``file``.
    """
    n, d = features.shape
    mean, turn = np.zeros(d, np.float32), np.eye(d, dtype=np.float32)
    if n >= _FEW:
        chosen = evenly(n, _WHITENED)
        sample = np.asarray(features[chosen], dtype=np.float64)
        mean = sample.mean(axis=0).astype(np.float32)
        spread, axes = np.linalg.eigh(shrunk_covariance(sample))
        floor = max(float(spread.mean()) * 1e-6, 1e-12)
        turn = (axes / spread.clip(floor) ** (whitening / 2)).astype(np.float32)
    about = {"descr": "<f4", "fortran_order": False, "shape": (n, d)}
    with file.open("wb") as found:
        np.lib.format.write_array_header_1_0(found, about)
        for start in range(0, n, _CHUNK):
            part = (features[start : start + _CHUNK] - mean) @ turn
            length = np.linalg.norm(part, axis=1, keepdims=True)
            found.write(np.ascontiguousarray(part / length.clip(1e-12), dtype="<f4").data)
    return np.load(file, mmap_mode="r+")
