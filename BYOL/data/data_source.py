"""DATA as a typed value: the one place that derives the kind of DATA from its text."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from BYOL._untrusted import reason_not_to_open
from BYOL.config.data_names import data_name, is_digits
from BYOL.data.formats.dicom import starts_as_dicom
from BYOL.data.formats.supported import (
    ELSEWHERE,
    FOLDERS,
    MISSING,
    READS_DICOM,
    ending_of,
    may_be_dicom,
)
from BYOL.data.named_sets import NAMED
from BYOL.data.scan_folder import is_image_file
from BYOL.data.shards.urls import is_sharded, is_url, set_name
from BYOL.data.stored_arrays import stored_array_path
from BYOL.errors import DataError

Kind = Literal[
    "digits", "torchvision", "shards", "list", "folder", "image", "arrays", "unknown"
]  # fmt: skip


@dataclass(frozen=True)
class DataSource:
    """What DATA names.

    Args:
        kind: ``digits`` are scikit-learn's, ``torchvision`` is one of its sets, ``list`` a .txt
            file with one path per line, ``arrays`` an .npz or .npy file or an array of another
            file, ``image`` a single one. ``unknown`` is none of all.
        text: DATA as the user specified it; "digits" where nothing was specified.
    """

    kind: Kind
    text: str

    @property
    def path(self) -> Path:
        """The file or folder, for the kinds that are one."""
        return Path(self.text).expanduser()

    @property
    def name(self) -> str:
        """A short name for folders of runs: without folders and endings."""
        if self.kind == "shards":
            return set_name(self.text)
        return Path(self.text).resolve().name.split(".")[0]


def parse_source(data: "str | DataSource | None") -> DataSource:
    """Find out what DATA names; reads no more than the entries of a folder or a header.

    Args:
        data: DATA, or None for the digits. A parsed value is returned as it is.
    """
    if isinstance(data, DataSource):
        return data
    return DataSource(_kind(data), data_name(data))


def _kind(data: str | None) -> Kind:
    if data is None or is_digits(data):
        return "digits"
    if is_array_file(data):
        return "arrays"
    path = Path(data).expanduser()
    stored = path.suffix.lower() in FOLDERS  # a folder that is one image, such as a Zarr array
    if is_sharded(data) and not stored:
        return "shards"
    if path.suffix.lower() == ".txt" and path.is_file():
        return "list"
    if path.is_dir() and not stored:
        return "folder"
    if is_image_file(os.fsencode(path.name)) and (path.is_file() or path.is_dir()):
        return "image"
    if READS_DICOM and is_bare_dicom(path):
        return "image"
    return "torchvision" if data in NAMED else "unknown"


def is_bare_dicom(path: Path) -> bool:
    """Whether ``path`` is a DICOM file that only its content shows to be one."""
    named = may_be_dicom(ending_of(path.name)) and path.name.upper() != "DICOMDIR"
    return named and path.is_file() and starts_as_dicom(path)


def is_array_file(data: str) -> bool:
    """Whether ``data`` names one array of images rather than a folder or an image."""
    if is_url(data):
        return False
    return Path(data).suffix.lower() in (".npz", ".npy") or stored_array_path(data) is not None


def unknown_error(source: DataSource) -> DataError:
    """The error for a ``source`` of unknown kind."""
    near = difflib.get_close_matches(source.text, NAMED, n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]}?" if near else ""
    path, ending = source.path, ending_of(source.path.name)
    if reason := reason_not_to_open(path):
        kind = reason
    elif path.exists() and ending in MISSING:
        kind = f"is read after pip install 'BYOL[{MISSING[ending]}]'"
    elif is_bare_dicom(path):
        kind = "is read after pip install 'BYOL[dicom]'"
    elif path.exists() and ending in ELSEWHERE:
        kind = f"is not read like this: {ELSEWHERE[ending]}"
    else:
        kind = "is neither a folder nor an image" if path.exists() else "is not there"
    return DataError(
        f"DATA={source.text} {kind}: give a folder, an image, a .txt list, an .npz or .npy file, "
        f".tar or .parquet shards, or one of {', '.join(NAMED)}{hint}"
    )
