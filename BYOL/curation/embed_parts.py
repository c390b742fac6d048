"""``byol embed`` into a folder: several processes write the parts that are missing."""

import dataclasses
from itertools import groupby
from typing import Any

import numpy as np
import torch

from BYOL.config.features import EmbedConfig
from BYOL.curation.embeddings import Batches, Embeddings, parquet_text
from BYOL.curation.feature_description import KEY, find_mismatch, split_counts
from BYOL.curation.feature_folder import MANIFEST, FeatureFolder
from BYOL.curation.feature_store import EXTRA_COLUMNS
from BYOL.curation.part_plan import (
    Part,
    PartPlan,
    assign_parts,
    choose_part_size,
    finished_parts,
)
from BYOL.curation.run_features import Features, open_features
from BYOL.data.eval_loader import batch_spans
from BYOL.errors import UserError

_GROUP_BYTES = 16 << 20  # bytes of features in a row group


def embed_share(config: EmbedConfig, rank: int, processes: int) -> dict[str, Any]:
    """Write the missing parts of one process into the folder ``config.out``.

    Args:
        config: the settings.
        rank: number of this process, from 0.
        processes: number of processes.

    Returns:
        What the command prints with ``--json``.

    Raises:
        UserError: the run, the images or the folder cannot be used.
    """
    features = open_features(config)
    if features.device.type == "cuda":
        number = rank % config.devices % torch.cuda.device_count()
        features = dataclasses.replace(features, device=torch.device("cuda", number))
    folder = FeatureFolder(config.out, f"--out={config.out}")
    data = config.data or features.run.config.data
    plan = start_folder(folder, features, config.dtype, data, processes)
    images, written = write_missing_parts(folder, features, plan, config.dtype, rank, processes)
    missing = len(plan.parts) - len(finished_parts(folder.names()))
    return {
        "out": config.out,
        "pictures": features.total,
        "written": written,
        "left_out": images - written,
        "parts": len(plan.parts),
        "missing_parts": missing,
        "shape": list(features.shape),
        "dtype": config.dtype,
        "precision": features.precision,
    }


def start_folder(
    folder: FeatureFolder, features: Features, dtype: str, data: str | None, processes: int
) -> PartPlan:
    """Describe the features in a new folder, or check that those of ``folder`` are the same.

    Args:
        folder: where the parts are written.
        features: the features to compute.
        dtype: type of the stored numbers.
        data: DATA, which the description records.
        processes: number of processes.

    Returns:
        The parts of the folder.

    Raises:
        UserError: the folder contains other files or other features, or cannot be written.
    """
    wanted = {**features.description, "dtype": dtype, "shape": list(features.shape)}
    names = folder.names()
    if MANIFEST not in names:
        if names or folder.holds_files():
            raise UserError(f"{folder.argument} has files but no {MANIFEST}: give a new folder")
        row_bytes = 4 * int(np.prod(features.shape)) + EXTRA_COLUMNS
        size = choose_part_size(features.total, row_bytes, features.batch_size, processes)
        folder.write_manifest({"data": data, "part_images": size, **wanted})
    manifest = folder.read_manifest()  # possibly that of another process, or of another run
    if other := find_mismatch(manifest, wanted):
        raise UserError(f"{folder.argument} has features of {other}: give another folder")
    return PartPlan(split_counts(manifest), manifest["part_images"])


def write_missing_parts(
    folder: FeatureFolder,
    features: Features,
    plan: PartPlan,
    dtype: str,
    rank: int,
    processes: int,
) -> tuple[int, int]:
    """Compute and write the missing parts of this process.

    Args:
        folder: from :func:`start_folder`.
        features: the features to compute.
        plan: the parts of the folder.
        dtype: float32 or float16.
        rank: number of this process, from 0.
        processes: number of processes.

    Returns:
        The number of images of these parts, and how many of them could be read.

    Raises:
        UserError: the folder cannot be written, or ``dtype`` cannot represent a value.
    """
    done = finished_parts(folder.names())
    own = [part for part in assign_parts(plan.parts, rank, processes) if part.number not in done]
    spans = {
        split: [span for part in own if part.split == split for span in _spans(part, features)]
        for split in features.sets
    }
    written: set[Part] = set()
    count = 0
    if own:
        batches = features.batches(thumbnails=True, spans=spans)
        for part, group in groupby(batches, lambda batch: plan.part_of(batch[0], int(batch[2][0]))):
            count += _write(folder, features, part, rank, dtype, group)
            written.add(part)
    for part in own:
        if part not in written:  # none of its images can be read
            _write(folder, features, part, rank, dtype, iter(()))
    return sum(part.end - part.first for part in own), count


def _spans(part: Part, features: Features) -> list[tuple[int, int]]:
    return batch_spans(part.first, part.end, features.batch_size)


def _write(
    folder: FeatureFolder, features: Features, part: Part, rank: int, dtype: str, batches: Batches
) -> int:
    """Write the file of a part, possibly without rows, and return the number of its rows."""
    import pyarrow.parquet as pq

    table = _table(features, dtype, batches)
    row_bytes = max(table.nbytes // max(len(table), 1), 1)
    rows = max(_GROUP_BYTES // row_bytes, 1)

    def write(path: Any) -> None:
        # Dictionary encoding of vectors would be computed and then discarded, and compression
        # would take a third of the time of writing for one hundredth of the size.
        texts = ["split", "label"]
        codecs = {"file": "zstd", **dict.fromkeys(texts, "snappy")}
        pq.write_table(table, path, row_group_size=rows, use_dictionary=texts, compression=codecs)

    folder.write(part.file_name(rank), write)
    return len(table)


def _table(features: Features, dtype: str, batches: Batches) -> Any:
    """Return the rows of a part as a table."""
    import pyarrow as pa

    extra: list[np.ndarray] = [np.zeros((0, EXTRA_COLUMNS), np.float32)]

    def vectors() -> Batches:
        for split, images, ids, rows in batches:
            extra.append(rows[:, -EXTRA_COLUMNS:])
            yield split, images, ids, rows[:, :-EXTRA_COLUMNS].reshape(-1, *features.shape)

    columns: dict[str, Any] = {"file": [], "split": [], "label": []}
    embeddings = Embeddings(vectors(), dtype, _metadata(features), shape=features.shape)
    stored = [np.zeros((0, int(np.prod(features.shape))), dtype)]
    for texts, rows in embeddings.rows_or_none():
        for name, values in texts.items():
            columns[name].extend(map(parquet_text, values))
        stored.append(rows.reshape(len(rows), -1))
    small = np.concatenate(extra)
    columns = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    columns["embedding"] = _lists(np.concatenate(stored))
    columns["thumbnail"] = _lists((small[:, :-1] * 255).round().clip(0, 255).astype(np.uint8))
    columns["contrast"] = pa.array(small[:, -1].copy(), pa.float32())
    return pa.table(columns).replace_schema_metadata(embeddings.with_shape())


def _metadata(features: Features) -> dict[str, str]:
    """Return the metadata of a part, without a description: a part alone is no complete table."""
    return {key: value for key, value in features.metadata.items() if key != KEY}


def _lists(rows: np.ndarray) -> Any:
    """Return (n, d) numbers as a column of lists."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
