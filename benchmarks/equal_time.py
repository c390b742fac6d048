"""Recipes compared at equal wall-clock time, equal images and equal backbone; also lightly's own.

    python benchmarks/equal_time.py --data cifar/ --minutes 10 --threads 2 --json record.json
    python benchmarks/equal_time.py --sides 32px-minutes,solo-cifar,lightly-cifar --minutes 20 ...

``--plot FILE.svg`` draws k-NN over time.

``cifar/`` contains CIFAR-10 as files, ``train/`` and ``test/`` with class folders, or is a .npz
file. A side is the name of a preset, which ``byol pretrain`` runs for as many epochs as fit,
decoding included; a trial of two epochs measures how many. Or it is ``online``: the preset
32px-minutes without a moving average (``--target online``, smaller heads, less weight decay). Or it
is ``lite0``: the preset 32px-minutes with ``--teacher lite0`` and the settings of the automatic
recipe with a teacher. The features of the teacher are computed once, in ``--folder``, and the time
for those of the training images is part of every run. Or it is ``lightly``: the recipe of its
CIFAR-10 benchmark, with its own data set, transform, heads, loss and momentum update (SGD 0.06 for
a batch of 128, weight decay 5e-4, m = 0.99, no blur). The cosine schedule of lightly follows the
clock, so that it ends with the time. Sides take turns, and all are evaluated in the same way. Sides
that the file of ``--json`` already contains are not run again.
"""

import itertools
import math
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import arguments, header, load_saved, save, small_stem
from matplotlib import rc_context
from matplotlib.figure import Figure
from peers import LightlyStep, lightly_batches
from torch import nn

from BYOL.config.presets import preset_config
from BYOL.config.recipe_tables import TEACHER, TEACHER_OPTIMIZERS
from BYOL.data.dataset import Images
from BYOL.data.sources import open_images
from BYOL.evaluation.centering import choose_center
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.online import online_check
from BYOL.evaluation.protocols.knn import knn_accuracy
from BYOL.evaluation.protocols.linear import linear_probe
from BYOL.model.backbones import build_backbone
from BYOL.runs.open import open_run
from BYOL.training.channel_statistics import IMAGENET_MEAN, IMAGENET_STD
from BYOL.training.prepare import load_into_memory
from BYOL.training.pretrain import pretrain
from BYOL.views.config import InputSpec

BATCH = 128  # of the recipe of lightly
INPUT_SPEC = InputSpec(32, IMAGENET_MEAN, IMAGENET_STD)
# Without a moving average: chosen on held-out training images (docs/results/cifar10.md).
ONLINE = {"target": "online", "hidden_size": 512, "weight_decay": 7e-4}
MEASURES = ("knn200", "knn200-cosine", "linear")
CHECKS = 8  # largest number of k-NN evaluations while a preset trains


class Trained(NamedTuple):
    """The backbone that a side has trained, the time, and the number of images it has processed."""

    backbone: nn.Module
    input_spec: InputSpec
    seconds: float
    image_count: int
    rate: float  # images per second of training, without one-time costs
    curve: list[tuple[float, float]]  # seconds, and the accuracy of 20-NN on 5,000 images


def by_preset(
    args: Any, preset: str, seed: int, epochs: int, checks: int = CHECKS, **settings: Any
) -> Trained:
    every = math.ceil(epochs / checks) if checks else 0
    if preset == "online":
        preset, settings = "32px-minutes", {**ONLINE, **settings}
    if preset == "lite0":
        chosen = {**TEACHER, **TEACHER_OPTIMIZERS["sgd"], "teacher": "lite0"}
        preset, settings = "32px-minutes", {**chosen, **settings}
    # The features of a teacher are stored next to the run, so the run is removed and they stay.
    place = Path(args.folder or tempfile.gettempdir()) / f"equal-time-{os.getpid()}"
    config = preset_config(
        preset, data=args.data, backbone=args.backbone, epochs=epochs, seed=seed,
        evaluate=False, report=False, knn_every=every, out=str(place), **settings,
    )  # fmt: skip
    try:
        start = time.perf_counter()
        results = pretrain(config)
        seconds = time.perf_counter() - start
        run = open_run(str(place))
        backbone, input_spec = run.backbone, run.config.input_spec  # they are read only now
    finally:
        shutil.rmtree(place, ignore_errors=True)
    image_count = results["steps"] * config.batch_size
    rate = results["images_per_second"]
    first = 0.0  # seconds until training starts: the teacher's pass over the training images
    if teacher := results.get("teacher"):
        first = teacher["seconds"] * args.train_images / teacher["images"]
        seconds += first - (0 if teacher["reused"] else teacher["seconds"])
    each = (seconds - first) / epochs
    curve = [(first + each * epoch, accuracy) for epoch, accuracy in results["online_knn"]]
    return Trained(backbone, input_spec, seconds, image_count, rate, curve)


def epochs_that_fit(args: Any, preset: str, budget: float, train: Images, test: Images) -> int:
    tried = 2  # the first epoch is slower
    trial = by_preset(args, preset, 0, tried, checks=0)
    check = online_check(train, test, trial.input_spec, device=torch.device("cpu"))
    start = time.perf_counter()
    check(trial.backbone)
    checks = CHECKS * (time.perf_counter() - start)
    once = trial.seconds - trial.image_count / trial.rate + checks
    return max(int((budget - once) * trial.rate / (trial.image_count / tried)), 1)


def lightly(args: Any, seed: int, budget: float) -> Trained:
    torch.manual_seed(seed)
    start = time.perf_counter()
    backbone = new_backbone(args)
    step = LightlyStep(backbone, backbone(torch.zeros(2, 3, 32, 32)).shape[1])
    image_count = 0
    for x, x1 in lightly_batches(Path(args.data) / "train", BATCH, workers=2):
        passed = (time.perf_counter() - start) / budget
        if passed >= 1:
            break
        step.set_learning_rate_share(0.5 * (1 + math.cos(math.pi * passed)))
        step(x, x1)
        image_count += BATCH
    seconds = time.perf_counter() - start
    return Trained(backbone, INPUT_SPEC, seconds, image_count, image_count / seconds, [])


def new_backbone(args: Any) -> nn.Module:
    stem = small_stem(args.backbone)
    return build_backbone(args.backbone, in_channels=3, image_size=32, stem=stem)


def evaluate(
    backbone: nn.Module, input_spec: InputSpec, train: Images, test: Images, k: int = 200
) -> dict[str, float]:
    device = torch.device("cpu")
    train_ids, bank = extract_features(backbone, train, input_spec, device=device)
    test_ids, queries = extract_features(backbone, test, input_spec, device=device)
    labels, truth = train.labels[train_ids], test.labels[test_ids]
    predictions = linear_probe(bank, labels, queries).predictions
    center = choose_center(LabelledFeatures(labels, features=bank), seed=0)
    return {
        f"knn{k}": knn_accuracy(bank, labels, queries, truth, k=k, center=center),
        f"knn{k}-cosine": knn_accuracy(bank, labels, queries, truth, k=k),
        "linear": float((predictions == truth).mean()),
    }


def table(rows: dict[str, dict[str, float]], sides: list[str]) -> None:
    print("\nmean ± standard deviation over seeds")
    for side in sides:
        seed_rows = [row for name, row in rows.items() if name.rpartition(" ")[0] == side]
        cells = []
        for measure in (*MEASURES, "seconds", "rate"):
            values = [row[measure] for row in seed_rows]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            digits = 3 if measure in MEASURES else 0
            cells.append(f"{measure} {statistics.mean(values):.{digits}f} ±{spread:.{digits}f}")
        print(f"  {side:16s} " + "   ".join(cells))


def draw(rows: dict[str, dict[str, Any]], sides: list[str], path: str) -> None:
    """Draw k-NN over time: one line for every seed of every side that has a curve."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, side in enumerate(sides):
        seed_rows = [row for name, row in rows.items() if name.rpartition(" ")[0] == side]
        for seed, row in enumerate(seed_rows):
            times, accuracies = np.asarray(row["curve"]).reshape(-1, 2).T
            label = side if seed == 0 and len(times) else None
            axes.plot(times / 60, accuracies, "o-", color=f"C{number}", ms=3, lw=1, label=label)
    axes.set_xlabel("minutes")
    axes.set_ylabel("20-NN accuracy (5,000 and 5,000 images)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": ""}):
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    args = arguments(
        __doc__, data="cifar", minutes=10.0, seeds=3, first_seed=0, backbone="plain6", threads=2,
        sides="small,lightly", plot=None, folder=None,
    )  # fmt: skip
    line, budget, sides = header("lightly"), args.minutes * 60, args.sides.split(",")
    record = load_saved(args.json, machine=line, minutes=args.minutes, epochs={}, rows={})
    splits = open_images(args.data)
    train, _ = load_into_memory(splits.train, 1 << 32)
    test, _ = load_into_memory(splits.test, 1 << 32)
    args.train_images = len(train)
    if "untrained" not in record:
        torch.manual_seed(0)
        record["untrained"] = evaluate(new_backbone(args), INPUT_SPEC, train, test)
    print(f"untrained: {record['untrained']}", flush=True)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    for seed, side in itertools.product(seeds, sides):
        name = f"{side} {seed}"
        if name in record["rows"]:
            continue
        if side != "lightly" and side not in record["epochs"]:
            record["epochs"][side] = epochs_that_fit(args, side, budget, train, test)
        trained = (
            lightly(args, seed, budget)
            if side == "lightly"
            else by_preset(args, side, seed, record["epochs"][side])
        )
        row = {
            "seconds": trained.seconds,
            "rate": trained.image_count / trained.seconds,
            "curve": trained.curve,
            **evaluate(trained.backbone, trained.input_spec, train, test),
        }
        record["rows"][name] = row
        print(f"{side:16s} seed {seed}: {row['seconds']:.0f} s, {row['rate']:,.0f} images/s, "
              f"kNN {row['knn200']:.3f}, linear {row['linear']:.3f}", flush=True)  # fmt: skip
        save(args.json, **record)
    table(record["rows"], sides)
    if args.plot:
        draw(record["rows"], sides, args.plot)


if __name__ == "__main__":
    main()
