"""k-NN and few-shot accuracy with and without subtracting the mean of the training features.

    python benchmarks/centering.py --run runs/photos --data photos/

Raw pixels, the untrained and the trained backbone of the run are evaluated by the cosine as it is
and after the mean of the training images has been subtracted. ``photos/`` has ``train/`` and
``test/`` with class folders; without ``test/`` a fifth is held out. p is McNemar's exact test
between the two. ``chosen`` is what ``byol evaluate`` uses: the better one on the training images.
"""

import dataclasses

import numpy as np
import torch
from common import arguments, header

from BYOL.config.view_configs import view_configs
from BYOL.data.dataset import Images
from BYOL.data.sources import open_images
from BYOL.evaluation.augmented_batches import crop_and_flip_view
from BYOL.evaluation.baselines import RawPixels
from BYOL.evaluation.evaluate import feature_function
from BYOL.evaluation.features import pixel_features
from BYOL.evaluation.paired import mcnemar
from BYOL.evaluation.protocols.fewshot import fewshot_hits
from BYOL.evaluation.protocols.knn import knn_predict, numbers_of_neighbours
from BYOL.evaluation.splits import train_and_test_images
from BYOL.evaluation.types import EvaluationData, FeatureSource
from BYOL.runs.open import Run, open_run


def sources(run: Run, data: EvaluationData) -> dict[str, FeatureSource]:
    """Raw pixels, and the run's backbone before and after training."""
    spec = run.config.input_spec

    def pixels(images: Images) -> np.ndarray:
        return pixel_features(images, spec.size)[1]

    rows = {"raw pixels": FeatureSource("", RawPixels(spec), spec, data, pixels)}
    for name, network in (("untrained", run.untrained), ("trained", run.backbone)):
        features = feature_function(network, spec, data)
        rows[name] = FeatureSource(name, network, spec, data, features)
    return rows


def results(source: FeatureSource, center: np.ndarray | None) -> dict[str, np.ndarray]:
    """Protocol → what each test image (k-NN) or each draw (few-shot) contributes."""
    data, found = source.data, {}
    bank, queries = source.labelled_bank, source.labelled_queries
    for k in numbers_of_neighbours(data):
        scores = knn_predict(bank.features, bank.labels, queries.features, k=k, center=center)
        found[f"knn{k}"] = scores.argmax(dim=1).numpy() == queries.labels
    for shots in (1, 5):
        found[f"{shots}-shot"] = fewshot_hits(bank, queries, shots, center=center).mean(axis=1)
    return found


def main() -> None:
    args = arguments(__doc__, run="runs/photos", data="photos/")
    header()
    run = open_run(args.run, trust=True)
    splits = open_images(args.data, channels=run.config.channels)
    train, test = train_and_test_images(splits.train, splits.test, 0)
    view = crop_and_flip_view(view_configs(run.config)[0], run.config.input_spec.size)
    data = EvaluationData(train, test, view, torch.device("cpu"))
    data = dataclasses.replace(data, neighbours=(20, 200))
    print(f"{len(train):,} training and {len(test):,} test images, {data.class_count} classes")
    for name, source in sources(run, data).items():
        plain, centred = results(source, None), results(source, source.bank.mean(axis=0))
        cells = []
        for protocol, before in plain.items():
            after = centred[protocol]
            p = f" p={mcnemar(after, before).p:.2g}" if before.dtype == bool else ""
            cells.append(f"{protocol} {before.mean():.3f} → {after.mean():.3f}{p}")
        chosen = "plain" if source.center is None else "centred"
        print(f"{name:10} " + "; ".join(cells) + f"; chosen: {chosen}", flush=True)


if __name__ == "__main__":
    main()
