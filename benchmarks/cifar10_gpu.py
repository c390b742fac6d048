"""A ResNet-18 on the whole of CIFAR-10, in runs of under nine minutes, each going on with the last.

    python benchmarks/cifar10_gpu.py --data cifar/ --out runs/cifar10      # again until it is done
    python benchmarks/cifar10_gpu.py --data cifar/ --out runs/long --preset 32px-800
    python benchmarks/cifar10_gpu.py --data cifar/ --out runs/other --flags "--weight-decay 3e-4"
    python benchmarks/cifar10_gpu.py --data cifar/ --out rehearsal --tiny 1 --minutes 0.3

``cifar/`` holds CIFAR-10 as files, ``train/`` and ``test/`` with class folders. A call starts
``byol pretrain --resume auto`` and asks it to stop (SIGTERM) when the minutes are over: it finishes
its step, saves, and ends with exit code 75, and so does this script. The call in which training
ends judges the backbone by 20-NN, 200-NN and the linear probe, beside raw pixels and the untrained
backbone, and leaves beside the run: cifar10.json (figures, seconds of training of every call) and
cifar10.png (loss and online k-NN against minutes of training). With ``--tiny 1`` the network and
its pictures are so small that a CPU can rehearse it.
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

GO_ON = 75  # the exit code of a run that was stopped and can go on
TINY = [
    "--backbone=plain5", "--image-size=16", "--epochs=3", "--batch-size=32", "--warmup-epochs=1",
    "--hidden-size=32", "--output-size=16", "--knn-every=1",
]  # fmt: skip


def train(given: Any) -> tuple[int, float]:
    """One call of ``byol pretrain``: its exit code, and its seconds."""
    words = [
        sys.executable, "-m", "BYOL", "pretrain", given.data, "--out", given.out, "--resume=auto",
        f"--preset={given.preset}", f"--seed={given.seed}", "--no-evaluate", "--no-report",
        *(TINY if given.tiny else ["--backbone=resnet18", "--knn-every=10"]),
        *shlex.split(given.flags),
    ]  # fmt: skip
    print("$", *words[1:], flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(words)
    try:
        code = process.wait(given.minutes * 60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    except KeyboardInterrupt:  # the run got it as well, and saves
        code = process.wait()
    return code, time.perf_counter() - start


def judge(given: Any) -> dict[str, Any]:
    words = [
        sys.executable,
        "-m",
        "BYOL",
        "evaluate",
        given.out,
        given.data,
        "--protocol=knn,linear",
    ]
    print("$", *words[1:], flush=True)
    subprocess.run(words, check=True)
    return json.loads(Path(given.out, "evaluation.json").read_text())["rows"]


def draw(given: Any, seconds: float) -> None:
    """Loss and online k-NN against minutes, all calls together."""
    import csv

    from matplotlib.figure import Figure

    with Path(given.out, "logs", "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = max(int(row["step"]) for row in rows)
    figure = Figure(figsize=(7, 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "knn"), strict=True):
        at = [(int(row["step"]) / last, float(row[name])) for row in rows if row.get(name)]
        axes.plot([share * seconds / 60 for share, _ in at], [value for _, value in at])
        axes.set_xlabel("minutes of training")
        axes.set_title("loss" if name == "loss" else "online k-NN, test pictures")
    figure.savefig(Path(given.out, "cifar10.png"), dpi=120)


def main() -> None:
    given = arguments(
        __doc__, data="cifar", out="runs/cifar10", preset="32px-200", minutes=8.5, seed=0, tiny=0,
        flags="", threads=2,
    )  # fmt: skip
    kept = Path(given.out, "cifar10.json")
    found: dict[str, Any] = {"machine": header("timm"), "calls": []}
    if kept.exists():
        found = json.loads(kept.read_text())
    code, seconds = train(given)
    if code not in (0, GO_ON):
        sys.exit(code)
    found["calls"].append(round(seconds, 1))
    found["train_seconds"] = sum(found["calls"])
    kept.write_text(json.dumps(found, indent=1))
    if code == 0:
        draw(given, found["train_seconds"])
        found["rows"] = judge(given)
        kept.write_text(json.dumps(found, indent=1))
    print(f"{len(found['calls'])} calls, {found['train_seconds']:.0f} s of training"
          + ("" if code == 0 else ": call again"))  # fmt: skip
    sys.exit(code)


if __name__ == "__main__":
    main()
