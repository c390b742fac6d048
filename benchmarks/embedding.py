"""Peak memory and speed of ``byol embed`` over sets of growing size: memory must not grow.

    python benchmarks/embedding.py --run runs/cifar --data cifar/ --sizes 5000,50000

Each size is a process of its own, which embeds that many of the pictures from their files into each
kind of file. The peak is that of the process and, beside it, of its largest loader worker. The
limits are what decoding alone and the network alone reach on this machine, in one process each.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import arguments, header, save

SUFFIXES = (".parquet", ".npy", ".npz")


def child(run: str, data: str, size: int, suffix: str, threads: int) -> None:
    """Embed and print a JSON object; runs in its own process."""
    import torch

    torch.set_num_threads(threads)
    from BYOL.config.commands import EmbedConfig
    from BYOL.curation.embedding_files import write_embeddings
    from BYOL.curation.embeddings import Embeddings
    from BYOL.curation.run_features import open_features

    features = open_features(EmbedConfig(run, data, split="train"))
    whole = features.sets["train"]
    chosen = np.unique(np.linspace(0, len(whole) - 1, size).astype(int))
    features.sets["train"] = whole.subset(chosen)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = write_embeddings(Path(folder) / f"e{suffix}", Embeddings(features.batches()))
        seconds = time.perf_counter() - start
        written = path.stat().st_size
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    found = {"pictures": len(chosen), "rate": len(chosen) / seconds, "peak_mb": own}
    print(json.dumps({**found, "worker_mb": workers, "file_mb": written / 1e6}))


def limits(run: str, data: str, threads: int, pictures: int = 4096) -> dict[str, float]:
    """Images per second of decoding alone and of the network alone."""
    import torch

    from BYOL.config.commands import EmbedConfig
    from BYOL.curation.run_features import open_features
    from BYOL.data.eval_loader import eval_batches
    from BYOL.evaluation.features import compute_features

    torch.set_num_threads(threads)
    features = open_features(EmbedConfig(run, data, split="train"))
    images, input_spec = features.sets["train"], features.run.config.input_spec
    images = images.subset(np.arange(min(pictures, len(images))))
    start = time.perf_counter()
    batches = list(eval_batches(images, input_spec.size, features.batch_size))
    decoded = time.perf_counter()
    with torch.inference_mode():
        for _, pixels in batches:
            compute_features(features.network, pixels, input_spec, features.precision)
    return {
        "decoding alone, one process": len(images) / (decoded - start),
        "network alone": len(images) / (time.perf_counter() - decoded),
    }


def main() -> None:
    given = arguments(__doc__, run="runs/cifar", data="cifar", sizes="5000,50000", child="")
    if given.child:
        child(given.run, given.data, int(given.sizes), given.child, given.threads)
        return
    line = header("pyarrow")
    found = []
    print(f"{'file':10s}{'pictures':>10s}{'pictures/s':>12s}{'peak MB':>10s}{'worker MB':>11s}")
    for suffix in SUFFIXES:
        for size in given.sizes.split(","):
            flags = ["--run", given.run, "--data", given.data, "--sizes", size, "--child", suffix]
            command = [sys.executable, __file__, *flags, "--threads", str(given.threads)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            row = {"file": suffix, **json.loads(answer)}
            found.append(row)
            print(f"{suffix:10s}{row['pictures']:10,d}{row['rate']:12,.0f}{row['peak_mb']:10,.0f}"
                  f"{row['worker_mb']:11,.0f}", flush=True)  # fmt: skip
    reached = limits(given.run, given.data, given.threads)
    for name, rate in reached.items():
        print(f"{name:30s}{rate:12,.0f} pictures/s")
    save(given.json, machine=line, rows=found, limits=reached)


if __name__ == "__main__":
    main()
