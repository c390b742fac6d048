"""``byol select``: a few representative images, in a file to fill in with labels."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from BYOL.cli.main import main
from BYOL.curation import selection
from BYOL.curation.selection import select_representatives
from BYOL.data.labels import read_labels
from tests.conftest import draw_images, make_run
from tests.evaluation.test_attach_labels import flat_set, rows

pytestmark = pytest.mark.trains


def clouds(sizes=(40, 30, 20, 10), seed=0):
    """Features in clusters that lie far apart, the largest first, and whose each is."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    features = rng.normal(size=(len(of), 6)) + 30 * np.eye(6)[of]
    return features.astype(np.float32), of


def chosen(features, count, *, labelled=(), barred=(), seed=0):
    masks = np.zeros((2, len(features)), dtype=bool)
    masks[0, list(labelled)], masks[1, list(barred)] = True, True
    return select_representatives(features, count, seed, allowed=~masks[1], labelled=masks[0])


def test_the_central_image_of_each_cluster_is_chosen_largest_cluster_first():
    features, of = clouds()
    found = chosen(features, 4)
    assert of[found.positions].tolist() == [0, 1, 2, 3] and found.sizes.tolist() == [40, 30, 20, 10]
    vectors = selection.standardized_directions(features)
    for cluster, place in enumerate(found.positions):
        nearness = vectors @ vectors[of == cluster].mean(axis=0)
        assert nearness[place] == nearness[of == cluster].max()


def test_images_near_labelled_ones_are_chosen_last():
    features, of = clouds()
    labelled = [3, 17, 95]  # of the first and the last
    found = chosen(features, 4, labelled=labelled)
    first = of[found.positions].tolist()
    assert 1 in first[:2] and 2 in first[:3]
    assert not set(found.positions.tolist()) & set(labelled)
    alone = chosen(features, 1, labelled=[0, 45, 75])
    assert of[alone.positions].tolist() == [3]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 120),
    st.sets(st.integers(0, 99), max_size=100),
    st.sets(st.integers(0, 99), max_size=100),
)
def test_the_requested_number_of_distinct_images_is_chosen(count, labelled, barred):
    features, _ = clouds()
    found = chosen(features, count, labelled=labelled, barred=barred)
    free = set(range(100)) - labelled - barred
    places = found.positions.tolist()
    assert len(places) == len(set(places)) == min(count, len(free)) and set(places) <= free
    assert (found.sizes >= 1).all()


def test_identical_images_can_be_chosen():
    found = chosen(np.ones((20, 5), np.float32), 6)
    assert len(set(found.positions.tolist())) == 6


def test_the_number_of_candidates_is_limited(monkeypatch):
    monkeypatch.setattr(selection, "CANDIDATES", 50)
    monkeypatch.setattr(selection, "MOST_CLUSTERS", 8)
    features, of = clouds()
    found = chosen(features, 30, labelled=[1])
    assert len(found.positions) == 30 and set(of[found.positions]) == {0, 1, 2, 3}


def told(argv, capsys):
    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_folder_is_labelled_in_rounds(tmp_path, capsys):
    pictures = flat_set(tmp_path)
    # Random weights tell dark from light by far; what two epochs of training leave of it depends
    # on how a processor rounds.
    run = make_run(tmp_path / "run", pictures, backbone="plain5", image_size=16)
    Image.new("RGB", (20, 20)).save(pictures / "black.png")
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    out, page = tmp_path / "labels.csv", tmp_path / "page.png"
    argv = ["select", run, pictures, "--count=6", "--out", out, "--grid", page]
    answer = told(argv, capsys)
    header, *body = table(out)
    assert header == ["file", "label"] and body == [[name, ""] for name in answer["selected"]]
    assert len(set(answer["selected"])) == 6 and "black.png" not in answer["selected"]
    assert (answer["pictures"], answer["left_out"], answer["blank"]) == (61, 1, 1)
    sides = {int(name[:2]) % 2 for name in answer["selected"][:2]}
    assert sides == {0, 1}  # a dark one and a light one before any other
    with Image.open(page) as drawn:
        assert drawn.width > 600

    kinds = {name: ("dark", "light")[int(name[:2]) % 2] for name in answer["selected"]}
    lines = [f"{name},{kind}" for name, kind in list(kinds.items())[:4]]
    lines += [f"{name}," for name in list(kinds)[4:]]
    rows(out, "file,kind", *lines)
    again = told(["select", run, pictures, "--count=6", "--labels", out, "--out", out], capsys)
    header, *body = table(out)
    assert header == ["file", "kind"] and again["labelled"] == 4
    assert [",".join(row) for row in body[:4]] == lines[:4]
    assert [row[1] for row in body[4:]] == [""] * 6
    assert not {row[0] for row in body[:4]} & {row[0] for row in body[4:]}
    assert set(read_labels(out).rows) == {row[0] for row in body[:4]}
    # and what was chosen teaches the rest
    predictions = tmp_path / "p.csv"
    found = told(["predict", run, pictures, "--labels", out, "--out", predictions], capsys)
    assert found["labelled"] == 4
    said = {row[0]: row[3] for row in table(predictions)[1:] if row[0] != "black.png"}
    assert all(kind == ("dark", "light")[int(name[:2]) % 2] for name, kind in said.items())


def test_names_of_a_data_set_with_a_test_folder_are_relative_to_it(tmp_path, capsys):
    draw_images(tmp_path / "p" / "train", each=6)
    draw_images(tmp_path / "p" / "test", each=3)
    out = tmp_path / "labels.csv"
    run = make_run(tmp_path / "run", tmp_path / "p", backbone="plain5", image_size=16)
    first = told(["select", run, "--count=3", "--out", out], capsys)
    assert all(name.startswith("train/") for name in first["selected"])
    rows(out, "file,label", *(f"{name},x" for name in first["selected"]), "test/a/00.png,y")
    both = told(["select", run, "--count=99", "--split=all", "--labels", out, "--out", out], capsys)
    assert both["labelled"] == 4 and len(both["selected"]) == 14
    rows(out, "file,label", *(f"{name},x" for name in both["selected"]))
    left = told(["select", run, "--count=99", "--labels", out, "--out", out], capsys)
    assert set(left["selected"]) == set(first["selected"])


def test_labels_that_a_user_filled_in_are_not_overwritten(run, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    argv = ["select", str(run), "--count=3", "--out", str(out)]
    assert main(argv) == 0 and main(argv) == 0  # nothing was filled in
    names = [row[0] for row in table(out)[1:]]
    rows(
        out, "file,label", *(f"{name},x" for name in names[:1]), *(f"{name}," for name in names[1:])
    )
    before = out.read_bytes()
    assert main(argv) == 2 and out.read_bytes() == before
    assert "has labels, which would be lost" in capsys.readouterr().err
    text = out.read_text().replace(",", ";")  # as a spreadsheet writes it in much of the world
    out.write_text(text)
    assert main(argv) == 2 and out.read_text() == text
    rows(out, "file,a,b", f"{names[0]},1,")
    assert main(argv) == 2
    rows(out, "file,label", f"{names[0]},x")
    assert main([*argv, "--labels", str(out)]) == 0
    assert table(out)[1] == [names[0], "x"] and len(table(out)) == 5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--count=0"], "--count=0 is out of range"),
        (["--out=x.txt"], "--out=x.txt has an unknown ending: use .csv"),
        (["--grid=x.jpg"], "--grid=x.jpg has an unknown ending: use .png"),
        (["--labels=none.csv"], "--labels=none.csv cannot be read"),
        (["--split=test"], "--split=test is not in DATA"),
        (["--pool=none"], "--pool=none is unknown"),
    ],
)
def test_mistakes_have_clear_messages(run, flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["select", str(run), *flags]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_no_image_is_left_if_all_have_a_label(run, tmp_path, capsys):
    names = [f"{c}/{i:02}.png,x" for c in "ab" for i in range(12)]
    file = rows(tmp_path / "all.csv", "file,label", *names)
    out = tmp_path / "out.csv"
    assert main(["select", str(run), "--labels", str(file), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "there is no image left to label: all have labels" in said and not out.exists()
