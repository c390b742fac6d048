"""Cost of ten million images before the first is read: ``python benchmarks/index.py``.

The names are passed to the index in no order, as a file system lists them; no file is written.
Peak memory is that of the whole process, relative to its memory before.
"""

import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments

from BYOL.data.path_table import PathTable
from BYOL.data.sampler import EpochSampler
from BYOL.data.scan_folder import class_folders
from BYOL.data.shards.index import ShardIndex
from BYOL.data.shards.order import StreamOrder, Streams

BATCH = 256
CLASSES = 1000
SHARDS = 1000


def names(n: int) -> Iterator[bytes]:
    """Yield ``n`` names like those of ImageNet, not sorted."""
    for i in range(n):
        k = i * 7_368_787 % n  # prime: every number occurs once, unless it divides n
        yield b"n%08d/n%08d_%d.JPEG" % (k % CLASSES, k % CLASSES, k)


def peak() -> float:
    """Return the peak memory of the process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    start = time.perf_counter()
    result = work()
    return result, {"seconds": time.perf_counter() - start, "peak_mb": peak()}


def folder(n: int) -> dict[str, dict[str, float]]:
    rows = {}
    paths, rows["index"] = measured(lambda: PathTable(names(n)).sorted())
    rows["index"]["holds_mb"] = paths.nbytes / 1e6
    _, rows["labels"] = measured(lambda: class_folders(paths, ()))
    sampler = EpochSampler(n, BATCH)
    passes = iter(sampler)
    _, rows["shuffle an epoch"] = measured(lambda: next(passes))
    (_, ids, *_), rows["next batch"] = measured(lambda: next(passes))
    _, rows["names of a batch"] = measured(lambda: [paths[int(i)] for i in ids])
    return rows


def shards(n: int) -> dict[str, dict[str, float]]:
    lengths = np.full(n, 110_000, dtype=np.int64)
    ends = np.linspace(0, n, SHARDS + 1).astype(np.int64)[1:]
    index = ShardIndex(
        tuple(f"s3://{i}.tar" for i in range(SHARDS)), "tar", ends, np.full(SHARDS, -1), None,
        np.arange(n) * 112_640 % (n // SHARDS * 112_640), lengths, None, (), np.zeros(0, np.int64),
    )  # fmt: skip
    rows = {}
    order, rows["shards: blocks"] = measured(
        lambda: StreamOrder(index, BATCH, 8192, 0, Streams(8, 8, 1))
    )
    step = order.steps // 2
    places = order.places
    _, rows["shards: first batch"] = measured(lambda: places(0, 0, 0, BATCH))
    _, rows["shards: a batch in mid-epoch"] = measured(lambda: places(0, step, 0, BATCH))
    _, rows["shards: next batch"] = measured(lambda: places(0, step + 8, 0, BATCH))
    return rows


def main() -> None:
    args = arguments(__doc__.splitlines()[0], images=10_000_000)
    before = peak()
    rows = folder(args.images) | shards(args.images)
    print(f"{args.images:,} images; {before:,.0f} MB before")
    for name, row in rows.items():
        held = f"   holds {row['holds_mb']:,.0f} MB" if "holds_mb" in row else ""
        print(
            f"  {name:30s} {row['seconds']:9.4f} s   peak {row['peak_mb'] - before:+8,.0f} MB{held}"
        )
    if args.json:
        Path(args.json).write_text(json.dumps({"before_mb": before, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
