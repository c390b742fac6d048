"""Pictures unlike all others."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from BYOL._evenly import evenly
from BYOL.curation.feature_store import Collection
from BYOL.evaluation.protocols.knn import neighbours

NEIGHBOURS = 50  # so that a handful of odd pictures cannot vouch for each other
_BANK = 100_000  # pictures among which neighbours are sought
_CHUNK = 4096


@dataclass(frozen=True)
class Scores:
    """How far every picture is from the others.

    Args:
        score: (n,) float32: mean of 1 − cosine over the k nearest.
        nearest: (n,) int64: the most similar other picture.
        distance: (n,) float32: 1 − cosine to it.
        blank: (n,) bool: nothing can be seen on it.
    """

    score: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    blank: np.ndarray


def outlier_scores(
    collection: Collection, device: torch.device, k: int = NEIGHBOURS, bank: int = _BANK
) -> Scores:
    """Distance to the k nearest neighbours, the score of Ramaswamy et al. (2000), averaged.

    Neighbours are sought among at most ``bank`` pictures, evenly taken, so that time and memory
    grow with the number of pictures and not with its square. Blank pictures are nobody's
    neighbours: a hundred black ones would otherwise make each other ordinary.
    """
    blank = collection.blank()
    shown = np.flatnonzero(~blank)
    if len(shown) < 2:
        shown = np.arange(len(collection))
    members = shown[evenly(len(shown), bank)]
    known = torch.from_numpy(np.array(collection.features[members])).to(device)
    owner = torch.from_numpy(members).to(device)
    found = [
        _nearest(collection, known, owner, start, k) for start in range(0, len(collection), _CHUNK)
    ]
    cosines, nearest = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    distances = (1 - cosines).numpy()
    return Scores(distances.mean(axis=1), nearest[:, 0].numpy(), distances[:, 0], blank)


def _nearest(
    collection: Collection, known: Tensor, owner: Tensor, start: int, k: int
) -> tuple[Tensor, Tensor]:
    """Cosines (B, k) and places (B, k) of the nearest others, nearest first."""
    asked = torch.from_numpy(np.array(collection.features[start : start + _CHUNK]))
    cosines, indices = neighbours(known, asked, k + 1)
    places = owner[indices]
    itself = places == torch.arange(start, start + len(asked), device=places.device)[:, None]
    cosines = cosines.masked_fill(itself, -2)
    # One that is not in the bank has k + 1 others: of these the last goes.
    best = cosines.topk(max(min(k, cosines.shape[1] - 1), 1), dim=1)
    return best.values, places.gather(1, best.indices)


def remark(grey: np.ndarray, blank: bool) -> str:
    """What can be said of a picture at once: "black", "white", "one colour", or nothing."""
    if not blank:
        return ""
    level = float(grey.mean())
    return "black" if level < 0.05 else "white" if level > 0.95 else "one colour"
