"""Raw pixels, an untrained network, BYOL, a teacher, and a network that predicts its features.

    python benchmarks/teacher.py --data signs/,trash/ --minutes 2 --seeds 3 --json record.json

DATA has ``train/`` and ``test/`` with class folders, or is a .npz file with both sets and labels.
For each set and seed whole commands run one after the other: ``byol pretrain DATA --minutes M
--seed S``, and the same with ``--teacher lite0``; the second computes the features of the teacher
itself, within its time. The accuracies are those that the commands print, and the seconds are
those of the whole command, evaluation included. ``--sides`` names others of :data:`SIDES`.
Commands that the file of ``--json`` already contains are not run again.
"""

import itertools
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import arguments, header, load_saved, save

SIDES = {
    "BYOL": "",
    "teacher": "--teacher lite0",
    "linear head": "--teacher lite0 --depth-proj 1",
    "LARS 3.2": "--teacher lite0 --optimizer lars --lr 3.2",
}
FIXED = ("raw pixels", "untrained", "teacher")  # rows of references


def run(data: str, minutes: float, seed: int, side: str) -> dict[str, Any]:
    """Run a command in a folder of its own and return its measurements."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "BYOL", "pretrain", data, "--minutes", str(minutes)]
        command += [f"--seed={seed}", "--no-report", f"--out={out}", *shlex.split(SIDES[side])]
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds = time.monotonic() - start
        results = json.loads((out / "results.json").read_text())
    evaluation = results["evaluation"]
    return {
        "seconds": seconds,
        "steps": results["steps"],
        "teacher": results.get("teacher"),
        "images": evaluation["pictures"],
        "leaked": evaluation.get("leakage", {}).get("leaked"),
        "rows": {
            name: {k: m["accuracy"] for k, m in measures.items() if "accuracy" in m}
            for name, measures in evaluation["rows"].items()
        },
    }


def cell(values: list[float]) -> str:
    """Return mean and standard deviation of ``values``; no deviation if they are all equal."""
    mean = statistics.mean(values)
    same = len(values) < 2 or max(values) == min(values)
    return f"{mean:.3f}" if same else f"{mean:.3f} ±{statistics.stdev(values):.3f}"


def lines(name: str, row: str, runs: list[dict[str, Any]]) -> str:
    """Return the line of the table with the name ``name``: the row ``row`` of ``runs``."""
    columns = list(runs[0]["rows"][row])
    cells = [f"{c} {cell([r['rows'][row][c] for r in runs])}" for c in columns]
    return f"  {name:24s} " + "   ".join(cells)


def table(data: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the rows of one set: each reference once, then every side with its seconds."""
    every = list(itertools.chain.from_iterable(found.values()))
    training, test = every[0]["images"].values()
    print(f"\n{data}: {training:,} training and {test:,} test images, "
          f"{every[0]['leaked']} of which have a near-copy in training")  # fmt: skip
    for reference in FIXED:
        having = [r for r in every if reference in r["rows"]]
        if having:
            print(lines(f"[{reference}]", reference, having))
    for side, runs in found.items():
        print(lines(side, "trained", runs), f"  seconds {cell([r['seconds'] for r in runs])}")


def main() -> None:
    args = arguments(__doc__, data="digits", minutes=2.0, seeds=3, sides="BYOL,teacher")
    record = load_saved(args.json, machine=header(), minutes=args.minutes, runs={})
    sets, sides = args.data.split(","), args.sides.split(",")
    for seed, data, side in itertools.product(range(args.seeds), sets, sides):
        name = f"{data} | {side} | {seed}"
        if name not in record["runs"]:
            record["runs"][name] = run(data, args.minutes, seed, side)
            print(name, json.dumps(record["runs"][name]["rows"]["trained"]), flush=True)
            save(args.json, **record)
    for data in sets:
        seeds = range(args.seeds)
        runs = record["runs"]
        table(data, {side: [runs[f"{data} | {side} | {k}"] for k in seeds] for side in sides})


if __name__ == "__main__":
    main()
