"""``byol search``."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._console import counted
from BYOL._csv import check_output, write_table
from BYOL.cli.commands.common import Answer
from BYOL.config.curation import SearchConfig
from BYOL.curation.contact_sheet import COLUMNS, SIDE, Tile, save_grid
from BYOL.curation.feature_store import Collection
from BYOL.curation.run_features import Features, open_features
from BYOL.curation.run_images import open_images_of_flag
from BYOL.curation.search import WHITENING, nearest_images
from BYOL.errors import UserError

_DRAWN = 40  # lists in the picture
_SHOWN = 3 * COLUMNS  # answers of each that are drawn
_LIKE = "like"  # the set of what is looked for
_SPARE = 16  # answers more than asked for, as some may be names of the question's own file
COLUMN_NAMES = ("like", "rank", "file", "similarity")

# Questions, and their answers with the similarities of these.
Lists = list[tuple[list[int], list[tuple[int, float]]]]


def search_run(config: SearchConfig) -> Answer:
    """``byol search``: the pictures most like given ones, the most alike first.

    Raises:
        UserError: no run, no pictures, none to look for, a wrong ending, a file that cannot be
            written.
    """
    out = check_output("out", config.out, ".csv")
    grid = None if config.grid is None else check_output("grid", config.grid, ".png")
    features = _with_questions(open_features(config), config)
    with features.collect(WHITENING) as collection:
        lists = _lists(collection, config)
        rows = list(_rows(collection, lists, config))
        write_table(out, COLUMN_NAMES, rows)
        if grid:
            _draw(collection, lists, grid)
        asked = sum(len(questions) for questions, _ in lists)
        answer = {
            "out": str(out),
            "grid": str(grid) if grid else None,
            "like": asked,
            "pictures": len(collection) - asked,
            "left_out": features.total - len(collection),
            "found": [dict(zip(COLUMN_NAMES, row, strict=True)) for row in rows],
        }
    return answer, _text(answer, lists, config.together)


def _with_questions(features: Features, config: SearchConfig) -> Features:
    """What is looked for as a further set, that it be looked at as the others are."""
    assert config.like is not None
    found = open_images_of_flag(features.run, config.like, config.data_root, "like")
    questions = {_LIKE: found.train} | ({f"{_LIKE} (test)": found.test} if found.test else {})
    return dataclasses.replace(features, sets={**features.sets, **questions})


def _lists(collection: Collection, config: SearchConfig) -> Lists:
    """Answers to every question, or to all as one; a question is no answer to itself."""
    names = list(collection.sets)
    numbers = [number for number, name in enumerate(names) if name.startswith(_LIKE)]
    questions = np.isin(collection.locations[:, 0], numbers)
    asked, among = np.flatnonzero(questions), np.flatnonzero(~questions)
    if not len(asked):
        raise UserError(f"--like={config.like}: not one of its pictures can be read")
    if not len(among):
        raise UserError("DATA: not one of its pictures can be read")
    groups = [asked.tolist()] if config.together else [[place] for place in asked.tolist()]
    spare = _SPARE + len(groups[0])
    found = nearest_images(collection, asked, among, config.count + spare, combine=config.together)
    lists: Lists = []
    for group, places, cosines in zip(groups, found.positions, found.similarity, strict=True):
        own = {collection.identity(place) for place in group} - {None}
        others = [
            (place, cosine)
            for place, cosine in zip(places.tolist(), cosines.tolist(), strict=True)
            if collection.identity(place) not in own
        ]
        lists.append((group, others[: config.count]))
    return lists


def _rows(
    collection: Collection, lists: Lists, config: SearchConfig
) -> Iterator[tuple[object, ...]]:
    for questions, answers in lists:
        like = config.like if config.together else collection.file(questions[0])
        for rank, (place, cosine) in enumerate(answers, 1):
            yield like, rank, collection.file(place), round(cosine, 4)


def _text(answer: dict[str, Any], lists: Lists, together: bool) -> str:
    left = f" ({answer['left_out']:,} more could not be read)" if answer["left_out"] else ""
    drawn = f", drawn in {answer['grid']}" if answer["grid"] else ""
    drawn += f" (the first {_DRAWN})" if answer["grid"] and len(lists) > _DRAWN else ""
    asked = "the given one"
    if answer["like"] > 1:
        asked = f"{answer['like']:,} given ones " + ("together" if together else "each")
    count = max(len(answers) for _, answers in lists)
    return (
        f"{counted(answer['pictures'], 'picture')}{left}: the {count:,} most like {asked}, in "
        f"{answer['out']}{drawn}"
    )


def _draw(collection: Collection, lists: Lists, path: Path) -> None:
    """For every list a row of what was asked and one of what was found."""
    rows = []
    for questions, answers in lists[:_DRAWN]:
        asked = [_tile(collection, place, "like", "good") for place in questions[:COLUMNS]]
        found = [
            _tile(collection, place, f"{rank}: {cosine:.3f}")
            for rank, (place, cosine) in enumerate(answers[:_SHOWN], 1)
        ]
        rows.append([tile for tile in (*asked, *found) if tile])
    save_grid(rows, path)


def _tile(collection: Collection, place: int, said: str, mood: str = "") -> Tile | None:
    picture = collection.thumbnail(place, SIDE)
    if picture is None:
        return None
    return Tile(picture, (said, Path(collection.file(place)).name), mood)
