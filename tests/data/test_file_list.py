"""Lists of image files as DATA."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from BYOL.cli.main import main
from BYOL.data.file_list import read_list, write_list
from BYOL.data.sources import common_side, open_images
from BYOL.errors import UserError
from tests.conftest import TINY, draw_images


def names(images):
    return [images.sample_name(i) for i in range(len(images))]


def test_a_list_opens_like_a_folder_of_the_listed_images(tmp_path):
    draw_images(tmp_path / "all" / "images", classes=("cat", "dog", "emu"))
    chosen = ["images/dog/03.png", "", "  \t", "./images/cat/05.png", "images/emu/../cat/01.png"]
    (tmp_path / "all" / "l.txt").write_bytes(
        "\r\n".join(["\ufeff" + chosen[0], *chosen[1:]]).encode()
    )
    images = open_images(str(tmp_path / "all" / "l.txt")).train
    assert names(images) == ["cat/01.png", "cat/05.png", "dog/03.png"]
    assert images.classes == ("cat", "dog") and images.labels.tolist() == [0, 0, 1]
    assert images.read(2).shape == (3, 20, 20) and images.name == "l"
    assert common_side(str(tmp_path / "all" / "l.txt")) == 20


def test_comments_and_spaces_of_a_list_are_no_images(tmp_path, caplog):
    draw_images(tmp_path / "p", classes=("",), each=3)
    (tmp_path / "p/00.png").rename(tmp_path / "p/#0.png")
    (tmp_path / "p/01.png").rename(tmp_path / "p/1.png ")
    lines = ["# chosen by hand", "p/02.png  ", "p/#0.png", "   ", "p/1.png ", "\t# the end", ""]
    (tmp_path / "l.txt").write_text("\n".join(lines))
    (tmp_path / "p/l.txt").write_text("#0.png\n02.png\n")
    with caplog.at_level("INFO"):
        folder, found = read_list(tmp_path / "l.txt")
    assert [found.raw(i) for i in range(len(found))] == [b"#0.png", b"02.png", b"1.png "]
    assert folder == tmp_path / "p"
    assert "l.txt: 2 lines left out as comments (#)" in caplog.text
    assert read_list(tmp_path / "p/l.txt")[1].raw(0) == b"#0.png", "a file of this name"
    (tmp_path / "l.txt").write_text("# nothing yet\n")
    with pytest.raises(UserError, match="names no image"):
        read_list(tmp_path / "l.txt")


def test_a_list_has_the_same_splits_as_its_folder(tmp_path):
    for split in ("train", "val"):
        draw_images(tmp_path / split, classes=("cat", "dog"), each=4)
    folder = open_images(str(tmp_path))
    everything = sorted(tmp_path.rglob("*.png"))
    write_list(tmp_path / "l.txt", map(str, everything))
    listed = open_images(str(tmp_path / "l.txt"))
    for a, b in ((folder.train, listed.train), (folder.test, listed.test)):
        assert names(a) == names(b) and np.array_equal(a.labels, b.labels)
    write_list(tmp_path / "l.txt", map(str, everything[:4]))
    assert open_images(str(tmp_path / "l.txt")).test is None


@given(st.lists(st.lists(st.sampled_from("ab- é"), min_size=1, max_size=4), min_size=1, max_size=9))
def test_root_and_names_form_the_listed_paths(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("list")
    paths = [folder.joinpath(*part).with_suffix(".png") for part in parts]
    write_list(folder / "l.txt", map(str, paths))
    root, table = read_list(folder / "l.txt")
    assert sorted(str(root / table[i]) for i in range(len(table))) == sorted(map(str, paths))
    assert all(not table.raw(i).startswith(b"/") for i in range(len(table)))


def test_names_that_are_not_utf8_are_read_and_written(tmp_path):
    source = draw_images(tmp_path / "p", each=1) / "a" / "00.png"
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    os.link(source, odd)
    write_list(tmp_path / "l.txt", [os.fsdecode(odd)])
    assert open_images(str(tmp_path / "l.txt")).train.read(0).shape == (3, 20, 20)


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"", "names no image"), (b"\n\n", "names no image"), (b"no.png\n", "no.png; paths in")],
)
def test_invalid_lists_raise_one_line_errors(tmp_path, content, named):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(UserError, match=named) as caught:
        open_images(str(tmp_path / "l.txt"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="line break"):
        write_list(tmp_path / "m.txt", ["a\nb.png"])
    assert not (tmp_path / "m.txt").exists()


def test_a_run_trains_on_a_list_and_skips_missing_images(tmp_path, capsys):
    images = draw_images(tmp_path / "p")
    write_list(tmp_path / "l.txt", [*map(str, images.rglob("*.png")), str(images / "a/99.png")])
    argv = ["pretrain", str(tmp_path / "l.txt"), *TINY, "--no-report", "--epochs=1"]
    assert main([*argv, f"--out={tmp_path / 'run'}"]) == 0
    output = capsys.readouterr()
    assert "left out, because it cannot be read: 1 of the files: a/99.png" in output.err
    assert "trained" in output.out


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_in_the_encodings_of_tables_are_read(tmp_path, encoding, end):
    draw_images(tmp_path / "p", classes=("a", "Käfer"), each=2)
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    (tmp_path / "l.txt").write_bytes("".join(f"{path}{end}" for path in paths).encode(encoding))
    images = open_images(str(tmp_path / "l.txt")).train
    assert [f"p/{images.sample_name(i)}" for i in range(len(images))] == paths
    assert images.classes == ("Käfer", "a") and common_side(str(tmp_path / "l.txt")) == 20


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xff\xfea\0\n", "not valid UTF-16-LE"),
        (b"a.png\n\0\0\1\2\0b\n", "is binary, not a list"),
    ],
)
def test_lists_that_are_no_text_are_rejected(tmp_path, content, named):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(UserError, match=named):
        open_images(str(tmp_path / "l.txt"))
    assert common_side(str(tmp_path / "l.txt")) is None
