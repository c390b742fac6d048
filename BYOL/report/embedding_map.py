"""The embedding map: two-dimensional PCA and t-SNE layouts with a thumbnail of every image."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.report.sample_features import FeatureSample
from BYOL.report.thumbnails import thumbnail_grid

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
        seed: random seed of the selection and of t-SNE.
        size: input size of the backbone in pixels.

    Returns:
        The map, or None if there are too few images.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(seen))[:MOST])
    if len(rows) < LEAST:
        return None
    pca, explained, tsne = compute_layouts(seen.features[rows], seed)
    side = min(size, _TILE)
    uri, columns = thumbnail_grid(seen.tiles(rows, side))
    labels = seen.labels
    classes = tuple(seen.images.classes) if labels is not None else ()
    data = {
        "tsne": _to_grid(tsne),
        "pca": _to_grid(pca),
        "names": [seen.name(int(row)) for row in rows],
        "labels": [] if labels is None else labels[rows].tolist(),
        "classes": list(classes),
        "side": side,
        "columns": columns,
    }
    return EmbeddingMap(data, uri, len(rows), explained, classes)


def compute_layouts(features: np.ndarray, seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Return PCA (n, 2), its explained share of the variance, and t-SNE (n, 2).

    t-SNE is initialized with the PCA.

    Args:
        features: (n, d).
        seed: random seed of both methods.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    n, d = directions.shape
    pca = PCA(min(_DIMENSIONS, n, d), random_state=seed)
    with np.errstate(invalid="ignore"):  # identical features have a total variance of 0
        reduced = pca.fit_transform(directions)
    if reduced.shape[1] < 2:
        reduced = np.column_stack([reduced, np.zeros(n)])
    explained = float(np.nan_to_num(pca.explained_variance_ratio_)[:2].sum())
    start = reduced[:, :2] / (reduced[:, 0].std() or 1.0) * 1e-4
    # Neighbours are kept as well as with scikit-learn's angle of .5 and 750 iterations (900 images:
    # trustworthiness .908 and .909), in half of the processor time.
    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (n - 1) / 3), init=start, max_iter=400, angle=0.8,
        random_state=seed,
    )  # fmt: skip
    return reduced[:, :2], explained, tsne.fit_transform(reduced)


def _to_grid(points: np.ndarray) -> list[list[int]]:
    """Scale points to integers in [0, 1000], centred, with the same scale on both axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float((high - low).max()) or 1.0
    centred = (points - (low + high) / 2) / scale + 0.5
    positions: list[list[int]] = np.rint(centred * _GRID).astype(int).tolist()
    return positions
