"""Images that differ most from the rest of a collection."""

from dataclasses import dataclass

import numpy as np
import torch

from BYOL._random import evenly_spaced
from BYOL.curation.feature_store import Collection
from BYOL.evaluation.nearest import nearest_neighbours

NEIGHBOURS = 50  # so many that a few similar outliers are not each other's only neighbours
_BANK = 100_000  # images among which neighbours are searched
_CHUNK = 4096


@dataclass(frozen=True)
class OutlierScores:
    """The distance of every image to its neighbours.

    Args:
        score: (n,) float32, mean of 1 − cosine over the k nearest images.
        nearest: (n,) int64, position of the most similar image.
        distance: (n,) float32, 1 − cosine to the most similar image.
        blank: (n,) bool, whether the image is blank.
    """

    score: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    blank: np.ndarray


def outlier_scores(
    collection: Collection, device: torch.device, k: int = NEIGHBOURS, bank: int = _BANK
) -> OutlierScores:
    """Return the mean distance to the k nearest neighbours (Ramaswamy et al. 2000, averaged).

    Neighbours are searched among at most ``bank`` evenly chosen images, so that time and memory
    grow linearly with the number of images. Blank images are excluded from the bank. Otherwise a
    group of black images would have small distances to each other.

    Args:
        collection: the images.
        device: where the similarities are computed.
        k: number of neighbours.
        bank: largest number of images among which neighbours are searched.
    """
    blank = collection.blank()
    candidates = np.flatnonzero(~blank)
    if len(candidates) < 2:
        candidates = np.arange(len(collection))
    members = candidates[evenly_spaced(len(candidates), bank)]
    bank_features = torch.from_numpy(np.array(collection.features[members])).to(device)
    bank_position = np.full(len(collection), -1)
    bank_position[members] = np.arange(len(members))
    blocks = []
    for start in range(0, len(collection), _CHUNK):
        rows = slice(start, start + _CHUNK)
        queries = np.array(collection.features[rows])
        blocks.append(nearest_neighbours(bank_features, queries, k, exclude=bank_position[rows]))
    cosines, indices = (torch.cat(parts).cpu().numpy() for parts in zip(*blocks, strict=True))
    distances = 1 - cosines
    return OutlierScores(distances.mean(axis=1), members[indices[:, 0]], distances[:, 0], blank)


def describe_blank(grey: np.ndarray, blank: bool) -> str:
    """Describe a blank image as "black", "white" or "one colour"; return "" for other images.

    Args:
        grey: grey values of the image in [0, 1].
        blank: whether the image is blank.
    """
    if not blank:
        return ""
    level = float(grey.mean())
    return "black" if level < 0.05 else "white" if level > 0.95 else "one colour"
