"""Whole slides and pyramids: windows compared with tifffile and OpenSlide, in bounded memory."""

import csv
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.cli.main import main
from BYOL.data.decode import read_header, read_image, read_stored
from BYOL.data.formats import pyramids, tiff_windows
from BYOL.data.formats.pyramids import open_windows
from BYOL.data.tiling import Tiling, read_values, tile_image
from tests.data.test_stored_values import wide_gamut_profile

pytest.importorskip("imagecodecs")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.25, 0.25), ("0.5", 0.5), (None, None), ("", None), ("none", None), (0, None),
        (-0.5, None), ("nan", None), (float("inf"), None),
    ],
)  # fmt: skip
def test_a_resolution_that_no_image_can_have_is_unknown(value, expected):
    assert tiff_windows.plausible_mpp(value) == expected


def smooth(height: int, width: int, bands: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / (9 + b)) * np.cos(y / (11 + b)) for b in range(bands)]
    return np.stack(planes, axis=2).astype(np.uint8)


def write_pyramid(path: Path, values: np.ndarray, levels: int = 3, **options: object) -> None:
    """A tiled pyramid of SubIFDs with 0.25 micrometers per pixel."""
    how = {"tile": (64, 48), "compression": "zlib", "photometric": "rgb", **options}
    with tifffile.TiffWriter(path) as file:
        file.write(
            values,
            subifds=levels - 1,
            resolution=(40000, 40000),
            resolutionunit="CENTIMETER",
            **how,
        )
        for level in range(1, levels):
            file.write(values[:: 2**level, :: 2**level], subfiletype=1, **how)


@given(
    st.sampled_from([None, "zlib", "lzw", "jpeg"]), st.sampled_from(["contig", "separate"]),
    st.sampled_from([1, 3, 5]), st.sampled_from(["u1", "u2", "f4"]),
    st.sampled_from([(32, 48), None]), st.integers(0, 100), st.integers(0, 150),
    st.integers(1, 60), st.integers(1, 70),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_windows_are_parts_of_the_image(
    tmp_path_factory, compression, planes, bands, kind, tile, top, left, height, width
):
    compression = compression if kind == "u1" and bands != 5 else None
    planes = "contig" if compression == "jpeg" else planes
    values = (np.random.default_rng(0).random((160, 220, bands)) * 200).astype(kind)
    if bands == 1:
        values = values[..., 0]
    how = {"planarconfig": planes} if bands > 1 else {}
    stored = np.moveaxis(values, -1, 0) if bands > 1 and planes == "separate" else values
    path = tmp_path_factory.mktemp("windows") / "a.tif"
    tifffile.imwrite(
        path, stored, compression=compression, tile=tile, rowsperstrip=None if tile else 7,
        photometric="rgb" if bands == 3 else "minisblack", **how,
    )  # fmt: skip
    expected = tifffile.imread(path)
    expected = np.moveaxis(expected, 0, -1) if stored is not values else expected
    windows = open_windows(path, 0, None)
    try:
        part = windows.read(top, left, height, width)
    finally:
        windows.close()
    np.testing.assert_array_equal(part, expected[top : top + height, left : left + width])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels_of_a_pyramid_are_cut(tmp_path, level):
    values = smooth(300, 400)
    (tmp_path / "s").mkdir()
    write_pyramid(tmp_path / "s" / "a.tif", values)
    out = tmp_path / "t"
    assert (
        main(["tile", str(tmp_path / "s"), f"--out={out}", "--size=100", f"--level={level}"]) == 0
    )
    expected = values[:: 2**level, :: 2**level]
    with (out / "groups.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    for name in names:
        top, left = map(int, Path(name).stem.split("_")[-2:])
        part = expected[top : top + 100, left : left + 100]
        np.testing.assert_array_equal(read_values(out / name), part)
    assert len(names) == {0: 12, 1: 4, 2: 1}[level]


def test_a_resolution_is_reduced_from_the_nearest_finer_level(tmp_path):
    write_pyramid(tmp_path / "a.tif", smooth(600, 800))
    sizes = {0.25: (600, 800), 0.5: (300, 400), 0.75: (200, 267), 1.0: (150, 200), 2.0: (75, 100)}
    for mpp, size in sizes.items():
        windows = open_windows(tmp_path / "a.tif", None, mpp)
        assert (windows.height, windows.width) == size
        part = windows.read(0, 0, *size).astype(float)
        step = mpp / 0.25
        y, x = (np.arange(n) * step + (step - 1) / 2 for n in size)
        nearest = smooth(600, 800)[y.astype(int)[:, None].clip(0, 599), x.astype(int).clip(0, 799)]
        assert np.abs(part - nearest).mean() < 12
        windows.close()
    for level, mpp, reason in (
        (3, None, "3 levels"), (None, 0.1, "0.25 micrometers per pixel, more than"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            open_windows(tmp_path / "a.tif", level, mpp)


def test_images_without_levels_or_resolution_are_named(tmp_path, capsys):
    (tmp_path / "s").mkdir()
    tifffile.imwrite(tmp_path / "s" / "a.tif", smooth(60, 80))
    argv = ["tile", str(tmp_path / "s"), f"--out={tmp_path / 't'}", "--size=32"]
    for flag, reason in (
        (["--level=1"], "1 levels"), (["--mpp=1"], "does not declare its resolution"),
        (["--level=0", "--mpp=1"], "give only one"), (["--mpp=0"], "--mpp=0"),
    ):  # fmt: skip
        assert main([*argv, *flag]) == 2
        assert reason in capsys.readouterr().err
    assert main([*argv, "--level=0"]) == 0


def test_tiles_keep_no_data_opacity_and_colours(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    deep = (np.random.default_rng(0).random((40, 50)) * 3000 + 300).astype(np.uint16)
    deep[:5] = 65535
    colours = np.dstack([smooth(40, 50), smooth(40, 50, 1)])
    tag = [(42113, 2, 0, "65535", True)]
    tifffile.imwrite(folder / "hole.tif", deep, extratags=tag)
    tifffile.imwrite(folder / "white.tif", deep, photometric="miniswhite", extratags=tag)
    for extra in ("unassalpha", "unspecified"):
        tifffile.imwrite(folder / f"{extra}.tif", colours, photometric="rgb", extrasamples=[extra])
    tifffile.imwrite(folder / "rgb16.tif", colours[..., :3].astype(np.uint16) * 17)
    assert main(["tile", str(folder), f"--out={tmp_path / 't'}", "--size=32"]) == 0
    for path in folder.iterdir():
        image, header = read_stored(path), read_header(path)
        for tile in (tmp_path / "t").glob(f"{path.stem}_tif_*"):
            part, own = read_stored(tile), read_header(tile)
            top, left = map(int, tile.stem.split("_")[-2:])
            box = slice(top, top + 32), slice(left, left + 32)
            missing = (
                np.zeros_like(part.values, bool) if image.missing is None else image.missing[box]
            )
            np.testing.assert_array_equal(part.values[~missing], image.values[box][~missing])
            assert (part.missing is None and not missing.any()) or (part.missing == missing).all()
            assert (own.layout, own.channels) == (header.layout, header.channels)


OPENSLIDE = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import openslide"], capture_output=True).returncode != 0,
    reason="the extra slides is not installed",
)


def write_slide(path: Path, values: np.ndarray) -> None:
    """A slide as Aperio's scanners write it."""
    about = "Aperio Image Library v1\r\n400x300|AppMag = 20|MPP = 0.5"
    how = {"tile": (64, 64), "compression": "jpeg", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(values, description=about, **how)
        file.write(values[::4, ::4], description=about, subfiletype=1, **how)


@OPENSLIDE
@pytest.mark.parametrize("level", [0, 1])
def test_slides_are_read_as_openslide_reads_them(tmp_path, level):
    import openslide

    write_slide(tmp_path / "a.svs", smooth(300, 400))
    windows = open_windows(tmp_path / "a.svs", level, None)
    assert isinstance(windows, pyramids.OpenSlideWindows)
    slide = openslide.OpenSlide(tmp_path / "a.svs")
    scale = round(slide.level_downsamples[level])
    expected = slide.read_region((8 * scale, 12 * scale), level, (50, 40)).convert("RGB")
    np.testing.assert_array_equal(windows.read(12, 8, 40, 50), np.asarray(expected))
    assert open_windows(tmp_path / "a.svs", None, 2.0).height == 75
    windows.close()


def test_slides_are_read_by_tifffile_without_openslide(tmp_path, monkeypatch, capsys):
    write_slide(tmp_path / "a.svs", smooth(300, 400))
    monkeypatch.setitem(sys.modules, "openslide", None)  # as if it were not installed
    windows = open_windows(tmp_path / "a.svs", 0, None)
    assert isinstance(windows, tiff_windows.TiffWindows)
    assert np.abs(windows.read(0, 0, 300, 400).astype(int) - smooth(300, 400)).mean() < 3
    assert open_windows(tmp_path / "a.svs", None, 1.0).height == 150
    (tmp_path / "b.mrxs").write_bytes(b"no slide")
    assert main(["tile", str(tmp_path), f"--out={tmp_path}-t", "--size=64"]) == 0
    assert "pip install 'BYOL[slides]'" in capsys.readouterr().err


def test_truncated_pyramids_are_named_and_leave_no_tiles(tmp_path, capsys):
    (tmp_path / "s").mkdir()
    write_pyramid(tmp_path / "s" / "a.tif", smooth(300, 400), levels=1)
    tifffile.imwrite(tmp_path / "s" / "b.tif", smooth(60, 80))
    content = bytearray((tmp_path / "s" / "a.tif").read_bytes())
    content[-4000:] = b"\xff" * 4000
    (tmp_path / "s" / "a.tif").write_bytes(content)
    out = tmp_path / "t"
    assert main(["tile", str(tmp_path / "s"), f"--out={out}", "--size=64", "--level=0"]) == 0
    assert "a.tif cannot be read" in capsys.readouterr().err
    assert not list(out.glob("a_tif*")) and list(out.glob("b_tif*"))


def write_giant(path: Path, side: int) -> None:
    """A pyramid of equal compressed tiles, which takes little time and space to write."""
    tiles = [np.full((512, 512, 3), 240, np.uint8), smooth(512, 512)]
    encoded = [imagecodecs.zlib_encode(tile.tobytes()) for tile in tiles]
    how = {"tile": (512, 512), "compression": "zlib", "photometric": "rgb", "dtype": np.uint8}

    def parts(n: int):
        count = -(-n // 512)
        return (encoded[(7 * x + 13 * y) % 50 == 0] for y in range(count) for x in range(count))

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(parts(side), shape=(side, side, 3), subifds=5, **how)
        for level in range(1, 6):
            n = side // 2**level
            file.write(parts(n), shape=(n, n, 3), subfiletype=1, **how)


def test_memory_is_bounded_for_a_pyramid_of_2500_megapixels(tmp_path):
    write_giant(tmp_path / "giant.tif", 50_000)
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from BYOL.data.formats.pyramids import open_windows\n"
        f"windows = open_windows(Path({str(tmp_path / 'giant.tif')!r}), None, None)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for top in (0, 20_000, 49_000):\n"
        "    for left in range(0, 49_000, 1000):\n"
        "        windows.read(top, left, 1000, 1000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert int(done.stdout) < 300_000  # kB; the image has 7.5 GB


def assert_tiles_equal_the_image(path: Path, out: Path) -> None:
    """Compare the only tile of an image, decoded whole and in windows, with the image."""
    expected = read_image(path, read_header(path).channels)
    for level in (None, 0):
        cut = tile_image(path.parent, path.name, out / str(level), Tiling(999, 999, level=level))
        assert cut.error is None
        tile = out / str(level) / cut.tiles[0]
        assert read_header(tile).channels == len(expected)
        assert (read_image(tile, len(expected)) == expected).all()


@pytest.mark.parametrize(
    ("kind", "no_data"),
    [("u1", "0"), ("i2", "-9999"), ("u2", "65535"), ("f4", "-9999"), ("f4", "nan")],
)
def test_empty_tiles_have_no_data(tmp_path, kind, no_data):
    values = smooth(40, 56, 1)[..., 0].astype(kind) + np.dtype(kind).type(20)
    path = tmp_path / "x.tif"
    tag = (42113, 2, len(no_data) + 1, no_data, True)
    tifffile.imwrite(path, values, tile=(16, 16), photometric="minisblack", extratags=[tag])
    with tifffile.TiffFile(path, mode="r+b") as file:
        for code in (324, 325):  # offset and size of each tile, both 0 where GDAL writes none
            entry = file.pages.first.tags[code]
            entry.overwrite([0, *entry.value[1:]])
    filled = open_windows(path, 0, None).read(0, 0, 40, 56)
    np.testing.assert_array_equal(filled, tifffile.imread(path))
    assert not read_image(path, 1)[0, :16, :16].any()
    assert_tiles_equal_the_image(path, tmp_path / "tiles")


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_windows_keep_colour_profiles(tmp_path, kind):
    values = smooth(40, 56).astype(kind) * (1 if kind == "u1" else 257)
    path = tmp_path / "x.tif"
    profile = wide_gamut_profile()
    tifffile.imwrite(path, values, photometric="rgb", tile=(16, 16), iccprofile=profile)
    assert_tiles_equal_the_image(path, tmp_path / "tiles")


def test_masked_pixels_are_black_in_the_tiles(tmp_path):
    path = tmp_path / "x.tif"
    mask = np.ones((40, 56), bool)
    mask[:10] = False
    with tifffile.TiffWriter(path) as file:
        every = np.arange(40 * 56 * 3, dtype=np.uint32).reshape(40, 56, 3).astype(np.uint8)
        file.write(every, photometric="rgb", tile=(16, 16), metadata=None)
        file.write(mask, photometric="mask", subfiletype=4, metadata=None)
    assert not read_image(path, 3)[:, :10].any()
    assert_tiles_equal_the_image(path, tmp_path / "tiles")


def test_grey_with_an_opacity_stays_one_channel(tmp_path):
    values = smooth(40, 56, 2)
    path = tmp_path / "x.tif"
    how = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(path, values, **how)
    assert read_header(path).channels == 1
    assert_tiles_equal_the_image(path, tmp_path / "tiles")


@pytest.mark.parametrize(
    "values", [smooth(40, 56, 1)[..., 0] > 99, smooth(40, 56, 1)[..., 0] // 16]
)
def test_values_of_fewer_than_8_bits_are_not_read_in_windows(tmp_path, values):
    path = tmp_path / "x.tif"
    bits = None if values.dtype == bool else 4
    tifffile.imwrite(path, values, photometric="minisblack", bitspersample=bits)
    with pytest.raises(ValueError, match="no levels"):
        open_windows(path, 0, None)
    cut = tile_image(tmp_path, "x.tif", tmp_path / "tiles", Tiling(999, 999))
    assert read_values(tmp_path / "tiles" / cut.tiles[0]).max() == 255


def test_colours_that_are_ycbcr_without_jpeg_are_not_read_in_windows(tmp_path):
    path = tmp_path / "x.tif"
    how = {"photometric": "ycbcr", "planarconfig": "contig", "compression": "zlib"}
    tifffile.imwrite(path, smooth(40, 56), **how)
    with pytest.raises(ValueError, match="no levels"):
        open_windows(path, 0, None)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_the_mask_of_a_jpeg_tiff_is_no_data(tmp_path, photometric):
    """As GDAL writes cloud-optimized images: JPEG colours with a mask page."""
    path = tmp_path / "x.tif"
    mask = np.ones((48, 64), bool)
    mask[:16] = False
    how = {"tile": (16, 16), "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(smooth(48, 64) | 8, photometric=photometric, **how)
        file.write(mask, photometric="mask", subfiletype=4, metadata=None)
    for source in (path, path.read_bytes()):
        pixels = read_image(source, 3)
        assert not pixels[:, :16].any() and pixels[:, 16:].any(dim=0).all()
        stored = read_stored(source)
        np.testing.assert_array_equal(stored.missing.all(axis=2), ~mask)
        with tifffile.TiffFile(path) as file:
            np.testing.assert_array_equal(stored.values, file.pages.first.asarray())
    assert_tiles_equal_the_image(path, tmp_path / "tiles")
