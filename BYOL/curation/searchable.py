"""The images that a search compares: their features, or an index of them."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.curation.faiss_index import VectorIndex, build_search_index
from BYOL.curation.feature_description import describe
from BYOL.curation.feature_store import Collection
from BYOL.curation.run_features import Features
from BYOL.curation.saved_index import SavedIndex, load_index, rows_path, save_index
from BYOL.curation.search import WHITENING
from BYOL.evaluation.whitening import whitened_directions, whitening_transform

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Searchable:
    """Images and queries.

    Args:
        collection: the images, followed by the queries. With a saved index only its names, sizes
            and thumbnails of images can be used.
        queries: (q,) positions of the queries in the collection.
        directions: (q, d) whitened features of the queries, of unit length.
        bank: (n, d) those of the images, or an index of them.
    """

    collection: Collection
    queries: np.ndarray
    directions: np.ndarray
    bank: np.ndarray | VectorIndex


@contextmanager
def open_searchable(
    features: Features, query_sets: str, *, faiss: bool, index: Path | None
) -> Iterator[Searchable]:
    """Open the images of ``features`` for a search.

    Args:
        features: the run, with the sets of the images followed by those of the queries.
        query_sets: start of the names of the sets that are queries.
        faiss: whether to use an index of FAISS.
        index: file of a saved index, which is read if it exists and else written; None: no file.

    Raises:
        UserError: the index cannot be used, or no feature can be computed.
    """
    names = list(features.sets)
    first = next(k for k, name in enumerate(names) if name.startswith(query_sets))
    images = {name: features.sets[name] for name in names[:first]}
    description: dict[str, Any] = {}
    if index is not None:
        description = describe(features.run, features.network, images)
        description |= {"mirror": features.with_mirror_images().mirror}
        if index.exists() or rows_path(index).exists():
            saved = load_index(index, description)
            log.info(f"{index}: searching the stored features of {len(saved.index):,} images")
            yield _from_saved(features, saved, first)
            return
    # fitted to DATA only, so that a similarity does not depend on the other queries
    with features.collect(WHITENING, thumbnails=False, fitted=first) as collection:
        count = int((collection.locations[:, 0] < first).sum())
        bank: np.ndarray | VectorIndex = collection.directions[:count]
        if faiss and count:
            bank = build_search_index(collection.directions[:count], features.device)
        if index is not None and isinstance(bank, VectorIndex):
            whitening = whitening_transform(collection.features[:count], WHITENING)
            saved = SavedIndex(bank, *whitening, collection.locations[:count])
            save_index(index, saved, description)
        queries = np.arange(count, len(collection))
        yield Searchable(collection, queries, collection.directions[count:], bank)


def _from_saved(features: Features, saved: SavedIndex, first: int) -> Searchable:
    """The images of a saved index, and the queries, which are the sets from number ``first`` on."""
    d = len(saved.mean)
    sets = dict(list(features.sets.items())[first:])
    numbers = {name: k for k, name in enumerate(features.sets)}
    features = features.with_mirror_images()
    queries_only = dataclasses.replace(features, sets=sets, stored=None)
    directions, locations = [np.empty((0, d), np.float32)], [saved.locations]
    for name, _, ids, vectors in queries_only.batches():
        directions.append(whitened_directions(vectors, saved.mean, saved.transform))
        locations.append(np.stack([np.full_like(ids, numbers[name]), ids], axis=1))
    places, empty = np.concatenate(locations), np.empty((0, 0), np.float32)
    collection = Collection(empty, empty, empty, features.sets, places, np.empty(0, np.float32))
    count = len(saved.locations)
    queries = np.arange(count, len(places))
    return Searchable(collection, queries, np.concatenate(directions), saved.index)
