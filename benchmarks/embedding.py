"""Peak memory and speed of ``byol embed`` on sets of growing size: memory must not grow.

    python benchmarks/embedding.py --run runs/cifar --data cifar/ --sizes 5000,50000

Each size is embedded from files in a separate process, once for each kind of output file. The peaks
of the process and of its largest loader worker are printed. The limits are the speeds of decoding
alone and of the network alone on this machine, in one process each.

    python benchmarks/embedding.py --run runs/cifar --data cifar10.npz --rounds 3

With images in memory there is nothing to decode: ``byol embed`` is compared with the bare forward
pass, in turns, by processor time, which other programs on the machine do not change.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import alternate, arguments, header, report, save

SUFFIXES = (".parquet", ".npy", ".npz")


def child(run: str, data: str, size: int, suffix: str, threads: int) -> None:
    """Embed, then print a JSON object. This function runs in its own process."""
    import torch

    torch.set_num_threads(threads)
    from BYOL.config.features import EmbedConfig
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
    row = {"images": len(chosen), "rate": len(chosen) / seconds, "peak_mb": own}
    print(json.dumps({**row, "worker_mb": workers, "file_mb": written / 1e6}))


def limits(run: str, data: str, threads: int, limit: int = 4096) -> dict[str, float]:
    """Return the images per second of decoding alone and of the network alone."""
    import torch

    from BYOL.config.features import EmbedConfig
    from BYOL.curation.run_features import open_features
    from BYOL.data.eval_loader import eval_batches
    from BYOL.evaluation.features import compute_features

    torch.set_num_threads(threads)
    features = open_features(EmbedConfig(run, data, split="train"))
    images, input_spec = features.sets["train"], features.run.config.input_spec
    images = images.subset(np.arange(min(limit, len(images))))
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


def compare_in_memory(run: str, data: str, rounds: int, limit: int) -> dict[str, list[float]]:
    """Return the images per second of the forward pass alone and of embedding, round by round."""
    import torch

    from BYOL.config.features import EmbedConfig
    from BYOL.curation.embed_parts import start_folder, write_missing_parts
    from BYOL.curation.embedding_files import write_embeddings
    from BYOL.curation.embeddings import Embeddings
    from BYOL.curation.feature_folder import FeatureFolder
    from BYOL.curation.run_features import open_features
    from BYOL.evaluation.features import compute_features, evaluation_mode

    features = open_features(EmbedConfig(run, data, split="train"))
    images = features.sets["train"]
    images = images.subset(np.arange(min(limit, len(images))))
    features.sets["train"] = images

    def forward() -> int:
        spec = features.run.config.input_spec
        with evaluation_mode(features.network), torch.inference_mode():
            for pixels in images.data.split(features.batch_size):
                compute_features(features.network, pixels, spec)
        return len(images)

    def to_file() -> int:
        with tempfile.TemporaryDirectory() as folder:
            embeddings = Embeddings(features.batches(), metadata=features.metadata)
            write_embeddings(Path(folder) / "e.parquet", embeddings)
        return len(images)

    def to_folder() -> int:
        with tempfile.TemporaryDirectory() as folder:
            place = FeatureFolder(f"{folder}/parts", "--out")
            plan = start_folder(place, features, "float32", data, 1)
            write_missing_parts(place, features, plan, "float32", 0, 1)
        return len(images)

    sides = {"forward": forward, "file": to_file, "folder": to_folder}
    return alternate(sides, rounds, clock=time.process_time)


def main() -> None:
    args = arguments(
        __doc__, run="runs/cifar", data="cifar", sizes="5000,50000", child="", rounds=0, limit=4096
    )
    if args.rounds:
        line = header("pyarrow")
        rates = compare_in_memory(args.run, args.data, args.rounds, args.limit)
        save(args.json, machine=line, **report("images in memory", rates, ours="forward"))
        return
    if args.child:
        child(args.run, args.data, int(args.sizes), args.child, args.threads)
        return
    line = header("pyarrow")
    rows = []
    print(f"{'file':10s}{'images':>10s}{'images/s':>12s}{'peak MB':>10s}{'worker MB':>11s}")
    for suffix in SUFFIXES:
        for size in args.sizes.split(","):
            flags = ["--run", args.run, "--data", args.data, "--sizes", size, "--child", suffix]
            command = [sys.executable, __file__, *flags, "--threads", str(args.threads)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            row = {"file": suffix, **json.loads(answer)}
            rows.append(row)
            print(f"{suffix:10s}{row['images']:10,d}{row['rate']:12,.0f}{row['peak_mb']:10,.0f}"
                  f"{row['worker_mb']:11,.0f}", flush=True)  # fmt: skip
    reached = limits(args.run, args.data, args.threads)
    for name, rate in reached.items():
        print(f"{name:30s}{rate:12,.0f} images/s")
    save(args.json, machine=line, rows=rows, limits=reached)


if __name__ == "__main__":
    main()
