"""Files with the same content: aliases (links, repeated paths) and copies of all bytes."""

import hashlib
import os
from collections.abc import Iterable, Iterator

import numpy as np

from BYOL.curation.feature_store import Collection
from BYOL.data.dataset import EncodedImages, FileImages, Images

_SORTED = 1 << 20  # rows that are sorted at a time
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, with irregular bits: spreads rows over the parts


def find_aliases(collection: Collection) -> dict[int, int]:
    """Return the images that are aliases (hard links, symlinks, repeated paths) of another file.

    Deleting an alias frees no space, and deleting the target of a symlink loses the image. So every
    file is counted once, by the first of its paths that is not a symlink.

    Returns:
        A mapping from the position of every alias to the position of its file.
    """
    if not any(isinstance(images, FileImages) for images in collection.sets.values()):
        return {}
    files = np.zeros((len(collection), 3), np.uint64)  # device, inode, frame
    for position in range(len(collection)):
        if (file := collection.identity(position)) is not None:
            device, inode, frame = file
            files[position] = device, inode, 0 if frame is None else frame + 1
    known = np.flatnonzero(files[:, 1])
    alias_to_file: dict[int, int] = {}
    for group in _equal_rows(files[known]):
        first, *aliases = _links_last(collection, known[group].tolist())
        alias_to_file |= dict.fromkeys(aliases, first)
    return alias_to_file


def _equal_rows(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the positions of equal rows of ``keys`` (n, k), in groups of at least two.

    Rows are sorted in parts, by a hash, so that the memory of sorting does not grow with n.

    Args:
        keys: rows of 64-bit integers, or of bytes whose number is a multiple of 8.
    """
    numbers = keys.view(np.uint64)
    count = len(keys) // _SORTED + 1
    part = np.empty(len(keys), np.uint16)
    for start in range(0, len(keys), _SORTED):
        some = numbers[start : start + _SORTED] * _MULTIPLIER
        part[start : start + _SORTED] = (some.sum(axis=1) >> np.uint64(32)) % np.uint64(count)
    for k in range(count):
        places = np.flatnonzero(part == k)
        rows = numbers[places].view(np.dtype((np.void, 8 * numbers.shape[1]))).ravel()
        order = np.argsort(rows, kind="stable")
        starts = np.flatnonzero(np.append(True, rows[order[1:]] != rows[order[:-1]]))
        ends = np.append(starts[1:], len(order))
        for group in np.flatnonzero(ends - starts > 1).tolist():
            yield places[order[starts[group] : ends[group]]]


def _links_last(collection: Collection, positions: Iterable[int]) -> list[int]:
    def order(position: int) -> tuple[bool, str, int]:
        images, index = collection.location(position)
        assert isinstance(images, FileImages)
        path = os.path.join(os.path.realpath(images.root), images.paths[index])  # noqa: PTH118
        return os.path.realpath(path) != path, collection.file(position), position

    return sorted(positions, key=order)


def identical_pairs(collection: Collection, split: np.ndarray | None = None) -> np.ndarray:
    """Return pairs (m, 2) of images with the same bytes, each with the first such image.

    Args:
        collection: the images.
        split: (n,) numbers of the splits if both images of a pair must be in different ones. Each
            image is then paired with the first such image of another split.
    """
    pairs = []
    for positions in _positions_by_content(collection):
        for position in positions:
            others = (p for p in positions if split is None or split[p] != split[position])
            first = next(others, position)
            if first != position:
                pairs.append(sorted((first, position)))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _positions_by_content(collection: Collection) -> Iterable[list[int]]:
    """Return the positions of images with the same bytes, in groups of at least two."""
    places = map(collection.location, range(len(collection)))
    sizes = np.fromiter((_file_size(*place) for place in places), np.int64, len(collection))
    shared = np.zeros(len(sizes), bool)
    for group in _equal_rows(sizes[:, None]):
        shared[group] = True
    same_size = np.flatnonzero(shared)
    del sizes, shared
    digests = np.zeros((len(same_size), 16), np.uint8)
    for row, position in enumerate(same_size.tolist()):
        digests[row] = np.frombuffer(_digest(*collection.location(position)), np.uint8)
    return (sorted(same_size[group].tolist()) for group in _equal_rows(digests))


def _file_size(images: Images, index: int) -> int:
    """Return the size of the file in bytes, or 0; only files of equal size need to be read."""
    if isinstance(images, FileImages) and images.frame_number(index) is None:
        return os.stat(images.root / images.paths[index]).st_size  # noqa: PTH116
    return 0


def _digest(images: Images, index: int) -> bytes:
    if isinstance(images, FileImages) and images.frame_number(index) is not None:
        content = images.read(index).numpy().tobytes()
    elif isinstance(images, FileImages):
        content = images.encoded(index).read_bytes()
    elif isinstance(images, EncodedImages):
        content = images.encoded(index)  # type: ignore[assignment]
    else:
        content = images.read(index).numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()
