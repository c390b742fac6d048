"""Matching the rows of a CSV file with the images of a data set."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from BYOL._console import first_of
from BYOL.data.csv_table import windows_text
from BYOL.data.dataset import FileImages, Images
from BYOL.data.formats.supported import SUFFIXES
from BYOL.data.frame_images import FRAME_MARK, FrameImages
from BYOL.data.label_studio import is_place, path_of_place, without_upload_prefix
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.write import member_key
from BYOL.errors import DataError

Match = tuple[int, int]  # the number of a split, and the index of an image in it
_COMPRESSED = (".gz", ".bz2", ".zst")


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
    splits = {number: _Names(images) for number, images in enumerate(parts) if images is not None}
    row_of: dict[Match, str] = {}
    missing = list(rows)
    for level in _LEVELS:
        left = []
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
    splits: dict[int, "_Names"],
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
    argument: str, name: str, found: list[Match], splits: dict[int, "_Names"]
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
        f"{argument}: {name} matches two images: name it as {unique} ({split.own[i]}, "
        f"{split.own[j]})"
    )


def _missing(argument: str, missing: list[str], splits: dict[int, "_Names"], count: int) -> str:
    """A message about rows without an image, with examples of both spellings."""
    examples = [split.images.file_name(0) for split in splits.values() if split.own][:2]
    column = "; is --file-column missing?" if len(missing) == count else ""
    return (
        f"{argument} names images that are not there ({len(missing):,}): {first_of(missing)}; "
        f"images are named as {', '.join(examples)}{column}"
    )


class _Names:
    """The names of the images of a split, indexed when a row needs them.

    Args:
        images: the split.
    """

    def __init__(self, images: Images):
        self.images = images
        self.own = [images.sample_name(i).replace(os.sep, "/") for i in range(len(images))]
        self._indexed: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        self._spelled: dict[str, list[str]] = {}
        self._folders = tuple(f"{folder}/" for folder in _folders(images))
        tar = isinstance(images, StreamedImages) and images.index.kind != "parquet"
        self._is_tar = tar  # Parquet keeps the original paths

    def find(self, kind: str, names: Iterable[str]) -> set[int]:
        """At most two images per name, looked up by ``kind``, a key of :data:`_KEYS`."""
        of_image, of_row = _KEYS[kind]
        if kind not in self._indexed:
            first: dict[str, int] = {}
            second: dict[str, int] = {}
            for name, index in self._named(kind):
                key = of_image(name)
                if first.setdefault(key, index) != index:
                    second[key] = index
            self._indexed[kind] = first, second
        keys = {of_row(name) for name in names}
        return {found[key] for found in self._indexed[kind] for key in keys if key in found}

    def spellings(self, name: str) -> list[str]:
        """``name`` relative to the split, with ``/`` between folders, in all accepted ways."""
        if name not in self._spelled:
            self._spelled[name] = self._spellings(name)
        return self._spelled[name]

    def _spellings(self, name: str) -> list[str]:
        names = {name: None, name.strip(): None}
        with suppress(UnicodeDecodeError):
            names[windows_text(name)] = None
        for text in list(names):
            if "\\" in text:
                names[Path(text.replace("\\", "/")).as_posix()] = None
        for text in list(names):
            for folder in self._folders:
                if text.startswith(folder):
                    names[text[len(folder) :]] = None
        if self._is_tar:
            names |= {"".join(member_key(text)): None for text in list(names)}
        return list(names)

    def _named(self, kind: str) -> Iterator[tuple[str, int]]:
        """Yield names and the indices of their images."""
        has_frames = isinstance(self.images, FrameImages)
        if kind == "own" or (kind != "inner" and not has_frames):
            yield from ((name, index) for index, name in enumerate(self.own))
        if has_frames:  # a file is known by its first frame
            files = (name.partition(FRAME_MARK)[0] for name in self.own)
            first = {file: index for index, file in reversed(list(enumerate(files)))}
            yield from first.items()
        if kind == "own" or not isinstance(self.images, StreamedImages):
            return
        for index, name in enumerate(self.own):
            inner = Path(self.images.inner_name(index)).as_posix()
            yield inner, index
            yield f"{re.split(r'[-_.]', name)[0]}/{inner}", index  # train/… for train-000000.tar


def _folders(images: Images) -> tuple[str, ...]:
    """The prefixes accepted before a path: the split, and the folder as passed or absolute."""
    prefix = images.prefix.rstrip("/")
    if not isinstance(images, FileImages):
        return (prefix,) if prefix else ()
    absolute = Path(os.path.abspath(images.root))  # noqa: PTH100  # symlinks are not resolved
    return images.root.name, images.root.as_posix(), absolute.as_posix()


def _without_ending(name: str) -> str:
    stem, ending = os.path.splitext(name)  # noqa: PTH122
    if ending.lower() in _COMPRESSED:
        stem, inner = os.path.splitext(stem)  # noqa: PTH122
        ending = inner + ending
    return stem


def _lower_ending(name: str) -> str:
    stem = _without_ending(name)
    return stem + name[len(stem) :].lower()


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _last_lower(name: str) -> str:
    return _lower_ending(_last(name))


def _last_without_ending(name: str) -> str:
    return _without_ending(_last(name))


# How a name of an image and a name of a row become a key.
_KEYS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "own": (str, str),
    "inner": (str, str),
    "lower": (_lower_ending, _lower_ending),
    "stem": (_without_ending, str),
    "base": (_last, str),
    "base lower": (_last_lower, _lower_ending),
    "base stem": (_last_without_ending, str),
}


def _exact(split: _Names, name: str) -> set[int]:
    return split.find("own", [name])


def _spelled(kind: str, *, base: bool = False, ending: bool = True) -> Callable[..., set[int]]:
    """A level of the search: names of one kind, alone or without their folder or ending."""

    def level(split: _Names, name: str) -> set[int]:
        names = split.spellings(name)
        if base:
            names = [text for text in names if "/" not in text]
        if not ending:
            names = [text for text in names if os.path.splitext(text)[1].lower() not in SUFFIXES]  # noqa: PTH122
        return split.find(kind, names) if names else set()

    return level


def _place(split: _Names, name: str) -> set[int]:
    """The images whose path is the longest end of the path of a URL."""
    if not is_place(name.strip()):
        return set()
    parts = path_of_place(name.strip())
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    for last in dict.fromkeys((*ends, *map(without_upload_prefix, parts[-1:]))):
        for kind in ("own", "inner", "lower"):
            if found := split.find(kind, [last]):
                return found
    return split.find("base lower", [parts[-1], without_upload_prefix(parts[-1])] if parts else [])


_LEVELS: tuple[Callable[[_Names, str], set[int]], ...] = (
    _exact,
    _spelled("own"),
    _spelled("inner"),
    _spelled("lower"),
    _spelled("stem", ending=False),
    _spelled("base", base=True),
    _spelled("base lower", base=True),
    _spelled("base stem", base=True, ending=False),
    _place,
)
