"""Files that are not read are counted and named; what is no file is never opened."""

import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from BYOL.cli.main import main
from BYOL.data.decode import BrokenImageError, read_image
from BYOL.data.formats.supported import MISSING, split_ending
from BYOL.data.scan_folder import scan_folder, skip_remarks
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from tests.conftest import TINY, draw_images


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("scan.nii.gz", ".nii.gz"), ("a.b.PNG", ".png"), ("x.tar.GZ", ".tar.gz"), ("README", ""),
        ("1.2.840.113619.17", ""), ("IM.0001", ""), ("a.gz", ".gz"), (".hidden", ""), ("x.", ""),
        ("a.averyveryverylongending", ""), ("cell.ome.tif", ".tif"), ("v1.2.gz", ".gz"),
    ],
)  # fmt: skip
def test_endings(name, ending):
    assert split_ending(name)[1] == ending
    assert name.startswith(split_ending(name)[0])


def test_every_ending_is_counted_and_named(tmp_path):
    draw_images(tmp_path, classes=("a",), each=2)
    names = (
        "x.czi", "y.czi", "s.svs", "f.h5", "labels.csv", "notes", "s.mhd", "t.xyz.bz2", "Thumbs.db"
    )  # fmt: skip
    for name in names:
        (tmp_path / name).write_bytes(b"0" * 200)
    notes = "\n".join(open_images(str(tmp_path)).train.notes)
    for part in (
        "2 .czi; convert them", "1 .svs; cut whole slides into tiles with byol tile",
        "1 .h5; name one array as DATA=FILE.h5::DATASET", "1 .csv", "1 without ending",
        "1 .xyz.bz2", "1 .db", "1 .mhd; their pixels are in other files",
    ):  # fmt: skip
        assert part in notes, part


def test_of_many_endings_some_are_named_and_the_others_counted(tmp_path):
    passed = Counter({f".e{number}": 20 - number for number in range(20)})
    (line,) = skip_remarks(passed)
    assert "20 .e0, 19 .e1" in line and line.endswith("78 of 12 further endings")


def test_a_folder_without_images_says_what_is_there(tmp_path, capsys):
    for name in ("a.csv", "b.svs", "c.h5"):
        (tmp_path / name).write_bytes(b"x")
    for command in (["pretrain", str(tmp_path)], ["tile", str(tmp_path), "--out", "t"]):
        if command[0] == "tile":
            (tmp_path / "b.svs").unlink()
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "contains no images" in error and "1 .csv" in error and "::DATASET" in error
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no images: it is empty"):
        open_images(str(tmp_path / "empty"))


def special_files(folder: Path) -> socket.socket:
    """A named pipe, a socket, and links to a pipe and a device, all called like images."""
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe.jpg")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket may not be long
    server.bind("socket.png")
    os.chdir(here)
    (folder / "link.png").symlink_to(folder / "pipe.jpg")
    (folder / "zero.png").symlink_to("/dev/zero")
    return server


@pytest.mark.timeout(60)
def test_pipes_sockets_and_devices_in_a_folder_are_counted_and_never_opened(tmp_path):
    draw_images(tmp_path, classes=("a",), each=2)
    with special_files(tmp_path / "more"):
        images = open_images(str(tmp_path)).train
        assert len(images) == 2
        assert "left out, and never opened: 4 named pipes, sockets or devices" in images.notes
        with pytest.raises(UserError, match="contains no images: left out, and never opened: 4"):
            open_images(str(tmp_path / "more"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe.jpg", "socket.png", "link.png", "zero.png"])
def test_single_files_lists_and_readers_never_open_them(tmp_path, name):
    with special_files(tmp_path / "set"):
        path = tmp_path / "set" / name
        with pytest.raises(UserError, match="never opened"):
            open_images(str(path))
        with pytest.raises(BrokenImageError, match="never opened"):
            read_image(path, 3)
        (tmp_path / "list.txt").write_text(f"{path}\n")
        images = open_images(str(tmp_path / "list.txt")).train
        with pytest.raises(BrokenImageError, match="never opened"):
            images.read(0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("ending", ["npy", "npz", "tar", "parquet", "h5", "csv", "nii.gz", "dcm"])
def test_pipes_with_other_endings_are_never_opened(tmp_path, ending, capsys):
    os.mkfifo(tmp_path / f"pipe.{ending}")
    path = str(tmp_path / f"pipe.{ending}")
    if ending == "csv":
        images = str(draw_images(tmp_path / "images", each=2))
        argv = ["pretrain", images, *TINY, "--labels", path, "--out", str(tmp_path / "run")]
    else:
        argv = ["pretrain", path, *TINY, "--out", str(tmp_path / "run")]
    assert main(argv) == 2
    assert "named pipe" in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.timeout(60)
def test_packing_and_cutting_leave_them_out(tmp_path, capsys):
    folder = draw_images(tmp_path / "set", classes=("a",), each=3)
    with special_files(folder):
        assert main(["shard", str(folder), "--out", str(tmp_path / "shards")]) == 0
        assert main(["tile", str(folder), "--out", str(tmp_path / "tiles"), "--size", "10"]) == 0
    assert "3 images" in capsys.readouterr().out


def test_files_without_endings_keep_their_names_in_shards(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from tests.data.test_supported import scan

    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(3):
        data = scan(np.full((8, 9), 400 * number, np.uint16), bits=12)
        data.save_as(folder / f"IM{number}", enforce_file_format=True)
    assert pydicom and main(["shard", str(folder), "--out", str(tmp_path / "shards")]) == 0
    packed = open_images(str(tmp_path / "shards"), data_root=str(tmp_path / "cache")).train
    files = open_images(str(folder)).train
    assert len(packed) == 3
    values = {int(packed.read(i).max()) for i in range(3)}
    assert values == {int(files.read(i).max()) for i in range(3)}


def test_arrays_next_to_images_in_an_archive_are_no_images(tmp_path):
    import io
    import tarfile

    picture, array = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "PNG")
    np.save(array, np.zeros((8, 8), np.uint8))
    for name, members in (("mixed", ("png", "npy")), ("arrays", ("npy",))):
        (tmp_path / name).mkdir()
        with tarfile.open(tmp_path / name / "a.tar", "w") as tar:
            for key in ("a", "b"):
                for ending in members:
                    content = (picture if ending == "png" else array).getvalue()
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        assert len(open_images(str(tmp_path / name), data_root=str(tmp_path / "c")).train) == 2


def test_scanning_reads_only_files_without_endings(tmp_path):
    """A scan of ordinary names opens no file: it would cost a folder of millions hours."""
    draw_images(tmp_path, classes=("a",), each=3)
    script = (
        "import sys, os, pathlib\n"
        "from BYOL.data.scan_folder import scan_folder\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and opened.append(args[0]))\n"
        f"assert len(scan_folder(pathlib.Path({str(tmp_path)!r}))) == 3\n"
        "assert not [p for p in opened if str(p).endswith('.png')], opened\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert len(scan_folder(tmp_path)) == 3


@pytest.mark.skipif(".nii.gz" in MISSING, reason="the extra medical is not installed")
def test_kinds_of_which_no_file_is_valid_are_named(tmp_path):
    draw_images(tmp_path, classes=("a",), each=3)
    (tmp_path / "a" / "00.png").write_bytes(b"broken")
    for name in ("a.nii.gz", "b.nii.gz", "c.tif"):
        (tmp_path / name).write_bytes(b"0" * 100)
    notes = open_images(str(tmp_path)).train.notes
    assert "no sampled file of these endings can be read: 2 .nii.gz, 1 .tif" in notes


def test_images_with_other_bands_than_the_rest_are_named(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (9, 12, 6), dtype=np.uint8)
    how = {"photometric": "minisblack", "planarconfig": "contig"}
    for name, bands in (("a", 4), ("b", 4)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values[..., :bands], **how)
    Image.fromarray(values[..., :3]).save(tmp_path / "c.png")
    notes = open_images(str(tmp_path)).train.notes
    assert notes == (
        "1 of 3 sampled images: colours without a fourth band: their fourth channel is the opacity",
    )
    tifffile.imwrite(tmp_path / "d.tif", values, **how)
    notes = open_images(str(tmp_path)).train.notes
    assert "1 of 4 sampled images: left out: 6 bands, but the others have 4" in notes
