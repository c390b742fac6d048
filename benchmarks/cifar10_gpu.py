r"""A ResNet-18 on all of CIFAR-10, in runs of under nine minutes; each resumes the previous one.

    python benchmarks/cifar10_gpu.py --data cifar/ --out runs/cifar10      # repeat until complete
    python benchmarks/cifar10_gpu.py --data cifar/ --out runs/long --preset 32px-800
    python benchmarks/cifar10_gpu.py --data cifar/ --out runs/other --flags "--weight-decay 3e-4"
    python benchmarks/cifar10_gpu.py --data cifar10.npz --out runs/teacher --preset auto \
        --minutes 7 --flags "--teacher lite0 --minutes 3"
    python benchmarks/cifar10_gpu.py --data cifar/ --out rehearsal --tiny 1 --minutes 0.3

``cifar/`` contains CIFAR-10 as files, ``train/`` and ``test/`` with class folders, or is a .npz
file. A call starts ``byol pretrain --resume auto`` and stops it with SIGTERM after ``--minutes``.
The run then finishes its step, saves and ends with exit code 75, and so does this script. The call
that completes the training evaluates the backbone by 20-NN, 200-NN and the linear probe, compared
with raw pixels and the untrained backbone. OUT.json, next to the run, contains the results and the
training seconds of every call; OUT/cifar10.png shows loss and online k-NN over the minutes of
training. ``--tiny 1`` uses a network and images so small that it runs on a CPU.
"""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import arguments, header

UNFINISHED = 75  # exit code of a stopped run that can be resumed
TINY = [
    "--backbone=plain5", "--image-size=16", "--epochs=3", "--batch-size=32", "--warmup-epochs=1",
    "--hidden-size=32", "--output-size=16", "--knn-every=1",
]  # fmt: skip


def train(args: Any) -> tuple[int, float]:
    """Run ``byol pretrain`` once; return its exit code and its seconds."""
    words = [
        sys.executable, "-m", "BYOL", "pretrain", args.data, "--out", args.out, "--resume=auto",
        f"--preset={args.preset}", f"--seed={args.seed}", "--no-evaluate", "--no-report",
        *(TINY if args.tiny else ["--backbone=resnet18", "--knn-every=10"]),
        *shlex.split(args.flags),
    ]  # fmt: skip
    print("$", *words[1:], flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(words)
    try:
        code = process.wait(args.minutes * 60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    except KeyboardInterrupt:  # the run receives it too, and saves
        code = process.wait()
    return code, time.perf_counter() - start


def evaluate(args: Any) -> dict[str, Any]:
    words = [
        sys.executable,
        "-m",
        "BYOL",
        "evaluate",
        args.out,
        args.data,
        "--protocol=knn,linear",
    ]
    print("$", *words[1:], flush=True)
    subprocess.run(words, check=True)
    return json.loads(Path(args.out, "evaluation.json").read_text())["rows"]


def draw(args: Any, seconds: float) -> None:
    """Draw loss and online k-NN over the minutes of all calls."""
    import csv

    from matplotlib.figure import Figure

    with Path(args.out, "logs", "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = max(int(row["step"]) for row in rows)
    figure = Figure(figsize=(7, 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "knn"), strict=True):
        at = [(int(row["step"]) / last, float(row[name])) for row in rows if row.get(name)]
        axes.plot([share * seconds / 60 for share, _ in at], [value for _, value in at])
        axes.set_xlabel("minutes of training")
        axes.set_title("loss" if name == "loss" else "online k-NN, test images")
    figure.savefig(Path(args.out, "cifar10.png"), dpi=120)


def main() -> None:
    args = arguments(
        __doc__, data="cifar", out="runs/cifar10", preset="32px-200", minutes=8.5, seed=0, tiny=0,
        flags="", threads=2,
    )  # fmt: skip
    # Next to the run: a call that is stopped before its first checkpoint leaves a folder in which
    # byol pretrain accepts no file that is not its own.
    kept = Path(f"{args.out}.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"machine": header("timm"), "calls": []}
    if kept.exists():
        record = json.loads(kept.read_text())
    code, seconds = train(args)
    if code not in (0, UNFINISHED):
        sys.exit(code)
    record["calls"].append(round(seconds, 1))
    record["train_seconds"] = sum(record["calls"])
    kept.write_text(json.dumps(record, indent=1))
    if code == 0:
        draw(args, record["train_seconds"])
        record["rows"] = evaluate(args)
        kept.write_text(json.dumps(record, indent=1))
    print(f"{len(record['calls'])} calls, {record['train_seconds']:.0f} s of training"
          + ("" if code == 0 else ": repeat the command"))  # fmt: skip
    sys.exit(code)


if __name__ == "__main__":
    main()
