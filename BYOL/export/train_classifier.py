"""The training of a classifier for export: a linear layer, or a fine-tuned network."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
from torch import Tensor

from BYOL.config.curation import PredictConfig
from BYOL.config.export import ExportConfig
from BYOL.config.view_configs import view_configs
from BYOL.config.view_settings import ViewSettings
from BYOL.curation.labelled import (
    TEST,
    LabelledSplit,
    concatenate_parts,
    labelled_parts,
    resolve_annotations,
)
from BYOL.curation.run_features import Features, open_features
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.evaluation.augmented_batches import crop_and_flip_view
from BYOL.evaluation.cross_val_predict import FOLDS, cross_val_predict, fit_probe
from BYOL.evaluation.deciding import check_metric
from BYOL.evaluation.estimate import Estimate, estimate_quality
from BYOL.evaluation.evaluate import feature_function
from BYOL.evaluation.labelled_set import LabelledSet, task_of
from BYOL.evaluation.protocols.finetune import finetune_on_all_labels
from BYOL.evaluation.splits import train_and_test_images
from BYOL.evaluation.types import EvaluationData, FeatureSource
from BYOL.export.exportable import ExportModel
from BYOL.model.classifier import Classifier
from BYOL.model.linear_head import LinearLayer

log = logging.getLogger(__name__)
# settings that byol export and byol predict have in common
_SHARED_SETTINGS = (
    "run", "data", "labels", "label_column", "groups", "group_column", "file_column", "task",
    "seed", "batch_size", "workers", "accelerator", "data_root", "trust",
)  # fmt: skip


def train_classifier(config: ExportConfig) -> ExportModel:
    """Train the classifier that ``config`` specifies on the labelled images of its run.

    Labelled images of the test split are used for evaluation only.

    Raises:
        UserError: there is no run, there are no labels or labels of one class only, or the label
            files do not match the images.
    """
    predict_config = PredictConfig(**{name: getattr(config, name) for name in _SHARED_SETTINGS})
    features = open_features(predict_config, [(f"--to={config.to}", Path(config.to))])
    parts = labelled_parts(features, resolve_annotations(predict_config, features.run))
    train = [part for part in parts if part.split != TEST] or parts
    test = [part for part in parts if part not in train]
    if test:
        _warn_of_common_groups(concatenate_parts(train), concatenate_parts(test))
    if config.classifier == "linear":
        return _linear(features, train, test, config)
    return _finetuned(features, train, test, config)


def _warn_of_common_groups(train: LabelledSet, test: LabelledSet) -> None:
    if train.groups is None or test.groups is None:
        return
    common = len(np.intersect1d(train.groups, test.groups))
    if common:
        log.warning(
            f"{common:,} groups have images in test/ and among the training images: the "
            "results on test/ are too optimistic"
        )


def _linear(
    features: Features, train: list[LabelledSplit], test: list[LabelledSplit], config: ExportConfig
) -> ExportModel:
    train_set = concatenate_parts(train)
    metric = check_metric(config.metric, train_set.task, train_set.count)
    layer = fit_probe(train_set, config.seed)
    if test:
        test_set = concatenate_parts(test)
        predictions = layer(test_set.features)
        estimate = estimate_quality(test_set, predictions, metric, train_set)
        source = _test_source(len(test_set))
    else:
        predictions = cross_val_predict(train_set, config.seed)
        estimate = estimate_quality(train_set, predictions, metric)
        source = f"{FOLDS}-fold cross-validation"
    return ExportModel(features.run, _classifier(layer, "linear", train_set, estimate, source))


def _classifier(
    layer: LinearLayer, kind: str, known: LabelledSet, estimate: Estimate, source: str
) -> Classifier:
    """Return the classifier with its evaluation, where ``source`` is what it was evaluated on."""
    evaluation = f"{source}: {estimate.text}" if estimate.measures else estimate.lacking_text
    details = {k: v for k, v in estimate.as_dict().items() if k != "measures"}
    measures = estimate.measures
    return Classifier(layer, known.classes, kind, len(known), measures, evaluation, details)


@concise_loader_errors("give fewer --workers")
def _finetuned(
    features: Features, train: list[LabelledSplit], test: list[LabelledSplit], config: ExportConfig
) -> ExportModel:
    run, images = features.run, train[0].images
    metric = check_metric(config.metric, task_of(images), len(images.classes))
    input_spec = run.config.input_spec
    data = EvaluationData(
        *train_and_test_images(images, test[0].images if test else None, config.seed),
        view=crop_and_flip_view(view_configs(run.config.only(ViewSettings))[0], input_spec.size),
        device=features.device,
        workers=features.workers,
        seed=config.seed,
        epochs=config.epochs,
    )
    backbone = feature_function(run.backbone, input_spec, data)
    result = finetune_on_all_labels(
        FeatureSource("the run", run.backbone, input_spec, data, backbone), images
    )
    log.info(
        f"{len(images):,} labels, {result.epochs} epochs, learning rate {result.learning_rate:g}"
    )
    head = result.network.head
    layer = LinearLayer(_to_numpy(head.weight), _to_numpy(head.bias), data.task)
    estimate = estimate_quality(data.test_set, result.predictions, metric, data.train_set)
    source = (
        _test_source(len(data.test))
        if test
        else f"a network trained on {len(data.train):,} of the images, tested on the "
        f"{len(data.test):,} others"
    )
    classifier = _classifier(layer, "finetuned", LabelledSet.of(images), estimate, source)
    return ExportModel(dataclasses.replace(run, backbone=result.network.backbone), classifier)


def _test_source(count: int) -> str:
    return f"on {count:,} labelled images of test/, which were not trained on"


def _to_numpy(weights: Tensor) -> np.ndarray:
    return weights.detach().numpy().astype(np.float64)
