"""An index of a search in two files, which only the user who wrote them can open.

``NAME.faiss`` holds the vectors as FAISS stores them. ``NAME.rows.safetensors`` next to it holds
which image every vector is of, the whitening, and a signed description with the digest of
``NAME.faiss``. FAISS reads its files in C++ without checks against hostile content, so a file is
passed to FAISS only if its digest is the signed one.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from BYOL._files import check_output_file, to_json, write_atomically
from BYOL._untrusted import open_plain
from BYOL.config.signing import is_signature_of, signature_of
from BYOL.curation.faiss_index import VectorIndex, import_faiss
from BYOL.curation.feature_description import find_mismatch
from BYOL.errors import DataError, MachineError, UserError, first_line
from BYOL.model.weights import disk_errors, save_tensors

_FORMAT = 1
_NAMES = ("mean", "transform", "locations")


@dataclass(frozen=True)
class SavedIndex:
    """An index of the whitened features of images.

    Args:
        index: the index of the vectors.
        mean: (d,) float32, subtracted from features before the transform.
        transform: (d, d) float32.
        locations: (n, 2) int64, the number of the image set of a vector, and of the image in it.
    """

    index: VectorIndex
    mean: np.ndarray
    transform: np.ndarray
    locations: np.ndarray


def rows_path(path: Path) -> Path:
    """Return the path of the file next to the index ``path``."""
    return path.with_suffix(".rows.safetensors")


def check_index_path(path: str) -> Path:
    """Return ``path`` if its suffix is that of an index, and its files exist or can be written.

    Raises:
        UserError: it cannot be used, FAISS is not installed, or this user has no key.
    """
    checked = Path(path)
    complete = checked.is_file() and rows_path(checked).is_file()  # both are only read then
    if checked.suffix.lower() != ".faiss" or not complete:
        checked = check_output_file("index", path, ".faiss")
    import_faiss(f"--index={path}")
    if signature_of({}) is None:
        raise MachineError(
            f"--index={path} needs a key that signs it, and none can be written: set the "
            "environment variable BYOL_CONFIG_HOME to a folder of yours"
        )
    return checked


def save_index(path: Path, saved: SavedIndex, description: dict[str, Any]) -> None:
    """Write the index to ``path`` and the file next to it.

    Args:
        path: the path of the index.
        saved: the index.
        description: the result of :func:`BYOL.curation.feature_description.describe`.

    Raises:
        UserError: a file cannot be written.
    """
    faiss = import_faiss(f"--index={path}")
    stored = saved.index.faiss_index
    if hasattr(faiss, "index_gpu_to_cpu"):
        stored = faiss.index_gpu_to_cpu(stored)

    def write(temporary: Path) -> None:
        with disk_errors(temporary):
            faiss.write_index(stored, str(temporary))

    write_atomically(path, write)
    # copied, because the locations are memory-mapped and read-only
    tensors = {name: torch.from_numpy(np.array(getattr(saved, name))) for name in _NAMES}
    signed = {
        "format": _FORMAT,
        "probes": saved.index.probes,
        "file": _file_digest(path),
        "tensors": _tensors_digest(tensors),
        **description,
    }
    metadata = {"description": to_json(signed), "signature": signature_of(signed) or ""}
    write_atomically(rows_path(path), lambda temporary: save_tensors(tensors, temporary, metadata))


def load_index(path: Path, description: dict[str, Any]) -> SavedIndex:
    """Read the index at ``path``.

    Args:
        path: the path of the index.
        description: what the features of the images depend on now.

    Raises:
        UserError: the index was not written by this user, is damaged, or is of another backbone or
            of other images.
    """
    try:
        open_plain(rows_path(path)).close()
        with safe_open(rows_path(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in _NAMES}
        signed = json.loads(metadata["description"])
        genuine = is_signature_of(metadata["signature"], signed)
        genuine &= signed["tensors"] == _tensors_digest(tensors)
        genuine &= signed["file"] == _file_digest(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        genuine = False
    if not genuine or signed["format"] != _FORMAT:
        raise DataError(
            f"--index={path} is damaged or was not written by you with this version, so FAISS "
            "does not open it: delete it to have it written anew, or give another name"
        )
    if other := find_mismatch(signed, description):
        raise UserError(
            f"--index={path} was written for {other}: delete it to have it written anew, or give "
            "another name"
        )
    try:
        stored = import_faiss(f"--index={path}").read_index(str(path))
    except RuntimeError as error:  # of a later version of FAISS
        raise DataError(f"--index={path} cannot be read: {first_line(error)}") from error
    index = VectorIndex(stored, signed["probes"])
    return SavedIndex(index, *(tensors[name].numpy() for name in _NAMES))


def _file_digest(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors_digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in _NAMES:
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
