"""Opening stored features, and reading them as an array."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from BYOL._console import counted
from BYOL.curation.feature_description import Description, read_description, split_counts
from BYOL.curation.feature_folder import MANIFEST, FeatureFolder
from BYOL.curation.feature_table import FeatureTable
from BYOL.curation.part_plan import PartPlan, finished_parts
from BYOL.curation.temp_folder import TemporaryFolder, temporary_folder
from BYOL.data.dataset import Images
from BYOL.errors import DataError
from BYOL.evaluation.types import FeatureFunction


@contextmanager
def stored_features(table: FeatureTable | None) -> Iterator[FeatureFunction | None]:
    """Return a context with a function from images to their features, memory-mapped.

    Args:
        table: the features; None: there is no function.
    """
    if table is None:
        yield None
        return
    with temporary_folder() as room:
        yield lambda images: mapped_features(table, images, room)


def mapped_features(table: FeatureTable, images: Images, room: TemporaryFolder) -> np.ndarray:
    """Return the features (n, d) float32 of all ``images``, memory-mapped from a temporary file.

    Args:
        table: the features.
        images: the images.
        room: where the file is written.

    Raises:
        UserError: an image has no row, or the temporary folder has too little space.
    """
    shape = (len(images), table.width)
    room.reserve(4 * shape[0] * shape[1])
    handle, name = tempfile.mkstemp(".npy", dir=room.folder)
    os.close(handle)
    rows = np.lib.format.open_memmap(name, "w+", np.float32, shape)
    count = 0
    for _, _, ids, vectors in table.match({"": images}).batches():
        rows[ids] = vectors
        count += len(ids)
    if count < len(images):
        raise table.error(f"it has no row for {counted(len(images) - count, 'readable image')}")
    return rows


def open_feature_table(name: str) -> FeatureTable:
    """Open the features of ``--features``: a Parquet file, or a folder of ``byol embed``.

    Raises:
        UserError: there are no features, or some files of the folder are missing.
    """
    argument = f"--features={name}"
    if name.endswith(".parquet") and not Path(name).is_dir():
        parent, slash, base = name.rstrip("/").rpartition("/")
        folder = FeatureFolder(parent or slash or ".", argument)
        if base not in folder.names():
            raise DataError(f"{argument} does not exist")
        table = FeatureTable(folder, [base], {})
        with table.parquet(base) as file:
            description = read_description(file.schema_arrow.metadata)
        return FeatureTable(folder, [base], description)
    folder = FeatureFolder(name, argument)
    names = folder.names()
    if MANIFEST not in names:
        if not names:
            raise DataError(f"{argument} has no features: give a file or folder of byol embed")
        return FeatureTable(folder, names, {})
    manifest = folder.read_manifest()
    return FeatureTable(folder, _complete_parts(folder, names, manifest), manifest)


def _complete_parts(folder: FeatureFolder, names: list[str], manifest: Description) -> list[str]:
    """Return the files of all parts in the order of the images.

    Raises:
        UserError: parts are missing.
    """
    plan = PartPlan(split_counts(manifest), manifest["part_images"])
    finished = finished_parts(names)
    missing = len(plan.parts) - len(finished)
    if missing:
        raise DataError(
            f"{folder.argument} is incomplete: {missing} of {len(plan.parts)} parts are missing; "
            "the same byol embed computes them"
        )
    return list(finished.values())
