"""Micro-Manager images in several files: the files that tifffile opens for one of them.

Their names come from files of somebody else, so each is checked before tifffile opens it.
"""

import glob
import math
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


def micromanager_set(file: Any) -> frozenset[str]:
    """The names of the files that hold the image in ``file`` together; empty for one file.

    Args:
        file: a TiffFile.

    Raises:
        ValueError: as :func:`micromanager_parts`, which may name more files: each stack next to
            others may be complete.
    """
    parts = micromanager_parts(file)
    complete = parts and file.is_mmstack and not (file.is_ndtiff or _continues(file))
    return frozenset() if complete else parts


def _continues(file: Any) -> bool:
    """Whether a stack has fewer planes than its metadata declare, as tifffile counts them."""
    settings = file.micromanager_metadata or {}
    summary, planes = settings.get("Summary") or {}, settings.get("IndexMap")
    if planes is None or not len(planes) or not {"MicroManagerVersion", "Frames"} <= set(summary):
        return False
    # the columns of the map are channel, slice, frame, position and place
    names = ("Channels", "Slices", "Frames", "Positions")
    counts = planes[:, :4].max(axis=0).tolist()
    sizes = (
        max(int(count) + 1, int(summary.get(name, 1)))
        for name, count in zip(names, counts, strict=True)
    )
    return math.prod(sizes) > len(planes)


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
