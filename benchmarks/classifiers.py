"""Accuracy of three classifiers with few labels: linear, fine-tuned, trained from scratch.

    python benchmarks/classifiers.py --run runs/cifar --data cifar/ --budgets 100,300,1000,3000

``cifar/`` has ``train/`` and ``test/`` with class folders. For every budget, that number of random
images of train/ is labelled. ``linear`` and ``finetuned`` are the classifiers of ``byol export
--classifier``. ``untrained`` is the fine-tuning of the same network with its initial weights, so it
is trained on the labelled images alone. All are evaluated on all of test/.
"""

import dataclasses

import numpy as np
from common import arguments, header

from BYOL.config.features import FeaturesConfig
from BYOL.config.view_configs import view_configs
from BYOL.curation.run_features import Features, open_features
from BYOL.data.dataset import Images
from BYOL.evaluation.augmented_batches import crop_and_flip_view
from BYOL.evaluation.cross_val_predict import fit_probe
from BYOL.evaluation.evaluate import feature_function
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.protocols.finetune import finetune_on_all_labels
from BYOL.evaluation.types import EvaluationData, FeatureSource


def by_finetuning(features: Features, train: Images, test: Images, seed: int) -> dict[str, float]:
    run, input_spec = features.run, features.run.config.input_spec
    view = crop_and_flip_view(view_configs(run.config)[0], input_spec.size)
    data = EvaluationData(train, test, view, features.device, features.workers, seed)
    accuracies = {}
    for name, network in (("finetuned", run.backbone), ("untrained", run.untrained)):
        source = FeatureSource(
            name, network, input_spec, data, feature_function(network, input_spec, data)
        )
        predictions = finetune_on_all_labels(source, train).predictions.argmax(axis=1)
        accuracies[name] = float((predictions == test.labels).mean())
    return accuracies


def main() -> None:
    args = arguments(__doc__, run="runs/cifar", data="cifar/", budgets="100,300,1000,3000", seeds=3)
    header()
    features = open_features(FeaturesConfig(args.run, args.data))
    features = dataclasses.replace(features, workers=0)
    train, test = features.splits.train, features.splits.test
    (_, bank), (_, queries) = features.of(train), features.of(test)
    names = ("linear", "finetuned", "untrained")
    print(f"{'labels':>7} " + " ".join(f"{name:>14}" for name in names), flush=True)
    for budget in map(int, args.budgets.split(",")):
        rows = []
        for seed in range(args.seeds):
            at = np.random.default_rng(seed).choice(len(bank), budget, replace=False)
            known = LabelledSet.of(train).subset(at).with_features(bank[at])
            right = (fit_probe(known, seed)(queries).argmax(axis=1) == test.labels).mean()
            accuracies = {"linear": right, **by_finetuning(features, train.subset(at), test, seed)}
            rows.append([accuracies[name] for name in names])
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        cells = " ".join(f"{m:7.3f} ±{s:.3f}" for m, s in zip(mean, spread, strict=True))
        print(f"{budget:7} {cells}", flush=True)


if __name__ == "__main__":
    main()
