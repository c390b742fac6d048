"""Features and grey thumbnails of an image set, in memory-mapped temporary files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from BYOL.curation.embedding_files import write_npy
from BYOL.curation.embeddings import Batches, Embeddings
from BYOL.curation.temp_folder import temporary_folder
from BYOL.data.dataset import EncodedImages, FileImages, Images
from BYOL.errors import UserError
from BYOL.evaluation.copies.confirm import read_reduced
from BYOL.evaluation.copies.thumbnails import BLANK, GREY_SIDE, reduce_to_thumbnails
from BYOL.evaluation.whitening import whitened_directions, whitening_transform
from BYOL.views.config import InputSpec

EXTRA_COLUMNS = GREY_SIDE**2 + 1  # thumbnail and contrast, in addition to the features
_CHUNK = 8192


class MirrorAverage(nn.Module):
    """Features averaged over the image and its mirror image, so that a mirrored copy has the same.

    Args:
        network: (B, C, S, S) → (B, …).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the features of ``x`` (B, C, S, S) and of its mirror image."""
        mean: Tensor = (self.network(x) + self.network(x.flip(3))) / 2
        return mean


class FeaturesWithThumbnail(nn.Module):
    """The features, grey thumbnail and contrast of an image, in one forward pass.

    Features are averaged over the image and its mirror image, so that a mirrored copy has the same
    features. The contrast is the largest standard deviation of any channel of the thumbnail. The
    grey values would have no contrast if one channel rises where another falls.

    Args:
        network: (B, C, S, S) → (B, …), which is flattened; None: no features.
        input_spec: the input specification with which the images were normalised.
        mirror: whether features are averaged over the mirror image.

    Shapes: (B, C, S, S) → (B, d + GREY_SIDE² + 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module | None, input_spec: InputSpec, *, mirror: bool = True):
        super().__init__()
        self.network = MirrorAverage(network) if network and mirror else network
        self.register_buffer("mean", torch.tensor(input_spec.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(input_spec.std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return features, grey thumbnail and contrast of ``x``; see the class."""
        features = x[:, 0, 0, :0] if self.network is None else self.network(x).flatten(1)
        # The reduction is linear, with weights whose sum is 1: the small image is denormalised,
        # which takes a fifth of the time at 224 pixels.
        small = reduce_to_thumbnails(x).contiguous() * self.std + self.mean
        grey, channels = small.mean(dim=1).flatten(1), small.flatten(2)
        variances = (channels - channels.mean(dim=2, keepdim=True)).square_().mean(dim=2)
        contrast = variances.amax(dim=1, keepdim=True).sqrt_()
        return torch.cat((features.float(), grey, contrast), dim=1)


@dataclass(frozen=True)
class Collection:
    """The features and thumbnails of all readable images.

    Args:
        features: (n, d) float32, the output of the network.
        directions: (n, d) float32, whitened features of unit length.
        greys: (n, GREY_SIDE²) float32 thumbnails in [0, 1].
        sets: the image sets by split.
        locations: (n, 2) int64, the number of the set and the number of the image in it.
        contrasts: (n,) float32, as defined by :class:`FeaturesWithThumbnail`.
    """

    features: np.ndarray
    directions: np.ndarray
    greys: np.ndarray
    sets: dict[str, Images]
    locations: np.ndarray
    contrasts: np.ndarray

    def __len__(self) -> int:
        return len(self.locations)

    def location(self, i: int) -> tuple[Images, int]:
        """Return the set of image ``i`` and its number in the set."""
        number, index = self.locations[i].tolist()
        return list(self.sets.values())[number], index

    def file(self, i: int) -> str:
        """Return the name of image ``i`` relative to DATA."""
        images, index = self.location(i)
        return images.file_name(index)

    def identity(self, i: int) -> tuple[int, int, int | None] | None:
        """Return device and inode of the file of image ``i`` and the number of its frame.

        None if they are not available.
        """
        images, index = self.location(i)
        if not isinstance(images, FileImages):
            return None
        try:
            status = images.encoded(index).stat()
        except OSError:  # the file was deleted in the meantime
            return None
        # Some network file systems have no inode numbers.
        place = status.st_dev, status.st_ino, images.frame_number(index)
        return place if status.st_ino else None

    def size(self, i: int) -> tuple[int, int]:
        """Return (height, width) of image ``i``, or (0, 0) if it is no longer readable."""
        images, index = self.location(i)
        if isinstance(images, EncodedImages):
            return images.size(index) or (0, 0)
        height, width = images.read(index).shape[1:]
        return height, width

    def split(self, i: int) -> str:
        """Return the name of the split of image ``i``."""
        return list(self.sets)[int(self.locations[i, 0])]

    def thumbnail(self, i: int, side: int) -> Tensor | None:
        """Return image ``i`` as (C, h, w) uint8, or None if it is no longer readable.

        Encoded images may be decoded at a reduced size of at least ``side`` pixels.
        """
        return read_reduced(*self.location(i), side)

    def blank(self) -> np.ndarray:
        """Return (n,) bool, True for blank images."""
        return self.contrasts < BLANK


@contextmanager
def collect(
    batches: Batches,
    sets: dict[str, Images],
    whitening: float = 1.0,
    *,
    thumbnails: bool = True,
    fitted: int | None = None,
) -> Iterator[Collection]:
    """Keep the features of all images in a temporary folder.

    Args:
        batches: the features, with the columns of :class:`FeaturesWithThumbnail` if ``thumbnails``.
        sets: the images by split.
        whitening: degree of whitening; see :func:`whiten`.
        thumbnails: whether ``batches`` contains thumbnails. Without them, ``greys`` and
            ``contrasts`` of the collection are empty.
        fitted: the whitening is estimated from this many sets, the first; None: from all.

    Raises:
        UserError: fewer than two images can be read, or the temporary folder has too little space.
    """
    numbers = {name: k for k, name in enumerate(sets)}
    total = sum(map(len, sets.values()))
    extra = EXTRA_COLUMNS if thumbnails else 0

    with temporary_folder() as room:
        places = room.folder / "locations"

        def recorded() -> Batches:
            with places.open("wb") as locations:
                for split, images, ids, vectors in batches:
                    if not locations.tell():
                        d = vectors[0].size - extra
                        # space for the rows, their locations and the whitened features
                        room.reserve(total * (4 * (vectors[0].size + d) + 16))
                    locations.write(np.stack([np.full_like(ids, numbers[split]), ids], axis=1).data)
                    yield split, images, ids, vectors

        with room.check_disk_full():
            file = room.folder / "rows.npy"
            write_npy(file, Embeddings(recorded()), lambda _: None)
            rows = np.load(file, mmap_mode="r")
            if len(rows) < 2:
                raise UserError("a single image has no neighbours: give at least two images")
            d = rows.shape[1] - extra
            locations = np.memmap(places, np.int64, "r", shape=(len(rows), 2))
            count = int((locations[:, 0] < (len(sets) if fitted is None else fitted)).sum())
            directions = whiten(rows[:, :d], room.folder / "directions.npy", whitening, count)
        greys = rows[:, d : d + GREY_SIDE**2]
        contrasts = np.array(rows[:, -1]) if thumbnails else np.zeros(0, np.float32)
        yield Collection(rows[:, :d], directions, greys, sets, locations, contrasts)


def whiten(
    features: np.ndarray, file: Path, whitening: float = 1.0, fitted: int | None = None
) -> np.ndarray:
    """Whiten ``features`` and scale them to unit length.

    Args:
        features: (n, d).
        file: the .npy file to write. It is written in chunks, because a full disk raises an OSError
            on a write, but ends the process on an access to a mapped file.
        whitening: see :func:`BYOL.evaluation.whitening.whitening_transform`.
        fitted: the mean and covariance are those of this many rows, the first; None: of all.

    Returns:
        (n, d) float32, memory-mapped from ``file``.
    """
    n, d = features.shape
    mean, transform = whitening_transform(features[:fitted], whitening)
    header = {"descr": "<f4", "fortran_order": False, "shape": (n, d)}
    with file.open("wb") as output:
        np.lib.format.write_array_header_1_0(output, header)
        for start in range(0, n, _CHUNK):
            part = features[start : start + _CHUNK]
            output.write(whitened_directions(part, mean, transform).data)
    return np.load(file, mmap_mode="r+")
