"""Matching the rows of a CSV file with the images of a data set."""

from collections.abc import Sequence

import numpy as np

from BYOL._console import first_of
from BYOL.data.dataset import Images
from BYOL.data.frame_images import FRAME_MARK, FrameImages
from BYOL.data.image_names import LEVELS, ImageNames
from BYOL.data.shards.dataset import StreamedImages
from BYOL.errors import DataError

Match = tuple[int, int]  # the number of a split, and the index of an image in it


def match_rows(
    parts: Sequence[Images | None], argument: str, rows: dict[str, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Match the rows of a file with the images of a data set.

    A row names an image by its path in DATA, as :meth:`Images.file_name` writes it, or by its path
    in ``train`` or ``test``, by DATA and this path, or by its absolute path. An image in memory is
    named by its index. The name of a shard may be omitted, so rows that fit a folder also fit the
    shards made from it. Where this names no image, the ending may have another case or be missing,
    the separators may be those of Windows, and the folders may be missing. A URL names an image by
    the end of its path. The name of a file stands for all its frames that have no row of their own.

    Args:
        parts: the splits of the data set; None for a missing split.
        argument: see :class:`BYOL.data.csv_rows.RowFile`.
        rows: see :class:`BYOL.data.csv_rows.RowFile`.

    Returns:
        For each part, the (m,) indices of the images that have a row, and the (m,) indices of
        these rows.

    Raises:
        UserError: a row matches several images or none, or two rows match one image.
    """
    splits = {
        number: ImageNames(images) for number, images in enumerate(parts) if images is not None
    }
    row_of: dict[Match, str] = {}
    missing = list(rows)
    for level in LEVELS:
        left = []
        for split in splits.values():
            split.index(level, missing)
        for name in missing:
            found = {
                (number, index) for number, split in splits.items() for index in level(split, name)
            }
            if not found:
                left.append(name)
                continue
            _check_single(argument, name, sorted(found), splits)
            _assign(argument, name, found.pop(), splits, row_of)
        missing = left
        if not missing:
            break
    if missing:
        raise DataError(_missing(argument, missing, splits, len(rows)))
    matched = []
    for number in range(len(parts)):
        pairs = sorted((i, rows[name]) for (part, i), name in row_of.items() if part == number)
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        matched.append((both[:, 0], both[:, 1]))
    return matched


def _assign(
    argument: str,
    name: str,
    found: Match,
    splits: dict[int, "ImageNames"],
    row_of: dict[Match, str],
) -> None:
    """Assign a row to its image, or to all frames of its file that have no row of their own.

    Raises:
        UserError: the image has another row.
    """
    number, index = found
    images = splits[number].images
    whole = isinstance(images, FrameImages) and FRAME_MARK not in name
    for frame in images.frames_of_file(index) if whole else (index,):  # type: ignore[attr-defined]
        other = row_of.setdefault((number, frame), name)
        if other == name or (whole and FRAME_MARK in other):
            continue
        if whole or not isinstance(images, FrameImages) or FRAME_MARK in other:
            raise DataError(f"{argument}: {other} and {name} name the same image")
        row_of[number, frame] = name


def _check_single(
    argument: str, name: str, found: list[Match], splits: dict[int, "ImageNames"]
) -> None:
    """Check that one image has the name of a row.

    Raises:
        UserError: several images have it.
    """
    if len(found) == 1:
        return
    (first, i), (second, j) = found[:2]
    if first != second:
        raise DataError(f"{argument}: {name} is in two folders: put its folder before its name")
    split = splits[first]
    unique = f"SHARD/{name}" if isinstance(split.images, StreamedImages) else "its path in DATA"
    raise DataError(
        f"{argument}: {name} matches two images: name it as {unique} ({split.name(i)}, "
        f"{split.name(j)})"
    )


def _missing(argument: str, missing: list[str], splits: dict[int, "ImageNames"], count: int) -> str:
    """A message about rows without an image, with examples of both spellings."""
    examples = [split.images.file_name(0) for split in splits.values() if len(split.images)][:2]
    column = "; is --file-column missing?" if len(missing) == count else ""
    return (
        f"{argument} names images that are not there ({len(missing):,}): {first_of(missing)}; "
        f"images are named as {', '.join(examples)}{column}"
    )
