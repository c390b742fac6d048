"""Label files as programs write them: encodings, delimiters, quotes, headers and other formats."""

import os

import numpy as np
import pytest

from BYOL.data.groups import read_groups
from BYOL.data.labels import read_labels
from BYOL.errors import UserError


def stored(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def classes_of(file):
    """Map the names of images to the names of their classes."""
    return {name: file.names[file.labels[row]] for name, row in file.rows.items()}


WORDS = "file,kind\na.png,café\nb.png,naïve\n"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"],
)
def test_every_usual_encoding_gives_the_same_labels(tmp_path, encoding, lines):
    file = read_labels(stored(tmp_path / "l.csv", WORDS.encode(encoding)))
    assert classes_of(file) == {"a.png": "café", "b.png": "naïve"}
    said = [line for line in lines() if "Windows-1252" in line]
    assert len(said) == (encoding == "cp1252")


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_a_byte_order_mark_decides_how_utf_16_is_read(tmp_path, mark):
    encoding = "utf-16-le" if mark[0] == 0xFF else "utf-16-be"
    file = read_labels(stored(tmp_path / "l.csv", mark + WORDS.encode(encoding)))
    assert file.names == ("café", "naïve")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_detected(tmp_path, delimiter, end):
    rows = ["file,kind,size", "a.png,cat,1", "b.png,dog,2"]
    text = end.join(row.replace(",", delimiter) for row in rows) + end
    file = read_labels(stored(tmp_path / "l.csv", text), label_column="kind")
    assert classes_of(file) == {"a.png": "cat", "b.png": "dog"}


def test_a_delimiter_inside_cells_is_not_taken_for_the_one_between_them(tmp_path):
    text = "file;note, if any\na.png;x, y\nb.png;z\n"
    assert classes_of(read_labels(stored(tmp_path / "l.csv", text))) == {
        "a.png": "x, y",
        "b.png": "z",
    }
    excel = "sep=;\r\nfile;kind\r\na.png;cat\r\nb.png;dog\r\n"
    assert read_labels(stored(tmp_path / "e.csv", excel)).names == ("cat", "dog")


def test_quotes_spaces_and_line_breaks_in_cells_are_kept_or_stripped(tmp_path):
    text = (
        'file , kind\na.png, "big, grey"\n" b.png",  dog \n"c.png","two\nlines"\n\n,\nd.png,dog\n'
    )
    file = read_labels(stored(tmp_path / "l.csv", text))
    assert classes_of(file) == {
        "a.png": "big, grey",
        " b.png": "dog",
        "c.png": "two\nlines",
        "d.png": "dog",
    }


def test_empty_columns_at_the_end_and_a_column_that_counts_rows_are_left_out(tmp_path):
    trailing = read_labels(stored(tmp_path / "t.csv", "file,kind,\na.png,cat,\nb.png,dog,\n"))
    assert trailing.source.header == ("kind",)
    for name in ("", "Unnamed: 0"):
        counted = f"{name},file,kind\n0,a.png,cat\n1,b.png,dog\n"
        file = read_labels(stored(tmp_path / "c.csv", counted))
        assert classes_of(file) == {"a.png": "cat", "b.png": "dog"}


def test_two_columns_of_one_name_are_one_only_with_equal_content(tmp_path):
    same = read_labels(stored(tmp_path / "s.csv", "file,kind,kind\na,cat,cat\nb,dog,dog\n"))
    assert same.source.header == ("kind",) and same.names == ("cat", "dog")
    other = stored(tmp_path / "o.csv", "file,kind,kind\na,cat,x\nb,dog,y\n")
    with pytest.raises(UserError, match="two columns named 'kind': rename one"):
        read_labels(other)


META = "lesion_id,image_id,dx,age\nL1,I1,nv,31\nL1,I2,mel,\nL2,I3,nv,50\n"


def test_columns_are_chosen_by_their_names(tmp_path):
    path = stored(tmp_path / "meta.csv", META)
    file = read_labels(path, file_column="image_id", label_column="dx")
    assert classes_of(file) == {"I1": "nv", "I2": "mel", "I3": "nv"}
    ages = read_labels(path, "regression", file_column="IMAGE_ID", label_column="age")
    assert ages.labels.tolist() == [[31.0], [50.0]] and set(ages.rows) == {"I1", "I3"}
    groups = read_groups(path, file_column="image_id", group_column="lesion_id")
    assert groups.groups.tolist() == [0, 0, 1]
    several = stored(tmp_path / "two.csv", "image,x,y,z\na,1.5,2,q\nb,3,4,r\n")
    assert read_labels(several, label_column="x, y").labels.tolist() == [[1.5, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"file_column": "name"},
            "--file-column=name is not a column of --labels=.*lesion_id, image_id, dx, age$",
        ),
        ({}, "L1 is listed twice; .*--file-column: lesion_id, image_id, dx, age$"),
        ({"label_column": "dx,nothing"}, "--label-column=nothing is not a column of"),
        ({"file_column": "image_id"}, r"3 columns of labels \(lesion_id, dx, age\)"),
    ],
)
def test_a_column_that_does_not_exist_is_named_with_those_that_do(tmp_path, chosen, message):
    path = stored(tmp_path / "meta.csv", META)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(path, **chosen)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(40), "is a workbook or a zip archive, not text"),
        (b"\xd0\xcf\x11\xe0" + bytes(40), "is an Excel workbook, not text"),
        (b"PAR1" + bytes(40), "is a Parquet file, not text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is binary, not text"),
        (bytes(np.random.default_rng(0).integers(0, 256, 4000, np.uint8)), "is binary, not text"),
        (b"\xff\xfea\x00b", "is not valid UTF-16-LE"),
        (b"file,kind\na,b\n" + b"c,\x81\n", "neither UTF-8, UTF-16 nor Windows-1252"),
        (b"", "has no labels"),
        (b"\n\n", "has no labels"),
        (b'{"images": [], "annotations": []}', "is JSON, but not an export of Label Studio"),
        (b"[1, 2", "is neither CSV nor JSON"),
    ],
)
def test_what_is_no_table_is_rejected_in_one_line(tmp_path, content, message):
    path = stored(tmp_path / "l.csv", content)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"--labels={path}") and "\n" not in str(caught.value)


def test_a_named_pipe_or_a_folder_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="read: it is a named pipe, which is never opened"):
        read_labels(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="cannot be read: it is a folder"):
        read_labels(tmp_path)
