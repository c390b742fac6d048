"""Slides in several files lead to no file outside of their folder."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BYOL.data.formats.pyramids import open_windows
from BYOL.data.tiling import Tiling, tile_image

openslide = pytest.importorskip("openslide", reason="the extra slides is not installed")

KEYS = (
    "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\n"
    "ImageFile={image}\nMapFile={map}\n"
)


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """Fail instead of waiting at a pipe for ever."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def write_jpeg(path: Path) -> Path:
    """A JPEG with restart markers, as the scanners of Hamamatsu write them."""
    y, x = np.mgrid[:64, :128]
    values = np.dstack([x, 2 * y, x + y]).astype(np.uint8)
    Image.fromarray(values).save(path, quality=95, restart_marker_rows=1)
    return path


@pytest.mark.parametrize("ending", [".vms", ".svs", ".ndpi"])
def test_the_parts_of_a_hamamatsu_slide_are_in_its_folder(tmp_path, ending):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_jpeg(folder / "inside.jpg")
    write_jpeg(tmp_path / "outside.jpg")
    os.mkfifo(folder / "pipe.jpg")
    path = folder / f"slide{ending}"
    path.write_text(KEYS.format(image="inside.jpg", map="inside.jpg"))
    windows = open_windows(path, None, None)
    assert (windows.height, windows.width) == (64, 128)
    windows.close()
    for name in ("../outside.jpg", "./inside.jpg", "..", "pipe.jpg", "a\\b.jpg"):
        for keys in ({"image": name, "map": "inside.jpg"}, {"image": "inside.jpg", "map": name}):
            path.write_text(KEYS.format(**keys))
            with pytest.raises(ValueError, match="its part "):
                open_windows(path, None, None)
            cut = tile_image(folder, path.name, tmp_path / "tiles", Tiling(32, 32))
            assert cut.error and cut.error.startswith("its part ") and not cut.tiles


@pytest.mark.parametrize(
    "line", ["INDEXFILE = ../Index.dat", "FILE_0=../../private.dat", "FILE_0=pipe"]
)
def test_the_parts_of_a_mirax_slide_are_in_its_folder(tmp_path, line):
    folder = tmp_path / "slide"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (tmp_path / "slide.mrxs").write_bytes(b"\xff\xd8")
    (folder / "Slidedat.ini").write_text(f"[DATAFILE]\r\nDATE = 1/2/2020\r\n{line}\r\n")
    with pytest.raises(ValueError, match="its part "):
        open_windows(tmp_path / "slide.mrxs", None, None)
    (folder / "Slidedat.ini").unlink()
    os.mkfifo(folder / "Slidedat.ini")
    with pytest.raises(OSError, match="named pipe"):
        open_windows(tmp_path / "slide.mrxs", None, None)


def test_a_dicom_slide_opens_none_of_the_files_next_to_it(tmp_path):
    os.mkfifo(tmp_path / "other.dcm")
    path = tmp_path / "slide.svs"
    path.write_bytes(bytes(128) + b"DICM" + bytes(1000))
    with pytest.raises(ValueError, match="a DICOM slide is not read"):
        open_windows(path, None, None)
