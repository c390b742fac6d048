"""Arrays in HDF5 files, read by h5py. A file may not lead to another one."""

from pathlib import Path
from typing import Any

from BYOL.data.formats.frames import check_bytes, check_numbers

_MOST_NAMES = 20
_MOST_GROUPS = 1000


def open_hdf5(path: Path) -> Any:
    """Open a file for reading.

    Raises:
        OSError: it is no HDF5 file.
    """
    import h5py

    return h5py.File(path, "r", locking="best-effort")


def dataset(file: Any, name: str, *, words: bool = False) -> Any:
    """The array ``name`` of an opened file.

    Args:
        file: from :func:`open_hdf5`.
        name: of the array.
        words: whether it may hold words instead of numbers.

    Raises:
        ValueError: there is no such array, or its values are in another file.
    """
    import h5py

    node = file
    for part in filter(None, name.split("/")):
        hard = _is_hard(node, part) if isinstance(node, h5py.Group) else None
        if hard is None:
            raise ValueError(f"it has no array {name!r}")
        if not hard:
            raise ValueError(f"{part!r} is a link, and links are not followed: name its target")
        node = node[part]
    if not isinstance(node, h5py.Dataset):
        raise ValueError(f"{name!r} is a group: name an array in it")
    if node.external or node.is_virtual:
        raise ValueError(f"the values of {name!r} are in other files")
    if not (words and h5py.check_string_dtype(node.dtype)):
        check_numbers(node.dtype)
    check_bytes(node.chunks or (), node.dtype)
    return node


def names_in(file: Any, group: str) -> list[str]:
    """The names of the entries of a group; none without it."""
    import h5py

    node = file
    for part in filter(None, group.split("/")):
        if not isinstance(node, h5py.Group) or not _is_hard(node, part):
            return []
        node = node[part]
    return list(node) if isinstance(node, h5py.Group) else []


def dataset_names(file: Any) -> list[str]:
    """The names of arrays with at least three axes, of at most a thousand groups."""
    import h5py

    names: list[str] = []
    pending = [file]
    for _ in range(_MOST_GROUPS):
        if not pending or len(names) >= _MOST_NAMES:
            break
        group = pending.pop(0)
        for key in group:
            if not _is_hard(group, key):
                continue
            node = group[key]
            if isinstance(node, h5py.Group):
                pending.append(node)
            elif isinstance(node, h5py.Dataset) and node.ndim >= 3:
                names.append(node.name.lstrip("/"))
    return names[:_MOST_NAMES]


def _is_hard(group: Any, name: str) -> bool | None:
    """Whether an entry of ``group`` is in this file itself; None if there is none.

    h5py's own tests of membership may open the other file.
    """
    import h5py

    links, encoded = group.id.links, name.encode()
    if not links.exists(encoded):
        return None
    return links.get_info(encoded).type == h5py.h5l.TYPE_HARD
