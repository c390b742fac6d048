"""Groups of images (a patient, a camera): never in both splits, and resampled together."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from BYOL.cli.main import main
from BYOL.data.cache import to_memory
from BYOL.data.dataset import ArrayImages
from BYOL.data.groups import check_all_grouped, group_splits, read_groups, shared_groups_warning
from BYOL.data.labels import label_splits, read_labels
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import (
    accuracy_interval,
    counted_interval,
    mean_interval,
    statistic_interval,
)
from BYOL.evaluation.evaluate import evaluate
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.protocols import finetune as finetuning
from BYOL.evaluation.protocols import linear_sgd as linear_sgds
from BYOL.evaluation.protocols.linear import (
    ALPHAS,
    STRENGTH,
    _split,
    fit_values,
    linear_probe,
)
from BYOL.evaluation.split_summary import classes_without_training_images, group_counts
from BYOL.evaluation.splits import held_out_mask, holdout_problem, validation_mask
from BYOL.evaluation.table import groups_note, results_text
from BYOL.report.results_table import accuracy_note
from tests.conftest import TINY, draw_images
from tests.evaluation.test_protocols import CPU, SPEC, MeanColour, coloured
from tests.evaluation.test_training_protocols import EVALUATION_DATA, conv, source

pytestmark = pytest.mark.trains


class Pixels(torch.nn.Module):
    """A backbone that outputs all pixels."""

    def forward(self, x):
        return x.flatten(1)


def write(path, text):
    path.write_text(text)
    return path


def near_duplicates(groups: int = 40, each: int = 6, seed: int = 0) -> ArrayImages:
    """Images that are nearly equal within a group, and whose class is independent of the pixels."""
    rng = np.random.default_rng(seed)
    group_index = np.repeat(np.arange(groups), each)
    labels = rng.permutation(np.arange(groups) % 2)[group_index]
    pixels = rng.integers(20, 235, (groups, 3, 8, 8))[group_index]
    pixels = pixels + rng.integers(-3, 4, pixels.shape)
    data = torch.from_numpy(pixels).byte()

    labels = labels.astype(np.int64)
    return ArrayImages("near", 3, labels, ("x", "y"), data, groups=group_index)


def results_for(images: ArrayImages, *protocols: str, **settings):
    settings = {"device": CPU, "protocols": protocols, **settings}
    return evaluate(Pixels(), MeanColour(), images, None, SPEC, **settings)


# a file of groups


def test_images_get_the_groups_of_their_rows(tmp_path):
    draw_images(tmp_path / "p" / "train", each=2)
    draw_images(tmp_path / "p" / "test", each=1)
    rows = "train/a/00.png,p2\na/01.png,p1\ntrain/b/00.png,p2\ntest/a/00.png,p1\n"
    file = read_groups(write(tmp_path / "g.csv", "file,patient\n" + rows))
    found = group_splits(open_images(str(tmp_path / "p")), file)
    assert file.names == ("p1", "p2")
    assert found.train.groups.tolist() == [1, 0, 1, -1] and found.test.groups.tolist() == [0, -1]
    with pytest.raises(UserError) as caught:
        check_all_grouped((found.train, found.test), file)
    assert str(caught.value) == (
        f"--groups={tmp_path}/g.csv has no group for 2 of the labelled images: b/01.png, b/00.png"
    )
    check_all_grouped((found.train.subset(np.array([0, 1, 2])), None), file)
    line = shared_groups_warning(found.train, found.test.subset(np.array([0])), file)
    assert "(1)" in line and line.endswith(": p1") and "\n" not in line
    assert shared_groups_warning(found.train.subset(np.array([0])), found.test, file) is None


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (["p1", "NA", "", "p2"], "NA is read as an unknown group"),
        (["0", "-1", "-1", "4"], "-1 is read as an unknown group"),
        (["3", "null", "", "4"], "null is read as an unknown group"),
    ],
)
def test_images_of_an_unknown_group_are_no_group(tmp_path, caplog, cells, named):
    draw_images(tmp_path / "p", each=2)
    names = ("a/00.png", "a/01.png", "b/00.png", "b/01.png")
    rows = "".join(f"{name},{cell}\n" for name, cell in zip(names, cells, strict=True))
    with caplog.at_level("INFO"):
        file = read_groups(write(tmp_path / "g.csv", "file,patient\n" + rows))
    assert file.names == (cells[0], cells[3]) and re.search(named, caplog.text)
    images = group_splits(open_images(str(tmp_path / "p")), file).train
    assert images.groups.tolist() == [0, -1, -1, 1]
    with pytest.raises(UserError, match=r"has no group for 2 of .*: a/01.png, b/00"):
        check_all_grouped((images,), file)


def test_an_ambiguous_file_name_is_an_error(tmp_path):
    for part in ("train", "test"):
        draw_images(tmp_path / "p" / part, each=1)
    file = read_groups(write(tmp_path / "g.csv", "file,patient\nb/00.png,p\n"))
    with pytest.raises(UserError, match=r"^--groups.*b/00.png is in two folders"):
        group_splits(open_images(str(tmp_path / "p")), file)


def test_images_without_a_group_are_counted_and_three_are_named(tmp_path):
    images = open_images(str(draw_images(tmp_path / "p", each=1000, classes=("a",), side=1)))
    file = read_groups(write(tmp_path / "g.csv", "file,part\na/00.png,p\n"))
    with pytest.raises(UserError, match=r"999 of .*: a/01.png, a/02.png, a/03.png and 996 more$"):
        check_all_grouped((group_splits(images, file).train,), file)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("file,g\n", "has no group"),
        ("file\na.png\n", "has no group"),
        ("file,g,h\na,1,2\n", "has 3 columns: give two"),
        ("file,g\na,1,2\n", "row 1 has 3 cells"),
        ("file,g\na,\n", "has no group yet"),
        ("file,g\na,NA\nb,nan\n", "has no group that is known"),
        ("file,g\na,1\na,2\n", "a is listed twice"),
    ],
)
def test_an_error_in_a_groups_file_is_named_in_one_line(tmp_path, text, named):
    with pytest.raises(UserError, match=named) as caught:
        read_groups(write(tmp_path / "g.csv", text))
    assert str(caught.value).startswith("--groups=") and "\n" not in str(caught.value)


def test_groups_are_kept_with_labels_in_subsets_and_in_memory(tmp_path):
    pictures = draw_images(tmp_path / "p", classes=("",), each=6)
    names = [f"{i:02}.png" for i in range(6)]
    (pictures / "01.png").write_bytes(b"broken")
    rows = "".join(f"{name},g{i // 2}\n" for i, name in enumerate(names))
    groups = read_groups(write(tmp_path / "g.csv", "file,group\n" + rows))
    labels = read_labels(write(tmp_path / "l.csv", "file,k\n00.png,u\n01.png,v\n05.png,v\n"))
    grouped = group_splits(open_images(str(pictures)), groups)
    labelled = label_splits(grouped, labels)[0].train
    assert labelled.groups.tolist() == [0, 0, 2]
    held, broken = to_memory(labelled, 1 << 30)
    assert broken == ["01.png"] and held.groups.tolist() == [0, 2]
    assert held.labels.tolist() == [0, 1] and held.sample_name(1) == "05.png"
    assert held.subset(np.array([1])).groups.tolist() == [2]
    whole, _ = to_memory(grouped.train.subset(np.array([5, 0])), 1 << 30)
    assert whole.groups.tolist() == [2, 0]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_groups_of_a_folder_also_match_its_shards_and_their_subsets(tmp_path, kind):
    images = open_images(str(draw_images(tmp_path / "p", each=3))).train
    pack({"train": images}, tmp_path / "s", Packing(1 << 20, kind, 0))
    rows = "".join(f"a/{i:02}.png,one\nb/{i:02}.png,b{i}\n" for i in range(3))
    file = read_groups(write(tmp_path / "g.csv", "file,g\n" + rows))
    shards = group_splits(open_images(str(tmp_path / "s")), file).train
    for i in range(6):
        folder, name = shards.inner_name(i).split("/")[-2:]
        expected = "one" if folder == "a" else f"b{int(name[:2])}"
        assert file.names[shards.groups[i]] == expected
    part = shards.subset(np.array([4, 1])).subset(np.array([1]))
    assert part.groups.tolist() == [shards.groups[1]]


# held-out groups


@st.composite
def grouped(draw):
    """Labels of any kind, and at least two groups."""
    n = draw(st.integers(2, 60))
    groups = draw(st.lists(st.integers(0, draw(st.integers(1, 20))), min_size=n, max_size=n))
    labels = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    kind = draw(st.sampled_from(["classes", "alone", "tags", "values"]))
    if kind == "alone":
        labels = np.arange(n)
    if kind in ("tags", "values"):
        labels = np.stack([labels > 1, labels > 2], axis=1)
        labels = labels.astype(float) if kind == "values" else labels
    return labels, np.array(groups) - 3, draw(st.integers(0, 9))


@settings(deadline=None, max_examples=200)
@given(grouped())
def test_no_group_is_in_both_splits_and_no_split_is_empty(drawn):
    labels, groups, seed = drawn
    assume(len(np.unique(groups)) > 1)
    known = LabelledSet(labels, groups=groups)
    held = held_out_mask(known, seed)
    assert held.dtype == bool and held.shape == (len(labels),) and held.any() and not held.all()
    assert not set(groups[held]) & set(groups[~held])
    assert (held_out_mask(known, seed) == held).all()
    chosen = validation_mask(known, seed)
    assert not chosen.any() or (chosen == held).all()


def test_a_fifth_of_every_class_is_held_out_and_it_depends_on_the_seed():
    images = near_duplicates(groups=100)
    draws = [held_out_mask(LabelledSet.of(images), seed) for seed in range(4)]
    for held in draws:
        shares = [held[images.labels == c].mean() for c in range(2)]
        assert shares == pytest.approx([0.2, 0.2], abs=0.01)
    assert len({held.tobytes() for held in draws}) == 4
    values = np.random.default_rng(0).normal(size=(len(images), 2))
    known = LabelledSet(values, groups=images.groups)
    draws = [held_out_mask(known, seed) for seed in range(4)]
    assert len({held.tobytes() for held in draws}) == 4
    assert [held.mean() for held in draws] == pytest.approx([0.2] * 4, abs=0.01)


def test_the_larger_of_two_groups_is_the_training_split():
    groups = np.repeat([7, 3], [90, 10])
    for labels in (np.arange(100) % 2, np.arange(100)[:, None] / 7):
        assert (held_out_mask(LabelledSet(labels, groups=groups), 0) == (groups == 3)).all()


def test_a_split_with_classes_on_both_sides_is_preferred_to_one_of_the_right_size():
    groups, labels = np.repeat([0, 1, 2], [50, 50, 25]), np.zeros(125, dtype=int)
    labels[:100:2] = 1  # the smallest group, a fifth of all, has only one class
    known = LabelledSet(labels, groups=groups)
    held = held_out_mask(known, 0)
    assert held.sum() == 50 and holdout_problem(known, held) is None


def test_groups_that_allow_no_split_are_an_error_of_one_line():
    images = near_duplicates(groups=2, each=10)
    one = dataclasses.replace(images, groups=np.zeros(20, dtype=int))
    with pytest.raises(UserError, match=r"--groups: all labelled images are of one group"):
        results_for(one, "knn")
    by_class = dataclasses.replace(images, groups=images.labels)
    with pytest.raises(UserError, match="of 2 classes none has images on both sides"):
        results_for(by_class, "knn")
    three = np.array([0] * 10 + [1] * 5 + [2] * 5)
    found = dataclasses.replace(images, groups=three, labels=(np.arange(20) >= 10).astype(int))
    with pytest.raises(UserError, match="of 2 classes 1 has images on both sides"):
        results_for(found, "knn")
    alone = dataclasses.replace(images, labels=np.arange(20))
    with pytest.raises(UserError, match="of 20 classes none has two images"):
        results_for(alone, "knn")


def test_near_duplicates_inflate_the_accuracy_of_a_random_split_but_not_of_a_split_by_groups():
    images = near_duplicates()
    by_groups = results_for(images, "knn", "linear")
    at_random = results_for(dataclasses.replace(images, groups=None), "knn", "linear")
    inflated, unbiased = (r["rows"]["trained"] for r in (at_random, by_groups))
    assert inflated["knn20"]["accuracy"] == 1.0 and inflated["linear"]["accuracy"] > 0.85
    for measure in ("knn20", "linear"):
        assert unbiased[measure]["low"] < 0.5 < unbiased[measure]["high"]
        assert unbiased[measure]["accuracy"] < 0.7
    assert "groups" not in at_random and "held_out_by" not in at_random
    assert by_groups["groups"] == {"learn": 32, "judge": 8, "both": 0}
    assert by_groups["held_out_by"] == "groups" and by_groups["pictures"]["judge"] == 48
    text = results_text(by_groups)
    assert "Held out by groups: 8 test groups, 32 training groups, none on both sides." in text
    assert "Intervals are over groups." in text and groups_note(by_groups) in accuracy_note(
        by_groups
    )
    assert "groups" not in at_random and "test groups" not in results_text(at_random)


def test_a_test_set_is_kept_and_groups_in_both_splits_are_counted():
    images = near_duplicates()
    train, test = images.subset(np.arange(120)), images.subset(np.arange(114, 240))
    test.labels[-6:] = 2  # a class without training images, which retrieval leaves out
    protocols = ("knn", "retrieval")
    results = evaluate(Pixels(), MeanColour(), train, test, SPEC, device=CPU, protocols=protocols)
    assert results["pictures"] == {"learn": 120, "judge": 126} and "held_out_by" not in results
    assert results["groups"] == {"learn": 20, "judge": 21, "both": 1}
    assert results["untaught"] == ["2"]
    assert 0 < results["rows"]["trained"]["mAP"]["low"] < results["rows"]["trained"]["mAP"]["high"]
    assert "Groups: 21 test groups, 20 training groups, 1 on both sides." in results_text(results)


def test_classes_without_training_images_are_listed():
    images = near_duplicates()
    labels = np.where(images.groups == 5, 2, images.labels)
    held = images.groups < 8
    train, test = (
        dataclasses.replace(images, labels=labels).subset(np.flatnonzero(part))
        for part in (~held, held)
    )
    data = dataclasses.replace(EVALUATION_DATA, train=train, test=test)
    assert group_counts(data, None)["groups"] == {"learn": 32, "judge": 8, "both": 0}
    assert classes_without_training_images(data) == {"untaught": ["2"]}
    assert classes_without_training_images(dataclasses.replace(data, train=test, test=train)) == {}


def test_without_labels_all_images_are_test_images_and_their_groups_are_resampled():
    images = dataclasses.replace(near_duplicates(), labels=None, classes=())
    results = results_for(images, "cluster", clusters=3)
    assert results["groups"] == {"learn": 40, "judge": 40, "both": 40}
    assert "held_out_by" not in results and "\nGroups: 40." in results_text(results)
    bare = results_for(dataclasses.replace(images, groups=None), "cluster", clusters=3)
    wide, narrow = (r["rows"]["trained"]["silhouette"] for r in (results, bare))
    assert wide["value"] == narrow["value"]
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


# choice of settings


def test_settings_are_chosen_on_a_split_by_groups(monkeypatch):
    images = near_duplicates(groups=20)
    features = images.data.flatten(1).numpy().astype(np.float32)
    for labels in (images.labels, features[:, :2] > 100, features[:, :2].astype(float)):
        fit, held = _split(LabelledSet(labels, groups=images.groups), 0)
        assert len(fit) and len(held) and not set(images.groups[fit]) & set(images.groups[held])
        assert sorted([*fit, *held]) == list(range(len(labels)))

    data = dataclasses.replace(EVALUATION_DATA, train=images, test=images, shares=(1.0,), epochs=1)
    seen = []

    def trained(source, train, lr, epochs):
        seen.append(set(train.groups.tolist()))
        return finetuning.Classifier(source.backbone, 6, 2)

    monkeypatch.setattr(finetuning, "_trained", trained)
    finetuning.finetune(source(conv(), data))
    assert len(seen) == 4 and len(seen[-1]) == 20
    assert all(len(groups) == 16 for groups in seen[:3]), "a fifth of the groups, whole"

    heads, masks = linear_sgds._train_heads, []
    monkeypatch.setattr(
        linear_sgds, "_train_heads", lambda s, held: masks.append(held) or heads(s, held)
    )
    linear_sgds.linear_sgd(source(MeanColour(), data))
    assert masks[0].any() and not set(images.groups[masks[0]]) & set(images.groups[~masks[0]])


def test_the_strength_is_the_best_one_for_held_out_groups():
    images = near_duplicates(groups=60, each=8)
    features = images.data.flatten(1).numpy().astype(np.float32)
    by_groups = linear_probe(features, images.labels, features, groups=images.groups)
    assert by_groups.strength < linear_probe(features, images.labels, features).strength
    values = np.random.default_rng(0).normal(size=(60, 2))[images.groups]
    known = LabelledFeatures(values, groups=images.groups, features=features)
    ours = fit_values(known)(features)
    scaled = StandardScaler().fit_transform(features)
    fit, held = _split(known, 0)
    errors = [
        ((Ridge(a).fit(scaled[fit], values[fit]).predict(scaled[held]) - values[held]) ** 2).mean(0)
        for a in ALPHAS
    ]
    direct = Ridge(ALPHAS[np.argmin(errors, axis=0)]).fit(scaled, values).predict(scaled)
    np.testing.assert_allclose(ours, direct, atol=1e-5)
    by_near_duplicates = fit_values(dataclasses.replace(known, groups=None))(features)
    assert ((ours - values) ** 2).mean() > 10 * ((by_near_duplicates - values) ** 2).mean()


def test_with_one_training_group_defaults_are_used():
    images = dataclasses.replace(near_duplicates(groups=2, each=20), labels=np.arange(40) % 2)
    results = results_for(images, "all", epochs=1, shares=(1.0,))
    assert results["groups"] == {"learn": 1, "judge": 1, "both": 0}
    assert results["rows"]["trained"]["linear"]["C"] == STRENGTH
    assert results["rows"]["trained"]["linear-sgd"]["learning_rate"] == linear_sgds.DEFAULT_LR
    assert "There is one test group" in results_text(results)
    finetuned = finetune_results(conv(), images)["rows"]["trained"]["finetune 100%"]
    assert finetuned["learning_rate"] == finetuning.DEFAULT_LR
    values = dataclasses.replace(images, labels=np.random.default_rng(0).normal(size=(40, 2)))
    assert "linear R²" in results_for(values, "linear")["rows"]["trained"]


def finetune_results(backbone, images):
    how = {"device": CPU, "protocols": ("finetune",), "epochs": 1, "shares": (1.0,)}
    return evaluate(backbone, backbone, images, None, SPEC, **how)


@pytest.mark.parametrize("kind", ["tags", "values"])
def test_tags_and_values_are_held_out_by_groups(kind):
    images = coloured()
    mean = images.data.float().mean(dim=(2, 3)).numpy().astype(np.float64)
    labels = mean > mean.mean(axis=0) if kind == "tags" else mean
    images = dataclasses.replace(images, labels=labels, groups=np.arange(90) // 6)
    results = evaluate(MeanColour(), Pixels(), images, None, SPEC, device=CPU)
    assert results["groups"] == {"learn": 12, "judge": 3, "both": 0}
    measure = "linear mAP" if kind == "tags" else "linear R²"
    assert results["rows"]["trained"][measure]["value"] > 0.9


# intervals


def test_intervals_by_groups_agree_with_each_other_and_with_a_loop():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 300) * 3 - 5
    means = rng.random(200)
    values = rng.random(300) < means[groups + 5]
    intervals = [
        accuracy_interval(values, groups),
        mean_interval(values.astype(float), groups),
        statistic_interval(lambda rows: float(values[rows].mean()), 300, 2000, groups),
        counted_interval(lambda c: c @ values / c.sum(axis=1), 300, 2000, groups),
    ]
    members = [values[groups == g] for g in np.unique(groups)]
    looped = [
        np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]).mean()
        for _ in range(2000)
    ]
    low, high = np.quantile(looped, (0.025, 0.975))
    for measure in intervals:
        assert measure.get("accuracy", measure.get("value")) == pytest.approx(values.mean())
        assert measure["low"] == pytest.approx(low, abs=0.012)
        assert measure["high"] == pytest.approx(high, abs=0.012)


def test_intervals_are_wider_for_groups_of_similar_images_and_equal_for_groups_of_one():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 20)
    values = np.repeat(rng.random(50) < 0.5, 20)

    def width(*groups):
        measure = accuracy_interval(values, *groups)
        return measure["high"] - measure["low"]

    assert width(groups) == pytest.approx(width() * np.sqrt(20), rel=0.15)
    assert width(np.arange(1000)) == pytest.approx(width(), rel=0.1)
    assert width(np.zeros(1000, int)) == width(), "for one group the interval is over its images"


def test_every_protocol_resamples_the_test_groups():
    train, untrained, settings = near_duplicates(20), conv(), {"epochs": 1, "shares": (1.0,)}
    test_images = near_duplicates(20, seed=1)
    by_groups, bare = (
        evaluate(
            untrained,
            untrained,
            train,
            test,
            SPEC,
            device=CPU,
            protocols=("all",),
            **settings,
        )["rows"]["untrained"]
        for test in (test_images, dataclasses.replace(test_images, groups=None))
    )
    assert len(by_groups) == 37
    for name, measure in by_groups.items():
        found = {k: v for k, v in measure.items() if k not in ("low", "high", "outcomes", "units")}
        assert found == {k: bare[name][k] for k in found}
        ends = [(m.get("low"), m.get("high")) for m in (measure, bare[name])]
        assert "shot" in name or ends[0] != ends[1], name


# the command line


def test_groups_are_held_out_from_the_command_line(run, tmp_path, capsys):
    pictures = draw_images(tmp_path / "p", each=20)
    names = [f"{c}/{i:02}.png" for c in "ab" for i in range(20)]
    rows = "".join(f"{name},patient {int(name[2:4]) // 2}\n" for name in names)
    file = write(tmp_path / "groups.csv", "file,patient\n" + rows)
    argv = ["evaluate", str(run), str(pictures), "--groups", str(file), "--protocol=knn,linear"]
    assert main([*argv, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["groups"] == {"learn": 8, "judge": 2, "both": 0}
    assert answer["held_out_by"] == "groups" and answer["groups_file"] == str(file)
    assert answer["pictures"] == {"learn": 32, "judge": 8}
    assert main(argv) == 0
    assert "Held out by groups: 2 test groups, 8 training groups" in capsys.readouterr().out
    rows = "file,k\n" + "".join(f"{name},{name[0]}\n" for name in names[:12] + names[20:32])
    labels = write(tmp_path / "labels.csv", rows)
    assert main([*argv, "--labels", str(labels), "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["groups"].values()) == 6


def test_groups_in_both_splits_cause_a_warning(run, tmp_path, capsys):
    for part in ("train", "test"):
        draw_images(tmp_path / "p" / part, each=8)
    names = [f"{p}/{c}/{i:02}.png" for p in ("train", "test") for c in "ab" for i in range(8)]
    rows = "".join(f"{name},{name[-6:-4]}\n" for name in names)
    file = write(tmp_path / "groups.csv", "file,camera\n" + rows)
    argv = ["evaluate", str(run), str(tmp_path / "p"), "--groups", str(file), "--protocol=knn"]
    assert main([*argv, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["groups"] == {"learn": 8, "judge": 8, "both": 8}
    lines = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].endswith("00, 01, 02 and 5 more") and "(8)" in lines[0]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("a/00.png,p\na/77.png,p\n", "not there (1): a/77.png"),
        (
            "a/00.png,p\n",
            "has no group for 11 of the labelled images: a/01.png, a/02.png, a/03.png",
        ),
        ("a/00.png,p,q\n", "row 1 has 3 cells"),
        (None, "all labelled images are of one group"),
    ],
)
def test_groups_that_do_not_match_the_images_are_an_error_of_one_line(
    run, tmp_path, capsys, rows, named
):
    pictures = draw_images(tmp_path / "p", each=6)
    rows = rows or "".join(f"{c}/{i:02}.png,p\n" for c in "ab" for i in range(6))
    file = write(tmp_path / "g.csv", "file,g\n" + rows)
    assert main(["evaluate", str(run), str(pictures), f"--groups={file}", "--protocol=knn"]) == 2
    said = capsys.readouterr()
    assert named in said.err and "--groups" in said.err and "Traceback" not in said.err


def near_duplicate_folder(root, groups: int = 20, each: int = 3):
    """A folder of near duplicates, in groups with a random class, and the file of the groups."""
    images = near_duplicates(groups, each)
    rows = ["file,part"]
    for i, picture in enumerate(images.data):
        name = f"{images.classes[images.labels[i]]}/{i:03}.png"
        path = root / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
        rows.append(f"{name},part {images.groups[i]}")
    return root / "p", write(root / "groups.csv", "\n".join(rows) + "\n")


def test_a_run_uses_groups_from_the_online_check_to_the_report(tmp_path, capsys):
    pictures, file = near_duplicate_folder(tmp_path)
    out = tmp_path / "run"
    argv = ["pretrain", str(pictures), *TINY, "--out", str(out), "--groups", str(file)]
    assert main(argv) == 0
    capsys.readouterr()
    results = json.loads((out / "results.json").read_text())
    assert results["evaluation"]["held_out_by"] == "groups"
    assert results["evaluation"]["groups"] == {"learn": 16, "judge": 4, "both": 0}
    # the class of a group is random, so other groups do not predict it
    assert results["evaluation"]["rows"]["raw pixels"]["knn20"]["accuracy"] < 0.8
    by_groups = results["online_knn"]
    plain = tmp_path / "plain"
    assert main([*argv[:-4], "--out", str(plain)]) == 0
    loose = json.loads((plain / "results.json").read_text())
    assert "groups" not in loose["evaluation"] and loose["online_knn"] != by_groups
    same = [torch.load(p / "checkpoints/last.ckpt")["state_dict"] for p in (out, plain)]
    assert all(same[0][k].equal(same[1][k]) for k in same[0])
    capsys.readouterr()
    assert main(["evaluate", str(out), "--protocol=knn", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["held_out_by"] == "groups" and answer["groups_file"] == str(file)
    assert main(["evaluate", str(out), str(pictures), "--protocol=knn", "--json"]) == 0
    assert "groups" not in json.loads(capsys.readouterr().out)
    assert main(["report", str(out)]) == 0
    assert "Held out by groups: 4 test groups" in (out / "report.html").read_text()


def test_a_run_warns_of_groups_in_both_splits_and_rejects_unusable_groups(tmp_path, capsys):
    for part in ("train", "test"):
        draw_images(tmp_path / "p" / part, each=8)
    names = [f"{p}/{c}/{i:02}.png" for p in ("train", "test") for c in "ab" for i in range(8)]
    rows = "".join(f"{name},{name[-6:-4]}\n" for name in names)
    file = write(tmp_path / "groups.csv", "file,camera\n" + rows)
    argv = ["pretrain", str(tmp_path / "p"), *TINY, "--out", str(tmp_path / "run")]
    assert main([*argv, "--groups", str(file), "--epochs=1", "--no-report"]) == 0
    said = capsys.readouterr().err
    assert said.count("groups with images in both training and test data (8)") == 1
    one = write(tmp_path / "one.csv", "file,camera\n" + "".join(f"{n},x\n" for n in names[:16]))
    argv = ["pretrain", str(tmp_path / "p" / "train"), *TINY, "--out", str(tmp_path / "other")]
    rows = one.read_text().replace("train/", "")
    for text, named in (
        (rows, "are of one group"),
        ("file,g\na/00.png,p\n", "has no group for 15"),
    ):
        assert main([*argv, "--groups", str(write(one, text))]) == 2
        assert named in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_groups_of_images_without_labels_change_nothing(tmp_path, capsys):
    pictures = draw_images(tmp_path / "p", classes=("",))
    file = write(tmp_path / "groups.csv", "file,camera\n00.png,x\n")
    argv = ["pretrain", str(pictures), *TINY, "--out", str(tmp_path / "run"), "--no-report"]
    assert main([*argv, "--groups", str(file)]) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"] is None
