"""Peak memory and time of the commands that read stored features, for tables of growing length.

    python benchmarks/feature_memory.py --run runs/digits --sizes 100000,1000000,3000000

The table is generated: clustered features of the width of the run's backbone, with thumbnails, in a
folder as ``byol embed`` writes it. The images are noise in a mapped file. Each command runs in its
own process. "anonymous" is the memory that the process itself needs (RssAnon, sampled); pages of
mapped files count in "peak" (VmHWM) only, and the system drops them when memory is short.
``--bank`` is the number of images among which ``byol outliers`` searches the neighbours, which
decides its time. ``byol evaluate`` has 1,000 further test images, and computes the features of the
untrained backbone and the raw pixels of all images.
"""

import contextlib
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import arguments, header, save

from BYOL.curation.feature_description import describe
from BYOL.curation.feature_folder import FeatureFolder
from BYOL.data.dataset import ArrayImages
from BYOL.data.sources import Splits

PART = 65_536
COMMANDS = {
    "search": ("--like", "LIKE"),
    "select": ("--count", "20"),
    "predict": ("--labels", "LABELS"),
    "outliers": ("--count", "20"),
    "duplicates": ("--threshold", "0.9"),
    "evaluate": ("--protocol", "knn,linear", "--json"),
}
CLASSES = 10
TEST = 1000  # test images
SIDE = 16  # pixels


@dataclass(frozen=True, eq=False)
class NumberedImages(ArrayImages):
    """Images in a mapped file whose names are computed, so that these take no memory either."""

    rows: np.ndarray | None = None

    @property
    def digest(self) -> str:
        return f"{self.name} {len(self)}" + ("" if self.rows is None else " of them")

    def sample_name(self, index: int) -> str:
        row = index if self.rows is None else self.rows[index]
        return f"{self.name}/{row:09d}.png"

    def subset(self, indices: np.ndarray) -> "NumberedImages":
        rows = indices if self.rows is None else self.rows[indices]
        return replace(super().subset(indices), rows=rows)


def images_of(count: int, folder: Path) -> Splits:
    """``count`` training images and :data:`TEST` test images of ten classes."""
    names, parts = tuple(map(str, range(CLASSES))), []
    for name, n in (("train", count), ("test", TEST)):
        file, shape = folder / f"{name}.bin", (n, 1, SIDE, SIDE)
        if not file.exists():
            rng = np.random.default_rng(2)
            with file.open("wb") as output:
                for first in range(0, n, PART):
                    output.write(rng.bytes(min(PART, n - first) * SIDE**2))
        data = torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape))
        parts.append(NumberedImages(name, 1, np.arange(n) % CLASSES, names, data))
    return Splits(*parts)


def generate(run: str, folder: Path, count: int, mirror: bool) -> None:
    """Write a folder of generated features of ``count`` images and the test images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from BYOL.config.features import FeaturesConfig
    from BYOL.curation.run_features import open_features

    features = open_features(FeaturesConfig(run, "digits"))
    sets = images_of(count, folder.parent).sets
    values = {**describe(features.run, features.network, sets), "mirror": mirror}
    FeatureFolder(str(folder), "--out").write_manifest({**values, "part_images": PART})
    if any(folder.glob("*.parquet")):  # another command has the same features
        return
    rng, width = np.random.default_rng(0), features.shape[0]
    centres = rng.normal(size=(100, width)).astype(np.float32)
    parts = [(part, first) for part in sets.values() for first in range(0, len(part), PART)]
    for number, (images, first) in enumerate(parts):
        n = min(PART, len(images) - first)
        vectors = centres[np.arange(first, first + n) % CLASSES * 10 + rng.integers(0, 10, n)]
        vectors += rng.standard_normal((n, width), dtype=np.float32)
        greys = rng.integers(0, 256, (n, 256), dtype=np.uint8)
        table = {
            "file": [images.file_name(first + i) for i in range(n)],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width),
            "thumbnail": pa.FixedSizeListArray.from_arrays(pa.array(greys.reshape(-1)), 256),
            "contrast": pa.array(np.full(n, 0.3, np.float32)),
        }
        path = folder / f"part-00000-{number:08d}.parquet"
        pq.write_table(pa.table(table), path, use_dictionary=False, row_group_size=8192)


def child(command: str, run: str, folder: Path, count: int, bank: int) -> None:
    """Run a command on the generated features, then print a JSON object."""
    import BYOL.cli.commands.evaluate as evaluate
    import BYOL.cli.commands.outliers as outliers
    import BYOL.curation.run_features as run_features
    from BYOL._hardware import peak_memory
    from BYOL.cli.main import main

    splits = images_of(count, folder)
    run_features.open_run_images = evaluate.open_run_images = lambda *_: splits
    outliers.outlier_scores = partial(outliers.outlier_scores, bank=bank)
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
    if command != "evaluate":
        argv += ["--out", str(folder / f"{command}.csv")]
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        code = main(argv)
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
        rows.writerows((f"train/{i:09d}.png", "ab"[k % 2]) for k, i in enumerate(chosen))


def main() -> None:
    args = arguments(
        __doc__, run="runs/digits", sizes="100000,1000000", commands="search,select,predict",
        child="", folder="", count=0, bank=100_000,
    )  # fmt: skip
    if args.child:
        child(args.child, args.run, Path(args.folder), args.count, args.bank)
        return
    line, rows = header("pyarrow"), []
    print(f"{'command':12s}{'rows':>12s}{'seconds':>10s}{'anonymous MB':>14s}{'peak MB':>10s}")
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, size)
            for command in args.commands.split(","):
                generate(args.run, folder / "features", size, mirror=command != "evaluate")
                flags = ["--run", args.run, "--folder", name, "--count", str(size)]
                flags += ["--bank", str(args.bank)]
                argv = [sys.executable, __file__, "--child", command, *flags]
                done = subprocess.run(argv, capture_output=True, text=True, check=False)
                row = {"code": 1} if done.returncode else json.loads(done.stdout.splitlines()[-1])
                if row["code"]:
                    raise SystemExit(done.stderr)
                rows.append({"command": command, "rows": size, **row})
                megabytes = row["anonymous"] / 1e6, row["peak"] / 1e6
                print(f"{command:12s}{size:12,d}{row['seconds']:10.1f}{megabytes[0]:14,.0f}"
                      f"{megabytes[1]:10,.0f}", flush=True)  # fmt: skip
    save(args.json, machine=line, rows=rows)


if __name__ == "__main__":
    main()
