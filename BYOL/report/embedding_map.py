"""A map of the embeddings: PCA and t-SNE, with every picture at hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.report.sample_features import Seen
from BYOL.report.thumbnails import sheet

MOST = 1500  # pictures on the map: more take t-SNE and the eye too long
LEAST = 5  # fewer make no map
_TILE = 48  # pixels, at most
_GRID = 1000  # places are told as whole numbers up to this
_PERPLEXITY = 30.0
_DIMENSIONS = 50  # of the PCA that t-SNE starts from


@dataclass(frozen=True)
class Map:
    """What the page needs to draw a map.

    Args:
        data: for the script: places, labels, names, classes, and how the sheet is laid out.
        sheet: the data URI of all pictures.
        count: pictures on the map.
        explained: share of the variance that the PCA shows.
        classes: names of the classes, or none.
    """

    data: dict[str, Any]
    sheet: str
    count: int
    explained: float
    classes: tuple[str, ...]


def make_map(seen: Seen, seed: int, size: int) -> Map | None:
    """Lay the pictures out by their features, each of length 1.

    Args:
        seen: pictures and features.
        seed: of the choice and of t-SNE.
        size: side in pixels at which the backbone sees.

    Returns:
        None where there are too few pictures.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(seen))[:MOST])
    if len(rows) < LEAST:
        return None
    pca, explained, tsne = layouts(seen.features[rows], seed)
    side = min(size, _TILE)
    uri, columns = sheet(seen.tiles(rows, side))
    labels = seen.labels
    classes = tuple(seen.images.classes) if labels is not None else ()
    data = {
        "tsne": _places(tsne),
        "pca": _places(pca),
        "names": [seen.name(int(row)) for row in rows],
        "labels": [] if labels is None else labels[rows].tolist(),
        "classes": list(classes),
        "side": side,
        "columns": columns,
    }
    return Map(data, uri, len(rows), explained, classes)


def layouts(features: np.ndarray, seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    """PCA (n, 2), the share of variance it shows, and t-SNE (n, 2), which starts from it."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    n, d = directions.shape
    pca = PCA(min(_DIMENSIONS, n, d), random_state=seed)
    with np.errstate(invalid="ignore"):  # pictures that are all alike explain 0 of 0
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


def _places(points: np.ndarray) -> list[list[int]]:
    """Whole numbers in [0, 1000], the same scale both ways, in the middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float((high - low).max()) or 1.0
    middle = (points - (low + high) / 2) / scale + 0.5
    placed: list[list[int]] = np.rint(middle * _GRID).astype(int).tolist()
    return placed
