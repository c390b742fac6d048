"""What labels put on a backbone that is to be exported: a linear layer, or one trained with it."""

import dataclasses

import numpy as np
from torch import Tensor

from BYOL._console import to_stderr
from BYOL.config.export import ExportConfig
from BYOL.config.labelling import PredictConfig
from BYOL.config.view_configs import view_configs
from BYOL.curation.labelled import (
    TEST,
    Part,
    known_of,
    labelled_parts,
    measured,
    settled,
)
from BYOL.curation.run_features import Features, open_features
from BYOL.data.loader_errors import loader_mishaps
from BYOL.evaluation.augmented_batches import crops_and_flips
from BYOL.evaluation.bootstrap import in_words
from BYOL.evaluation.cross_val_predict import Known, fit, judged, unseen
from BYOL.evaluation.evaluate import seen_by
from BYOL.evaluation.protocols.finetune import finetuned
from BYOL.evaluation.splits import parted
from BYOL.evaluation.types import Exam, Subject
from BYOL.export.exportable import Model
from BYOL.model.classifier import Classifier
from BYOL.model.linear_head import LinearLayer

# settings that mean the same for byol predict
TEACHING = (
    "run", "data", "labels", "groups", "task", "seed",
    "batch_size", "workers", "accelerator", "data_root", "trust",
)  # fmt: skip


def with_classifier_of(config: ExportConfig) -> Model:
    """The run and what its labelled pictures teach.

    Raises:
        UserError: no run, no labels or of one class only, files that do not fit.
    """
    asked = PredictConfig(**{name: getattr(config, name) for name in TEACHING})
    features = open_features(asked)
    parts = labelled_parts(features, settled(asked, features.run))
    learn = [part for part in parts if part.split != TEST] or parts
    judge = [part for part in parts if part not in learn]
    if judge:
        _warn_of_sides(known_of(learn), known_of(judge))
    if config.classifier == "linear":
        return _linear(features, learn, judge, config.seed)
    return _finetuned(features, learn, judge, config)


def _warn_of_sides(learn: Known, judge: Known) -> None:
    if learn.groups is None or judge.groups is None:
        return
    both = len(np.intersect1d(learn.groups, judge.groups))
    if both:
        to_stderr(
            f"warning: {both:,} groups have pictures in test/ and among those that teach: what is "
            "said of test/ is too good"
        )


def _linear(features: Features, learn: list[Part], judge: list[Part], seed: int) -> Model:
    known, classes = known_of(learn), learn[0].images.classes
    layer = fit(known, seed)
    if judge:
        others = known_of(judge)
        measures = judged(others, layer(others.features), seed)
        said = _on_test(len(others), in_words(measures))
    else:
        measures = judged(known, unseen(known, seed), seed)
        said = measured(measures) if measures else ""
    classifier = Classifier(layer, classes, "linear", len(known), measures, said)
    return Model(features.run, classifier)


@loader_mishaps("give fewer --workers")
def _finetuned(
    features: Features, learn: list[Part], judge: list[Part], config: ExportConfig
) -> Model:
    run, all_ = features.run, learn[0].images
    sight = run.config.sight
    exam = Exam(
        *parted(all_, judge[0].images if judge else None, config.seed),
        view=crops_and_flips(view_configs(run.config)[0], sight.size),
        device=features.device,
        workers=features.workers,
        seed=config.seed,
        epochs=config.epochs,
    )
    backbone = seen_by(run.backbone, sight, exam)
    found = finetuned(Subject("the run", run.backbone, sight, exam, backbone), all_)
    to_stderr(f"{len(all_):,} labels, {found.epochs} epochs, learning rate {found.learning_rate:g}")
    head = found.network.head
    layer = LinearLayer(_numbers(head.weight), _numbers(head.bias), exam.task)
    others = f"one that {len(exam.train):,} of them have trained, on the {len(exam.test):,} others"
    words = in_words(found.measures)
    said = _on_test(len(exam.test), words) if judge else f"{others}: {words}"
    classifier = Classifier(layer, all_.classes, "finetuned", len(all_), found.measures, said)
    return Model(dataclasses.replace(run, backbone=found.network.backbone), classifier)


def _on_test(pictures: int, words: str) -> str:
    return f"on {pictures:,} labelled pictures of test/, which have not taught it: {words}"


def _numbers(weights: Tensor) -> np.ndarray:
    return weights.detach().numpy().astype(np.float64)
