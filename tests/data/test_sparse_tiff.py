"""TIFFs of which strips or tiles are not stored, as GDAL's SPARSE_OK writes them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from BYOL.data.decode import BrokenImageError, read_image, read_stored
from BYOL.data.formats.pyramids import open_windows
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.formats.tiff_windows import TiffPyramid
from BYOL.data.tiling import Tiling, read_values, tile_image

pytest.importorskip("imagecodecs")
GDAL_NO_DATA, SIDE = 42113, 64
OFFSETS, SIZES = (273, 324), (279, 325)  # of strips and of tiles


def noise(kind: str, bands: int) -> np.ndarray:
    values = np.random.default_rng(0).integers(1, 200, (SIDE, SIDE, bands)).astype(kind)
    return values[..., 0] if bands == 1 else values


def write(path: Path, values: np.ndarray, no_data: str | None = None, **how: object) -> None:
    colours = values.shape[2:] == (3,)
    kind = {"photometric": "rgb" if colours else "minisblack"}
    if values.ndim == 3:
        kind["planarconfig"] = "contig"
    tag = {} if no_data is None else {"extratags": [(GDAL_NO_DATA, 2, 0, no_data, True)]}
    tifffile.imwrite(path, values, **{**kind, **how}, **tag)


def empty(path: Path, parts: list[int], page: int = 0) -> None:
    """Declare strips or tiles of a page as not stored."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[page].aspage().tags
        for code in (*OFFSETS, *SIZES):
            if code in tags:
                entry = tags[code]
                entry.overwrite([0 if i in parts else n for i, n in enumerate(entry.value)])


def flat(values: np.ndarray) -> np.ndarray:
    return values[..., 0] if values.shape[2] == 1 else values


@pytest.mark.parametrize("layout", ["tiles", "strips", "one strip"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "jpeg"])
@pytest.mark.parametrize(("kind", "bands"), [("u1", 1), ("u1", 3), ("u2", 1), ("f4", 4)])
@pytest.mark.parametrize(("no_data", "filled"), [(None, 0), ("7", 7), ("none", 0)])
def test_parts_that_are_not_stored_are_zero_or_no_data(
    tmp_path, layout, compression, kind, bands, no_data, filled
):
    if compression == "jpeg" and kind != "u1":
        pytest.skip("JPEG has 8 bits")
    how, part, box = {
        "tiles": ({"tile": (32, 32)}, 3, (slice(32, 64), slice(32, 64))),
        "strips": ({"rowsperstrip": 16}, 1, (slice(16, 32),)),
        "one strip": ({"rowsperstrip": SIDE}, 0, ()),
    }[layout]
    path = tmp_path / "x.tif"
    write(path, noise(kind, bands), no_data, compression=compression, **how)
    expected = tifffile.imread(path)
    expected[box] = filled
    empty(path, [part])
    for source in (path, path.read_bytes()):
        stored = read_stored(source)
        np.testing.assert_array_equal(flat(stored.values), expected)
        if no_data == "7":
            assert flat(stored.missing)[box].all()
    windows = open_windows(path, 0, None)
    np.testing.assert_array_equal(windows.read(0, 0, SIDE, SIDE), expected)
    windows.close()
    for level in (None, 0):
        out = tmp_path / str(level)
        cut = tile_image(tmp_path, "x.tif", out, Tiling(SIDE, SIDE, level=level))
        assert len(cut.tiles) + cut.blank == 1 and cut.error is None
        if cut.tiles:
            tile = read_values(out / cut.tiles[0])
            tile = np.where(np.isnan(tile), filled, tile)  # NaN is no data, too
            np.testing.assert_array_equal(tile, expected)


@pytest.mark.parametrize("no_data", ["-3.4028234663852886e+38", "-9999", "nan", "1e20"])
def test_the_smallest_float_is_no_data_of_parts_that_are_not_stored(tmp_path, no_data):
    path = tmp_path / "x.tif"
    write(path, noise("f4", 1), no_data, tile=(32, 32))
    empty(path, [0])
    stored = read_stored(path)
    assert not read_image(path, 1, (0, 1))[0, :32, :32].any()
    np.testing.assert_array_equal(stored.values[:32, :32], np.float32(no_data))
    windows = open_windows(path, 0, None)
    np.testing.assert_array_equal(windows.read(0, 0, 32, 32), np.float32(no_data))
    windows.close()


def test_empty_parts_of_jpeg_colours_are_black(tmp_path):
    path = tmp_path / "x.tif"
    write(path, noise("u1", 3), tile=(32, 32), photometric="ycbcr", compression="jpeg")
    expected = tifffile.imread(path)
    expected[32:, :32] = 0
    empty(path, [2])
    np.testing.assert_array_equal(read_stored(path).values, expected)
    np.testing.assert_array_equal(read_image(path, 3).permute(1, 2, 0).numpy(), expected)


def test_empty_parts_of_other_colours_are_reported(tmp_path):
    path = tmp_path / "x.tif"
    how = {"photometric": "ycbcr", "planarconfig": "contig", "compression": "zlib"}
    write(path, noise("u1", 3), tile=(32, 32), **how)
    read_stored(path)
    empty(path, [2])
    with pytest.raises(BrokenImageError, match="tiles are empty, its colours are YCbCr"):
        read_stored(path)


@pytest.mark.parametrize("kind", ["ome", "imagej", "shaped"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_of_a_stack_that_are_not_stored_are_zero(tmp_path, kind, compression):
    values = np.stack([noise("u1", 1)] * 3) + np.arange(3, dtype=np.uint8)[:, None, None]
    path = tmp_path / "x.tif"
    how = {} if kind == "shaped" else {kind: True}
    tifffile.imwrite(
        path, values, metadata={"axes": "ZYX"}, compression=compression, contiguous=False,
        photometric="minisblack", **how,
    )  # fmt: skip
    empty(path, [0], page=1)
    np.testing.assert_array_equal(flat(read_stored(path).values), 0)
    most = read_stored(path, ReadOptions(slice="max"))
    np.testing.assert_array_equal(flat(most.values), values[2])


def test_a_mask_that_is_not_stored_hides_everything(tmp_path):
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(noise("u1", 3), photometric="rgb", metadata=None)
        mask = np.ones((SIDE, SIDE), bool)
        file.write(mask, photometric="mask", subfiletype=4, metadata=None)
    assert read_stored(path).missing is None
    empty(path, [0], page=1)
    assert read_stored(path).missing.all()


def test_the_only_strip_may_have_no_size(tmp_path):
    """Some programs write 0; there is one place where the values can be."""
    path = tmp_path / "x.tif"
    write(path, noise("u1", 1), rowsperstrip=SIDE)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags[279].overwrite([0])
    np.testing.assert_array_equal(flat(read_stored(path).values), noise("u1", 1))


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("tag", [256, 257])
def test_a_size_that_needs_more_tiles_is_an_error(tmp_path, kind, tag):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.ones((64, 64), kind), tile=(32, 32))
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags[tag].overwrite(128)
    with pytest.raises(BrokenImageError, match="fewer tiles than its size needs"):
        read_stored(path)
    with pytest.raises(ValueError, match="fewer tiles than its size needs"):
        TiffPyramid(path)
