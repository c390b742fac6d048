import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from torch import nn

from BYOL.data.dataset import ArrayImages
from BYOL.errors import UserError
from BYOL.evaluation.collapse.feature_metrics import metrics_of_features
from BYOL.evaluation.evaluate import evaluate
from BYOL.evaluation.features import extract_features, pixel_features
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.online import _sample, online_check
from BYOL.evaluation.pca import fit_reduction
from BYOL.evaluation.protocols import linear as linear_module
from BYOL.evaluation.protocols.fewshot import fewshot_hits
from BYOL.evaluation.protocols.knn import knn_accuracy
from BYOL.evaluation.protocols.linear import STRENGTH, STRENGTHS, _split, linear_probe
from BYOL.evaluation.splits import held_out_mask, holdout_problem
from BYOL.evaluation.table import results_text
from BYOL.model.layer_features import LayerFeatures
from BYOL.views.config import InputSpec

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
SPEC = InputSpec(8, [0.5] * 3, [0.25] * 3)


class MeanColour(nn.Module):
    """A backbone whose features determine the class."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


class Blind(nn.Module):
    def forward(self, x):
        return torch.ones(len(x), 4) + 0.01 * x[:, :1, 0, 0]


def coloured(n: int = 90, seed: int = 0) -> ArrayImages:
    """Noisy images of three colours."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    pixels = rng.integers(0, 200, (n, 3, 8, 8))
    pixels[np.arange(n), labels] += 50
    return ArrayImages(
        "coloured", 3, labels.astype(np.int64), ("r", "g", "b"), torch.from_numpy(pixels).byte()
    )


def clusters(n: int, seed: int, d: int = 6, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    labels = rng.integers(0, classes, n)
    features = centres[labels] + 0.7 * rng.normal(size=(n, d))
    return features.astype(np.float32), labels


def test_knn_uses_the_configured_neighbours_and_temperature():
    train, test = coloured(120, 0), coloured(60, 1)
    known = evaluate(
        MeanColour(), Blind(), train, test, SPEC, device=CPU,
        protocols=("knn", "knn-cosine"), neighbours=(1, 7), temperature=0.02,
    )  # fmt: skip
    row = known["rows"]["trained"]
    names = {"knn1", "knn7", "knn1-cosine", "knn7-cosine"}
    assert set(row) == names | {f"{name} balanced accuracy" for name in names}
    _, bank = extract_features(MeanColour(), train, SPEC, device=CPU)
    _, asked = extract_features(MeanColour(), test, SPEC, device=CPU)
    for k in (1, 7):
        expected = knn_accuracy(bank, train.labels, asked, test.labels, k=k, temperature=0.02)
        assert row[f"knn{k}-cosine"]["accuracy"] == pytest.approx(expected, abs=1e-6)
        center = bank.mean(axis=0) if row[f"knn{k}"].get("centred") else None
        settings = {"k": k, "temperature": 0.02, "center": center}
        expected = knn_accuracy(bank, train.labels, asked, test.labels, **settings)
        assert row[f"knn{k}"]["accuracy"] == pytest.approx(expected, abs=1e-6)


def test_features_are_computed_in_evaluation_mode_and_in_order():
    images = coloured()
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).train()
    ids, features = extract_features(backbone, images, SPEC, device=CPU, batch_size=7)
    assert backbone.training and ids.tolist() == list(range(90))
    with torch.no_grad():
        expected = backbone.eval()((images.data / 255 - 0.5) / 0.25).mean(dim=(2, 3))
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert pixel_features(images, 8)[1].shape == (90, 192)


def test_every_module_of_a_backbone_gets_its_mode_back():
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout()).eval()
    backbone[2].train()
    for network in (backbone, LayerFeatures(backbone)):
        extract_features(network, coloured(9), SPEC, device=CPU)
        assert [module.training for module in backbone.modules()] == [False, False, False, True]


def test_fewshot_equals_scikit_learns_nearest_neighbour():
    bank, bank_labels = clusters(80, 0)
    queries, query_labels = clusters(50, 1)
    known = LabelledFeatures(bank_labels, features=bank)
    asked = LabelledFeatures(query_labels, features=queries)
    hits = fewshot_hits(known, asked, 2, draws=5, seed=3)
    rng = np.random.default_rng(3)
    for accuracy in hits.mean(axis=1):
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(bank_labels == c), 2, replace=False) for c in range(4)]
        )
        theirs = KNeighborsClassifier(1).fit(normalize(bank[chosen]), bank_labels[chosen])
        assert accuracy == pytest.approx(theirs.score(normalize(queries), query_labels))
    with pytest.raises(UserError, match="500-shot"):
        fewshot_hits(known, asked, 500)


def test_linear_probe_equals_a_direct_fit_with_the_chosen_strength():
    features, labels = clusters(300, 0)
    queries, _ = clusters(100, 1)
    probe = linear_probe(features, labels, queries)
    assert probe.strength in STRENGTHS
    direct = make_pipeline(StandardScaler(), LogisticRegression(C=probe.strength, max_iter=300))
    assert (direct.fit(features, labels).predict(queries) == probe.predictions).mean() > 0.99


def test_the_strength_has_the_highest_likelihood_and_few_samples_use_the_default():
    features, labels = clusters(300, 0)
    fit, held = _split(LabelledSet(labels), 0)
    losses = [
        log_loss(
            labels[held],
            make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300))
            .fit(features[fit], labels[fit])
            .predict_proba(features[held]),
        )
        for c in STRENGTHS
    ]
    assert linear_probe(features, labels, features).strength == STRENGTHS[np.argmin(losses)]
    assert linear_probe(features[:49], labels[:49], features).strength == STRENGTH


def test_with_one_sample_per_class_the_default_strength_is_used():
    labels = np.arange(60)
    features = np.eye(60, 80, dtype=np.float32)
    probe = linear_probe(features, labels, features)
    assert probe.strength == STRENGTH and (probe.predictions == labels).all()
    assert probe.model.predict_proba(features).max(axis=1).mean() > 0.5


def test_the_linear_probe_does_not_depend_on_the_queries():
    features, labels = clusters(200, 0)
    queries, _ = clusters(50, 1)
    whole = linear_probe(features, labels, queries)
    part = linear_probe(features, labels, queries[:10])
    assert whole.strength == part.strength
    assert (whole.predictions[:10] == part.predictions).all()


def test_many_pixels_are_probed_by_components_and_every_measurement_is_timed(monkeypatch, lines):
    monkeypatch.setattr("BYOL.evaluation.evaluate.MANY_PIXELS", 100)
    monkeypatch.setattr("BYOL.evaluation.evaluate.PIXEL_COMPONENTS", 40)
    monkeypatch.setattr("BYOL.evaluation.evaluate.ANNOUNCED", 0.0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    results = evaluate(
        net, net, coloured(), coloured(60, seed=1), SPEC, device=CPU,
        protocols=("linear", "linear-sgd", "finetune"), epochs=2, log_times=True,
    )  # fmt: skip
    pixels, trained = results["rows"]["raw pixels"], results["rows"]["trained"]
    for name in ("linear", "linear-sgd"):
        assert pixels[name]["components"] == 40 and "components" not in trained[name]
    assert pixels["linear"]["accuracy"] > 0.8
    text = results_text(results)
    for words in ("first 40 principal components of raw pixels", "2 random crops", "2 with 100%"):
        assert words in text
    assert any(line.startswith("trained: linear took") for line in lines())
    assert any("finetune will take about" in line for line in lines())


def test_a_full_basis_of_components_is_exact():
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    reduction = fit_reduction(features, 5, 0)
    few = reduction(features)
    back = reduction.axes.T / (reduction.axes[:, 0] ** 2).sum()
    assert np.allclose(few @ back + reduction.mean, features, atol=1e-5)
    assert np.allclose(reduction.of_tensor(torch.from_numpy(features)).numpy(), few, atol=1e-5)
    assert fit_reduction(features, 50, 0).axes.shape == (5, 5)


def test_components_keep_the_geometry_and_exclude_rounding_noise():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(40, 200)) * np.geomspace(10, 0.1, 200)).astype(np.float32)
    reduction = fit_reduction(features, 256, 0)
    assert reduction.kept == 39, "40 centred samples span 39 dimensions"
    few = reduction(features)
    assert few.var(axis=0).mean() == pytest.approx(1, rel=0.05)
    ratio = np.linalg.norm(few[1:] - few[:-1], axis=1)
    ratio /= np.linalg.norm(features[1:] - features[:-1], axis=1)
    assert np.allclose(ratio, ratio[0], rtol=1e-3), "distances are scaled by one number"
    assert fit_reduction(np.ones((3, 9), np.float32), 256, 0)(np.ones((2, 9))).shape == (2, 1)
    assert fit_reduction(np.ones((1, 9), np.float32), 256, 0)(np.ones((2, 9))).shape == (2, 1)


def blurred(n: int, seed: int) -> ArrayImages:
    """Smooth images like photographs; the class is in the two widest of many components."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    light = 40 * np.stack([labels, (labels * 2) % 3], axis=1) + rng.normal(0, 15, (n, 2))
    halves = np.zeros((2, 8, 8))
    halves[0, :4], halves[1, 4:] = 1, 1
    pixels = 60 + np.einsum("nk,khw->nhw", light, halves)[:, None] + rng.normal(0, 3, (n, 3, 8, 8))
    data = torch.from_numpy(pixels.clip(0, 255)).byte()
    return ArrayImages("blurred", 3, labels.astype(np.int64), ("r", "g", "b"), data)


@pytest.mark.parametrize("protocol", ["linear", "linear-sgd"])
def test_a_probe_of_components_is_as_accurate_as_one_of_all_pixels_on_a_small_set(
    monkeypatch, protocol
):
    def pixel_measure():
        return evaluate(
            Blind(), Blind(), blurred(60, 0), blurred(300, 1), SPEC, device=CPU,
            protocols=(protocol,), epochs=20,
        )["rows"]["raw pixels"][protocol]  # fmt: skip

    whole = pixel_measure()
    monkeypatch.setattr("BYOL.evaluation.evaluate.MANY_PIXELS", 100)
    few = pixel_measure()
    assert few["components"] == 59 and "components" not in whole
    assert few["accuracy"] > whole["accuracy"] - 0.03 and few["accuracy"] > 0.85
    assert "59 principal components" in results_text(
        {"pictures": {"judge": 1, "learn": 1}, "classes": 3, "rows": {"raw pixels": {"a": few}}}
    )


def test_a_backbone_with_informative_features_beats_both_baselines():
    results = evaluate(MeanColour(), Blind(), coloured(), coloured(60, seed=1), SPEC, device=CPU)
    assert results["pictures"] == {"learn": 90, "judge": 60} and results["classes"] == 3
    trained, untrained = results["rows"]["trained"], results["rows"]["untrained"]
    for name in ("1-shot", "5-shot", "knn20", "linear"):
        assert trained[name]["accuracy"] > 0.9 > 0.6 > untrained[name]["accuracy"]
    for name in ("knn20", "knn30", "linear"):
        assert trained[name]["low"] <= trained[name]["accuracy"] <= trained[name]["high"]
    text = results_text(results)
    assert f"{trained['1-shot']['accuracy']:.3f}" in text and "raw pixels" in text
    assert set(results["feature_gauges"]) == {"trained", "untrained"}
    _, features = extract_features(MeanColour(), coloured(), SPEC, device=CPU)
    assert results["feature_gauges"]["trained"] == pytest.approx(metrics_of_features(features))


def test_without_a_test_set_a_fifth_is_held_out():
    results = evaluate(
        MeanColour(), Blind(), coloured(), None, SPEC, device=CPU, protocols=("knn",)
    )
    assert results["pictures"] == {"learn": 72, "judge": 18}
    assert set(results["rows"]["trained"]) == {
        "knn20", "knn24", "knn20 balanced accuracy", "knn24 balanced accuracy"
    }  # fmt: skip
    labels = np.array([0] * 10 + [1] * 5 + [2])
    held = held_out_mask(LabelledSet(labels), 0)
    assert [int(held[labels == c].sum()) for c in range(3)] == [2, 1, 0]


def test_shots_that_a_class_cannot_provide_are_left_out():
    images = coloured(9)
    results = evaluate(
        MeanColour(), Blind(), images, images, SPEC, device=CPU, protocols=("fewshot",)
    )
    assert set(results["rows"]["trained"]) == {"1-shot"}


def test_all_protocols_give_measures_with_an_interval():
    results = evaluate(
        MeanColour(), Blind(), coloured(), coloured(60, seed=1), SPEC, device=CPU,
        protocols=("all",), epochs=2,
    )  # fmt: skip
    rows = results["rows"]
    assert set(rows["trained"]) == set(rows["raw pixels"])  # none of these has weights to tune
    expected = {"1-shot", "knn20", "linear", "linear-sgd", "NMI", "ARI", "silhouette", "mAP", "R@5"}
    assert expected <= set(rows["trained"])
    for measures in rows.values():
        for name, measure in measures.items():
            if "shot" not in name:
                point = measure.get("accuracy", measure.get("value"))
                assert measure["low"] - 1e-9 <= point <= measure["high"] + 1e-9
    assert rows["trained"]["mAP"]["value"] > rows["untrained"]["mAP"]["value"]
    text = results_text(results)
    assert all(name in text for name in rows["trained"] if "balanced" not in name)
    assert "balanced" not in text, "the classes are equally frequent"
    assert max(len(line) for line in text.splitlines() if line.startswith("│")) <= 100


@pytest.mark.parametrize("tags", [False, True])
def test_a_probe_of_too_many_samples_uses_the_same_subset_for_every_source(monkeypatch, tags):
    learn, judge = coloured(), coloured(60, seed=1)
    if tags:
        learn, judge = (
            dataclasses.replace(images, labels=np.eye(3, dtype=bool)[images.labels])
            for images in (learn, judge)
        )
    settings = {"device": CPU, "protocols": ("linear",)}
    whole = evaluate(MeanColour(), Blind(), learn, judge, SPEC, **settings)
    assert not any("learnt_from" in m for row in whole["rows"].values() for m in row.values())
    monkeypatch.setattr(linear_module, "MAX_WORK", 30 * 3)
    results = evaluate(MeanColour(), Blind(), learn, judge, SPEC, **settings)
    seen = {m["learnt_from"] for row in results["rows"].values() for m in row.values()}
    assert seen == {30}
    sentence = "The linear probe is trained on 30 images, the same share of every class."
    assert sentence in results_text(results)
    name = "linear F1" if tags else "linear"
    assert results["rows"]["trained"][name] != whole["rows"]["trained"][name]


def test_the_confusion_matrix_is_that_of_the_trained_backbone():
    test = coloured(60, seed=1)
    results = evaluate(MeanColour(), Blind(), coloured(), test, SPEC, device=CPU)
    confusion = np.array(results["confusion"])
    assert results["class_names"] == ["r", "g", "b"] and confusion.sum(axis=1).tolist() == [20] * 3
    assert np.trace(confusion) / 60 == pytest.approx(
        results["rows"]["trained"]["linear"]["accuracy"]
    )


def test_without_labels_only_the_cluster_protocol_runs():
    images = ArrayImages("bare", 3, None, (), coloured().data)
    settings = {"device": CPU, "protocols": ("all",), "clusters": 3}
    results = evaluate(MeanColour(), Blind(), images, None, SPEC, **settings)
    assert set(results["rows"]["trained"]) == {"silhouette"} and results["task"] == "none"
    assert results["pictures"]["judge"] == 90 and "without labels" in results_text(results)
    with pytest.raises(UserError, match="--clusters"):
        evaluate(MeanColour(), Blind(), images, None, SPEC, device=CPU, protocols=("all",))
    with pytest.raises(UserError, match="--clusters=90"):
        evaluate(MeanColour(), Blind(), images, None, SPEC, **settings | {"clusters": 90})


@pytest.mark.parametrize("kind", ["tags", "values"])
def test_tags_and_values_are_evaluated_by_the_protocols_that_support_them(kind):

    def labelled(images):
        mean = images.data.float().mean(dim=(2, 3)).numpy().astype(np.float64)
        labels = mean > mean.mean(axis=0) if kind == "tags" else mean
        return dataclasses.replace(images, labels=labels)

    results = evaluate(
        MeanColour(), Blind(), labelled(coloured()), labelled(coloured(60, seed=1)), SPEC,
        device=CPU,
    )  # fmt: skip
    measure = "linear mAP" if kind == "tags" else "linear R²"
    trained, blind = (results["rows"][name][measure] for name in ("trained", "untrained"))
    assert trained["value"] > 0.95 > blind["value"]
    assert results["left_out"] == ["fewshot"] and "fewshot" in results_text(results)
    assert results["classes"] == 3 and "confusion" not in results


@pytest.mark.parametrize(
    ("labels", "protocols", "named"),
    [
        (None, ("knn",), "no labels"),
        (np.zeros(9, np.int64), ("knn",), "one class"),
        (np.arange(9), ("knn", "magic"), "magic"),
    ],
)
def test_images_that_cannot_be_evaluated_are_an_error(labels, protocols, named):
    images = ArrayImages("set", 3, labels, (), coloured(9).data)
    with pytest.raises(UserError, match=named):
        evaluate(MeanColour(), Blind(), images, images, SPEC, device=CPU, protocols=protocols)


def test_the_online_check_separates_a_good_backbone_from_a_blind_one():
    for test in (coloured(60, seed=1), None):
        measure = online_check(coloured(), test, SPEC, device=CPU, most=50)
        good, blind = measure(MeanColour()), measure(Blind())
        assert good.knn > 0.85 and good.probe is not None and good.probe > 0.85
        assert blind.knn < 0.7 and blind.probe is not None and blind.probe < 0.7


def test_the_online_check_has_no_probe_without_two_classes_or_with_nan_features():
    one = ArrayImages("set", 3, np.zeros(90, np.int64), ("only",), coloured().data)
    assert online_check(one, one, SPEC, device=CPU)(MeanColour()) == (1.0, None)

    class Broken(MeanColour):
        def forward(self, x):
            return super().forward(x) * torch.nan

    assert online_check(coloured(), None, SPEC, device=CPU)(Broken()).probe is None


def test_the_online_check_of_many_small_classes_samples_whole_classes():
    images = coloured(90)
    albums = dataclasses.replace(images, labels=np.repeat(np.arange(45), 2))
    found = online_check(albums, None, SPEC, device=CPU, most=12)(MeanColour())
    assert 0 <= found.knn <= 1
    part = _sample(albums, 12, split_here=True)
    assert len(part) == 12 and (np.unique(part.labels, return_counts=True)[1] == 2).all()


def test_classes_that_are_too_small_to_hold_out_are_an_error():
    assert holdout_problem(LabelledSet(np.array([0, 0, 1, 1]))) is None
    for labels, text in (
        ([0, 0, 0], "one class"), (range(9), "none has two"), ([0, 0, 1, 2], "1 has two"),
        ([*range(64), 0, 1], "2 test images for 64 classes"),
    ):  # fmt: skip
        assert text in holdout_problem(LabelledSet(np.array(labels)))
    for own, text in (
        (np.arange(9), "9 classes none has two images; two classes must; give test images"),
        (np.zeros(9, int), "all labelled images are of one class; label images of another class"),
    ):
        alone = dataclasses.replace(coloured(9), labels=own)
        with pytest.raises(UserError, match=text):
            evaluate(MeanColour(), Blind(), alone, None, SPEC, device=CPU, protocols=("knn",))


def test_features_are_computed_without_the_cudnn_benchmark():
    seen = []

    class Looks(MeanColour):
        def forward(self, x):
            seen.append((self.training, torch.backends.cudnn.benchmark))
            return super().forward(x)

    network, before = Looks().train(), torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        extract_features(network, coloured(), SPEC, device=torch.device("cpu"))
        assert seen == [(False, False)] * len(seen) != []
        assert torch.backends.cudnn.benchmark
        assert network.training
    finally:
        torch.backends.cudnn.benchmark = before
