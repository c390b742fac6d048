"""The protocols that train on pictures: the paper's linear evaluation and fine-tuning."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from BYOL.data.open import open_images
from BYOL.evaluation.baselines import RawPixels
from BYOL.evaluation.protocols import finetune as finetuning
from BYOL.evaluation.protocols.finetune import Classifier, finetune, finetune_steps
from BYOL.evaluation.protocols.linear_sgd import (
    CROPS,
    RATE,
    RATES,
    _by_turns,
    _loss,
    crops_of,
    linear_sgd,
)
from BYOL.evaluation.stratify import balanced_share
from BYOL.evaluation.targets import goodness, targets_of
from BYOL.evaluation.types import Exam, Subject
from BYOL.views.config import ViewConfig
from tests.conftest import draw_pictures
from tests.evaluation.test_protocols import SIGHT, MeanColour, coloured

pytestmark = pytest.mark.trains

EXAM = Exam(
    coloured(), coloured(60, seed=1),
    view=ViewConfig(8, crop_scale=(0.5, 1.0), jitter=0, grey=0, blur=0),
    device=torch.device("cpu"), epochs=12, batch_size=16, shares=(0.1, 1.0),
)  # fmt: skip


def subject(backbone: nn.Module, exam: Exam = EXAM) -> Subject:
    from BYOL.evaluation.features import extract_features

    def see(images):
        return extract_features(backbone, images, SIGHT, device=exam.device)[1]

    return Subject("s", backbone, SIGHT, exam, see)


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())


def test_linear_sgd_learns_what_the_features_hold_and_repeats_itself():
    first, second = (linear_sgd(subject(MeanColour())).measures["linear-sgd"] for _ in range(2))
    assert first == second
    assert first["accuracy"] > 0.85 and first["learning_rate"] in RATES


def test_classes_of_one_teaching_picture_each_choose_no_rate():
    one_each = dataclasses.replace(EXAM.learn, labels=np.arange(90) % 45).subset(np.arange(45))
    exam = dataclasses.replace(
        EXAM,
        learn=dataclasses.replace(one_each, classes=tuple(map(str, range(45)))),
        judge=dataclasses.replace(EXAM.judge, labels=np.arange(60) % 45),
        epochs=2,
    )
    assert linear_sgd(subject(MeanColour(), exam)).measures["linear-sgd"]["learning_rate"] == RATE
    found = finetune(subject(conv(), exam)).measures
    assert {m["learning_rate"] for m in found.values()} == {finetuning.RATE}


@pytest.mark.parametrize("pictures", [3, 12, 72])
def test_a_small_share_of_values_is_two_pictures_at_least(pictures):
    learn = EXAM.learn.subset(np.arange(pictures))
    exam = dataclasses.replace(
        EXAM,
        learn=dataclasses.replace(learn, labels=mean_colours()[:pictures]),
        judge=dataclasses.replace(EXAM.judge, labels=mean_colours(60, 1)),
        epochs=1,
        shares=(0.01, 1.0),
    )
    pooled = nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(6))  # wants two
    found = finetune(subject(pooled, exam)).measures
    assert [m["labels"] for m in found.values()] == [2, 2, pictures, pictures]


def test_linear_sgd_leaves_the_backbone_and_its_statistics_alone():
    backbone = conv()
    before = copy.deepcopy(backbone.state_dict())
    linear_sgd(subject(backbone))
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_heads_do_not_disturb_each_other_and_held_out_pictures_teach_only_the_second_copy():
    features, labels = torch.randn(8, 4), torch.arange(8) % 3
    heads = [torch.randn(2, 3, 4, requires_grad=True) for _ in range(2)]
    fit = torch.tensor([True] * 5 + [False] * 3)
    _loss(features, heads, labels, fit).backward()
    for head in heads:
        for copy_, rows in ((0, slice(0, 5)), (1, slice(0, 8))):
            alone = head.detach()[copy_].clone().requires_grad_()
            nn.functional.cross_entropy(features[rows] @ alone.T, labels[rows]).backward()
            torch.testing.assert_close(head.grad[copy_], alone.grad)


def test_finetuning_learns_with_every_share_and_never_alters_the_backbone():
    backbone = conv()
    before = copy.deepcopy(backbone.state_dict())
    measures = finetune(subject(backbone)).measures
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())
    assert list(measures) == ["finetune 10%", "finetune 100%"]
    assert [m["labels"] for m in measures.values()] == [9, 90]
    assert measures["finetune 100%"]["accuracy"] > 0.7


def mean_colours(count: int = 90, seed: int = 0) -> np.ndarray:
    return coloured(count, seed).data.float().mean(dim=(2, 3)).numpy().astype(np.float64)


@pytest.mark.parametrize("kind", ["tags", "values"])
def test_finetuning_learns_tags_and_values(kind):
    learn, judge = mean_colours(), mean_colours(60, seed=1)
    if kind == "tags":
        middle = np.median(learn, axis=0)
        labels, truth, measures = learn > middle, judge > middle, ("mAP", "F1")
    else:  # far from zero, and of scales far apart
        scale = np.array([1e-3, 1.0, 1e3])
        labels, truth, measures = 1e4 + learn * scale, 1e4 + judge * scale, ("R²", "MAE")
    exam = dataclasses.replace(
        EXAM,
        learn=dataclasses.replace(EXAM.learn, labels=labels),
        judge=dataclasses.replace(EXAM.judge, labels=truth),
        epochs=25,
    )
    found = finetune(subject(conv(), exam)).measures
    names = [f"finetune {share} {measure}" for share in ("10%", "100%") for measure in measures]
    assert list(found) == names
    assert [m["labels"] for m in found.values()] == [9, 9, 90, 90]
    assert found[f"finetune 100% {measures[0]}"]["value"] > 0.8


def test_a_last_layer_of_standardised_values_is_scaled_back():
    labels = np.array([[1.0, 500.0], [3.0, 500.0], [5.0, 500.0]])  # the second all the same
    targets = targets_of(labels, "regression", 2, torch.device("cpu"))
    torch.testing.assert_close(targets.labels[:, 1], torch.zeros(3))
    head = nn.Linear(2, 2)
    with torch.no_grad():  # right where labels are standardised
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()
    outputs = targets.labels.clone()
    assert targets.loss(outputs, torch.arange(3)) == 0
    targets.unscale(head)
    torch.testing.assert_close(head(outputs), torch.as_tensor(labels, dtype=torch.float32))


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("classification", np.array([0, 1, 2, 1])),
        ("multilabel", np.array([[0, 1], [1, 1], [0, 0], [1, 0]], dtype=bool)),
        ("regression", np.array([[0.0, 1e3], [1.0, 2e3], [2.0, 0.0], [3.0, 1e3]])),
    ],
)
def test_a_rate_is_compared_by_what_the_labels_are(task, labels):
    right = np.eye(3)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    right = right * 9 - 4 if task == "multilabel" else right
    rng = np.random.default_rng(0)
    worse = right + rng.normal(size=right.shape) * (np.abs(right).mean(axis=0) + 5)
    worst = np.full_like(right, np.nan)
    scores = [goodness(task, outputs, labels) for outputs in (right, worse, worst)]
    assert scores[0] > scores[1] > scores[2] == -np.inf
    if task == "multilabel":
        logits = torch.from_numpy(worse)
        expected = nn.functional.binary_cross_entropy_with_logits(
            logits, torch.tensor(labels) * 1.0
        )
        assert scores[1] == pytest.approx(-float(expected))


def test_raw_pixels_have_nothing_to_finetune_and_are_the_pixels_again():
    pixels = RawPixels(SIGHT)
    assert finetune(subject(pixels)).measures == {}
    images = coloured(9)
    seen = subject(pixels, dataclasses.replace(EXAM, learn=images)).bank
    np.testing.assert_allclose(seen, images.data.flatten(1) / 255, atol=1e-6)


def test_shares_keep_every_class_and_lie_in_each_other():
    labels = np.array([0] * 100 + [1] * 50 + [2])
    small, large = (balanced_share(labels, share, 3) for share in (0.1, 0.5))
    assert np.bincount(labels[small]).tolist() == [10, 5, 1]
    assert set(small) <= set(large)
    assert (balanced_share(labels, 1.0, 3) == np.arange(151)).all()
    assert (balanced_share(labels, 0.1, 4) != small).any()


def test_a_classifier_starts_undecided_and_its_backbone_is_a_copy():
    backbone = conv()
    classifier = Classifier(backbone, 6, 3)
    assert (classifier(torch.randn(4, 3, 8, 8)) == 0).all()
    assert classifier.backbone[0].weight is not backbone[0].weight


def test_pictures_in_files_are_trained_on_as_well(tmp_path):
    images = open_images(str(draw_pictures(tmp_path / "p", side=140))).train
    exam = dataclasses.replace(EXAM, learn=images, judge=images, batch_size=8)
    measure = linear_sgd(subject(MeanColour(), exam)).measures["linear-sgd"]
    assert measure["accuracy"] == pytest.approx(1.0)


def test_on_a_cpu_a_few_crops_serve_all_epochs_and_each_picture_comes_once_an_epoch():
    seen = [
        (torch.arange(4) + 4 * b, torch.full((4, 2), float(c))) for c in range(2) for b in (0, 1)
    ]
    batches = list(_by_turns(iter(seen), 2, 5, 0))
    assert len(batches) == 10
    for epoch in range(5):
        ids, features = (
            torch.cat(part) for part in zip(*batches[2 * epoch : 2 * epoch + 2], strict=True)
        )
        assert sorted(ids.tolist()) == list(range(8))
        assert (features == epoch % 2).all()
    assert batches[4][0].tolist() != batches[8][0].tolist(), "drawn anew"
    measure = linear_sgd(subject(MeanColour())).measures["linear-sgd"]
    assert measure["crops"] == CROPS < EXAM.epochs
    assert crops_of(EXAM, 1 << 40) == EXAM.epochs, "what does not fit is looked at anew"


def test_finetuning_on_a_cpu_sees_so_many_pictures_and_chooses_a_rate_once_for_equal_samples(
    monkeypatch,
):
    exam, trained = dataclasses.replace(EXAM, epochs=None, shares=(0.5, 0.6, 1.0)), []

    def count(subject, learn, rate, epochs):
        trained.append(len(learn) * epochs)
        return Classifier(subject.backbone, 6, 3)

    monkeypatch.setattr(finetuning, "_trained", count)
    monkeypatch.setattr(finetuning, "CHOSEN_ON", 45)
    monkeypatch.setattr(finetuning, "SEEN", 300)
    measures = finetune(subject(conv(), exam)).measures
    assert [m["epochs"] for m in measures.values()] == [6, 5, 3]
    assert len(trained) == 3 + len(finetuning.RATES)
    assert finetune_steps(exam) == sum(trained)
