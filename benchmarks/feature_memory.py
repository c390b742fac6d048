"""Peak memory and time of the commands that read stored features, for tables of growing length.

    python benchmarks/feature_memory.py --run runs/digits --sizes 100000,1000000,3000000

The table is generated: clustered features of the width of the run's backbone, with thumbnails, in a
folder as ``byol embed`` writes it. The images exist by name only. Each command runs in its own
process. "anonymous" is the memory that the process itself needs (RssAnon, sampled); pages of mapped
files count in "peak" (VmHWM) only, and the system drops them when memory is short.
"""

import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import arguments, header, save

from BYOL.curation.feature_description import describe
from BYOL.curation.feature_folder import FeatureFolder
from BYOL.data.dataset import Images
from BYOL.data.sources import Splits

PART = 65_536
COMMANDS = {
    "search": ("--like", "LIKE"),
    "select": ("--count", "20"),
    "predict": ("--labels", "LABELS"),
    "outliers": ("--count", "20"),
    "duplicates": ("--threshold", "0.9"),
}


@dataclass(frozen=True, eq=False)
class NamedImages(Images):
    """``count`` images that exist by name only; one channel, 16 pixels wide."""

    count: int = 0

    def __len__(self) -> int:
        return self.count

    @property
    def digest(self) -> str:
        return f"generated {self.count}"

    def sample_name(self, index: int) -> str:
        return f"{index:09d}.png"

    def read(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randint(0, 256, (1, 16, 16), generator=generator, dtype=torch.uint8)

    def subset(self, indices: np.ndarray) -> Images:
        return NamedLabelled(
            self.name, 1, **self._annotations_at(indices), classes=self.classes, rows=indices
        )


@dataclass(frozen=True, eq=False)
class NamedLabelled(Images):
    """The labelled ones of :class:`NamedImages`."""

    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def sample_name(self, index: int) -> str:
        return f"{self.rows[index]:09d}.png"

    def subset(self, indices: np.ndarray) -> Images:
        return NamedLabelled(
            self.name, 1, **self._annotations_at(indices), classes=self.classes,
            rows=self.rows[indices],
        )  # fmt: skip


def generate(run: str, folder: Path, count: int) -> None:
    """Write a folder of ``count`` generated features."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from BYOL.config.features import FeaturesConfig
    from BYOL.curation.run_features import open_features

    features = open_features(FeaturesConfig(run, "digits"))
    images = {"train": NamedImages("generated", 1, None, (), count=count)}
    values = {**describe(features.run, features.network, images), "mirror": True}
    FeatureFolder(str(folder), "--out").write_manifest({**values, "part_images": PART})
    rng, width = np.random.default_rng(0), features.shape[0]
    centres = rng.normal(size=(100, width)).astype(np.float32)
    for number, first in enumerate(range(0, count, PART)):
        n = min(PART, count - first)
        vectors = centres[rng.integers(0, 100, n)]
        vectors += rng.standard_normal((n, width), dtype=np.float32)
        greys = rng.integers(0, 256, (n, 256), dtype=np.uint8)
        table = {
            "file": [images["train"].file_name(first + i) for i in range(n)],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width),
            "thumbnail": pa.FixedSizeListArray.from_arrays(pa.array(greys.reshape(-1)), 256),
            "contrast": pa.array(np.full(n, 0.3, np.float32)),
        }
        path = folder / f"part-00000-{number:08d}.parquet"
        pq.write_table(pa.table(table), path, use_dictionary=False, row_group_size=8192)


def child(command: str, run: str, folder: Path, count: int) -> None:
    """Run a command on the generated features, then print a JSON object."""
    import BYOL.curation.run_features as run_features
    from BYOL._hardware import peak_memory
    from BYOL.cli.main import main

    images = NamedImages("generated", 1, None, (), count=count)
    run_features.open_run_images = lambda *_: Splits(images)
    peak = [0]

    def sample() -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], int(status.split("RssAnon:")[1].split()[0]) * 1024)
            time.sleep(0.05)

    threading.Thread(target=sample, daemon=True).start()
    files = {"LIKE": str(folder / "like.png"), "LABELS": str(folder / "labels.csv")}
    flags = [files.get(flag, flag) for flag in COMMANDS[command]]
    argv = [command, run, "digits", "--features", str(folder / "features"), *flags]
    start = time.perf_counter()
    code = main([*argv, "--out", str(folder / f"{command}.csv")])
    row = {"code": code, "seconds": time.perf_counter() - start}
    print(json.dumps({**row, "anonymous": peak[0], "peak": peak_memory(torch.device("cpu"))}))


def prepare(folder: Path, count: int) -> None:
    """Write a query image, and labels of a thousand images."""
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "like.png")
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label"])
        chosen = np.linspace(0, count - 1, 1000).astype(int).tolist()
        rows.writerows((f"{i:09d}.png", "ab"[k % 2]) for k, i in enumerate(chosen))


def main() -> None:
    args = arguments(
        __doc__, run="runs/digits", sizes="100000,1000000", commands="search,select,predict",
        child="", folder="", count=0,
    )  # fmt: skip
    if args.child:
        child(args.child, args.run, Path(args.folder), args.count)
        return
    line, rows = header("pyarrow"), []
    print(f"{'command':12s}{'rows':>12s}{'seconds':>10s}{'anonymous MB':>14s}{'peak MB':>10s}")
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            generate(args.run, folder / "features", size)
            prepare(folder, size)
            for command in args.commands.split(","):
                flags = ["--run", args.run, "--folder", name, "--count", str(size)]
                argv = [sys.executable, __file__, "--child", command, *flags]
                done = subprocess.run(argv, capture_output=True, text=True, check=True)
                row = {"command": command, "rows": size, **json.loads(done.stdout.splitlines()[-1])}
                if row["code"]:
                    raise SystemExit(done.stderr)
                rows.append(row)
                megabytes = row["anonymous"] / 1e6, row["peak"] / 1e6
                print(f"{command:12s}{size:12,d}{row['seconds']:10.1f}{megabytes[0]:14,.0f}"
                      f"{megabytes[1]:10,.0f}", flush=True)  # fmt: skip
    save(args.json, machine=line, rows=rows)


if __name__ == "__main__":
    main()
