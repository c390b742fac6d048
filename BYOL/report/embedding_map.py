"""The embedding map: two-dimensional PCA and t-SNE layouts with a thumbnail of every image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from BYOL.report.sample_features import FeatureSample
from BYOL.report.thumbnails import thumbnail_grid
from BYOL.report.tsne import tsne

MOST = 1500  # images; more would make t-SNE slow and the map unreadable
LEAST = 5  # images; fewer do not make a useful map
_TILE = 48  # largest side length of a thumbnail in pixels
_GRID = 1000  # positions are integers from 0 to this value
_PERPLEXITY = 30.0
_DIMENSIONS = 50  # dimensions of the PCA that is the input of t-SNE


@dataclass(frozen=True)
class EmbeddingMap:
    """The data of an embedding map.

    Args:
        data: for the script: positions, labels, names, classes and the layout of ``sheet``.
        sheet: data URI of an image with all thumbnails.
        count: number of images on the map.
        explained: share of the variance that the first two principal components explain.
        classes: names of the classes; empty without labels.
    """

    data: dict[str, Any]
    sheet: str
    count: int
    explained: float
    classes: tuple[str, ...]


def build_embedding_map(seen: FeatureSample, seed: int, size: int) -> EmbeddingMap | None:
    """Compute the layouts of the images by their normalized features.

    Args:
        seen: images and features.
        seed: random seed of the selection.
        size: input size of the backbone in pixels.

    Returns:
        The map, or None if there are too few images.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(seen))[:MOST])
    if len(rows) < LEAST:
        return None
    pca, explained, tsne = compute_layouts(seen.features[rows])
    side = min(size, _TILE)
    uri, columns = thumbnail_grid(seen.tiles(rows, side))
    known = seen.labelled
    classes = known.classes if known is not None else ()
    data = {
        "tsne": _to_grid(tsne),
        "pca": _to_grid(pca),
        "names": [seen.name(int(row)) for row in rows],
        "labels": [] if known is None else known.labels[rows].tolist(),
        "classes": list(classes),
        "side": side,
        "columns": columns,
    }
    return EmbeddingMap(data, uri, len(rows), explained, classes)


def compute_layouts(features: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Return PCA (n, 2), its explained share of the variance, and t-SNE (n, 2).

    t-SNE is initialized with the PCA, so no layout is random.

    Args:
        features: (n, d).
    """
    directions = F.normalize(torch.from_numpy(features).float(), dim=1)
    n = len(directions)
    u, s, _ = torch.linalg.svd(directions - directions.mean(dim=0), full_matrices=False)
    reduced = F.pad(u * s, (0, max(2 - len(s), 0)))[:, :_DIMENSIONS]
    explained = float((s[:2].square().sum() / s.square().sum()).nan_to_num())
    start = 1e-4 * reduced[:, :2] / reduced[:, 0].std().clamp(min=1e-12)
    layout = tsne(reduced, start, min(_PERPLEXITY, (n - 1) / 3))
    return reduced[:, :2].numpy(), explained, layout.numpy()


def _to_grid(points: np.ndarray) -> list[list[int]]:
    """Scale points to integers in [0, 1000], centred, with the same scale on both axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float((high - low).max()) or 1.0
    centred = (points - (low + high) / 2) / scale + 0.5
    positions: list[list[int]] = np.rint(centred * _GRID).astype(int).tolist()
    return positions
