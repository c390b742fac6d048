"""``byol embed`` with several processes: equal tables, also after a killed process and a restart.

    python benchmarks/embed_processes.py --run runs/digits --images 60000

The images are the digits, repeated, as PNG files. A folder, a list and shards are embedded by 1, 2
and 4 processes, and every table is compared with that of one process, row for row. Then one of four
processes is killed, and three processes compute what is missing.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, header, save

from BYOL.curation.feature_folder import MANIFEST
from BYOL.curation.stored_features import open_feature_table


def write_images(folder: Path, count: int) -> None:
    """Write ``count`` digits as PNG files in ten folders, each shifted by a number of its own."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits().images.astype(np.uint8) * 15
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    for i in range(count):
        turn, number = divmod(i, len(digits))
        pixels = np.roll(np.pad(digits[number], 4), (turn % 7 - 3, turn // 7 - 2), (0, 1))
        Image.fromarray(pixels).save(folder / str(i % 10) / f"{i:06d}.png", compress_level=1)


def command(run: str, data: Path, out: Path, processes: int) -> list[str]:
    """The command that embeds ``data`` into ``out``."""
    flags = ["--out", f"{out}/", "--devices", str(processes), "--workers", "0"]
    return [sys.executable, "-m", "BYOL", "embed", run, str(data), *flags]


def read(folder: Path) -> tuple[list[str], np.ndarray]:
    """The names and features of all rows in order."""
    table = open_feature_table(str(folder))
    batches = [batch for _, batch in table.read(["file", "embedding"])]
    names = [name for batch in batches for name in batch["file"].to_pylist()]
    vectors = [b["embedding"].flatten().to_numpy().reshape(len(b), -1) for b in batches]
    return names, np.concatenate(vectors)


def kill_one(run: str, data: Path, out: Path) -> tuple[int, int]:
    """Kill one of four processes once parts are complete; return complete parts and exit code."""
    process = subprocess.Popen(command(run, data, out, 4), stdout=subprocess.DEVNULL)
    while not list(out.glob("part-00002-*")):
        time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit("the command ended before a process was killed")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    spawned = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(int(spawned[2]), signal.SIGKILL)
    code = process.wait()
    return len(list(out.glob("part-*"))), code


def main() -> None:
    args = arguments(__doc__, run="runs/digits", images=60_000, sources="folder,list,shards")
    line, rows = header("pyarrow"), []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_images(root / "folder", args.images)
        lines = sorted(str(p.relative_to(root)) for p in (root / "folder").rglob("*.png"))
        (root / "list.txt").write_text("\n".join(lines) + "\n")
        shard = [sys.executable, "-m", "BYOL", "shard", str(root / "folder")]
        subprocess.run([*shard, "--out", str(root / "shards")], check=True, capture_output=True)
        places = {"folder": root / "folder", "list": root / "list.txt", "shards": root / "shards"}
        for source in args.sources.split(","):
            for processes in (1, 2, 4):
                out = root / "out" / f"{source}-{processes}"
                out.parent.mkdir(exist_ok=True)
                start = time.perf_counter()
                embed = command(args.run, places[source], out, processes)
                subprocess.run(embed, check=True, capture_output=True)
                seconds = time.perf_counter() - start
                first = read(root / "out" / f"{source}-1")
                rows.append(compare(source, processes, seconds, read(out), first))
        out = root / "out" / "killed"
        parts, code = kill_one(args.run, root / "folder", out)
        (total,) = (len(list((root / "out" / "folder-4").glob("part-*"))),)
        print(f"one of four killed: exit code {code}, {parts} of {total} parts complete")
        start = time.perf_counter()
        subprocess.run(command(args.run, root / "folder", out, 3), check=True, capture_output=True)
        seconds = time.perf_counter() - start
        rows.append(compare("restart", 3, seconds, read(out), read(root / "out" / "folder-1")))
        assert (out / MANIFEST).exists()
        shutil.rmtree(root / "out")
    save(args.json, machine=line, rows=rows)


def compare(source: str, processes: int, seconds: float, table: Any, first: Any) -> dict[str, Any]:
    """Print a row, and check that ``table`` equals ``first``."""
    equal = table[0] == first[0] and np.array_equal(table[1], first[1])
    rate = len(table[0]) / seconds
    print(f"{source:8s} {processes} processes {len(table[0]):8,d} rows {seconds:7.1f} s "
          f"{rate:8,.0f}/s  {'equal' if equal else 'NOT EQUAL'}", flush=True)  # fmt: skip
    if not equal or len(set(table[0])) != len(table[0]):
        raise SystemExit("rows are lost, repeated or different")
    return {"source": source, "processes": processes, "seconds": seconds, "rows": len(table[0])}


if __name__ == "__main__":
    main()
