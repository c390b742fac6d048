"""Exports of Label Studio: JSON, JSON-MIN and CSV give the same labels."""

import json

import pytest

from BYOL.data.labels import label_splits, read_labels
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from tests.conftest import draw_images

PLACES = (
    "/data/upload/1/3f2a1b9c-00.png",
    "/data/local-files/?d=some%20folder/p/01.png",
    "s3://bucket/p/02.png",
    "https://host/p/03.png?token=x",
)


def task(number, place, *results, **known):
    kept = [
        {
            "id": number,
            "was_cancelled": known.get("cancelled", False),
            "result": [
                {"from_name": name, "to_name": "image", "type": kind, "value": {kind: value}}
                for name, kind, value in [result]
            ],
        }
        for result in results
    ]
    return {"id": number, "data": {"image": place, "source": "cam"}, "annotations": kept}


def labels_of(path, folder):
    """Map the names of the labelled images of ``folder`` to the names of their classes or tags."""
    train = label_splits(open_images(str(folder)), read_labels(path))[0].train
    if train.labels.ndim == 1:
        return {train.sample_name(i): train.classes[train.labels[i]] for i in range(len(train))}
    return {
        train.sample_name(i): {train.classes[k] for k in train.labels[i].nonzero()[0]}
        for i in range(len(train))
    }


@pytest.fixture
def folder(tmp_path):
    return draw_images(tmp_path / "p", each=6, classes=("",))


WANTED = {"00.png": "cat", "01.png": "dog", "02.png": "cat", "03.png": "dog"}


def test_the_three_exports_give_the_same_classes(tmp_path, folder):
    kinds = list(WANTED.values())
    full = [
        task(i, p, ("kind", "choices", [k]))
        for i, (p, k) in enumerate(zip(PLACES, kinds, strict=True))
    ]
    full += [
        task(8, "/data/upload/1/04.png"),
        task(9, "x/05.png", ("kind", "choices", ["emu"]), cancelled=True),
    ]
    full[-1]["data"]["image"] = "/data/upload/1/05.png"
    small = [
        {"image": p, "id": i, "kind": k, "annotator": 1, "annotation_id": i, "lead_time": 1.5}
        for i, (p, k) in enumerate(zip(PLACES, kinds, strict=True))
    ]
    rows = "".join(
        f"{i},1,2024-01-01,{i},{p},{k},1.5,2024-01-01\n"
        for i, (p, k) in enumerate(zip(PLACES, kinds, strict=True))
    )
    header = "annotation_id,annotator,created_at,id,image,kind,lead_time,updated_at\n"
    for name, text in (
        ("full.json", json.dumps(full)),
        ("min.json", json.dumps(small, indent=1)),
        ("x.csv", header + rows),
    ):
        (tmp_path / name).write_text(text)
        assert labels_of(tmp_path / name, folder) == WANTED, name


def test_several_choices_are_tags(tmp_path, folder):
    full = [task(i, p, ("k", "choices", ["cat", "big"][: i % 2 + 1])) for i, p in enumerate(PLACES)]
    (tmp_path / "f.json").write_text(json.dumps(full))
    expected = {f"0{i}.png": {"cat", "big"} if i % 2 else {"cat"} for i in range(4)}
    assert labels_of(tmp_path / "f.json", folder) == expected
    cells = ['"{""choices"":[""cat"",""big""]}"' if i % 2 else "cat" for i in range(4)]
    rows = "".join(
        f"{p},{i},{c},1,{i}\n" for i, (p, c) in enumerate(zip(PLACES, cells, strict=True))
    )
    (tmp_path / "f.csv").write_text("image,id,k,annotator,annotation_id\n" + rows)
    assert labels_of(tmp_path / "f.csv", folder) == expected


def test_an_image_whose_annotators_disagree_has_no_label(tmp_path, folder):
    disputed = task(0, PLACES[0], *(("k", "choices", [k]) for k in ("cat", "dog", "cat")))
    agreed = task(1, PLACES[1], *(("k", "choices", [k]) for k in ("dog", "dog")))
    third = task(2, PLACES[2], ("k", "choices", ["cat"]))
    (tmp_path / "f.json").write_text(json.dumps([disputed, agreed, third]))
    assert labels_of(tmp_path / "f.json", folder) == {"01.png": "dog", "02.png": "cat"}


def test_numbers_of_an_export_are_values(tmp_path):
    full = [task(i, p, ("age", "number", i + 0.5)) for i, p in enumerate(PLACES)]
    (tmp_path / "f.json").write_text(json.dumps(full))
    file = read_labels(tmp_path / "f.json")
    assert file.names == ("age",) and file.labels.tolist() == [[0.5], [1.5], [2.5], [3.5]]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task(0, PLACES[0], ("r", "rectanglelabels", ["car"]))], "regions of images"),
        ([{"image": PLACES[0], "r": [{"x": 1, "width": 2}]}], "regions of images"),
        ([task(0, PLACES[0])], "without labels|no labels"),
        ([{"data": {"text": "hello"}, "annotations": []}], "without a column of images"),
    ],
)
def test_exports_without_labels_of_whole_images_are_rejected(tmp_path, tasks, message):
    (tmp_path / "f.json").write_text(json.dumps(tasks))
    with pytest.raises(UserError, match=message) as caught:
        read_labels(tmp_path / "f.json")
    assert "f.json" in str(caught.value) and "\n" not in str(caught.value)
