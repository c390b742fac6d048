"""``byol tile``: every value of an image is in a tile, and every tile is mapped to its image."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from BYOL.cli.commands import tile as command
from BYOL.cli.main import main
from BYOL.data.csv_rows import read_rows
from BYOL.data.decode import read_image
from BYOL.data.groups import group_splits, read_groups
from BYOL.data.sources import open_images
from BYOL.data.tiling import is_blank, read_values, tile_starts
from tests.conftest import TINY


def test_long_names_are_cut_and_stay_different(tmp_path, capsys):
    names = ["l" * 251 + ".png", "l" * 250 + "m.png", "ü" * 125 + ".png", "s.png"]
    (tmp_path / "in").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(scene(20, 30) // 8 + 50 * number).save(tmp_path / "in" / name)
    out = tmp_path / "out"
    answer = tiled([str(tmp_path / "in"), "--out", str(out), "--size", "20"], capsys)
    assert (answer["pictures"], answer["tiles"], answer["left_out"]) == (4, 8, 0)
    rows = rows_of(out / "groups.csv")
    assert sorted(rows.values()) == sorted(names * 2) and len(rows) == 8
    for number, name in enumerate(names):
        tiles = [tile for tile, image in rows.items() if image == name]
        wanted = scene(20, 30) // 8 + 50 * number
        assert (reassembled(out, tiles, wanted) == wanted).all()
        assert all(len(os.fsencode(tile)) <= 255 for tile in tiles)


@pytest.mark.parametrize("folder", ["groups.csv", "tiles.json"])
def test_a_subfolder_with_the_name_of_an_output_is_named(tmp_path, folder, capsys):
    (tmp_path / "in" / folder).mkdir(parents=True)
    Image.fromarray(scene(20, 30)).save(tmp_path / "in" / folder / "a.png")
    assert main(["tile", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert f"its subfolder {folder}/ has the name of a file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("order", ["a.png", "z.png"])
def test_a_subfolder_with_the_name_of_a_tile_is_named(tmp_path, order, capsys):
    stem = order.removesuffix(".png")
    folder = tmp_path / "in" / f"{stem}_png_0_0.png"
    folder.mkdir(parents=True)
    for path in (tmp_path / "in" / order, folder / "b.png"):
        Image.fromarray(scene(20, 30)).save(path)
    assert main(["tile", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert f"and a subfolder would both be called {folder.name}: rename" in line
    assert not (tmp_path / "out").exists()


@given(st.integers(1, 400), st.integers(1, 150), st.integers(1, 150))
def test_tiles_cover_a_side_and_none_reaches_beyond(total, size, stride):
    starts = tile_starts(total, size, stride)
    assert starts == sorted(set(starts)) and starts[0] == 0
    assert all(start + size <= total for start in starts) or starts == [0]
    if stride <= size:
        covered = {place for start in starts for place in range(start, min(start + size, total))}
        assert covered == set(range(total))
    assert starts[-1] + min(size, total) == total


def scene(height: int = 70, width: int = 100, bands: int = 3, dtype: type = np.uint8):
    values = np.random.default_rng(0).random((height, width, bands))
    return (values * (255 if dtype is np.uint8 else 4000)).astype(dtype)


def tiled(argv: list[str], capsys) -> dict:
    assert main(["tile", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def rows_of(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["file"]: row["picture"] for row in csv.DictReader(file)}


def reassembled(out: Path, names: list[str], like: np.ndarray) -> np.ndarray:
    image = np.zeros_like(like)
    for name in names:
        values = read_values(out / name)
        top, left = map(int, Path(name).stem.split("_")[-2:])
        image[top : top + values.shape[0], left : left + values.shape[1]] = values
    return image


@pytest.mark.parametrize(
    ("values", "ending", "made"),
    [
        (scene(), "png", "png"),
        (scene()[..., 0], "png", "png"),
        (scene(bands=4), "png", "png"),
        (scene(dtype=np.uint16)[..., 0], "png", "png"),
        (scene(bands=13, dtype=np.uint16), "tif", "tif"),
        (scene(bands=5), "tif", "tif"),
        (scene(dtype=np.float32)[..., 0] / 7, "tif", "tif"),
    ],
)
@pytest.mark.parametrize("stride", [None, 20])
def test_tiles_contain_every_value_of_an_image(tmp_path, capsys, values, ending, made, stride):
    folder = tmp_path / "scenes" / "north"
    folder.mkdir(parents=True)
    if ending == "png":
        Image.fromarray(values).save(folder / "one.png")
    else:
        kind = {"planarconfig": "contig"} if values.ndim == 3 else {}
        tifffile.imwrite(folder / "one.tif", values, photometric="minisblack", **kind)
    out = tmp_path / "tiles"
    flags = [f"--stride={stride}"] if stride else []
    answer = tiled([str(tmp_path / "scenes"), f"--out={out}", "--size=32", *flags], capsys)
    rows = rows_of(out / "groups.csv")
    assert len(rows) == answer["tiles"] == (12 if stride is None else 3 * 5)
    assert set(rows.values()) == {f"north/one.{ending}"}
    assert all(name.startswith("north/") and name.endswith(made) for name in rows)
    assert {p.relative_to(out).as_posix() for p in out.rglob("one*")} == rows.keys()
    together = reassembled(out, list(rows), values)
    assert together.dtype == values.dtype and (together == values).all()
    sizes = {read_values(out / name).shape[:2] for name in rows}
    assert sizes == {(32, 32)}


def test_the_output_may_be_an_empty_current_folder(tmp_path, capsys, monkeypatch):
    (tmp_path / "p").mkdir()
    (tmp_path / "t").mkdir()
    Image.fromarray(scene()).save(tmp_path / "p" / "a.png")
    monkeypatch.chdir(tmp_path / "t")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tiled(["~/p", "--out=."], capsys)["tiles"] == 1
    assert (tmp_path / "t" / "a_png_0_0.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "t"]


def test_small_images_are_one_tile_and_orientation_is_applied(tmp_path, capsys):
    folder = tmp_path / "p"
    folder.mkdir()
    pixels = scene(20, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "turned.png", exif=exif)
    tiled([str(folder), f"--out={tmp_path / 't'}", "--size=32"], capsys)
    names = sorted(rows_of(tmp_path / "t" / "groups.csv"))
    assert names == ["turned_png_0_0.png", "turned_png_28_0.png"]
    assert (read_values(tmp_path / "t" / names[0]) == np.rot90(pixels, -1)[:32]).all()


def test_blank_tiles_and_broken_images_are_counted_and_left_out(tmp_path, capsys):
    folder = tmp_path / "p"
    folder.mkdir()
    pixels = np.full((64, 64, 3), 240, np.uint8)
    pixels[:32, :32] = scene(32, 32)
    noise = np.random.default_rng(0).integers(-1, 2, (32, 32, 3))
    pixels[32:, 32:] = 240 + noise  # scanner noise on an empty area
    Image.fromarray(pixels).save(folder / "slide.png")
    (folder / "broken.png").write_bytes(b"no image")
    flags = [str(folder), "--size=32"]
    first = tiled([*flags, f"--out={tmp_path / 'a'}"], capsys)
    assert (first["tiles"], first["blank"], first["left_out"]) == (2, 2, 1)
    assert first["not_read"] == ["broken.png"] and first["pictures"] == 1
    second = tiled([*flags, f"--out={tmp_path / 'b'}", "--blank=0.02"], capsys)
    assert (second["tiles"], second["blank"]) == (1, 3)
    assert main(["tile", *flags, f"--out={tmp_path / 'c'}", "--blank=0.9"]) == 2
    assert "not one tile" in capsys.readouterr().err and not (tmp_path / "c").exists()
    assert is_blank(np.full((4, 4), np.nan), 0.0) and not is_blank(scene(4, 4), 0.0)


def test_a_tile_with_few_no_data_pixels_is_not_blank():
    values = np.random.default_rng(0).normal(size=(8, 8, 5)).astype(np.float32)
    for no_data in (np.nan, np.inf):
        values[3, 3, :] = no_data
        assert not is_blank(values, 0.5)
    deviations = values[np.isfinite(values).all(axis=2)].std(axis=0)
    assert is_blank(values, float(deviations.max()) + 1e-6)
    assert not is_blank(values, float(deviations.max()) - 1e-6)


def test_images_with_invalid_utf8_names_are_tiled(tmp_path, capsys):
    folder = tmp_path / "p"
    folder.mkdir()
    Image.fromarray(scene(32, 32)).save(folder / "a.png")
    (folder / "a.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    assert tiled([str(folder), "--size=16", f"--out={tmp_path / 't'}"], capsys)["tiles"] == 4
    file = read_rows("--groups", tmp_path / "t" / "groups.csv", "groups")
    assert set(file.columns[0]) == {os.fsdecode(b"caf\xe9.png")}
    tiles = open_images(str(tmp_path / "t")).train
    assert {tiles.sample_name(i) for i in range(4)} == file.rows.keys()


def test_tiles_are_trained_on_and_evaluated_by_groups_of_their_images(tmp_path, capsys):
    for number, name in enumerate(("field", "town")):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        for i in range(3):
            pixels = scene(64, 64) // 2 + 100 * number
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "scenes" / name / f"{i}.png")
    out = tmp_path / "tiles"
    assert main(["tile", str(tmp_path / "scenes"), f"--out={out}", "--size=32"]) == 0
    assert "24 tiles of 6 images" in capsys.readouterr().out
    images = open_images(str(out))
    train = group_splits(images, read_groups(out / "groups.csv")).train
    assert train.classes == ("field", "town") and len(np.unique(train.groups)) == 6
    run = tmp_path / "run"
    argv = ["pretrain", str(out), *TINY, f"--out={run}", f"--groups={out}/groups.csv"]
    assert main([*argv, "--no-report"]) == 0
    results = json.loads((run / "results.json").read_text())["evaluation"]
    assert results["held_out_by"] == "groups" and results["groups"]["both"] == 0


def test_images_above_pillows_limit_are_tiled(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "p"
    folder.mkdir()
    Image.fromarray(scene(60, 60)).save(folder / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Exception, match="cut it into tiles"):
        read_image(folder / "large.png", 3)
    answer = tiled([str(folder), f"--out={tmp_path / 't'}", "--size=30"], capsys)
    assert answer["tiles"] == 4 and Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["nowhere"], "DATA=nowhere is no folder of images"),
        (["p", "--size=0"], "--size=0 is out of range"),
        (["p", "--out=p/tiles"], "is in DATA=p"),
        (["p", "--out=full"], "--out=full is not an empty folder"),
        (["empty"], "DATA=empty contains no images: it is empty"),
    ],
)
def test_mistakes_are_reported_and_nothing_is_written(tmp_path, monkeypatch, capsys, flags, named):
    monkeypatch.chdir(tmp_path)
    for name in ("p", "full", "empty"):
        (tmp_path / name).mkdir()
    Image.fromarray(scene()).save("p/a.png")
    Path("full/a.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["tile", *flags]) == 2
    assert named in capsys.readouterr().err and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("flags", [[], ["--slice=first"], ["--slice=max"], ["--frames=all"]])
def test_one_slice_or_every_frame_of_a_stack_is_cut(tmp_path, capsys, flags):
    stack = np.random.default_rng(0).integers(0, 256, (5, 48, 32), dtype=np.uint8)
    (tmp_path / "p").mkdir()
    tifffile.imwrite(tmp_path / "p" / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    out = tmp_path / "t"
    assert main(["tile", str(tmp_path / "p"), f"--out={out}", "--size=16", *flags]) == 0
    shown = capsys.readouterr().err
    rows = rows_of(out / "groups.csv")
    assert set(rows.values()) == {"a.tif"}
    if flags == ["--frames=all"]:
        assert "only" not in shown and len(rows) == 5 * 6
        for i, frame in enumerate(stack):
            names = [name for name in rows if f"_f{i}_" in name]
            np.testing.assert_array_equal(reassembled(out, names, frame), frame)
        return
    assert "1 of 1 images: only" in shown and "of 5 along depth (Z) is used" in shown
    expected = {"": stack[2], "first": stack[0], "max": stack.max(axis=0)}
    used = expected[flags[0].partition("=")[2] if flags else ""]
    np.testing.assert_array_equal(reassembled(out, list(rows), used), used)


def test_a_full_disk_leaves_no_files(tmp_path, monkeypatch, capsys):
    (tmp_path / "p").mkdir()
    Image.fromarray(scene()).save(tmp_path / "p" / "a.png")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "tile_image", full)
    assert main(["tile", str(tmp_path / "p"), f"--out={tmp_path / 't'}"]) == 2
    assert "cannot be written: No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
