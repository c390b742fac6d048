"""Micro-Manager images in several files: the files that tifffile opens for one of them.

Their names come from files of somebody else, so each is checked before tifffile opens it.
"""

import glob
import os
from pathlib import Path
from typing import Any

from BYOL._untrusted import reason_not_to_open
from BYOL.data.formats.ome_files import missing_parts

_INDEX = "NDTiff.index"


def micromanager_parts(file: Any) -> frozenset[str]:
    """The names of the files that tifffile opens, that of ``file`` among them; empty for one file.

    Args:
        file: a TiffFile. Without a Micro-Manager tag, nothing is read.

    Raises:
        ValueError: one of the files is missing, is in another folder, or is no plain file.
    """
    if not file.is_micromanager or not file.filehandle.is_file:
        return frozenset()
    folder = Path(file.filehandle.dirname)
    if (folder / _INDEX).exists() and file.is_ndtiff:
        others = _indexed(folder / _INDEX)
    elif file.is_mmstack:
        others = _siblings(folder, file)
    else:
        return frozenset()
    parts = others | {file.filename}
    if missing := missing_parts(folder, parts):
        raise ValueError(f"its part {missing[0]} is missing")
    return parts if len(parts) > 1 else frozenset()


def _indexed(index: Path) -> frozenset[str]:
    """The names in the index of an NDTiff set."""
    from tifffile import read_ndtiff_index

    if reason := reason_not_to_open(index):
        raise ValueError(f"its index {index.name} {reason}")
    return frozenset(entry[1] for entry in read_ndtiff_index(index))


def _siblings(folder: Path, file: Any) -> frozenset[str]:
    """The files of a set of multipage TIFFs, which tifffile searches by their names.

    A folder whose name has wildcards may match another one: then the whole path is returned.
    """
    prefix = (file.micromanager_metadata.get("Summary") or {}).get("Prefix")
    if not isinstance(prefix, str):
        prefix = file.filename.split("_MMStack")[0]
    if "_MMStack" not in file.filename or not file.filename.startswith(prefix):
        return frozenset()
    found = map(Path, glob.glob(os.path.join(folder, prefix + "_MMStack*.tif")))  # noqa: PTH118, PTH207
    return frozenset(path.name if path.parent == folder else str(path) for path in found)
