"""The main job on a folder of labelled images, without flags but the time: is the result better?

    python benchmarks/first_run.py --data photos/ --minutes 10

``photos/`` has ``train/`` and ``test/`` with class folders. The script runs ``byol pretrain photos/
--minutes 10`` as a user does, measures the time of the whole process, and compares the trained
backbone with the same backbone untrained and with raw pixels on the same test images. Two rows are
compared by McNemar's exact test of the images on which only one of them is right; p is two-sided.
k-NN of raw pixels is also shown with the mean of the training images subtracted.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from common import arguments, header
from scipy.stats import binomtest

from BYOL.config.view_configs import view_configs
from BYOL.data.dataset import Images
from BYOL.data.sources import open_images
from BYOL.evaluation.augmented_batches import crop_and_flip_view
from BYOL.evaluation.baselines import RawPixels
from BYOL.evaluation.evaluate import feature_function
from BYOL.evaluation.features import pixel_features
from BYOL.evaluation.protocols.knn import knn_predict
from BYOL.evaluation.protocols.linear import linear_probe
from BYOL.evaluation.types import EvaluationData, FeatureSource
from BYOL.runs.open import Run, open_run

PIXEL_COMPONENTS = 256


def sources(run: Run, data: EvaluationData) -> dict[str, FeatureSource]:
    """Raw pixels, and the run's backbone before and after training."""
    spec = run.config.input_spec

    def pixels(images: Images) -> np.ndarray:
        return pixel_features(images, spec.size)[1]

    rows = {"raw pixels": FeatureSource("", RawPixels(spec), spec, data, pixels, PIXEL_COMPONENTS)}
    for name, network in (("untrained", run.untrained), ("trained", run.backbone)):
        features = feature_function(network, spec, data)
        rows[name] = FeatureSource(name, network, spec, data, features)
    return rows


def correct(source: FeatureSource, *, centred: bool = False) -> dict[str, np.ndarray]:
    """Protocol → (n,) bool: whether each test image is classified correctly."""
    data, bank, queries = source.data, source.bank, source.queries
    mean = bank.mean(axis=0) if centred else 0.0
    hits = {}
    for k in (20, 200):
        scores = knn_predict(bank - mean, data.train_labels, queries - mean, k=k)
        hits[f"knn{k}"] = scores.argmax(dim=1).numpy() == data.test_labels
    bank, queries = source.probe_features
    probe = linear_probe(bank, data.train_labels, queries, alike=source.reduction is not None)
    hits["linear"] = probe.predictions == data.test_labels
    return hits


def compared(first: np.ndarray, second: np.ndarray) -> str:
    """McNemar's exact test of two rows on the same images."""
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    p = binomtest(only_first, max(only_first + only_second, 1)).pvalue
    return f"{first.mean() - second.mean():+.3f} ({only_first}:{only_second}, p = {p:.2g})"


def main() -> None:
    args = arguments(__doc__, data="photos/", minutes=10.0, out="runs/first-run")
    header()
    command = [sys.executable, "-m", "BYOL", "pretrain", args.data, "--out", args.out]
    if not Path(args.out).exists():
        start = time.perf_counter()
        subprocess.run([*command, "--minutes", str(args.minutes)], check=True)
        taken = (time.perf_counter() - start) / 60
        print(f"requested {args.minutes:g} min, taken {taken:.2f} min", flush=True)
    run = open_run(args.out)
    splits = open_images(args.data, channels=run.config.channels)
    assert splits.test is not None
    view = crop_and_flip_view(view_configs(run.config)[0], run.config.input_spec.size)
    data = EvaluationData(splits.train, splits.test, view, torch.device("cpu"))
    rows = {name: correct(source) for name, source in sources(run, data).items()}
    rows["raw pixels, centred"] = correct(sources(run, data)["raw pixels"], centred=True)
    print(f"{len(splits.train)} training and {len(splits.test)} test images")
    for name, row in rows.items():
        print(f"{name:20} " + "  ".join(f"{p} {right.mean():.3f}" for p, right in row.items()))
    for other in ("untrained", "raw pixels", "raw pixels, centred"):
        for protocol, right in rows["trained"].items():
            print(f"trained − {other}, {protocol}: {compared(right, rows[other][protocol])}")


if __name__ == "__main__":
    main()
