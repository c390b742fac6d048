"""Which shards a user means: braces, stars, folders, URLs."""

import glob
import os
import re
from pathlib import Path
from typing import Any

from BYOL.config.data_names import expand_braces
from BYOL.data.scan_folder import is_folder, is_picture
from BYOL.errors import UserError, first_line

SUFFIXES = (".tar", ".parquet")
TEST_NAMES = ("test", "val", "valid", "validation")
INDEX = "index.parquet"  # beside shards, and none of them
_URL = re.compile(r"^[A-Za-z][\w+.:-]*://")
_PACKED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst|lz4))$")


def is_url(data: str) -> bool:
    """Whether fsspec is to open it."""
    return bool(_URL.match(data)) and not data.startswith("file://")


def is_sharded(data: str) -> bool:
    """Whether the user means shards, rather than a folder of pictures, an array or a named set."""
    if is_url(data) or data.endswith(SUFFIXES) or _PACKED.search(data):
        return True
    return Path(data).expanduser().is_dir() and _holds_shards(Path(data).expanduser())


def find_shards(data: str) -> list[str]:
    """The shards, in the order of the pattern; those of a star or a folder sorted.

    Args:
        data: a file, a folder, or a pattern of either kind of braces, ``{000..127}`` and
            ``{a,b}``, and of stars; local, or a URL of fsspec's.

    Raises:
        UserError: nothing there, or not one kind of shard.
    """
    if _PACKED.search(data):
        raise UserError(f"DATA={data} is packed: unpack it to a .tar, pictures gain nothing by it")
    found = [shard for one in expand_braces(data) for shard in _matches(one)]
    found = [shard for shard in found if base_name(shard) != INDEX]
    if not found:
        raise UserError(f"DATA={data} matches no {' or '.join(SUFFIXES)} file")
    kinds = {suffix_of(shard) for shard in found}
    if len(kinds) > 1 or not kinds <= set(SUFFIXES):
        raise UserError(
            f"DATA={data} matches files that end in {', '.join(sorted(kinds))}: give one of "
            f"{', '.join(SUFFIXES)}"
        )
    return found


def by_split(shards: list[str]) -> tuple[list[str], list[str]]:
    """Shards to learn from, and those whose name begins with test or val and a sign."""
    test = [s for s in shards if re.split(r"[-_.]", base_name(s))[0] in TEST_NAMES]
    if len(test) == len(shards):
        return shards, []
    return [s for s in shards if s not in set(test)], test


def base_name(shard: str) -> str:
    """The last part of a shard's path or URL."""
    return shard.split("?")[0].rsplit("/", 1)[-1]


def suffix_of(shard: str) -> str:
    """``.tar``, ``.parquet``, or what else it ends in."""
    return os.path.splitext(base_name(shard))[1]  # noqa: PTH122


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it.

    Raises:
        UserError: the protocol is unknown, or its package is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(f"DATA={url} needs another package: {_line(error)}") from error
    except Exception as error:
        raise UserError(f"DATA={url} cannot be opened: {_line(error)}") from error


def _matches(one: str) -> list[str]:
    if not is_url(one):
        path = os.path.expanduser(one.removeprefix("file://"))  # noqa: PTH111
        if Path(path).is_dir():
            return sorted(str(p) for p in Path(path).iterdir() if _is_shard(p.name))
        if glob.has_magic(path) and not Path(path).exists():
            found = glob.glob(path)  # noqa: PTH207
            return sorted(p for p in found if not base_name(p).startswith("."))
        if not Path(path).is_file():
            raise UserError(f"DATA: there is no shard {path}")
        return [path]
    if suffix_of(one) in SUFFIXES and not glob.has_magic(one.split("?")[0]):
        return [one]  # whether it is there shows when it is opened
    fs, path = file_system(one)
    try:
        folder = path if glob.has_magic(path) else path.rstrip("/") + "/*"
        found = sorted(p for p in fs.glob(folder) if _is_shard(base_name(p)))
    except Exception as error:
        raise UserError(f"DATA={one} cannot be listed: {_line(error)}") from error
    return [str(fs.unstrip_protocol(p)) for p in found]


def _is_shard(name: str) -> bool:
    """Hidden ones are none: what a killed ``byol shard`` has left, or a Mac's ``._x.tar``."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _holds_shards(folder: Path) -> bool:
    """Shards and nothing that could be a set of pictures beside them."""
    found = False
    try:
        entries = os.scandir(folder)
    except PermissionError:
        return False  # whoever walks it says so
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if is_folder(entry) or is_picture(os.fsencode(entry.name)):
                return False
            found = found or entry.name.endswith(SUFFIXES)
    return found


def _line(error: Exception) -> str:
    return first_line(error)
