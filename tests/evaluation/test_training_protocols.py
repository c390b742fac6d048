"""The protocols that train on images: the paper's linear evaluation and fine-tuning."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from BYOL.data.sources import open_images
from BYOL.evaluation.baselines import RawPixels
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.protocols import finetune as finetuning
from BYOL.evaluation.protocols import linear_sgd as linear_sgd_module
from BYOL.evaluation.protocols.finetune import Classifier, count_finetune_images, finetune
from BYOL.evaluation.protocols.linear_sgd import (
    CROPS,
    DEFAULT_LR,
    LEARNING_RATES,
    _loss,
    _repeated,
    crops_per_image,
    linear_sgd,
)
from BYOL.evaluation.splits import balanced_share
from BYOL.evaluation.targets import build_targets, selection_score
from BYOL.evaluation.types import EvaluationData, FeatureSource
from BYOL.views.config import ViewConfig
from tests.conftest import draw_images
from tests.evaluation.test_protocols import SPEC, MeanColour, coloured

pytestmark = pytest.mark.trains

EVALUATION_DATA = EvaluationData(
    coloured(), coloured(60, seed=1),
    view=ViewConfig(8, crop_scale=(0.5, 1.0), jitter=0, grey=0, blur=0),
    device=torch.device("cpu"), epochs=12, batch_size=16, shares=(0.1, 1.0),
)  # fmt: skip


def source(backbone: nn.Module, data: EvaluationData = EVALUATION_DATA) -> FeatureSource:
    from BYOL.evaluation.features import extract_features

    def see(images):
        return extract_features(backbone, images, SPEC, device=data.device)[1]

    return FeatureSource("s", backbone, SPEC, data, see)


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())


def test_linear_sgd_is_accurate_and_reproducible():
    first, second = (linear_sgd(source(MeanColour())).measures["linear-sgd"] for _ in range(2))
    assert first == second
    assert first["accuracy"] > 0.85 and first["learning_rate"] in LEARNING_RATES


def test_stored_features_are_read_in_blocks_and_need_no_network(tmp_path, monkeypatch):
    computed = source(MeanColour())

    def stored(images):
        np.save(tmp_path / f"{len(images)}.npy", computed.features_of(images).astype(np.float16))
        return np.load(tmp_path / f"{len(images)}.npy", mmap_mode="r")

    read = {"stored": True, "backbone": nn.Identity(), "features_of": stored}
    first = linear_sgd(dataclasses.replace(computed, **read)).measures["linear-sgd"]
    assert first["accuracy"] > 0.85 and first["crops"] == 1
    monkeypatch.setattr(linear_sgd_module, "_BLOCK", 7)
    again = linear_sgd(dataclasses.replace(computed, **read)).measures["linear-sgd"]
    assert again["accuracy"] == first["accuracy"]


def test_with_one_training_image_per_class_the_default_learning_rate_is_used():
    one_each = dataclasses.replace(EVALUATION_DATA.train, labels=np.arange(90) % 45).subset(
        np.arange(45)
    )
    data = dataclasses.replace(
        EVALUATION_DATA,
        train=dataclasses.replace(one_each, classes=tuple(map(str, range(45)))),
        test=dataclasses.replace(EVALUATION_DATA.test, labels=np.arange(60) % 45),
        epochs=2,
    )
    assert (
        linear_sgd(source(MeanColour(), data)).measures["linear-sgd"]["learning_rate"] == DEFAULT_LR
    )
    found = finetune(source(conv(), data)).measures
    assert {m["learning_rate"] for m in found.values()} == {finetuning.DEFAULT_LR}


@pytest.mark.parametrize("pictures", [3, 12, 72])
def test_a_small_share_of_values_is_at_least_two_images(pictures):
    train = EVALUATION_DATA.train.subset(np.arange(pictures))
    data = dataclasses.replace(
        EVALUATION_DATA,
        train=dataclasses.replace(train, labels=mean_colours()[:pictures]),
        test=dataclasses.replace(EVALUATION_DATA.test, labels=mean_colours(60, 1)),
        epochs=1,
        shares=(0.01, 1.0),
    )
    pooled = nn.Sequential(
        conv(), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(6)
    )  # batch norm needs two
    found = finetune(source(pooled, data)).measures
    assert [m["labels"] for m in found.values()] == [2, 2, pictures, pictures]


def test_linear_sgd_does_not_change_the_backbone_or_its_statistics():
    backbone = conv()
    before = copy.deepcopy(backbone.state_dict())
    linear_sgd(source(backbone))
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_heads_are_independent_and_held_out_images_train_only_the_second_copy():
    features, labels = torch.randn(8, 4), torch.arange(8) % 3
    heads = [torch.randn(2, 3, 4, requires_grad=True) for _ in range(2)]
    fit = torch.tensor([True] * 5 + [False] * 3)
    _loss(features, heads, labels, fit).backward()
    for head in heads:
        for copy_, rows in ((0, slice(0, 5)), (1, slice(0, 8))):
            alone = head.detach()[copy_].clone().requires_grad_()
            nn.functional.cross_entropy(features[rows] @ alone.T, labels[rows]).backward()
            torch.testing.assert_close(head.grad[copy_], alone.grad)


def test_finetuning_works_with_every_share_and_does_not_change_the_backbone():
    backbone = conv()
    before = copy.deepcopy(backbone.state_dict())
    measures = finetune(source(backbone)).measures
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())
    shares = ["finetune 10%", "finetune 100%"]
    assert list(measures) == [f"{s}{m}" for s in shares for m in ("", " balanced accuracy")]
    assert [measures[share]["labels"] for share in shares] == [9, 90]
    assert measures["finetune 100%"]["accuracy"] > 0.7


def mean_colours(count: int = 90, seed: int = 0) -> np.ndarray:
    return coloured(count, seed).data.float().mean(dim=(2, 3)).numpy().astype(np.float64)


@pytest.mark.parametrize("kind", ["tags", "values"])
def test_finetuning_works_for_tags_and_values(kind):
    train, test = mean_colours(), mean_colours(60, seed=1)
    if kind == "tags":
        middle = np.median(train, axis=0)
        labels, truth, measures = train > middle, test > middle, ("mAP", "F1")
    else:  # far from zero, and of very different scales
        scale = np.array([1e-3, 1.0, 1e3])
        labels, truth, measures = 1e4 + train * scale, 1e4 + test * scale, ("R²", "MAE")
    data = dataclasses.replace(
        EVALUATION_DATA,
        train=dataclasses.replace(EVALUATION_DATA.train, labels=labels),
        test=dataclasses.replace(EVALUATION_DATA.test, labels=truth),
        epochs=25,
    )
    found = finetune(source(conv(), data)).measures
    names = [f"finetune {share} {measure}" for share in ("10%", "100%") for measure in measures]
    assert list(found) == names
    assert [m["labels"] for m in found.values()] == [9, 9, 90, 90]
    assert found[f"finetune 100% {measures[0]}"]["value"] > 0.8


def test_the_last_layer_of_standardised_values_is_rescaled():
    labels = np.array([[1.0, 500.0], [3.0, 500.0], [5.0, 500.0]])  # the second is constant
    targets = build_targets(LabelledSet(labels), 2, torch.device("cpu"))
    torch.testing.assert_close(targets.labels[:, 1], torch.zeros(3))
    head = nn.Linear(2, 2)
    with torch.no_grad():  # correct for standardised labels
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
def test_the_score_that_compares_learning_rates_depends_on_the_labels(task, labels):
    right = np.eye(3)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    right = right * 9 - 4 if task == "multilabel" else right
    rng = np.random.default_rng(0)
    worse = right + rng.normal(size=right.shape) * (np.abs(right).mean(axis=0) + 5)
    worst = np.full_like(right, np.nan)
    truth = LabelledSet(labels)
    scores = [selection_score(outputs, truth) for outputs in (right, worse, worst)]
    assert truth.task == task
    assert scores[0] > scores[1] > scores[2] == -np.inf
    if task == "multilabel":
        logits = torch.from_numpy(worse)
        expected = nn.functional.binary_cross_entropy_with_logits(
            logits, torch.tensor(labels) * 1.0
        )
        assert scores[1] == pytest.approx(-float(expected))


def test_raw_pixels_are_not_finetuned_and_equal_the_pixels():
    pixels = RawPixels(SPEC)
    assert finetune(source(pixels)).measures == {}
    images = coloured(9)
    seen = source(pixels, dataclasses.replace(EVALUATION_DATA, train=images)).bank
    np.testing.assert_allclose(seen, images.data.flatten(1) / 255, atol=1e-6)


def test_shares_have_every_class_and_are_nested():
    labels = np.array([0] * 100 + [1] * 50 + [2])
    known = LabelledSet(labels)
    small, large = (balanced_share(known, share, 3) for share in (0.1, 0.5))
    assert np.bincount(labels[small]).tolist() == [10, 5, 1]
    assert set(small) <= set(large)
    assert (balanced_share(known, 1.0, 3) == np.arange(151)).all()
    assert (balanced_share(known, 0.1, 4) != small).any()


def test_finetuning_a_network_with_dropout_depends_on_the_seed_alone():
    backbone = nn.Sequential(conv(), nn.Dropout(0.5))
    data = dataclasses.replace(EVALUATION_DATA, shares=(0.1,), epochs=1)
    outputs = []
    for seed in (0, 1):  # of the caller
        torch.manual_seed(seed)
        trained = finetuning._trained(source(backbone, data), data.train, 0.1, 1)
        outputs.append(trained.head.weight)
    assert torch.equal(*outputs)


def test_a_classifier_starts_from_zero_with_a_copy_of_the_backbone():
    backbone = conv()
    classifier = Classifier(backbone, 6, 3)
    assert (classifier(torch.randn(4, 3, 8, 8)) == 0).all()
    assert classifier.backbone[0].weight is not backbone[0].weight


def test_images_in_files_are_supported(tmp_path):
    images = open_images(str(draw_images(tmp_path / "p", side=140))).train
    data = dataclasses.replace(EVALUATION_DATA, train=images, test=images, batch_size=8)
    measure = linear_sgd(source(MeanColour(), data)).measures["linear-sgd"]
    assert measure["accuracy"] == pytest.approx(1.0)


def test_on_a_cpu_stored_crops_are_reused_and_each_image_occurs_once_per_epoch():
    seen = [
        (torch.arange(4) + 4 * b, torch.full((4, 2), float(c))) for c in range(2) for b in (0, 1)
    ]
    batches = list(_repeated(iter(seen), 2, 5, 0))
    assert len(batches) == 10
    for epoch in range(5):
        ids, features = (
            torch.cat(part) for part in zip(*batches[2 * epoch : 2 * epoch + 2], strict=True)
        )
        assert sorted(ids.tolist()) == list(range(8))
        assert (features == epoch % 2).all()
    assert batches[4][0].tolist() != batches[8][0].tolist(), "shuffled again"
    measure = linear_sgd(source(MeanColour())).measures["linear-sgd"]
    assert measure["crops"] == CROPS < EVALUATION_DATA.epochs
    assert crops_per_image(EVALUATION_DATA, 1 << 40) == EVALUATION_DATA.epochs, (
        "features too large to store are recomputed"
    )


def test_finetuning_on_a_cpu_is_limited_and_equal_samples_choose_a_learning_rate_once(
    monkeypatch,
):
    data, trained = dataclasses.replace(EVALUATION_DATA, epochs=None, shares=(0.5, 0.6, 1.0)), []

    def count(source, train, lr, epochs):
        trained.append(len(train) * epochs)
        return Classifier(source.backbone, 6, 3)

    monkeypatch.setattr(finetuning, "_trained", count)
    monkeypatch.setattr(finetuning, "SELECTION_SAMPLES", 45)
    monkeypatch.setattr(finetuning, "MAX_IMAGES_CPU", 300)
    measures = finetune(source(conv(), data)).measures
    assert [m["epochs"] for name, m in measures.items() if "balanced" not in name] == [6, 5, 3]
    assert len(trained) == 3 + len(finetuning.LEARNING_RATES)
    assert count_finetune_images(data) == sum(trained)
