"""Nearest neighbours of random queries."""

from dataclasses import dataclass

import numpy as np

from BYOL.evaluation.protocols.knn import neighbours
from BYOL.report.sample_features import Samples, Seen
from BYOL.report.thumbnails import CRISP, as_picture, data_uri

QUERIES = 8
NEIGHBOURS = 8
_LARGE = 104  # pixels of a picture that is not small


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Args:
        uri: the picture itself.
        name: its file.
        label: its class, or None.
        similarity: the cosine with the query.
        match: whether it has the query's label; None where either has none.
    """

    uri: str
    name: str
    label: str | None
    similarity: float = 1.0
    match: bool | None = None


@dataclass(frozen=True)
class Gallery:
    """Queries and what is nearest to each.

    Args:
        rows: a query and its neighbours, the nearest first.
        agreeing: mean number of neighbours with the query's label, over all queries and not only
            those shown; None without labels.
        chance: the same for neighbours drawn blindly.
        crisp: whether the pictures are small and shown enlarged.
    """

    rows: tuple[tuple[Picture, tuple[Picture, ...]], ...]
    agreeing: float | None
    chance: float | None
    crisp: bool

    @property
    def count(self) -> int:
        """Neighbours of each query."""
        return len(self.rows[0][1])


def make_gallery(samples: Samples, seed: int, size: int) -> Gallery | None:
    """Neighbours, by the cosine of the features, of queries drawn by the seed.

    Args:
        samples: what was seen.
        seed: of the queries.
        size: side in pixels at which the backbone sees.

    Returns:
        None where there are not two pictures.
    """
    bank, asked = samples.bank, samples.queries
    if len(bank) < 1 + samples.same:
        return None
    similar, found = nearest(samples)
    drawn = np.random.default_rng(seed).permutation(len(asked))[:QUERIES]
    side = size if size <= CRISP else _LARGE
    pictures = dict(zip(drawn.tolist(), asked.tiles(drawn, side), strict=True))
    wanted = np.unique(found[drawn])
    shown = dict(zip(wanted.tolist(), bank.tiles(wanted, side), strict=True))
    rows = []
    for q in drawn.tolist():
        label = asked.class_name(q)
        query = Picture(data_uri(as_picture(pictures[q])), asked.name(q), label)
        near = []
        for b, cosine in zip(found[q].tolist(), similar[q].tolist(), strict=True):
            other = bank.class_name(b)
            match = None if label is None or other is None else label == other
            uri = data_uri(as_picture(shown[b]))
            near.append(Picture(uri, bank.name(b), other, cosine, match))
        rows.append((query, tuple(near)))
    return Gallery(tuple(rows), *_agreement(bank, asked, found), side <= CRISP)


def nearest(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and places in the bank of every query's neighbours, (q, 8) each, itself left out."""
    bank, asked = samples.bank, samples.queries
    similar, found = (
        x.cpu().numpy()
        for x in neighbours(bank.features, asked.features, NEIGHBOURS + samples.same)
    )
    if not samples.same:
        return similar, found
    # Where copies of a picture are in the set, it need not be the first of its own neighbours.
    itself = found == np.arange(len(found))[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(found), found.shape[1] - 1)
    return similar[~itself].reshape(shape), found[~itself].reshape(shape)


def _agreement(bank: Seen, asked: Seen, found: np.ndarray) -> tuple[float | None, float | None]:
    known, truth = bank.labels, asked.labels
    if known is None or truth is None:
        return None, None
    agreeing = float((known[found] == truth[:, None]).sum(axis=1).mean())
    shares = np.bincount(known, minlength=int(truth.max()) + 1) / len(known)
    return agreeing, float(shares[truth].mean() * found.shape[1])
