"""The command ``byol duplicates``."""

import logging
import math
from pathlib import Path
from typing import Any

from BYOL._files import check_output_file, write_csv
from BYOL.cli.commands.common import Answer, images_text
from BYOL.config.curation import DuplicatesConfig
from BYOL.curation.candidates import FAISS_THRESHOLD, THRESHOLD
from BYOL.curation.contact_sheet import COLUMNS, SIDE, Tile, save_grid
from BYOL.curation.duplicates import Member, duplicate_groups
from BYOL.curation.faiss_index import uses_faiss
from BYOL.curation.feature_store import Collection
from BYOL.curation.identical_files import find_aliases
from BYOL.curation.run_features import Features, open_features
from BYOL.data.dataset import FileImages
from BYOL.data.file_list import write_list
from BYOL.errors import UserError

log = logging.getLogger(__name__)
CAUTION = (
    "Nothing was deleted. Look at the groups (--grid FILE.png) before you delete anything: a "
    "backbone with little training confuses plain images with copies of each other."
)
_DRAWN = 40  # maximum number of groups in the contact sheet
COLUMN_NAMES = (
    "group", "file", "similarity", "identical", "height", "width", "suggestion",
)  # fmt: skip


def duplicates_run(config: DuplicatesConfig) -> Answer:
    """Find groups of near-identical images, and suggest which image of each to keep.

    Raises:
        UserError: there is no run, there are no images, or a file cannot be written.
    """
    out = check_output_file("out", config.out, ".csv")
    grid = None if config.grid is None else check_output_file("grid", config.grid, ".png")
    kept = None if config.kept is None else check_output_file("kept", config.kept, ".txt")
    features = open_features(config)
    if kept:
        _check_listable(kept, features)
    _check_splits(config, features)
    _log_missing_mirror(config, features)
    faiss = uses_faiss(config.neighbour_search, _comparisons(features, config), features.total)
    with features.collect() as collection:
        further = find_aliases(collection)
        groups = _groups(collection, config, features, further, faiss)
        rows = [_row(collection, k, m) for k, group in enumerate(groups, 1) for m in group]
        surplus = {m.position for group in groups for m in group if not m.keep}
        write_csv(out, COLUMN_NAMES, rows)
        if grid:
            _draw(collection, groups, grid)
        if kept:
            places = (i for i in range(len(collection)) if i not in surplus and i not in further)
            write_list(kept, (_path(collection, place) for place in places))
        count = len(collection)
    answer = {
        "out": str(out),
        "grid": str(grid) if grid else None,
        "kept": str(kept) if kept else None,
        "pictures": count,
        "left_out": features.total - count,
        "further_names": len(further),
        "between": list(config.between) if config.between else None,
        "groups": len(groups),
        "surplus": len(surplus),
        "identical": sum(member.identical for group in groups for member in group),
        "duplicates": [dict(zip(COLUMN_NAMES, row, strict=True)) for row in rows],
    }
    return answer, _text(answer)


def _log_missing_mirror(config: DuplicatesConfig, features: Features) -> None:
    if features.stored and not features.mirror:
        log.info(
            f"--features={config.features}: mirrored copies may be missed, because these features "
            "are not averaged over mirror images (byol embed --mirror)"
        )


def _check_splits(config: DuplicatesConfig, features: Features) -> None:
    if config.between and len(features.sets) < 2:
        raise UserError(
            f"--between={','.join(config.between)} needs a training and a test split: DATA has "
            f"only {next(iter(features.sets))}; byol evaluate compares the images that it holds out"
        )


def _comparisons(features: Features, config: DuplicatesConfig) -> int:
    """The number of pairs of images that the exact search compares."""
    if config.between:
        return math.prod(map(len, features.sets.values()))
    return features.total * (features.total - 1) // 2


def _groups(
    collection: Collection,
    config: DuplicatesConfig,
    features: Features,
    further: dict[int, int],
    faiss: bool,
) -> list[list[Member]]:
    threshold = config.threshold
    if threshold is None:
        threshold = FAISS_THRESHOLD if faiss else THRESHOLD
    between = bool(config.between)
    return duplicate_groups(collection, threshold, features.device, further, between, faiss)


def _text(found: dict[str, Any]) -> str:
    further, groups = found["further_names"], found["groups"]
    links = f", {further:,} of them aliases of the same files" if further else ""
    across = " with images on both sides" if found["between"] else ""
    drawn = f", drawn in {found['grid']}" if found["grid"] else ""
    drawn += f" (the first {_DRAWN})" if found["grid"] and groups > _DRAWN else ""
    kept = f"; the others are listed in {found['kept']}" if found["kept"] else ""
    images = images_text(found["pictures"], found["left_out"])
    return (
        f"{images}{links}: {groups:,} groups of near-identical ones{across}"
        f"{drawn}; {found['surplus']:,} could be removed, listed in {found['out']}{kept}"
        + (f"\n{CAUTION}" if groups else "")
    )


def _check_listable(kept: Path, features: Features) -> None:
    for images in features.sets.values():
        if not isinstance(images, FileImages) or images.has_frames:
            raise UserError(f"--kept={kept} requires images that are separate files")
        if images.paths.holds(b"\n") or images.paths.holds(b"\r"):
            names = map(images.paths.__getitem__, range(len(images)))
            name = next(name for name in names if "\n" in name or "\r" in name)
            raise UserError(f"--kept={kept}: {name!r} has a line break in its name")


def _path(collection: Collection, place: int) -> str:
    images, index = collection.location(place)
    assert isinstance(images, FileImages)  # see _check_listable
    return str(images.encoded(index))


def _row(collection: Collection, group: int, member: Member) -> tuple[object, ...]:
    return (
        group,
        collection.file(member.position),
        round(member.similarity, 4),
        "yes" if member.identical else "no",
        *member.size,
        "keep" if member.keep else "remove",
    )


def _draw(collection: Collection, groups: list[list[Member]], path: Path) -> None:
    rows = []
    for number, group in enumerate(groups[:_DRAWN], 1):
        row = []
        for member in group[:COLUMNS]:
            image = collection.thumbnail(member.position, SIDE)
            if image is None:
                continue
            height, width = member.size
            first = f"{number}: {'keep' if member.keep else 'remove'}  {member.similarity:.2f}"
            name = Path(collection.file(member.position)).name
            mood = "good" if member.keep else "bad"
            row.append(Tile(image, (first, f"{width} × {height}", name), mood))
        rows.append(row)
    save_grid(rows, path)
