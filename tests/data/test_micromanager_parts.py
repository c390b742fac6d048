"""A Micro-Manager TIFF opens no other file than the checked parts of its image."""

import json
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from BYOL.data.decode import BrokenImageError, read_header, read_stored
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.formats.tiff_windows import TiffPyramid
from BYOL.data.sources import open_images

PLANE = np.arange(64, dtype=np.uint8).reshape(8, 8)
_SIDE = 8
_TABLE = 162  # bytes from the tags of a page to its values, as Micro-Manager writes them
_PAGE = _TABLE + _SIDE * _SIDE


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """Fail instead of waiting at a pipe for ever."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def write_pages(path: Path, header: bytes, shift: int, first: int | None = None) -> None:
    """Write two slices with a tag of Micro-Manager.

    Args:
        path: the file.
        header: of Micro-Manager.
        shift: added to the values.
        first: number of the first slice in an index map; None: no map.
    """
    start = 8 + len(header)
    places = [start, start + _PAGE]
    content = b""
    for number, place in enumerate(places):
        tags = [
            (256, 4, 1, _SIDE), (257, 4, 1, _SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, place + _TABLE), (277, 3, 1, 1), (278, 4, 1, _SIDE),
            (279, 4, 1, _SIDE * _SIDE), (51123, 2, 8, place + _TABLE - 8),
        ]  # fmt: skip
        table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        table += struct.pack("<I", 0 if number else places[1])
        content += table.ljust(_TABLE - 8, b"\0") + b"{}      "
        content += (PLANE + shift + 10 * number).tobytes()
    if first is not None:
        header = header[:4] + struct.pack("<I", start + len(content)) + header[8:]
        rows = (struct.pack("<5I", 0, first + i, 0, 0, place) for i, place in enumerate(places))
        content += struct.pack("<II", 3453623, 2) + b"".join(rows)
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + header + content)


def write_ndtiff(folder: Path, names: tuple[str, ...]) -> Path:
    """Two slices in the first file, and one in each of the others, as the index says."""
    folder.mkdir(exist_ok=True)
    summary = b'{"a": 1}'
    header = struct.pack("<IIII", 483729, 2, 2355492, len(summary)) + summary
    index = b""
    for z, name in enumerate(("own.tif", "own.tif", *names)):
        place = 8 + len(header) + _TABLE + (_PAGE if z == 1 else 0)
        axes = json.dumps({"z": z}).encode()
        index += struct.pack("<I", len(axes)) + axes
        index += struct.pack("<I", len(name)) + name.encode()
        index += struct.pack("<IiiiiIii", place, _SIDE, _SIDE, 0, 0, 0, 0, 0)
        if name == Path(name).name and not (folder / name).exists():
            write_pages(folder / name, header, shift=50 * (z > 1))
    (folder / "NDTiff.index").write_bytes(index)
    return folder / "own.tif"


def write_mmstack(path: Path, slices: int, first: int = 0, **summary: object) -> Path:
    """Two slices, from the number ``first`` on, of a set of ``slices`` slices."""
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(
        {"MicroManagerVersion": "1", "Frames": 1, "Slices": slices, "Channels": 1, **summary}
    ).encode()
    header = struct.pack("<8I", 54773648, 0, 0, 0, 0, 0, 2355492, len(text)) + text
    write_pages(path, header, shift=50 * (first > 0), first=first)
    return path


def test_an_ndtiff_in_its_own_file_and_in_two_is_read(tmp_path):
    own = write_ndtiff(tmp_path / "one", ())
    for z in range(2):
        values = read_stored(own, ReadOptions(frame=z)).values[..., 0]
        assert np.array_equal(values, PLANE + 10 * z)
    own = write_ndtiff(tmp_path / "two", ("other.tif",))
    for z, shift in enumerate((0, 10, 50)):
        values = read_stored(own, ReadOptions(frame=z)).values[..., 0]
        assert np.array_equal(values, PLANE + shift)
    with pytest.raises(ValueError, match="several files"):
        TiffPyramid(own)


@pytest.mark.parametrize("name", ["ABOVE", "../private.tif", "gone.tif", "pipe.tif", "a\\b.tif"])
def test_names_in_the_index_of_an_ndtiff_lead_nowhere_else(tmp_path, name):
    (tmp_path / "set").mkdir()
    os.mkfifo(tmp_path / "set" / "pipe.tif")
    tifffile.imwrite(tmp_path / "private.tif", PLANE + 100, photometric="minisblack")
    name = name.replace("ABOVE", str(tmp_path / "private.tif"))
    own = write_ndtiff(tmp_path / "set", (name,))
    if name == "gone.tif":
        (tmp_path / "set" / name).unlink()
    with pytest.raises(BrokenImageError, match=r"its part .+ is missing"):
        read_stored(own)
    assert read_header(own) is None
    with pytest.raises(ValueError, match=r"its part .+ is missing"):
        TiffPyramid(own)
    assert np.array_equal(read_stored(own.read_bytes()).values[..., 0], PLANE + 10)


def test_an_index_that_is_a_pipe_is_not_opened(tmp_path):
    own = write_ndtiff(tmp_path / "set", ())
    (tmp_path / "set" / "NDTiff.index").unlink()
    os.mkfifo(tmp_path / "set" / "NDTiff.index")
    with pytest.raises(BrokenImageError, match=r"its index NDTiff\.index is a named pipe"):
        read_stored(own)


@pytest.mark.parametrize("summary", [{}, {"Prefix": "a"}])
def test_the_files_of_a_set_of_stacks_are_checked(tmp_path, summary):
    path = write_mmstack(tmp_path / "a_MMStack_1.tif", slices=2, **summary)
    assert np.array_equal(read_stored(path, ReadOptions(frame=1)).values[..., 0], PLANE + 10)
    os.mkfifo(tmp_path / "a_MMStack_2.tif")
    write_mmstack(path, slices=4, **summary)
    with pytest.raises(BrokenImageError, match=r"its part a_MMStack_2\.tif is missing"):
        read_stored(path)


def test_a_folder_with_wildcards_leads_to_no_other(tmp_path):
    for folder in ("[a]", "a"):
        (tmp_path / folder).mkdir()
        path = write_mmstack(tmp_path / folder / "a_MMStack_1.tif", slices=4)
        write_mmstack(tmp_path / folder / "a_MMStack_2.tif", slices=4, first=2)
    with pytest.raises(BrokenImageError, match=r"its part .+ is missing"):
        read_stored(tmp_path / "[a]" / "a_MMStack_1.tif")
    assert np.array_equal(read_stored(path, ReadOptions(frame=3)).values[..., 0], PLANE + 60)


def test_the_files_of_a_set_are_counted_once(tmp_path):
    for first in (0, 2):
        write_mmstack(tmp_path / "a" / f"x_MMStack_{first}.tif", slices=4, first=first)
    write_ndtiff(tmp_path / "b", ("other.tif",))
    images = open_images(str(tmp_path)).train
    assert [images.sample_name(i) for i in range(2)] == ["a/x_MMStack_0.tif", "b/other.tif"]
    assert len(images) == 2 and images.classes == ("a", "b")
    assert any("4 files are parts of 2 images" in note for note in images.notes)
    assert len(open_images(str(tmp_path), frames="all").train) == 4 + 3
    assert np.array_equal(images.read(0).numpy()[0], PLANE + 50)


def test_stacks_that_are_complete_are_images_of_their_own(tmp_path):
    for name in ("1", "2"):
        write_mmstack(tmp_path / f"x_MMStack_{name}.tif", slices=2, Prefix="x")
    images = open_images(str(tmp_path)).train
    assert len(images) == 2
    assert np.array_equal(images.read(1).numpy()[0], PLANE + 10)
