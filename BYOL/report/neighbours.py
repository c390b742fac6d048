"""The nearest neighbours of random query images."""

from dataclasses import dataclass

import numpy as np

from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.report.sample_features import Samples
from BYOL.report.thumbnails import CRISP, data_uri, to_image

QUERIES = 8
NEIGHBOURS = 8
_LARGE = 104  # side length in pixels at which large images are shown


@dataclass(frozen=True)
class GalleryImage:
    """An image on the page.

    Args:
        uri: data URI of the image.
        name: file name of the image.
        label: class of the image, or None.
        similarity: cosine with the query.
        match: whether it has the label of the query; None if either has no label.
    """

    uri: str
    name: str
    label: str | None
    similarity: float = 1.0
    match: bool | None = None


@dataclass(frozen=True)
class Gallery:
    """Query images and their nearest neighbours.

    Args:
        rows: each query with its neighbours, nearest first.
        same_label: mean number of neighbours with the label of the query, over all queries and not
            only those on the page; None without labels.
        chance: the expected number for randomly chosen neighbours; None without labels.
        crisp: whether the images are small and shown enlarged.
    """

    rows: tuple[tuple[GalleryImage, tuple[GalleryImage, ...]], ...]
    same_label: float | None
    chance: float | None
    crisp: bool

    @property
    def count(self) -> int:
        """The number of neighbours of each query."""
        return len(self.rows[0][1])


def build_gallery(samples: Samples, seed: int, size: int) -> Gallery | None:
    """Return the nearest neighbours, by the cosine of the features, of random queries.

    Args:
        samples: images and features.
        seed: random seed of the queries.
        size: input size of the backbone in pixels.

    Returns:
        The gallery, or None if there are fewer than two images.
    """
    bank, queries = samples.bank, samples.queries
    if len(bank) < 1 + samples.same:
        return None
    cosines, indices = gallery_neighbours(samples)
    drawn = np.random.default_rng(seed).permutation(len(queries))[:QUERIES]
    side = size if size <= CRISP else _LARGE
    query_tiles = dict(zip(drawn.tolist(), queries.tiles(drawn, side), strict=True))
    needed = np.unique(indices[drawn])
    bank_tiles = dict(zip(needed.tolist(), bank.tiles(needed, side), strict=True))
    rows = []
    for q in drawn.tolist():
        label = queries.class_name(q)
        query = GalleryImage(data_uri(to_image(query_tiles[q])), queries.name(q), label)
        near = []
        for b, cosine in zip(indices[q].tolist(), cosines[q].tolist(), strict=True):
            bank_label = bank.class_name(b)
            match = None if label is None or bank_label is None else label == bank_label
            uri = data_uri(to_image(bank_tiles[b]))
            near.append(GalleryImage(uri, bank.name(b), bank_label, cosine, match))
        rows.append((query, tuple(near)))
    return Gallery(tuple(rows), *_agreement(samples, indices), side <= CRISP)


def gallery_neighbours(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return cosines and bank positions of the neighbours of every query, (q, 8) each.

    A query that is in the bank is not its own neighbour.
    """
    bank, queries = samples.bank.features, samples.queries.features
    exclude = np.arange(len(queries)) if samples.same else None
    cosines, indices = nearest_neighbours(bank, queries, NEIGHBOURS, exclude=exclude)
    return cosines.cpu().numpy(), indices.cpu().numpy()


def _agreement(samples: Samples, indices: np.ndarray) -> tuple[float | None, float | None]:
    known, asked = samples.bank.labelled, samples.queries.labelled
    if known is None or asked is None:
        return None, None
    bank_labels, query_labels, own = known.labels, asked.labels, int(samples.same)
    agreeing = float((bank_labels[indices] == query_labels[:, None]).sum(axis=1).mean())
    counts = np.bincount(bank_labels, minlength=int(query_labels.max()) + 1)
    # a query in the bank is not its own neighbour
    shares = (counts[query_labels] - own) / (len(bank_labels) - own)
    return agreeing, float(shares.mean() * indices.shape[1])
