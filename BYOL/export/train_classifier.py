"""The training of a classifier for export: a linear layer, or a fine-tuned network."""

import dataclasses
import logging

import numpy as np
from torch import Tensor

from BYOL.config.curation import PredictConfig
from BYOL.config.export import ExportConfig
from BYOL.config.view_configs import view_configs
from BYOL.curation.labelled import (
    TEST,
    LabelledSplit,
    concatenate_parts,
    describe_cross_validation,
    labelled_parts,
    resolve_annotations,
)
from BYOL.curation.run_features import Features, open_features
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.evaluation.augmented_batches import crop_and_flip_view
from BYOL.evaluation.bootstrap import measures_text
from BYOL.evaluation.cross_val_predict import (
    LabelledFeatures,
    cross_val_predict,
    fit_probe,
    prediction_measures,
)
from BYOL.evaluation.evaluate import feature_function
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
    features = open_features(predict_config)
    parts = labelled_parts(features, resolve_annotations(predict_config, features.run))
    train = [part for part in parts if part.split != TEST] or parts
    test = [part for part in parts if part not in train]
    if test:
        _warn_of_common_groups(concatenate_parts(train), concatenate_parts(test))
    if config.classifier == "linear":
        return _linear(features, train, test, config.seed)
    return _finetuned(features, train, test, config)


def _warn_of_common_groups(train: LabelledFeatures, test: LabelledFeatures) -> None:
    if train.groups is None or test.groups is None:
        return
    common = len(np.intersect1d(train.groups, test.groups))
    if common:
        log.warning(
            f"{common:,} groups have images in test/ and among the training images: the "
            "results on test/ are too optimistic"
        )


def _linear(
    features: Features, train: list[LabelledSplit], test: list[LabelledSplit], seed: int
) -> ExportModel:
    train_set, classes = concatenate_parts(train), train[0].images.classes
    layer = fit_probe(train_set, seed)
    if test:
        test_set = concatenate_parts(test)
        measures = prediction_measures(test_set, layer(test_set.features), seed)
        summary = _test_summary(len(test_set), measures_text(measures))
    else:
        measures = prediction_measures(train_set, cross_val_predict(train_set, seed), seed)
        summary = describe_cross_validation(measures) if measures else ""
    classifier = Classifier(layer, classes, "linear", len(train_set), measures, summary)
    return ExportModel(features.run, classifier)


@concise_loader_errors("give fewer --workers")
def _finetuned(
    features: Features, train: list[LabelledSplit], test: list[LabelledSplit], config: ExportConfig
) -> ExportModel:
    run, images = features.run, train[0].images
    input_spec = run.config.input_spec
    data = EvaluationData(
        *train_and_test_images(images, test[0].images if test else None, config.seed),
        view=crop_and_flip_view(view_configs(run.config)[0], input_spec.size),
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
    scores = measures_text(result.measures)
    if test:
        summary = _test_summary(len(data.test), scores)
    else:
        summary = (
            f"a network trained on {len(data.train):,} of the images, tested on the "
            f"{len(data.test):,} others: {scores}"
        )
    classifier = Classifier(
        layer, images.classes, "finetuned", len(images), result.measures, summary
    )
    return ExportModel(dataclasses.replace(run, backbone=result.network.backbone), classifier)


def _test_summary(count: int, scores: str) -> str:
    return f"on {count:,} labelled images of test/, which were not trained on: {scores}"


def _to_numpy(weights: Tensor) -> np.ndarray:
    return weights.detach().numpy().astype(np.float64)
