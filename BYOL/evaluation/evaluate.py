"""All measurements side by side: raw pixels, the untrained backbone, and the trained backbone."""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from BYOL._waiting import waiting
from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES, Measures
from BYOL.data.dataset import Images
from BYOL.errors import UserError
from BYOL.evaluation.augmented_batches import crop_and_flip_view
from BYOL.evaluation.baselines import RawPixels, Reference
from BYOL.evaluation.class_summary import class_summary, constant_summary
from BYOL.evaluation.collapse.feature_metrics import metrics_of_features
from BYOL.evaluation.comparison import comparisons_of
from BYOL.evaluation.copies.leakage import leakage_search
from BYOL.evaluation.deciding import check_metric
from BYOL.evaluation.features import extract_features, pixel_features
from BYOL.evaluation.labelled_set import label_count, task_of
from BYOL.evaluation.outcomes import digest_of_test_images
from BYOL.evaluation.protocols.registry import DEFAULT, PROTOCOLS, applicable_protocols
from BYOL.evaluation.split_summary import classes_without_training_images, group_counts
from BYOL.evaluation.splits import train_and_test_images
from BYOL.evaluation.types import (
    FEATURE_BATCH_SIZE,
    EvaluationData,
    FeatureFunction,
    FeatureSource,
    Outcome,
)
from BYOL.views.config import InputSpec, ViewConfig

MANY_PIXELS = 1024  # values per image above which linear probes use principal components
PIXEL_COMPONENTS = 256
ANNOUNCED = 60.0  # seconds; the expected time of a longer measurement is announced
ImagePixels = list[tuple[Images, np.ndarray]]  # images and their pixels as vectors
log = logging.getLogger(__name__)
NOTHING_KNOWN: Mapping[str, Measures] = MappingProxyType({})


@waiting("evaluating")
def evaluate(
    backbone: nn.Module,
    untrained: nn.Module,
    train: Images,
    test: Images | None,
    input_spec: InputSpec,
    *,
    device: torch.device,
    protocols: tuple[str, ...] = DEFAULT,
    view: ViewConfig | None = None,
    references: Sequence[Reference] = (),
    known: Mapping[str, Measures] = NOTHING_KNOWN,
    metric: str = "auto",
    log_times: bool = False,
    leakage: bool = True,
    trained_features: FeatureFunction | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluate a backbone and its baselines.

    Args:
        backbone: the trained backbone.
        untrained: the backbone before training.
        train: training images of the protocols, with labels (classes, tags or values: see
            :func:`BYOL.evaluation.labelled_set.task_of`); only ``cluster`` needs no labels.
        test: test images. If None, a fifth of ``train`` is held out, in whole groups if it has
            groups. Pretraining may have used the held-out images without their labels.
        input_spec: input specification of the backbones.
        device: device of the backbones.
        protocols: names from :data:`BYOL.evaluation.protocols.registry.PROTOCOLS`, or "all";
            protocols that do not support the labels are left out.
        view: crops and flips of the protocols that train on images; None means those of the paper.
        references: further backbones to compare with, one row each.
        known: rows of an earlier evaluation of the same images with the same seed, by the names of
            their sources; they are copied.
        metric: the metric that decides comparisons: see :mod:`BYOL.config.metrics`.
        log_times: whether the time of every measurement is logged, and its expected time before it
            starts if that is minutes.
        leakage: whether near-copies of test images are searched among the training images.
        trained_features: returns stored features of ``backbone``; None: they are computed.
        settings: further fields of :class:`EvaluationData`.

    Returns:
        - ``pictures``: numbers of readable training (``learn``) and test (``judge``) images. For
          groups see :func:`BYOL.evaluation.split_summary.group_counts`.
        - ``classes``: number of classes (or columns of tags or values; 0 without labels); ``task``.
        - ``rows[source][measure]``: ``{accuracy, low, high}``, where low and high are the ends of a
          95 % interval over the test images or their groups; for n-shot ``{accuracy, spread}``, the
          standard deviation over draws. Measures other than accuracy (balanced accuracy, AUROC, AP,
          NMI, ARI, silhouette, mAP, R@k, F1, R², MAE) have ``value`` instead of ``accuracy``.
          Settings that a protocol chose are included (``C``, ``learning_rate``, ``labels``), and
          ``outcomes``: see :mod:`BYOL.evaluation.outcomes`. Sources: "raw pixels",
          "untrained", "trained", and the names of the references; not every source has every
          measure.
        - ``confusion``: confusion matrix of the linear probe on the trained backbone, with a row
          for every true class and a column for every predicted class, and ``class_names`` of both;
          only for at most 100 classes. ``recall`` of every class: see
          :func:`BYOL.evaluation.class_summary.class_recalls`.
        - ``majority``, ``unequal`` and ``positive``, for classes: see
          :func:`BYOL.evaluation.class_summary.class_summary`. ``constant``, for tags and values:
          names of the columns that are equal for all test images, which are not scored.
        - ``feature_gauges``: collapse metrics of the features of training images, for "trained" and
          "untrained": see :func:`BYOL.evaluation.collapse.metrics.collapse_metrics`.
        - ``metric``, and ``comparisons[source]``: the trained backbone compared with every other
          source by paired tests: see :mod:`BYOL.evaluation.comparison`.
        - ``test_digest``: evaluations with the same one used the same test images.
        - ``leakage``: see :func:`BYOL.evaluation.copies.leakage.find_leakage`.
        - ``untaught``: names of classes with test images but without training images, if any.
        - ``left_out``: protocols that do not support these labels, if any.

    Raises:
        UserError: no labels, fewer than two classes or groups, or an unknown protocol.
    """
    chosen, left_out = applicable_protocols(protocols, train)
    metric = check_metric(metric, task_of(train), label_count(train))
    if test is not None and task_of(test) != task_of(train):
        raise UserError(f"{test.name}: its test images have no labels of the same kind")
    data = EvaluationData(
        *train_and_test_images(train, test, settings.get("seed", 0)),
        view=crop_and_flip_view(view or ViewConfig(input_spec.size), input_spec.size),
        device=device,
        **settings,
    )
    data, image_pixels = _only_readable(data, input_spec)
    search = leakage_search(data.train, data.test, image_pixels) if leakage else None
    trained = Reference("trained", backbone, input_spec)
    backbones = [Reference("untrained", untrained, input_spec), *references, trained]
    rows: dict[str, Measures] = {}
    collapse: dict[str, dict[str, float]] = {}
    level = logging.INFO if log_times else logging.DEBUG
    stored = {"trained": trained_features} if trained_features else {}
    for source in _sources(data, image_pixels, input_spec, backbones, stored):
        outcome = Outcome(known.get(source.name, {}))
        if source.name not in known:
            outcome = _run_protocols(source, chosen, level)
            if search and source.name == trained.name:
                outcome.details["leakage"] = search(source.bank, source.queries)
            if source.name in (trained.name, "untrained"):
                collapse[source.name] = metrics_of_features(source.bank)
        rows[source.name] = outcome.measures
    results = {
        **_composition(data, test),
        **({"left_out": left_out} if left_out else {}),
        **_summary(data),
        "metric": metric,
        "test_digest": digest_of_test_images(data.test),
        "rows": rows,
        "feature_gauges": collapse,
        **outcome.details,  # of the last source, the trained backbone
    }
    return {**results, "comparisons": comparisons_of(results)}


def _composition(data: EvaluationData, test: Images | None) -> dict[str, Any]:
    return {
        "pictures": {"learn": len(data.train), "judge": len(data.test)},
        **group_counts(data, test),
        **classes_without_training_images(data),
        "classes": label_count(data.train),
        "task": data.task,
    }


def _run_protocols(source: FeatureSource, chosen: list[str], level: int) -> Outcome:
    """Run the ``chosen`` protocols one after the other and log their times at ``level``."""
    start = time.monotonic()
    images = len(source.bank) + len(source.queries)
    seconds_per_image = (time.monotonic() - start) / images
    has_weights = any(True for _ in source.backbone.parameters())
    if has_weights:
        duration = _duration(seconds_per_image * images)
        log.log(level, f"{source.name}: features of {images:,} images took {duration}")
    result = Outcome({})
    for name in chosen:
        cost = PROTOCOLS[name].cost
        if cost and has_weights:
            expected = cost(source) * seconds_per_image
            if expected >= ANNOUNCED:
                log.log(level, f"{source.name}: {name} will take about {_duration(expected)}")
        start = time.monotonic()
        outcome = PROTOCOLS[name].run(source)
        result.measures.update(outcome.measures)
        result.details.update(outcome.details)
        log.log(level, f"{source.name}: {name} took {_duration(time.monotonic() - start)}")
    return result


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _only_readable(
    data: EvaluationData, input_spec: InputSpec
) -> tuple[EvaluationData, ImagePixels]:
    """Return ``data`` restricted to readable images, and the pixels of its images.

    Reading the pixels shows which files are readable. The other files are not read again.
    """
    batch_size = data.batch_size or FEATURE_BATCH_SIZE
    image_pixels: ImagePixels = []
    for images in dict.fromkeys((data.train, data.test)):
        ids, pixels = pixel_features(images, input_spec.size, batch_size)
        readable = images if len(ids) == len(images) else images.subset(ids)
        image_pixels.append((readable, pixels))
    data = dataclasses.replace(data, train=image_pixels[0][0], test=image_pixels[-1][0])
    if data.task == CLASSES and data.train_set.has_one_label:
        raise UserError(f"{data.train.name} has images of one class only: two are needed")
    if data.task in (TAGS, VALUES):
        for split, part in (("training", data.train_set), ("test", data.test_set)):
            if part.has_one_label:
                raise UserError(
                    f"{data.train.name}: all {split} images have the same labels, so nothing can "
                    "be measured"
                )
    return data, image_pixels


def _sources(
    data: EvaluationData,
    image_pixels: ImagePixels,
    input_spec: InputSpec,
    backbones: list[Reference],
    stored: Mapping[str, FeatureFunction],
) -> Iterator[FeatureSource]:
    """Yield the sources of features one by one, so that only one has its features in memory.

    Args:
        data: the images.
        image_pixels: their pixels, which are dropped after the first source.
        input_spec: of the pixels.
        backbones: name, network and input specification of the other sources.
        stored: features that are not computed, by the name of the source.
    """

    def pixels(images: Images) -> np.ndarray:
        return next(pixels for own, pixels in image_pixels if own is images)

    components = PIXEL_COMPONENTS if image_pixels[0][1].shape[1] > MANY_PIXELS else None
    raw, alike = RawPixels(input_spec), bool(stored)  # no source has crops if one has none
    yield FeatureSource("raw pixels", raw, input_spec, data, pixels, components, alike)
    image_pixels.clear()
    for source in backbones:
        name, backbone, spec = source.name, source.backbone, source.input_spec
        known = stored.get(name) or source.features_of
        features_of = known or feature_function(backbone, spec, data)
        yield FeatureSource(name, backbone, spec, data, features_of, stored=alike)


def feature_function(
    backbone: nn.Module, input_spec: InputSpec, data: EvaluationData
) -> FeatureFunction:
    """Return a function from images to their features, computed on the device of ``data``."""

    def features_of(images: Images) -> np.ndarray:
        batch_size = data.batch_size or FEATURE_BATCH_SIZE
        settings = {"device": data.device, "batch_size": batch_size, "workers": data.workers}
        return extract_features(backbone, images, input_spec, **settings)[1]

    return features_of


def _summary(data: EvaluationData) -> dict[str, Any]:
    if data.task == NOTHING:
        return {}
    if data.task != CLASSES:
        return constant_summary(data.test_set)
    return class_summary(data.train_set, data.test_set)
