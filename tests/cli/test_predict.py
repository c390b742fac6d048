"""``byol predict``: labels of all images; those of labelled images are cross-validated."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.cli.main import main
from BYOL.errors import UserError
from BYOL.evaluation.cross_val_predict import _folds, cross_val_predict, fit_probe
from BYOL.evaluation.estimate import contradicts_label, estimate_quality
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.report.results_table import accuracy_note
from tests.conftest import TINY, draw_images, make_run
from tests.evaluation.test_attach_labels import flat_set, rows

pytestmark = pytest.mark.trains


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """Dark images and light ones by turns, and a run whose features tell them apart.

    Its weights are random: what a training of two epochs leaves depends on how a processor rounds.
    """
    root = tmp_path_factory.mktemp("flat")
    images = flat_set(root)
    run = make_run(root / "run", images, backbone="plain5", image_size=16)
    return images, run


def predicted(run, *argv, out, capsys):
    assert main(["predict", str(run), *map(str, argv), "--out", str(out), "--json"]) == 0
    return json.loads(capsys.readouterr().out), table(out)


def kind(number):
    return ("dark", "light")[number % 2]


def test_labels_of_all_images_are_predicted_from_those_of_some(flat, tmp_path, capsys):
    images, run = flat
    lines = [f"{i:02}.png,{kind(i)}" for i in range(12)] + ["40.png,", "41.png,"]
    file = rows(tmp_path / "labels.csv", "file,kind", *lines)
    capsys.readouterr()
    out = tmp_path / "p.csv"
    answer, found = predicted(run, images, "--labels", file, out=out, capsys=capsys)
    assert [row["file"] for row in found] == [f"{i:02}.png" for i in range(60)]
    assert [row["prediction"] for row in found] == [kind(i) for i in range(60)]
    assert [row["label"] for row in found] == [kind(i) if i < 12 else "" for i in range(60)]
    assert all(0.5 <= float(row["probability"]) <= 1 for row in found)
    assert (answer["pictures"], answer["labelled"], answer["left_out"]) == (60, 12, 0)
    assert answer["classes"] == ["dark", "light"] and answer["contradicted"] == 0
    assert answer["measures"]["accuracy"]["accuracy"] == 1
    # what comes out goes in again
    lines = [f"{row['file']},{row['prediction']}" for row in found]
    file = rows(tmp_path / "all.csv", "file,kind", *lines)
    answer, again = predicted(run, images, "--labels", file, out=out, capsys=capsys)
    assert answer["labelled"] == 60 and all(row["label"] == row["prediction"] for row in again)


def test_batches_without_an_image_to_predict_change_no_prediction(flat, tmp_path, capsys):
    """Of twelve labelled images, batches of five hold ten and leave two beside unlabelled ones."""
    images, run = flat
    lines = [f"{i:02}.png,{kind(i)}" for i in range(12)]
    file = rows(tmp_path / "labels.csv", "file,kind", *lines)
    capsys.readouterr()
    tables = [
        predicted(
            run, images, "--labels", file, "--batch-size", size, out=tmp_path / f"{size}.csv",
            capsys=capsys,
        )[1]
        for size in (5, 60)
    ]  # fmt: skip
    for few, all_ in zip(*tables, strict=True):
        assert (few["file"], few["prediction"]) == (all_["file"], all_["prediction"])
        assert float(few["probability"]) == pytest.approx(float(all_["probability"]), abs=1e-3)


def test_wrong_labels_are_contradicted_and_broken_images_are_left_out(flat, tmp_path, capsys):
    run = flat[1]
    images = flat_set(tmp_path)
    (images / "07.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    wrong = {10, 31}
    lines = [f"{i:02}.png,{kind(i + (i in wrong))}" for i in range(60) if i != 50]
    file = rows(tmp_path / "labels.csv", "file,kind", *lines)
    out = tmp_path / "p.csv"
    answer, found = predicted(run, images, "--labels", file, out=out, capsys=capsys)
    doubted = {row["file"] for row in found if row["label"] not in ("", row["prediction"])}
    assert doubted == {f"{i:02}.png" for i in wrong} and answer["contradicted"] == 2
    assert {row["file"] for row in found if row["suspect"] == "yes"} == doubted
    assert answer["majority"]["accuracy"] == 0.5 and answer["metric"] == "accuracy"
    assert set(answer["recall"]) == {"dark", "light"} and answer["positive"] in ("dark", "light")
    assert (answer["pictures"], answer["labelled"], answer["left_out"]) == (59, 58, 1)
    assert main(["predict", str(run), str(images), "--labels", str(file), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 labels are probably wrong" in said and "1 could not be read" in said


def test_images_with_the_same_name_in_two_splits_are_distinguished(tmp_path, capsys):
    images, run = tmp_path / "p", tmp_path / "run"
    draw_images(images / "train", each=8)
    draw_images(images / "test", each=4)
    assert main(["pretrain", str(images), *TINY, "--no-report", "--out", str(run)]) == 0
    lines = [f"train/a/{i:02}.png,up" for i in range(4)]
    lines += [f"test/b/{i:02}.png,down" for i in range(4)]
    file = rows(tmp_path / "l.csv", "file,kind", *lines)
    capsys.readouterr()
    answer, found = predicted(run, "--labels", file, out=tmp_path / "p.csv", capsys=capsys)
    names = {row["file"]: row for row in found}
    assert len(names) == 24 and answer["labelled"] == 8
    assert names["train/a/00.png"]["label"] == "up" and names["test/a/00.png"]["label"] == ""
    assert names["test/b/00.png"]["label"] == "down" and names["train/b/00.png"]["label"] == ""
    # the class folders' labels, where no file says others
    answer, found = predicted(run, out=tmp_path / "p.csv", capsys=capsys)
    assert answer["labelled"] == 24 and {row["label"] for row in found} == {"a", "b"}


def test_labels_of_new_images_are_predicted_from_labelled_ones_elsewhere(flat, tmp_path, capsys):
    images, run = flat
    new = tmp_path / "new"
    new.mkdir()
    for i in range(10):  # of the same names as old ones, and the other kind
        (new / f"{i:02}.png").write_bytes((images / f"{i + 11:02}.png").read_bytes())
    file = rows(tmp_path / "l.csv", "file,kind", *(f"{i:02}.png,{kind(i)}" for i in range(40)))
    capsys.readouterr()
    argv = [new, "--labelled", images, "--labels", file]
    answer, found = predicted(run, *argv, out=tmp_path / "p.csv", capsys=capsys)
    assert (answer["pictures"], answer["labelled"]) == (10, 40)
    assert [row["prediction"] for row in found] == [kind(i + 1) for i in range(10)]
    assert {row["label"] for row in found} == {""} and answer["measures"]
    argv = ["predict", str(run), str(new), "--labelled", str(tmp_path / "nowhere")]
    assert main([*argv, "--out", str(tmp_path / "q.csv")]) == 2
    said = capsys.readouterr().err
    assert "--labelled=" in said and "nowhere" in said and "DATA" not in said


@pytest.mark.parametrize(
    ("header", "cells", "task", "columns", "measures"),
    [
        (
            "file,x,y",
            lambda i: f"{i % 2},{int(i % 3 > 0)}",
            "multilabel",
            ["x", "y"],
            ["mAP", "F1"],
        ),
        ("file,age", lambda i: f"{i % 2 + 0.5}", "regression", ["age"], ["R²", "MAE"]),
    ],
)
def test_tags_and_values_predicted(flat, tmp_path, capsys, header, cells, task, columns, measures):
    images, run = flat
    file = rows(tmp_path / "l.csv", header, *(f"{i:02}.png,{cells(i)}" for i in range(30)))
    capsys.readouterr()
    out = tmp_path / "p.csv"
    answer, found = predicted(run, images, "--labels", file, out=out, capsys=capsys)
    assert list(found[0]) == ["file", "split", "labelled", *columns]
    assert [row["labelled"] for row in found] == ["yes"] * 30 + ["no"] * 30
    assert answer["task"] == task and list(answer["measures"]) == measures
    first = np.array([float(row[columns[0]]) for row in found])
    assert (first[1::2] > first[::2].max()).all()


def test_a_run_with_a_labels_file_needs_no_other(tmp_path, capsys):
    images, run = flat_set(tmp_path), tmp_path / "run"
    labels = rows(tmp_path / "l.csv", "file,kind", *(f"{i:02}.png,{kind(i)}" for i in range(30)))
    groups = rows(tmp_path / "g.csv", "file,who", *(f"{i:02}.png,{i // 6}" for i in range(60)))
    argv = ["pretrain", str(images), *TINY, "--no-report", "--out", str(run)]
    assert main([*argv, "--labels", str(labels), "--groups", str(groups)]) == 0
    capsys.readouterr()
    answer, _ = predicted(run, out=tmp_path / "p.csv", capsys=capsys)
    assert answer["labelled"] == 30 and "accuracy" in answer["measures"]
    out = tmp_path / "next.csv"
    assert main(["select", str(run), "--count=3", "--out", str(out), "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)
    assert chosen["labelled"] == 30 and [row["kind"] for row in table(out)][30:] == [""] * 3
    # elsewhere, the run's files say nothing
    classes = draw_images(tmp_path / "classes")
    argv = ["--labelled", classes]
    answer, _ = predicted(run, *argv, out=tmp_path / "q.csv", capsys=capsys)
    assert answer["labelled"] == 24 and answer["classes"] == ["a", "b"]


def test_unusable_labels_are_named_in_an_error(flat, tmp_path, capsys):
    images, run = flat
    out = tmp_path / "p.csv"
    argv = ["predict", str(run), str(images), "--out", str(out)]
    one = rows(tmp_path / "one.csv", "file,kind", "00.png,dark", "02.png,dark")
    empty = rows(tmp_path / "empty.csv", "file,kind", "00.png,", "02.png,")
    half = rows(tmp_path / "half.csv", "file,x,y", "00.png,1,", "02.png,0,1")
    ungrouped = rows(tmp_path / "g.csv", "file,who", "00.png,me")
    two = rows(tmp_path / "two.csv", "file,kind", "00.png,dark", "01.png,light")
    for extra, said in (
        ([], "p has no labels: give labels of some images as --labels=FILE.csv"),
        (["--labels", one], "all labels are of one class"),
        (["--labels", empty], "has no labels yet: fill them in for some of its rows"),
        (["--labels", half], "1 of 2 rows have unknown labels"),
        (["--labels", two, "--groups", ungrouped], "has no group for 1 of the labelled images"),
        (["--task", "regression"], "needs --labels"),
        (["--pool", "none"], "--pool=none is unknown"),
    ):
        assert main([*argv, *map(str, extra)]) == 2
        assert said in capsys.readouterr().err
    assert not out.exists()
    before = two.read_bytes()
    argv = ["predict", str(run), str(images), "--labels", str(two), "--out", str(two)]
    assert main(argv) == 2 and two.read_bytes() == before
    assert "is read as labels or groups" in capsys.readouterr().err


def clouds(n=60, seed=0, apart=4.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    features = rng.normal(size=(n, 5)) + apart * np.eye(5)[labels]
    return features.astype(np.float32), labels


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 59), st.floats(-50, 50), st.booleans())
def test_a_prediction_does_not_depend_on_the_label_of_the_image_or_its_group(i, value, grouped):
    features, _ = clouds()
    values = features[:, :1].astype(np.float64)
    groups = np.arange(60) // 4 if grouped else None
    known = LabelledFeatures(values, groups=groups, features=features)
    before = cross_val_predict(known, seed=3)
    changed = values.copy()
    changed[groups == groups[i] if grouped else i] += value
    after = cross_val_predict(dataclasses.replace(known, labels=changed), seed=3)
    np.testing.assert_array_equal(before[i], after[i])
    assert np.isfinite(before).all()


def test_classes_are_predicted_and_wrong_labels_are_detected():
    features, labels = clouds(apart=7.0)
    wrong = labels.copy()
    wrong[[3, 30]] = (wrong[[3, 30]] + 1) % 3
    known = LabelledFeatures(wrong, tuple("abcd"), features=features)
    guesses = cross_val_predict(known, seed=0)
    assert guesses.shape == (60, 4)
    np.testing.assert_allclose(guesses.sum(axis=1), 1, rtol=1e-5)
    estimate = estimate_quality(known, guesses, "accuracy")
    assert estimate.measures == {} and estimate.lacking == {"d": 2}
    three = LabelledFeatures(wrong, tuple("abc"), features=features)
    estimate = estimate_quality(three, guesses[:, :3], "balanced-accuracy")
    assert list(estimate.measures) == ["balanced accuracy", "accuracy"]
    assert estimate.measures["accuracy"]["accuracy"] >= 0.9
    assert np.flatnonzero(contradicts_label(three, guesses[:, :3])).tolist() == [3, 30]
    assert "outcomes" not in estimate.measures["accuracy"]
    right = LabelledFeatures(labels, tuple("abcd"), features=features)
    np.testing.assert_array_equal(fit_probe(right, 0)(features).argmax(axis=1), labels)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1], [0, 1, 2, 3, 0], [0, 0, 0, 0, 0, 1]])
def test_a_few_labels_are_enough(labels):
    known = LabelledFeatures(np.array(labels), tuple("abcd"), features=clouds(len(labels))[0])
    guesses = cross_val_predict(known, seed=0)
    np.testing.assert_allclose(guesses.sum(axis=1), 1, rtol=1e-5)
    assert fit_probe(known, 0)(known.features).shape == (len(labels), 4)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("counts", [(2, 4), (2, 2, 2), (2, 2, 2, 2, 2), (3, 4, 2)])
def test_every_probe_of_a_few_labels_has_seen_the_classes_that_it_predicts(counts, grouped):
    labels = np.repeat(np.arange(len(counts)), counts)
    groups = np.arange(len(labels))[::-1] if grouped else None
    known = LabelledFeatures(labels, groups=groups, features=np.zeros((len(labels), 1), np.float32))
    for seed in range(20):
        folds = list(_folds(known, seed))
        assert all(np.isin(labels[test], labels[train]).all() for train, test in folds)
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(labels)))
        assert all(len(np.intersect1d(*fold)) == 0 for fold in folds) and len(folds) == 5


def test_five_labels_one_of_them_alone_in_its_class_allow_no_estimate(flat, tmp_path, capsys):
    images, run = flat
    lines = ["00.png,dark", "02.png,dark", "04.png,dark", "06.png,dark", "01.png,light"]
    file, out = rows(tmp_path / "few.csv", "file,kind", *lines), tmp_path / "p.csv"
    capsys.readouterr()
    argv = ["predict", str(run), str(images), "--labels", str(file), "--out", str(out)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "no estimate of the accuracy and no suspect labels" in said
    assert "label 1 more of 'light'" in said and "0." not in said
    answer, found = predicted(run, images, "--labels", file, out=out, capsys=capsys)
    assert answer["measures"] == {} and answer["lacking"] == {"light": 1}
    assert answer["contradicted"] == 0 and not any(row["suspect"] for row in found)
    assert all(row["prediction"] for row in found), "labels are predicted all the same"


def test_the_rare_class_of_two_is_described_beside_the_accuracy(flat, tmp_path, capsys):
    images, run = flat
    lines = [f"{i:02}.png,good" for i in range(0, 40, 2)] + [f"{i:02}.png,bad" for i in (1, 3, 5)]
    file, out = rows(tmp_path / "l.csv", "file,kind", *lines), tmp_path / "p.csv"
    argv = ["predict", str(run), str(images), "--labels", str(file), "--out", str(out)]
    capsys.readouterr()
    assert main([*argv, "--metric", "auroc"]) == 0
    said = capsys.readouterr().out
    assert "cross-validation: AUROC 1.000" in said and "(AUROC and AP of 'bad')" in said
    assert "Always predicting 'good' has an accuracy of 0.870" in said and "bad 1.000 (3)" in said
    assert main([*argv, "--metric", "mae"]) == 2
    assert "--metric=mae is for labels of regression" in capsys.readouterr().err


def test_a_class_in_the_test_folder_only_is_predicted_with_a_warning(tmp_path, capsys):
    data = tmp_path / "p"
    draw_images(data / "train", each=8)
    draw_images(data / "test", each=4, classes=("a", "b", "c"))
    run = tmp_path / "run"
    argv = ["pretrain", str(data), *TINY, "--epochs=1", "--no-report", "--out", str(run)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "Classes with test images but without training images: c." in said
    results = json.loads((run / "results.json").read_text())["evaluation"]
    assert results["untaught"] == ["c"] and results["class_names"] == ["a", "b", "c"]
    assert "without training images: c." in accuracy_note(results), "in the report too"
    assert main(["predict", str(run), f"--out={tmp_path}/p.csv"]) == 0
    assert main(["export", str(run), "--classifier=linear", f"--to={tmp_path}/c.safetensors"]) == 0


def test_a_single_group_has_no_cross_validated_prediction():
    features, labels = clouds(20)
    known = LabelledFeatures(labels, tuple("abc"), np.zeros(20, dtype=np.int64), features=features)
    guesses = cross_val_predict(known, seed=0)
    estimate = estimate_quality(known, guesses, "accuracy")
    assert np.isnan(guesses).all() and estimate.measures == {} and estimate.by_groups
    assert not contradicts_label(known, guesses).any()
    with pytest.raises(UserError, match="all labels are of one class"):
        fit_probe(dataclasses.replace(known, labels=np.zeros(20, dtype=np.int64)), 0)
