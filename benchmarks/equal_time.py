"""Equal wall-clock, equal pictures, equal backbone: recipes side by side, and lightly as it is.

    python benchmarks/equal_time.py --data cifar/ --minutes 10 --threads 2 --json found.json
    python benchmarks/equal_time.py --sides 32px-minutes,solo-cifar,lightly-cifar --minutes 20 ...

``--plot FILE.svg`` draws k-NN against the clock.

``cifar/`` holds CIFAR-10 as files, ``train/`` and ``test/`` with class folders. A side is the name
of a preset, run by ``byol pretrain`` for as many epochs as fit (measured in a trial of two before),
decoding included; or ``lightly``: its CIFAR-10 benchmark recipe, put together from its own data
set, transform, heads, loss and momentum update (SGD 0.06 for a batch of 128, weight decay 5e-4,
m = 0.99, no blur), whose cosine follows the clock, so that it ends where the time ends. Sides take
turns; all are judged alike. Called again with the same ``--json``, what is in it is not done again.
"""

import itertools
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import arguments, header, save, small_stem
from matplotlib import rc_context
from matplotlib.figure import Figure
from peers import LightlyStep, lightly_batches
from torch import nn

from BYOL.config.presets import preset_config
from BYOL.data.dataset import Images
from BYOL.data.open import open_images
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.online import online_check
from BYOL.evaluation.protocols.knn import knn_accuracy
from BYOL.evaluation.protocols.linear import linear_probe
from BYOL.model.backbones import build_backbone
from BYOL.runs.open import open_run
from BYOL.training.prepare import IMAGENET_MEAN, IMAGENET_STD, in_memory
from BYOL.training.pretrain import pretrain
from BYOL.views.config import InputSpec

BATCH = 128  # of lightly's recipe
SIGHT = InputSpec(32, IMAGENET_MEAN, IMAGENET_STD)
CHECKS = 8  # of k-NN while a preset trains, at most


class Trained(NamedTuple):
    """What a side has reached, in which time, and how many pictures it was shown."""

    backbone: nn.Module
    input_spec: InputSpec
    seconds: float
    pictures: int
    rate: float  # pictures a second while it trains, without what comes once
    curve: list[tuple[float, float]]  # seconds, and 20-NN on 5,000 pictures then


def by_preset(
    given: Any, preset: str, seed: int, epochs: int, checks: int = CHECKS, **further: Any
) -> Trained:
    every = math.ceil(epochs / checks) if checks else 0
    with tempfile.TemporaryDirectory() as folder:
        config = preset_config(
            preset, data=given.data, backbone=given.backbone, epochs=epochs, seed=seed,
            evaluate=False, report=False, knn_every=every, out=f"{folder}/run", **further,
        )  # fmt: skip
        start = time.perf_counter()
        results = pretrain(config)
        seconds = time.perf_counter() - start
        run = open_run(f"{folder}/run")
        pictures = results["steps"] * config.batch_size
        rate = results["images_per_second"]
        curve = [(seconds * epoch / epochs, accuracy) for epoch, accuracy in results["online_knn"]]
        return Trained(run.backbone, run.config.input_spec, seconds, pictures, rate, curve)


def epochs_that_fit(given: Any, preset: str, budget: float, train: Images, test: Images) -> int:
    tried = 2  # the first epoch is slower
    trial = by_preset(given, preset, 0, tried, checks=0)
    check = online_check(train, test, trial.input_spec, device=torch.device("cpu"))
    start = time.perf_counter()
    check(trial.backbone)
    checks = CHECKS * (time.perf_counter() - start)
    once = trial.seconds - trial.pictures / trial.rate + checks
    return max(int((budget - once) * trial.rate / (trial.pictures / tried)), 1)


def lightly(given: Any, seed: int, budget: float) -> Trained:
    torch.manual_seed(seed)
    start = time.perf_counter()
    backbone = new_backbone(given)
    step = LightlyStep(backbone, backbone(torch.zeros(2, 3, 32, 32)).shape[1])
    pictures = 0
    for x, x1 in lightly_batches(Path(given.data) / "train", BATCH, workers=2):
        passed = (time.perf_counter() - start) / budget
        if passed >= 1:
            break
        step.set_share_of_rate(0.5 * (1 + math.cos(math.pi * passed)))
        step(x, x1)
        pictures += BATCH
    seconds = time.perf_counter() - start
    return Trained(backbone, SIGHT, seconds, pictures, pictures / seconds, [])


def new_backbone(given: Any) -> nn.Module:
    stem = small_stem(given.backbone)
    return build_backbone(given.backbone, in_channels=3, image_size=32, stem=stem)


def judge(
    backbone: nn.Module, input_spec: InputSpec, train: Images, test: Images
) -> dict[str, float]:
    device = torch.device("cpu")
    ids, bank = extract_features(backbone, train, input_spec, device=device)
    asked, queries = extract_features(backbone, test, input_spec, device=device)
    labels, truth = train.labels[ids], test.labels[asked]
    guessed = linear_probe(bank, labels, queries).predictions
    return {
        "knn200": knn_accuracy(bank, labels, queries, truth, k=200, temperature=0.1),
        "linear": float((guessed == truth).mean()),
    }


def table(rows: dict[str, dict[str, float]], sides: list[str]) -> None:
    print("\nmean ± standard deviation over seeds")
    for side in sides:
        found = [row for name, row in rows.items() if name.rpartition(" ")[0] == side]
        cells = []
        for measure in ("knn200", "linear", "seconds", "rate"):
            values = [row[measure] for row in found]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            digits = 3 if measure in ("knn200", "linear") else 0
            cells.append(f"{measure} {statistics.mean(values):.{digits}f} ±{spread:.{digits}f}")
        print(f"  {side:16s} " + "   ".join(cells))


def draw(rows: dict[str, dict[str, Any]], sides: list[str], path: str) -> None:
    """k-NN against the clock: a line for every seed of every side that has a curve."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, side in enumerate(sides):
        found = [row for name, row in rows.items() if name.rpartition(" ")[0] == side]
        for seed, row in enumerate(found):
            times, accuracies = np.asarray(row["curve"]).reshape(-1, 2).T
            label = side if seed == 0 and len(times) else None
            axes.plot(times / 60, accuracies, "o-", color=f"C{number}", ms=3, lw=1, label=label)
    axes.set_xlabel("minutes")
    axes.set_ylabel("20-NN accuracy (5,000 and 5,000 pictures)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": ""}):
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    given = arguments(
        __doc__, data="cifar", minutes=10.0, seeds=3, first_seed=0, backbone="plain6", threads=2,
        sides="small,lightly", plot=None,
    )  # fmt: skip
    line, budget, sides = header("lightly"), given.minutes * 60, given.sides.split(",")
    found: dict[str, Any] = {"machine": line, "minutes": given.minutes, "epochs": {}, "rows": {}}
    if given.json and Path(given.json).exists():
        found = json.loads(Path(given.json).read_text())
    splits = open_images(given.data)
    train, _ = in_memory(splits.train, 1 << 32)
    test, _ = in_memory(splits.test, 1 << 32)
    if "untrained" not in found:
        torch.manual_seed(0)
        found["untrained"] = judge(new_backbone(given), SIGHT, train, test)
    print(f"untrained: {found['untrained']}", flush=True)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    for seed, side in itertools.product(seeds, sides):
        name = f"{side} {seed}"
        if name in found["rows"]:
            continue
        if side != "lightly" and side not in found["epochs"]:
            found["epochs"][side] = epochs_that_fit(given, side, budget, train, test)
        trained = (
            lightly(given, seed, budget)
            if side == "lightly"
            else by_preset(given, side, seed, found["epochs"][side])
        )
        row = {
            "seconds": trained.seconds,
            "rate": trained.pictures / trained.seconds,
            "curve": trained.curve,
            **judge(trained.backbone, trained.input_spec, train, test),
        }
        found["rows"][name] = row
        print(f"{side:16s} seed {seed}: {row['seconds']:.0f} s, {row['rate']:,.0f} images/s, "
              f"kNN {row['knn200']:.3f}, linear {row['linear']:.3f}", flush=True)  # fmt: skip
        save(given.json, **found)
    table(found["rows"], sides)
    if given.plot:
        draw(found["rows"], sides, given.plot)


if __name__ == "__main__":
    main()
