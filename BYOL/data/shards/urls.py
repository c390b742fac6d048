"""Resolving DATA to shards: braces, wildcards, folders, URLs."""

import glob
import os
import re
from pathlib import Path
from typing import Any

from BYOL._untrusted import reason_not_to_open
from BYOL.config.data_names import expand_braces
from BYOL.data.hub_connection import hub_problem
from BYOL.data.scan_folder import is_folder, is_image_file
from BYOL.data.split_names import is_test_name
from BYOL.errors import DataError, first_line

SUFFIXES = (".tar", ".parquet")
INDEX = "index.parquet"  # stored next to the shards; not a shard itself
_URL = re.compile(r"^[A-Za-z][\w+.:-]*://")
_COMPRESSED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst|lz4))$", re.IGNORECASE)


def is_url(data: str) -> bool:
    """Whether fsspec must open ``data``."""
    return bool(_URL.match(data)) and not data.startswith("file://")


def is_sharded(data: str) -> bool:
    """Whether ``data`` names shards rather than a folder of images, an array or a named set."""
    if is_url(data) or data.lower().endswith(SUFFIXES) or _COMPRESSED.search(data):
        return True
    return Path(data).expanduser().is_dir() and _holds_shards(Path(data).expanduser())


def find_shards(data: str) -> list[str]:
    """The shards of ``data`` in the order of its braces; wildcards and folders are sorted.

    Args:
        data: a file, a folder, or a pattern with wildcards and braces such as ``{000..127}`` or
            ``{a,b}``; local, or an fsspec URL.

    Raises:
        UserError: there are no shards, or shards of several formats.
    """
    if _COMPRESSED.search(data):
        raise DataError(
            f"DATA={data} is compressed: unpack it to a .tar, because compression hardly makes "
            "images smaller"
        )
    if data.startswith("hf://") and (problem := hub_problem()):
        raise DataError(f"DATA={data} cannot be read: {problem}")
    shards = [shard for pattern in expand_braces(data) for shard in _matches(pattern)]
    shards = [shard for shard in shards if base_name(shard) != INDEX]
    if not shards:
        raise DataError(f"DATA={data} matches no {' or '.join(SUFFIXES)} file")
    for shard in shards:
        if not is_url(shard) and (reason := reason_not_to_open(shard)):
            raise DataError(f"DATA: shard {shard} {reason}")
    kinds = {suffix_of(shard) for shard in shards}
    if len(kinds) > 1 or not kinds <= set(SUFFIXES):
        raise DataError(
            f"DATA={data} matches files that end in {', '.join(sorted(kinds))}: use one of "
            f"{', '.join(SUFFIXES)}"
        )
    return shards


def split_shards(shards: list[str]) -> tuple[list[str], list[str]]:
    """Training shards, and test shards whose name starts with test or val and a separator."""
    test = [s for s in shards if is_test_name(re.split(r"[-_.]", base_name(s))[0])]
    if len(test) == len(shards):
        return shards, []
    return [s for s in shards if s not in set(test)], test


def base_name(shard: str) -> str:
    """The last part of a shard's path or URL."""
    return shard.split("?")[0].rsplit("/", 1)[-1]


def set_name(data: str) -> str:
    """The name of the set: the last part of the path that contains letters."""
    parts: list[Any] = [p for p in data.split("?")[0].replace("\\", "/").split("/") if p]
    last = base_name(data.rstrip("/")).split("{")[0].split("*")[0].split(".")[0].rstrip("-_")
    return last or (parts[-2] if len(parts) > 1 else "shards")


def suffix_of(shard: str) -> str:
    """``.tar``, ``.parquet``, or any other suffix, in lower case."""
    return os.path.splitext(base_name(shard))[1].lower()  # noqa: PTH122


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of ``url``, and the path in it.

    Raises:
        UserError: the protocol is unknown, or its package is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DataError(f"DATA={url} needs another package: {_line(error)}") from error
    except Exception as error:
        raise DataError(f"DATA={url} cannot be opened: {_line(error)}") from error


def _matches(pattern: str) -> list[str]:
    if not is_url(pattern):
        path = os.path.expanduser(pattern.removeprefix("file://"))  # noqa: PTH111
        if Path(path).is_dir():
            return sorted(str(p) for p in Path(path).iterdir() if _is_shard(p.name))
        if glob.has_magic(path) and not Path(path).exists():
            matches = glob.glob(path)  # noqa: PTH207
            return sorted(p for p in matches if not base_name(p).startswith("."))
        if not Path(path).is_file() and not reason_not_to_open(path):
            raise DataError(f"DATA: shard {path} does not exist")
        return [path]
    if suffix_of(pattern) in SUFFIXES and not glob.has_magic(pattern.split("?")[0]):
        return [pattern]  # checked when it is opened
    fs, path = file_system(pattern)
    try:
        folder = path if glob.has_magic(path) else path.rstrip("/") + "/*"
        matches = sorted(p for p in fs.glob(folder) if _is_shard(base_name(p)))
    except Exception as error:
        raise DataError(f"DATA={pattern} cannot be listed: {_line(error)}") from error
    return [str(fs.unstrip_protocol(p)) for p in matches]


def _is_shard(name: str) -> bool:
    """Whether ``name`` is a shard; hidden files of macOS or a killed ``byol shard`` are not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _holds_shards(folder: Path) -> bool:
    """Whether ``folder`` contains shards and neither images nor subfolders."""
    has_shard = False
    try:
        entries = os.scandir(folder)
    except PermissionError:
        return False  # scanning it reports the error
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if is_folder(entry) or is_image_file(os.fsencode(entry.name)):
                return False
            has_shard = has_shard or _is_shard(entry.name)
    return has_shard


def _line(error: Exception) -> str:
    return first_line(error)
