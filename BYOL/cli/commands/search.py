"""The command ``byol search``."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from BYOL._files import check_output_file, write_csv
from BYOL.cli.commands.common import Answer, images_text
from BYOL.config.curation import SearchConfig
from BYOL.curation.contact_sheet import COLUMNS, SIDE, Tile, save_grid
from BYOL.curation.faiss_index import uses_faiss
from BYOL.curation.feature_store import Collection
from BYOL.curation.outputs import output_files
from BYOL.curation.run_features import Features, open_features
from BYOL.curation.run_images import open_images_of_flag
from BYOL.curation.saved_index import check_index_path
from BYOL.curation.search import nearest_images
from BYOL.curation.searchable import Searchable, open_searchable
from BYOL.errors import UserError

_DRAWN = 40  # maximum number of lists in the contact sheet
_SHOWN = 3 * COLUMNS  # maximum number of results of each list in the contact sheet
_LIKE = "like"  # the image set of the queries
_SPARE = 16  # additional results, because some may be aliases of the query file
COLUMN_NAMES = ("like", "rank", "file", "similarity")

# The name of a query, its images, and its results with similarities.
Lists = list[tuple[str, list[int], list[tuple[int, float]]]]


def search_run(config: SearchConfig) -> Answer:
    """Find the images that are most similar to the query images, in the order of similarity.

    Raises:
        UserError: there is no run, there are no images or no query images, or a file cannot be
            written.
    """
    out = check_output_file("out", config.out, ".csv")
    grid = None if config.grid is None else check_output_file("grid", config.grid, ".png")
    index = None if config.index is None else check_index_path(config.index)
    features = _with_queries(open_features(config), config)
    faiss = _uses_faiss(features, config)
    with open_searchable(features, _LIKE, faiss=faiss, index=index) as searchable:
        collection = searchable.collection
        lists = _lists(searchable, config)
        rows = list(_rows(collection, lists))
        write_csv(out, COLUMN_NAMES, rows)
        if grid:
            _draw(collection, lists, grid)
        asked = sum(len(queries) for _, queries, _ in lists)
        answer = {
            "out": str(out),
            "grid": str(grid) if grid else None,
            "index": str(index) if index else None,
            "like": asked,
            "pictures": len(collection) - asked,
            "left_out": features.total - len(collection),
            "found": [dict(zip(COLUMN_NAMES, row, strict=True)) for row in rows],
        }
    return answer, _text(answer, lists, config.together)


def _with_queries(features: Features, config: SearchConfig) -> Features:
    """The features with the query images as an additional set."""
    assert config.like is not None
    found = open_images_of_flag(
        features.run, config.like, config.data_root, "like", output_files(config)
    )
    queries = {_LIKE: found.train} | ({f"{_LIKE} (test)": found.test} if found.test else {})
    return dataclasses.replace(features, sets={**features.sets, **queries})


def _uses_faiss(features: Features, config: SearchConfig) -> bool:
    """Whether the images are searched with an index of FAISS."""
    queries = sum(len(part) for name, part in features.sets.items() if name.startswith(_LIKE))
    images = features.total - queries
    comparisons = images * (1 if config.together else queries)
    return config.index is not None or uses_faiss(config.neighbour_search, comparisons, images)


def _lists(searchable: Searchable, config: SearchConfig) -> Lists:
    """The results of every query, or of all as one query; a query image is never a result."""
    collection, asked = searchable.collection, searchable.queries.tolist()
    if not asked:
        raise UserError(f"--like={config.like}: none of its images can be read")
    if not len(searchable.bank):
        raise UserError("DATA: none of its images can be read")
    groups = [asked] if config.together else [[place] for place in asked]
    spare = _SPARE + len(groups[0])
    found = nearest_images(
        searchable.directions, searchable.bank, config.count + spare, combine=config.together
    )
    lists: Lists = []
    for group, places, cosines in zip(groups, found.positions, found.similarity, strict=True):
        own = {collection.identity(place) for place in group} - {None}
        same = [place for place in places.tolist() if collection.identity(place) in own]
        name = str(config.like) if config.together else _query_name(collection, group[0], same)
        others = [
            (place, cosine)
            for place, cosine in zip(places.tolist(), cosines.tolist(), strict=True)
            if place not in same
        ]
        lists.append((name, group, others[: config.count]))
    return lists


def _query_name(collection: Collection, query: int, same: list[int]) -> str:
    """The name of a query, which is that in DATA if it is one of its files.

    Args:
        collection: the images and the queries.
        query: the position of the query.
        same: positions of the images of DATA that are the file of the query.
    """
    names = [collection.file(place) for place in (*same, query)]
    last = names[-1].rpartition("/")[2]
    return next(name for name in names if name.rpartition("/")[2] == last)


def _rows(collection: Collection, lists: Lists) -> Iterator[tuple[object, ...]]:
    for like, _, results in lists:
        for rank, (place, cosine) in enumerate(results, 1):
            yield like, rank, collection.file(place), round(cosine, 4)


def _text(answer: dict[str, Any], lists: Lists, together: bool) -> str:
    drawn = f", drawn in {answer['grid']}" if answer["grid"] else ""
    drawn += f" (the first {_DRAWN})" if answer["grid"] and len(lists) > _DRAWN else ""
    queries = "the query image"
    if answer["like"] > 1:
        queries = f"{answer['like']:,} query images" + (" together" if together else " each")
    count = max(len(results) for _, _, results in lists)
    return (
        f"{images_text(answer['pictures'], answer['left_out'])}: the {count:,} most similar to "
        f"{queries}, in {answer['out']}{drawn}"
    )


def _draw(collection: Collection, lists: Lists, path: Path) -> None:
    """Save a contact sheet with a row of query images and results for every list."""
    rows = []
    for _, queries, results in lists[:_DRAWN]:
        asked = [_tile(collection, place, "like", "good") for place in queries[:COLUMNS]]
        found = [
            _tile(collection, place, f"{rank}: {cosine:.3f}")
            for rank, (place, cosine) in enumerate(results[:_SHOWN], 1)
        ]
        rows.append([tile for tile in (*asked, *found) if tile])
    save_grid(rows, path)


def _tile(collection: Collection, place: int, text: str, mood: str = "") -> Tile | None:
    image = collection.thumbnail(place, SIDE)
    if image is None:
        return None
    return Tile(image, (text, Path(collection.file(place)).name), mood)
