"""Unit tests of the modules of a report."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from BYOL.config import PretrainConfig
from BYOL.data.dataset import ArrayImages
from BYOL.evaluation.comparison import compare_with_baselines
from BYOL.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_all, round_ticks
from BYOL.report.confusion import fit_confusion, recorded_confusion
from BYOL.report.embedding_map import compute_layouts
from BYOL.report.metrics_csv import MOST_POINTS, Curves, Series, downsample, read_curves
from BYOL.report.neighbours import NEIGHBOURS, build_gallery, gallery_neighbours
from BYOL.report.results_table import measures_note, tabulate
from BYOL.report.run_summary import RunSummary, differing_settings, list_settings
from BYOL.report.sample_features import FeatureSample, Samples
from BYOL.report.text_tables import (
    collapse_table,
    comparison_table,
    near_copies,
    recall_table,
)
from BYOL.report.thumbnails import file_uri
from BYOL.report.tsne import tsne
from BYOL.report.verdict import verdict
from BYOL.runs.folder import RunFolder


def facts(rows=None, gauges=None, alarm=None, curves=None) -> RunSummary:
    evaluation = rows and {"rows": rows, "pictures": {"learn": 90, "judge": 100}, "classes": 3}
    results = {"evaluation": evaluation, "gauges": gauges or {}, "alarm": alarm, "epochs": 2}
    folder = RunFolder(Path("run"))
    return RunSummary(folder, PretrainConfig(), curves or Curves("epochs", {}), results, None, 2)


def measured(*triples):
    names = ("raw pixels", "untrained", "trained")
    return {
        name: {"linear": {"accuracy": a, "low": low, "high": high}}
        for name, (low, a, high) in zip(names, triples, strict=True)
    }


LOW, MIDDLE, HIGH = (0.3, 0.35, 0.4), (0.38, 0.45, 0.52), (0.6, 0.65, 0.7)


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        (measured(LOW, LOW, HIGH), "good",
         "is better than raw pixels and the untrained backbone: linear probe 65.0 % (raw pixels "
         "35.0 %, the untrained backbone 35.0 %)."),
        (measured(HIGH, LOW, HIGH), "unsure", "better than the untrained backbone, but not shown"),
        (measured(LOW, LOW, MIDDLE), "unsure", "not shown to be better than raw pixels or the"),
        (measured(HIGH, HIGH, LOW), "unsure", "worse than raw pixels and the untrained backbone"),
        (None, "open", "has not been evaluated yet"),
    ],
)  # fmt: skip
def test_the_verdict_claims_no_more_than_the_intervals_allow(rows, kind, words):
    result = verdict(facts(rows))
    assert result.kind == kind and words in result.headline


def protocols(**levels):
    """Return results per protocol for raw pixels, untrained and trained: levels from 0 to 9.

    Every interval is ± 0.04 around a tenth of the level.
    """
    rows = {name: {} for name in ("raw pixels", "untrained", "trained")}
    for name, values in levels.items():
        name = {"few": "5-shot", "knn": "knn20"}.get(name, name)
        for row, level in zip(rows.values(), values, strict=True):
            value = level / 10
            row[name] = (
                {"accuracy": value, "spread": 0.04}
                if "shot" in name
                else {"accuracy": value, "low": value - 0.04, "high": value + 0.04}
            )
    return rows


@pytest.mark.parametrize(
    ("rows", "kind", "headline"),
    [
        (protocols(few=(3, 2, 6), knn=(3, 2, 6), linear=(3, 2, 6)), "good",
         "The backbone is better than raw pixels and the untrained backbone: linear probe 60.0 % "
         "(raw pixels 30.0 %, the untrained backbone 20.0 %)."),
        (protocols(few=(3, 2, 6), knn=(3, 2, 6), linear=(6, 6, 6)), "good",
         "The backbone is better than raw pixels and the untrained backbone in the few-label and "
         "k-NN evaluations: "),
        (protocols(few=(3, 2, 6), knn=(3, 2, 6), linear=(3, 6, 6)), "good",
         "better than raw pixels, and better than the untrained backbone in the few-label and k-NN "
         "evaluations: "),
        (protocols(few=(3, 2, 6), linear=(8, 2, 6)), "unsure",
         "is better than the untrained backbone, but better than raw pixels in the few-label "
         "evaluation and worse in the linear-probe evaluation: "),
        (protocols(few=(6, 2, 6), knn=(6, 2, 6)), "unsure",
         "is better than the untrained backbone, but not shown to be better than raw pixels: "
         "k-NN, k = 20 60.0 % ("),
        (protocols(few=(6, 6, 6), linear=(6, 8, 6)), "unsure",
         "not shown to be better than raw pixels, and worse than the untrained backbone in the "
         "linear-probe evaluation: "),
        (protocols(few=(8, 8, 6), knn=(8, 8, 6)), "unsure",
         "is worse than raw pixels and the untrained backbone: "),
    ],
)  # fmt: skip
def test_the_headline_claims_what_all_protocols_support(rows, kind, headline):
    result = verdict(facts(rows))
    assert (result.kind, headline in result.headline) == (kind, True), result.headline
    even = any(0 in s.signs.values() for s in compare_with_baselines({"rows": rows}))
    assert even == any("intervals overlap" in d for d in result.details)


@pytest.mark.parametrize(
    ("teacher", "kind", "words"),
    [
        (LOW, "good", "better than raw pixels, the untrained backbone and the teacher's own"),
        (HIGH, "good", ", but not shown to be better than the teacher's own features: "),
        ((0.8, 0.85, 0.9), "unsure", ", but worse than the teacher's own features: "),
    ],
)
def test_the_headline_compares_with_the_features_of_the_teacher(teacher, kind, words):
    low, accuracy, high = teacher
    rows = {
        **measured(LOW, LOW, HIGH),
        "teacher": {"linear": {"accuracy": accuracy, "low": low, "high": high}},
    }
    result = verdict(facts(rows))
    assert (result.kind, words in result.headline) == (kind, True), result.headline


def test_a_teacher_that_is_worse_than_raw_pixels_does_not_fit():
    rows = {**measured(MIDDLE, LOW, HIGH), "teacher": measured(LOW, LOW, LOW)["untrained"]}
    misfit = "The teacher does not fit these images: raw pixels are better in the linear-probe"
    assert not any(misfit in detail for detail in verdict(facts(rows)).details)  # they overlap
    rows["raw pixels"] = measured(HIGH, LOW, LOW)["raw pixels"]
    assert any(misfit in detail for detail in verdict(facts(rows)).details)


def test_one_measure_per_protocol_decides_and_better_baselines_in_others_are_named():
    rows = protocols(knn=(3, 3, 6), knn200=(8, 3, 6))
    (knn,) = compare_with_baselines({"rows": rows})
    assert (knn.measure, knn.signs) == ("knn20", {"raw pixels": 1, "untrained": 1})
    assert any("raw pixels: k-NN, k = 200" in d for d in verdict(facts(rows)).details)
    del rows["trained"]["knn20"]
    assert [s.measure for s in compare_with_baselines({"rows": rows})] == ["knn200"]


def test_the_verdict_names_measures_in_which_a_baseline_is_better():
    rows = measured(LOW, LOW, HIGH)
    assert not any("better result" in d for d in verdict(facts(rows)).details)
    rows["raw pixels"]["R@1"] = {"value": 0.4, "low": 0.39, "high": 0.41}
    rows["trained"]["R@1"] = {"value": 0.3, "low": 0.29, "high": 0.31}
    result = verdict(facts(rows))
    assert result.kind == "good"
    assert "Measures with a better result for raw pixels: R@1." in result.details


def test_an_alarm_has_priority_over_the_accuracy():
    result = verdict(facts(measured(LOW, LOW, HIGH), alarm="collapse: std is 0.01"))
    assert result.kind == "alarm" and "std is 0.01" in result.details[0]
    read = Curves("epochs", {"gauge/std": Series(np.array([1.0]), np.array([0.01]))})
    unfinished = dataclasses.replace(facts(curves=read), results={})
    assert verdict(unfinished).kind == "alarm", "an unfinished run is assessed by its last metrics"


def write_rows(path, rows):
    names = sorted({name for row in rows for name in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_curves_are_in_epochs_and_rows_of_a_resumed_run_replace_old_ones(tmp_path):
    rows = [{"epoch": e, "step": (e + 1) * 10, "loss": 4 - e} for e in range(3)]
    rows += [{"step": 15, "gauge/std": 0.5}, {"step": 25, "gauge/std": "nan"}]
    rows += [{"epoch": 1, "step": 20, "loss": 9.0}]
    curves = read_curves(write_rows(tmp_path / "metrics.csv", rows))
    assert curves.unit == "epochs" and curves.omitted == 1
    assert curves.series["loss"].x.tolist() == [1, 2, 3]
    assert curves.series["loss"].y.tolist() == [4, 9, 2]
    assert (
        curves.series["gauge/std"].x.tolist() == [1.5] and curves.series["gauge/std"].omitted == 1
    )


def test_without_logs_there_are_no_curves(tmp_path):
    assert read_curves(tmp_path / "metrics.csv").series == {}
    (tmp_path / "metrics.csv").write_text("")
    assert read_curves(tmp_path / "metrics.csv").series == {}
    steps = read_curves(write_rows(tmp_path / "metrics.csv", [{"step": 5, "gauge/std": 1}]))
    assert steps.unit == "steps" and draw_all({"A": steps})


def test_downsampling_keeps_the_mean_and_the_last_value():
    n = 10_000
    y = np.random.default_rng(0).normal(size=n)
    y[-1] = 7.0
    thin = downsample(Series(np.arange(n, dtype=float), y))
    assert len(thin.x) == MOST_POINTS and thin.last == 7.0 and thin.x[-1] == n - 1
    assert abs(thin.y[:-1].mean() - y[:-1].mean()) < 0.02
    assert (np.diff(thin.x) > 0).all()


@pytest.mark.parametrize("y", [[0.0], [1.0, 1.0], [1e-9, 2e-9], [-5.0, 3e6], [0.0, 0.5, 0.2]])
def test_all_points_are_inside_the_chart(y):
    series = Series(np.arange(1.0, len(y) + 1), np.array(y))
    known = {"gauge/std": series, "loss": series, "something/new": series}
    charts = draw_all({"A": Curves("epochs", known), "B": Curves("epochs", {"loss": series})})
    assert [len(c.lines) for c in charts.values()] == [2, 1, 1]
    for chart in charts.values():
        for line in chart.lines:
            assert LEFT <= line.end[0] <= WIDTH - RIGHT
            assert TOP - 0.1 <= line.end[1] <= HEIGHT - BOTTOM + 0.1
    assert charts["gauge/std"].alarm is not None


def test_settings_are_compared_with_the_preset_except_those_resolved_from_the_images():
    config = PretrainConfig(preset="small", epochs=3, backbone="resnet18", image_size=32, data="x")
    summary = RunSummary(RunFolder(Path("run")), config, Curves("epochs", {}), {}, None, 0.0)
    changed = {s.name for s in list_settings(summary) if s.changed}
    assert {"epochs", "hidden_size"} <= changed
    assert not changed & {"backbone", "image_size", "data", "preset", "channels", "mean"}
    other = PretrainConfig(preset="small", epochs=3, backbone="resnet18", image_size=32, lr=0.7)
    assert dict(differing_settings([config, other])) == {"lr": ["0.3", "0.7"], "data": ["x", "–"]}


def sample(features, labels=None) -> FeatureSample:
    n = len(features)
    pixels = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    known = None if labels is None else np.asarray(labels)
    images = ArrayImages("set", 1, known, ("a", "b"), pixels)
    return FeatureSample(images, np.arange(n), np.asarray(features, dtype=np.float32), n)


def test_an_image_is_not_its_own_neighbour_even_among_copies():
    features = np.repeat(np.random.default_rng(0).normal(size=(6, 4)), 5, axis=0)
    images = sample(features)
    cosines, indices = gallery_neighbours(Samples(images, images))
    assert indices.shape == (30, NEIGHBOURS)
    assert not (indices == np.arange(30)[:, None]).any()
    assert np.allclose(cosines[:, :4], 1, atol=1e-5), "its four copies come first"


def test_neighbours_that_agree_are_counted_against_chance():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = rng.normal(size=(40, 3)) * 0.01 + np.where(labels[:, None], [1, 0, 0], [0, 1, 0])
    bank, asked = sample(features, labels), sample(features[:10], labels[:10])
    gallery = build_gallery(Samples(bank, asked), 0, 8)
    assert gallery.same_label == 8 and gallery.chance == pytest.approx(4)
    assert all(p.match for _, near in gallery.rows for p in near)
    assert build_gallery(Samples(images := sample([[1.0]]), images), 0, 8) is None
    pairs = sample(features[:4], [0, 0, 1, 1])  # without the query, one of three has its label
    assert build_gallery(Samples(pairs, pairs), 0, 8).chance == pytest.approx(3 / 3)


def test_the_map_separates_groups_and_accepts_degenerate_features():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(6)[:3], 20, axis=0) + rng.normal(size=(60, 6)) * 0.05
    pca, explained, tsne = compute_layouts(groups.astype(np.float32))
    assert 0.8 < explained <= 1
    for places in (pca, tsne):
        within = np.linalg.norm(places[:20] - places[:20].mean(0), axis=1).mean()
        between = np.linalg.norm(places[:20].mean(0) - places[20:40].mean(0))
        assert between > 2 * within
    for degenerate in (np.ones((8, 6)), np.zeros((8, 6)), np.ones((8, 1))):
        pca, explained, tsne = compute_layouts(degenerate.astype(np.float32))
        assert np.isfinite(pca).all() and np.isfinite(tsne).all() and np.isfinite(explained)


def test_tsne_keeps_neighbours():
    """scikit-learn's implementation reaches a trustworthiness of .991 on 900 digits, ours .992."""
    from sklearn.datasets import load_digits
    from sklearn.manifold import trustworthiness

    features = load_digits().data[:300].astype(np.float32)
    start = torch.from_numpy(features[:, 20:22] - features[:, 20:22].mean(axis=0)) * 1e-4
    layout = tsne(torch.from_numpy(features), start, 30.0)
    assert trustworthiness(features, start) < 0.8 < 0.97 < trustworthiness(features, layout)
    assert torch.equal(layout, tsne(torch.from_numpy(features), start, 30.0))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (0.0, 7.3, [0, 2, 4, 6, 8]),
        (-4.0, 0.0, [-4, -3, -2, -1, 0]),
        (3.0, 3.0, [3, 4, 5, 6]),
        (0.0, 0.6, [0, 0.2, 0.4, 0.6]),
        (1e5, 3.1e5, [1e5, 2e5, 3e5, 4e5]),
    ],
)
def test_ticks_are_round_and_span_the_values(low, high, expected):
    assert round_ticks(low, high).tolist() == pytest.approx(expected)


def test_the_confusion_matrix_is_read_from_an_evaluation_or_fitted():
    given = recorded_confusion({"confusion": [[8, 2], [1, 9]], "class_names": ["cat", "dog"]})
    assert given.accuracy == 0.85 and given.pairs[0] == ("cat", "dog", 2, 10)
    assert recorded_confusion({}) is None and recorded_confusion({"confusion": [[1, 2]]}) is None
    labels = np.arange(40) % 2
    features = np.where(labels[:, None], [1.0, 0.0], [0.0, 1.0])
    images = sample(features, labels)
    result = fit_confusion(Samples(images, images), 0)
    assert result.counts.tolist() == [[4, 0], [0, 4]] and result.classes == ("a", "b")
    assert fit_confusion(Samples(sample(features), sample(features)), 0) is None


def test_the_probe_is_tested_on_other_groups_than_it_was_trained_on():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 6)
    labels = rng.permutation(np.arange(30) % 2)[groups]  # random, so groups are independent
    features = rng.normal(size=(30, 40))[groups] + 1e-3 * rng.normal(size=(180, 40))
    images = sample(features, labels)
    grouped = dataclasses.replace(images, images=dataclasses.replace(images.images, groups=groups))
    loose = fit_confusion(Samples(images, images), 0)
    held = fit_confusion(Samples(grouped, grouped), 0)
    assert loose.accuracy == 1 and held.accuracy < 0.9 and held.counts.sum() == 36
    alone = dataclasses.replace(
        images, images=dataclasses.replace(images.images, groups=np.zeros(180, dtype=np.int64))
    )
    assert fit_confusion(Samples(alone, alone), 0) is None


def test_measures_other_than_accuracy_have_a_separate_table():
    rows = {
        "raw pixels": {"linear": {"accuracy": 0.3, "low": 0.25, "high": 0.35}},
        "trained": {
            "linear": {"accuracy": 0.9, "low": 0.85, "high": 0.95},
            "NMI": {"value": 0.61, "low": 0.6, "high": 0.62},
        },
    }
    accuracy, other = tabulate("here", rows, "note")
    assert accuracy.axis == (20.0, 100.0) and accuracy.slots == (None, 0)
    (_, (raw, trained)) = accuracy.rows[0]
    assert (raw.text, raw.around, trained.text) == ("30.0", "± 5.0", "90.0")
    assert raw.at == 12.5 and trained.low < trained.at < trained.high <= 100
    assert other.axis is None and other.rows[0][1][0] is None
    assert (other.rows[0][1][1].text, other.rows[0][1][1].around) == ("0.610", "± 0.010")
    assert tabulate("here", {"trained": {}}, "") == []


def test_paired_tests_recalls_and_near_copies_are_tables_of_text():
    tests = [
        {"measure": "knn20", "difference": -0.0123, "decides": "k-NN", "p_holm": 0.0004},
        {"measure": "linear AUROC", "difference": 0.5, "decides": "linear-probe", "p_holm": 0.04},
        {"measure": "linear", "difference": 0.1, "p_holm": 0.01},
    ]
    table = comparison_table({"comparisons": {"untrained": tests, "start": tests[:1]}})
    assert table.columns == ("trained minus", "k-NN, k = 20", "linear probe, AUROC")
    assert table.rows == (
        ("untrained", "−1.2, p < 0.001", "+0.500, p = 0.04"), ("start", "−1.2, p < 0.001", "–"),
    )  # fmt: skip
    recall = {"ok": {"recall": 0.96, "low": 0.9, "high": 0.99, "images": 1200}}
    assert recall_table({"recall": recall}).rows == (("ok", "96.0 %", "90.0 to 99.0 %", "1,200"),)
    assert near_copies({"leakage": {"pairs": [["a", "b"]]}}).rows == (("a", "b"),)
    assert comparison_table({}) is recall_table({}) is near_copies({}) is None
    gauges = {"untrained": {"std": 0.2}, "trained": {"std": 0.5, "effective_rank": 9}}
    run = dataclasses.replace(facts(gauges={"std": 0.9}))
    run.results["feature_gauges"] = gauges
    assert collapse_table(run).rows == (
        ("Centred effective rank", "–", "9", "–"), ("Spread", "0.2", "0.5", "0.9"),
    )  # fmt: skip


def figures(task: str, name: str, *levels: float) -> dict:
    """Return an evaluation of tags or numbers for raw pixels, untrained and trained."""
    rows = {
        source: {name: {"value": v, "low": v - 0.04, "high": v + 0.04}}
        for source, v in zip(("raw pixels", "untrained", "trained"), levels, strict=True)
    }
    pictures = {"learn": 400, "judge": 100}
    return {"rows": rows, "pictures": pictures, "classes": 3, "task": task}


@pytest.mark.parametrize(
    ("task", "name", "levels", "kind", "words"),
    [
        ("multilabel", "knn20 mAP", (0.2, 0.3, 0.6), "good", "mean average precision, 0.600"),
        ("multilabel", "linear mAP", (0.7, 0.3, 0.6), "unsure", "raw pixels 0.700"),
        ("regression", "linear R²", (0.2, 0.3, 0.6), "good", "R² (1 is perfect), 0.600"),
        ("regression", "linear MAE", (0.6, 0.5, 0.2), "good", "error (0 is perfect), 0.200"),
        ("regression", "knn20 MAE", (0.2, 0.2, 0.6), "unsure", "k-NN, k = 20, mean absolute"),
    ],
)
def test_tags_and_numbers_are_compared_with_the_baselines(task, name, levels, kind, words):
    run = dataclasses.replace(facts(), evaluation=figures(task, name, *levels))
    result = verdict(run)
    assert result.kind == kind and words in result.headline
    kinds = {"multilabel": "3 tags", "regression": "3 numbers"}
    (table,) = tabulate("here", run.evaluation["rows"], "", measures_note(run.evaluation))
    assert table.note.startswith(f"100 test images with {kinds[task]}, labels of 400 training")


def test_a_smaller_error_is_better():
    both = figures("regression", "linear R²", 0.2, 0.2, 0.6)
    for source, row in figures("regression", "linear MAE", 0.2, 0.7, 0.6)["rows"].items():
        both["rows"][source] |= row
    result = verdict(dataclasses.replace(facts(), evaluation=both))
    assert result.kind == "good"
    assert "Measures with a better result for raw pixels: linear probe, MAE." in result.details


def test_a_fraction_of_an_epoch_is_shown():
    for epoch, text in ((1.6, "1.6"), (2.0, "2"), (1200, "1,200")):
        assert dataclasses.replace(facts(), epoch=epoch).epochs == text


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_an_image_of_an_interrupted_copy_is_left_out_with_a_line(tmp_path, content, caplog):
    (tmp_path / "views.png").write_bytes(content)
    assert file_uri(tmp_path / "views.png") is None and file_uri(tmp_path / "absent.png") is None
    assert len([r for r in caplog.records if "views.png is left out" in r.getMessage()]) == 1
