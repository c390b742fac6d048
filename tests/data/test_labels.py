"""Labels from a CSV file: accepted content, and one-line errors for invalid content."""

import os
import shutil

import numpy as np
import pytest

from BYOL.data.labels import label_splits, read_labels
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from tests.conftest import draw_images


def write(path, text):
    path.write_text(text)
    return path


def test_one_column_of_words_or_integers_holds_classes(tmp_path):
    words = read_labels(write(tmp_path / "w.csv", "\ufefffile,kind\na.png,cat\n./b.png, dog\n"))
    assert words.labels.tolist() == [0, 1] and words.names == ("cat", "dog")
    assert words.rows == {"a.png": 0, "b.png": 1}
    numbers = read_labels(write(tmp_path / "n.csv", "file,kind\na,10\nb,9\n"))
    assert numbers.labels.tolist() == [1, 0] and numbers.names == ("9", "10")


def test_zeros_and_ones_are_tags_and_fractions_are_values(tmp_path):
    tags = read_labels(write(tmp_path / "t.csv", "file,red,big\na,0,1\nb,1,1\n"))
    assert tags.labels.dtype == bool and tags.labels.tolist() == [[False, True], [True, True]]
    values = read_labels(write(tmp_path / "v.csv", "file,age\na,1\nb,2.5\n"))
    assert values.labels.tolist() == [[1.0], [2.5]] and values.names == ("age",)
    several = read_labels(write(tmp_path / "s.csv", "file,x,y\na,3,0\nb,4,1\n"))
    assert several.labels.dtype == np.float64
    ages = read_labels(write(tmp_path / "n.csv", "file,age\na,31\nb,40\n"), "regression")
    assert ages.labels.tolist() == [[31.0], [40.0]]


@pytest.mark.parametrize("cells", [("²", "①"), ("--1", "2"), ("1_1", "10_2"), ("٣", "+4")])
def test_unusual_number_notations_are_words(tmp_path, cells):
    rows = "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    file = read_labels(write(tmp_path / "w.csv", "file,x\n" + rows))
    assert file.labels.dtype == np.int64 and set(file.names) == set(cells)
    with pytest.raises(UserError, match="not a number"):
        read_labels(tmp_path / "w.csv", "regression")


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_labels_of_a_folder_fit_its_shards(tmp_path, kind):
    draw_images(tmp_path / "p" / "train", each=3)
    draw_images(tmp_path / "p" / "test", each=3)
    (tmp_path / "p" / "train" / "a" / "00.png").rename(tmp_path / "p" / "train" / "a" / "x.y.PNG")
    rows = "a/x.y.PNG,u\ntrain/b/01.png,v\ntest/b/01.png,u\n"
    file = read_labels(write(tmp_path / "l.csv", "file,kind\n" + rows))
    splits = open_images(str(tmp_path / "p"))
    packing = Packing(1 << 20, kind, 0)
    pack({"train": splits.train, "test": splits.test}, tmp_path / "s", packing)
    shards, left_out = label_splits(open_images(str(tmp_path / "s")), file)
    folder, _ = label_splits(splits, file)
    for part, same in ((shards.train, folder.train), (shards.test, folder.test)):
        assert {part.encoded(i): part.labels[i] for i in range(len(part))} == {
            same.encoded(i).read_bytes(): same.labels[i] for i in range(len(same))
        }
    assert left_out == 9
    inside = read_labels(write(tmp_path / "l.csv", "file,kind\nb/01.png,u\na/02.png,v\n"))
    with pytest.raises(UserError, match=r"b/01.png is in two folders"):
        label_splits(open_images(str(tmp_path / "s")), inside)


def test_a_name_in_several_shards_requires_the_shard_name(tmp_path):
    images = open_images(str(draw_images(tmp_path / "p", each=2))).train
    pack({"x": images, "y": images}, tmp_path / "s", Packing(1 << 20, "tar", None))
    shards = open_images(str(tmp_path / "s"))
    file = read_labels(write(tmp_path / "l.csv", "file,k\na/00.png,u\n"))
    with pytest.raises(UserError, match=r"a/00.png matches two images: name it as SHARD/a/00.png"):
        label_splits(shards, file)
    file = read_labels(write(tmp_path / "l.csv", "file,k\ny-000000.tar/a/00.png,u\n"))
    assert label_splits(shards, file)[0].train.sample_name(0) == "y-000000.tar/a/00.png"


@pytest.mark.parametrize(
    ("text", "task", "named"),
    [
        ("file,x\n", "auto", "no labels"),
        ("file\na.png\n", "auto", "no labels"),
        ("file,x\na,1,2\n", "auto", "row 1 has 3 cells"),
        ("file,x,y\na,1,\n", "auto", "no row whose 2 labels are all known"),
        ("file,x\na,1.5\nb,inf\n", "auto", "'inf' under 'x'"),
        ("file,x\na,1.5\nb,inf\n", "regression", "row 2"),
        ("file,x\na,NA\nb,NA\n", "auto", "no label that is known: NA is read as an unknown label"),
        ("file;x\na;1\nb;4,25\nc;3\n", "auto", "a decimal comma, such as '4,25': write points"),
        ("file;x;y\na;1;2\nb;4,25;NA\nc;3;1\n", "auto", "decimal comma, such as '4,25'"),
        ("file,x\na,cat\nb,2\n", "regression", "not a number"),
        ("file,x,y\na,cat,1\nb,dog,0\n", "auto", "classes are one column"),
        ("file,x,y\na,0,1\nb,2,0\n", "multilabel", "'x' is not a tag"),
        ("file,x\na,cat\na,dog\n", "auto", "twice"),
        ("a.png,cat\nb.png,dog\n", "auto", "starts with an image, a.png"),
        ('file,x\na,"cat\nb,dog\n', "auto", "unexpected end of data"),
        ("file;x\na;3,5\nb;4,25\n", "auto", "a decimal comma, such as '3,5': write points"),
        ('file,x\na,"3,5"\nb,"4,25"\n', "auto", "decimal comma"),
    ],
)
def test_invalid_files_raise_one_line_errors(tmp_path, text, task, named):
    with pytest.raises(UserError, match=named) as caught:
        read_labels(write(tmp_path / "labels.csv", text), task)
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_raises_an_error_with_its_name(tmp_path):
    with pytest.raises(UserError, match=r"labels=.*none\.csv cannot be read"):
        read_labels(tmp_path / "none.csv")


def test_images_get_their_labels_and_unlabelled_ones_are_counted(tmp_path):
    draw_images(tmp_path / "p" / "train", each=3)
    draw_images(tmp_path / "p" / "test", each=2)
    file = read_labels(
        write(tmp_path / "l.csv", "file,x\ntest/a/00.png,u\na/02.png,v\ntrain/b/01.png,w\n")
    )
    splits, left_out = label_splits(open_images(str(tmp_path / "p")), file)
    assert [splits.train.sample_name(i) for i in range(2)] == ["a/02.png", "b/01.png"]
    assert splits.train.labels.tolist() == [1, 2] and splits.test.labels.tolist() == [0]
    assert splits.test.classes == ("u", "v", "w") and left_out == 7


def numbers_of(tmp_path, folder, *names, delimiter=","):
    """Map the paths of labelled images in ``folder`` to their labels."""
    lines = [("file", "x"), *((str(name), f"l{i}") for i, name in enumerate(names))]
    text = "\n".join(delimiter.join(line) for line in lines)
    (tmp_path / "l.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    splits, _ = label_splits(open_images(str(folder)), read_labels(tmp_path / "l.csv"))
    images = splits.train
    return {images.sample_name(i): int(images.labels[i]) for i in range(len(images))}


def test_rows_name_images_by_relative_prefixed_or_absolute_paths(tmp_path, monkeypatch):
    draw_images(tmp_path / "p", each=2)
    monkeypatch.chdir(tmp_path)
    names = ["a/00.png", "p/a/01.png", (tmp_path / "p/b/00.png").resolve()]
    expected = {"a/00.png": 0, "a/01.png": 1, "b/00.png": 2}
    for delimiter in ",;\t":
        assert numbers_of(tmp_path, "p", *names, delimiter=delimiter) == expected
    monkeypatch.chdir("/")
    inside = str((tmp_path / "p").relative_to("/"))
    assert numbers_of(tmp_path, inside, f"{inside}/a/00.png") == {"a/00.png": 0}


def test_an_exact_name_takes_precedence_over_alternative_names(tmp_path):
    """The folder contains a subfolder of its own name, as unpacked archives often do."""
    draw_images(tmp_path / "a", each=2)  # a/a/00.png and a/b/00.png
    shutil.copy(tmp_path / "a/b/00.png", tmp_path / "a/00.png")
    assert numbers_of(tmp_path, tmp_path / "a", "a/00.png") == {"a/00.png": 0}
    both = numbers_of(tmp_path, tmp_path / "a", "00.png", "a/00.png", "a/b/01.png")
    assert both == {"00.png": 0, "a/00.png": 1, "b/01.png": 2}


def test_names_with_spaces_and_invalid_utf8_are_matched(tmp_path):
    draw_images(tmp_path / "p", each=1, classes=("",))
    folder = tmp_path / "p"
    odd = os.fsencode(folder) + b"/caf\xe9.png"
    shutil.copy(folder / "00.png", folder / " lead.png")
    shutil.copy(folder / "00.png", odd)
    names = [" lead.png", os.fsdecode(b"caf\xe9.png"), "00.png "]
    assert sorted(numbers_of(tmp_path, folder, *names).values()) == [0, 1, 2]
    (tmp_path / "latin.csv").write_bytes(b"file,x\n00.png,caf\xe9\n")
    assert read_labels(tmp_path / "latin.csv").names == ("café",)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("train/a/00.png,u\na/77.png,v\n", r"not there \(1\): a/77.png"),
        ("train/a/00.png,u\ntest/a/00.png,v\na/01.png,v\n", "two folders"),
        ("test/a/00.png,u\n", "only test"),
    ],
)
def test_rows_without_a_unique_image_are_rejected(tmp_path, rows, named):
    draw_images(tmp_path / "p" / "train", each=2)
    draw_images(tmp_path / "p" / "test", each=2)
    file = read_labels(write(tmp_path / "l.csv", "file,x\n" + rows), "classification")
    with pytest.raises(UserError, match=named):
        label_splits(open_images(str(tmp_path / "p")), file)


@pytest.mark.parametrize(
    ("one", "zero"), [("1", "0"), ("1.0", "0.0"), ("1.", "0."), ("True", "FALSE")]
)
def test_one_hot_columns_are_classes_and_others_are_tags(tmp_path, one, zero, lines):
    def rows(*cells):
        body = "".join(
            f"{i},{','.join(one if c else zero for c in row)}\n" for i, row in enumerate(cells)
        )
        return write(tmp_path / "h.csv", "image,MEL,NV,BCC,UNK\n" + body)

    file = read_labels(rows((0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0)))
    assert file.labels.tolist() == [1, 0, 2, 1] and file.names == ("MEL", "NV", "BCC")
    assert any("exactly one 1" in line and "--task multilabel" in line for line in lines())
    tags = read_labels(rows((0, 1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0)))
    assert tags.labels.tolist() == [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert tags.labels.dtype == bool and tags.names == ("MEL", "NV", "BCC", "UNK")
    forced = read_labels(rows((0, 1, 0, 0), (1, 0, 0, 0)), "multilabel")
    assert forced.labels.dtype == bool and forced.labels.shape == (2, 4)
    with pytest.raises(UserError, match="classes only if each row has exactly one 1"):
        read_labels(rows((1, 1, 0, 0), (1, 0, 0, 0)), "classification")


def test_one_column_of_0_and_1_with_decimals_holds_two_classes(tmp_path):
    file = read_labels(write(tmp_path / "l.csv", "file,x\na,1.0\nb,0.0\nc,1.0\n"))
    assert file.labels.tolist() == [1, 0, 1] and file.names == ("0", "1")
    ages = read_labels(write(tmp_path / "l.csv", "file,x\na,31.0\nb,40.0\n"))
    assert ages.labels.tolist() == [[31.0], [40.0]]


@pytest.mark.parametrize("task", ["auto", "multilabel", "classification"])
def test_cells_that_become_tags_because_of_a_bar_are_reported(tmp_path, lines, task):
    path = write(tmp_path / "l.csv", "file,kind\na,left|right\nb,cat\nc,cat\nd,\n")
    names = read_labels(path, task).names
    assert names == (
        ("cat", "left|right") if task == "classification" else ("cat", "left", "right")
    )
    line = (
        f"--labels={path}: 1 of 3 cells have a |, such as 'left|right', so all are read as tags "
        "(--task classification reads them as names of classes)"
    )
    assert lines() == ([line] if task == "auto" else [])


def test_cells_with_bars_hold_tags(tmp_path):
    text = "file,finding\na,Effusion|Mass\nb,No Finding\nc, Mass \nd,\n"
    file = read_labels(write(tmp_path / "l.csv", text))
    assert file.names == ("Effusion", "Mass", "No Finding") and set(file.rows) == {"a", "b", "c"}
    assert file.labels.astype(int).tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    semicolons = write(tmp_path / "l.csv", "file,k\na,x;y\nb,y\n")
    assert read_labels(semicolons, "multilabel").names == ("x", "y")
    assert read_labels(semicolons).names == ("x;y", "y")
    assert read_labels(write(tmp_path / "l.csv", text), "classification").names == (
        "Effusion|Mass", "Mass", "No Finding",
    )  # fmt: skip


def test_blank_and_minus_one_are_unknown(tmp_path, lines):
    classes = read_labels(write(tmp_path / "l.csv", "file,k\na,0\nb,-1\nc,1\nd,\ne,2\n"))
    assert classes.names == ("0", "1", "2") and set(classes.rows) == {"a", "c", "e"}
    assert classes.labels[classes.rows["e"]] == 2
    assert any("-1 is read as an unknown class (1 of 4 rows)" in line for line in lines())
    tags = read_labels(write(tmp_path / "l.csv", "f,x,y\na,1,0\nb,-1,1\nc,0.0,\nd,1.0,1.0\n"))
    assert tags.labels.tolist() == [[True, False], [True, True]] and set(tags.rows) == {"a", "d"}
    assert any("2 of 4 rows have unknown labels" in line for line in lines())
    values = read_labels(write(tmp_path / "l.csv", "f,x,y\na,1.5,2\nb,,3\nc,4,-1\n"))
    assert values.labels.tolist() == [[1.5, 2.0], [4.0, -1.0]] and set(values.rows) == {"a", "c"}


def test_minus_one_next_to_1_alone_is_a_class_or_an_absent_tag(tmp_path, lines):
    classes = read_labels(write(tmp_path / "l.csv", "file,k\na,-1\nb,1\n"))
    assert classes.names == ("-1", "1") and len(classes.rows) == 2
    tags = read_labels(write(tmp_path / "l.csv", "f,x,y\na,-1,1\nb,1,1\nc,-1,-1\n"))
    assert tags.labels.tolist() == [[False, True], [True, True], [False, False]]
    assert any("-1 is read as 0" in line for line in lines())


MISSING = ("NA", "N/A", "#N/A", "null", "NULL", "None", "nan", "NaN", "")


@pytest.mark.parametrize("word", MISSING)
@pytest.mark.parametrize(
    ("cells", "labels", "names"),
    [
        (("0.5", "1.5", "2"), [[0.5], [1.5], [2.0]], ("x",)),
        (("0", "1", "1"), [0, 1, 1], ("0", "1")),
        (("3", "10", "7"), [0, 2, 1], ("3", "7", "10")),
    ],
)
def test_missing_numbers_are_unknown_and_counted(tmp_path, caplog, word, cells, labels, names):
    caplog.set_level("INFO")
    rows = "".join(f"{i},{cell}\n" for i, cell in enumerate((cells[0], word, *cells[1:])))
    file = read_labels(write(tmp_path / "l.csv", "file,x\n" + rows))
    assert file.labels.tolist() == labels and file.names == names
    assert list(file.rows) == ["0", "2", "3"]
    lines = [line for line in caplog.messages if "is read as an unknown label (1 of 4" in line]
    assert len(lines) == bool(word) and all(f": {word} is" in line for line in lines)


def test_missing_cells_of_several_columns_are_unknown(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = "a,1,TRUE,2.5\nb,NA,FALSE,None\nc,0,NA,1\nd,0,FALSE,#N/A\n"
    write(tmp_path / "l.csv", "file,x,y,z\n" + rows)
    tags = read_labels(tmp_path / "l.csv", label_column="x,y")
    assert tags.labels.tolist() == [[True, True], [False, False]] and list(tags.rows) == ["a", "d"]
    values = read_labels(tmp_path / "l.csv", label_column="x,z")
    assert values.labels.tolist() == [[1.0, 2.5], [0.0, 1.0]] and list(values.rows) == ["a", "c"]
    assert any(
        "#N/A or NA or None is read as an unknown label (3 of 8" in m for m in caplog.messages
    )


def test_in_a_column_of_words_none_and_null_are_names_with_a_line(tmp_path, caplog):
    caplog.set_level("INFO")
    words = ("cat", "NA", "None", "N/A", "#N/A", "null", "nan", "", "cat", "Nan")
    rows = "".join(f"{i},{word}\n" for i, word in enumerate(words))
    file = read_labels(write(tmp_path / "l.csv", "file,x\n" + rows))
    assert file.names == ("Nan", "None", "cat", "null")
    assert file.labels.tolist() == [2, 1, 3, 2, 0]
    assert [line.partition(": ")[2] for line in caplog.messages] == [
        "#N/A or N/A or NA or nan is read as an unknown label (4 of 9 cells)",
        "None or null is read as a name, not as an unknown label (2 of 9 cells); empty cells are "
        "unknown",
    ]
