"""DATA as a file of names."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from BYOL.cli.main import main
from BYOL.data.file_list import read_list, write_list
from BYOL.data.open import common_side, open_images
from BYOL.errors import UserError
from tests.conftest import TINY, draw_pictures


def names(images):
    return [images.sample_name(i) for i in range(len(images))]


def test_a_list_is_like_a_folder_with_nothing_else_in_it(tmp_path):
    draw_pictures(tmp_path / "all" / "pictures", classes=("cat", "dog", "emu"))
    chosen = ["pictures/dog/03.png", "", "./pictures/cat/05.png", "pictures/emu/../cat/01.png"]
    (tmp_path / "all" / "l.txt").write_bytes(
        "\r\n".join(["\ufeff" + chosen[0], *chosen[1:]]).encode()
    )
    images = open_images(str(tmp_path / "all" / "l.txt")).train
    assert names(images) == ["cat/01.png", "cat/05.png", "dog/03.png"]
    assert images.classes == ("cat", "dog") and images.labels.tolist() == [0, 0, 1]
    assert images.read(2).shape == (3, 20, 20) and images.name == "l"
    assert common_side(str(tmp_path / "all" / "l.txt")) == 20


def test_splits_of_a_list_are_those_of_a_folder(tmp_path):
    for split in ("train", "val"):
        draw_pictures(tmp_path / split, classes=("cat", "dog"), each=4)
    folder = open_images(str(tmp_path))
    everything = sorted(tmp_path.rglob("*.png"))
    write_list(tmp_path / "l.txt", map(str, everything))
    listed = open_images(str(tmp_path / "l.txt"))
    for one, other in ((folder.train, listed.train), (folder.test, listed.test)):
        assert names(one) == names(other) and np.array_equal(one.labels, other.labels)
    write_list(tmp_path / "l.txt", map(str, everything[:4]))
    assert open_images(str(tmp_path / "l.txt")).test is None


@given(st.lists(st.lists(st.sampled_from("ab- é"), min_size=1, max_size=4), min_size=1, max_size=9))
def test_root_and_names_are_the_paths_that_were_listed(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("list")
    paths = [folder.joinpath(*part).with_suffix(".png") for part in parts]
    write_list(folder / "l.txt", map(str, paths))
    root, found = read_list(folder / "l.txt")
    assert sorted(str(root / found[i]) for i in range(len(found))) == sorted(map(str, paths))
    assert all(not found.raw(i).startswith(b"/") for i in range(len(found)))


def test_names_that_are_no_text_are_read_and_written(tmp_path):
    source = draw_pictures(tmp_path / "p", each=1) / "a" / "00.png"
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    os.link(source, odd)
    write_list(tmp_path / "l.txt", [os.fsdecode(odd)])
    assert open_images(str(tmp_path / "l.txt")).train.read(0).shape == (3, 20, 20)


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"", "names no picture"), (b"\n\n", "names no picture"), (b"no.png\n", "no.png; paths in")],
)
def test_mistakes_are_one_line(tmp_path, content, named):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(UserError, match=named) as caught:
        open_images(str(tmp_path / "l.txt"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="line break"):
        write_list(tmp_path / "m.txt", ["a\nb.png"])
    assert not (tmp_path / "m.txt").exists()


def test_a_run_learns_from_a_list_and_passes_over_what_is_missing(tmp_path, capsys):
    pictures = draw_pictures(tmp_path / "p")
    write_list(tmp_path / "l.txt", [*map(str, pictures.rglob("*.png")), str(pictures / "a/99.png")])
    argv = ["pretrain", str(tmp_path / "l.txt"), *TINY, "--no-report", "--epochs=1"]
    assert main([*argv, f"--out={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr()
    assert "left out, because it cannot be read: 1 of the files: a/99.png" in said.err
    assert "trained" in said.out
