"""The names of the images of a split, and the ways in which rows of a file may spell them."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from BYOL.data.csv_table import windows_text
from BYOL.data.dataset import FileImages, Images
from BYOL.data.formats.supported import SUFFIXES
from BYOL.data.frame_images import FRAME_MARK, FrameImages
from BYOL.data.label_studio import is_place, path_of_place, without_upload_prefix
from BYOL.data.shards.dataset import StreamedImages

_COMPRESSED = (".gz", ".bz2", ".zst")


class ImageNames:
    """The names of the images of a split.

    Only names that rows ask for are kept, so that memory does not grow with the number of images.

    Args:
        images: the split.
    """

    def __init__(self, images: Images):
        self.images = images
        self._wanted: dict[str, set[str]] | None = None  # keys by kind, while they are collected
        self._indexed: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        self._spelled: dict[str, list[str]] = {}
        self._folders = tuple(f"{folder}/" for folder in _folders(images))

    def name(self, index: int) -> str:
        """The name of the image at ``index``, with ``/`` between folders."""
        return self.images.sample_name(index).replace(os.sep, "/")

    def index(self, level: "Level", rows: Sequence[str]) -> None:
        """Read the names of all images once, and keep those that ``level`` looks up for ``rows``.

        The level is called for every row before, and finds nothing, so it looks up all it may need.
        """
        self._wanted = defaultdict(set)
        for name in rows:
            level(self, name)
        wanted, self._wanted = self._wanted, None
        self._indexed = {kind: self._read(kind, keys) for kind, keys in wanted.items()}

    def _read(self, kind: str, keys: set[str]) -> tuple[dict[str, int], dict[str, int]]:
        """The first image with each of ``keys``, and another one if there is any."""
        first: dict[str, int] = {}
        second: dict[str, int] = {}
        of_image, _ = _KEYS[kind]
        for name, index in self._named(kind):
            key = of_image(name)
            if key in keys and first.setdefault(key, index) != index:
                second[key] = index
        return first, second

    def find(self, kind: str, names: Iterable[str]) -> set[int]:
        """At most two images per name, looked up by ``kind``, a key of :data:`_KEYS`."""
        _, of_row = _KEYS[kind]
        keys = {of_row(name) for name in names}
        if self._wanted is not None:
            self._wanted[kind] |= keys
            return set()
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
        return list(names)

    def _named(self, kind: str) -> Iterator[tuple[str, int]]:
        """Yield names and the indices of their images."""
        has_frames = isinstance(self.images, FrameImages)
        if kind == "own" or (kind != "inner" and not has_frames):
            yield from self._names()
        if has_frames:  # a file is known by its first frame, which the others follow
            last = None
            for name, index in self._names():
                file = name.partition(FRAME_MARK)[0]
                if file != last:
                    yield file, index
                last = file
        if kind == "own" or not isinstance(self.images, StreamedImages):
            return
        for name, index in self._names():
            inner = Path(self.images.inner_name(index)).as_posix()
            yield inner, index
            yield f"{re.split(r'[-_.]', name)[0]}/{inner}", index  # train/… for train-000000.tar

    def _names(self) -> Iterator[tuple[str, int]]:
        return ((self.name(index), index) for index in range(len(self.images)))


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


def _composed(key: Callable[[str], str] = str) -> Callable[[str], str]:
    """``key`` with accents as parts of their letters: macOS writes them as letters of their own."""
    return lambda name: unicodedata.normalize("NFC", key(name))


# How a name of an image and a name of a row become a key.
_KEYS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "own": (str, str),
    "inner": (str, str),
    "lower": (_composed(_lower_ending), _composed(_lower_ending)),
    "stem": (_composed(_without_ending), _composed()),
    "base": (_composed(_last), _composed()),
    "base lower": (_composed(_last_lower), _composed(_lower_ending)),
    "base stem": (_composed(_last_without_ending), _composed()),
}


Level = Callable[[ImageNames, str], set[int]]


def _exact(split: ImageNames, name: str) -> set[int]:
    return split.find("own", [name])


def _spelled(kind: str, *, base: bool = False, ending: bool = True) -> Level:
    """A level of the search: names of one kind, alone or without their folder or ending."""

    def level(split: ImageNames, name: str) -> set[int]:
        names = split.spellings(name)
        if base:
            names = [text for text in names if "/" not in text]
        if not ending:
            names = [text for text in names if os.path.splitext(text)[1].lower() not in SUFFIXES]  # noqa: PTH122
        return split.find(kind, names) if names else set()

    return level


def _place(split: ImageNames, name: str) -> set[int]:
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


# In the order in which they are tried: a row is looked up by the next one if it is not found.
LEVELS: tuple[Level, ...] = (
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
