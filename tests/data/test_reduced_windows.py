"""``byol tile --mpp``: pixels without data have no part in the pixels of a reduced level."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.data.decode import read_stored
from BYOL.data.formats.pyramids import open_windows
from BYOL.data.formats.windows import Form, ScaledWindows
from BYOL.data.tiling import Tiling, tile_image

GDAL_NO_DATA = 42113
RESOLUTION = {"resolution": (10000, 10000), "resolutionunit": "CENTIMETER"}  # 1 micrometer
HOLE = slice(100, 151)  # columns without data


class Values:
    """Windows of an array."""

    def __init__(self, values: np.ndarray, form: Form, hidden: np.ndarray | None = None):
        self.height, self.width = values.shape[:2]
        self.dtype, self.form = values.dtype, form
        self._values, self._hidden = values, hidden

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        return self._values[top : top + height, left : left + width]

    def hidden(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        if self._hidden is None:
            return None
        return self._hidden[top : top + height, left : left + width]

    def close(self) -> None:
        pass


def noise(kind: str, *further: int) -> np.ndarray:
    values = np.random.default_rng(1).integers(300, 350, (256, 256, *further))
    return values.astype(kind)


def write(path: Path, values: np.ndarray, no_data: str | None) -> None:
    tag = {} if no_data is None else {"extratags": [(GDAL_NO_DATA, 2, 0, no_data, True)]}
    how = {"photometric": "minisblack", "planarconfig": "contig"} if values.ndim == 3 else {}
    tifffile.imwrite(path, values, tile=(64, 64), **RESOLUTION, **how, **tag)


@pytest.mark.parametrize("mpp", [1.5, 2, 3.3])
@pytest.mark.parametrize(
    ("kind", "empty", "no_data"),
    [
        ("u2", 65535, "65535"), ("u2", 0, "0"), ("i2", -9999, "-9999"), ("f4", -9999, "-9999"),
        ("f4", float("nan"), None), ("f4", -3.4028234663852886e38, "-3.4028234663852886e+38"),
        ("i4", -2147483648, "-2147483648"), ("f8", -1e300, "-1e300"),
    ],
)  # fmt: skip
def test_no_data_does_not_become_data(tmp_path, kind, empty, no_data, mpp):
    values = noise(kind)
    values[:, HOLE] = empty
    (tmp_path / "s").mkdir()
    write(tmp_path / "s" / "a.tif", values, no_data)
    cut = tile_image(tmp_path / "s", "a.tif", tmp_path / "t", Tiling(999, 999, mpp=mpp))
    assert cut.error is None
    tile = read_stored(tmp_path / "t" / cut.tiles[0])
    reduced = tile.values[..., 0]
    missing = np.isnan(reduced) if tile.missing is None else tile.missing[..., 0]
    centres = (np.arange(reduced.shape[1]) + 0.5) * 256 / reduced.shape[1]
    inside = (centres > HOLE.start) & (centres < HOLE.stop)
    np.testing.assert_array_equal(missing, np.broadcast_to(inside, missing.shape))
    if no_data is not None:
        assert (reduced[missing] == np.dtype(kind).type(float(no_data))).all()
    shown = reduced[~missing].astype(float)
    assert shown.min() >= 290 and shown.max() <= 360  # bicubic weights may exceed by a little
    beside = reduced[:, ~inside & (np.abs(centres - 125.5) < 25.5 + 2 * mpp)]
    assert beside.size and beside.min() >= 300 and beside.max() < 350


def test_far_from_no_data_the_result_is_that_of_an_image_without_it(tmp_path):
    values = noise("u2")
    write(tmp_path / "a.tif", values, "65535")
    values[:, HOLE] = 65535
    write(tmp_path / "b.tif", values, "65535")
    one, other = (open_windows(tmp_path / f"{n}.tif", None, 2.0) for n in "ab")
    box = (0, 0, 128, 45)
    np.testing.assert_array_equal(one.read(*box), other.read(*box))
    one.close(), other.close()


def test_masked_pixels_have_no_part(tmp_path):
    path = tmp_path / "x.tif"
    values = noise("u1", 3) % 50 + 100
    mask = np.ones((256, 256), bool)
    mask[:, HOLE] = False
    values[:, HOLE] = 255
    with tifffile.TiffWriter(path) as file:
        file.write(values, photometric="rgb", tile=(64, 64), metadata=None, **RESOLUTION)
        file.write(mask, photometric="mask", subfiletype=4, metadata=None)
    windows = open_windows(path, None, 2.0)
    reduced = windows.read(0, 0, 128, 128)
    windows.close()
    assert not reduced[:, 51:75].any()
    assert reduced[:, :50].min() >= 90 and reduced[:, 76:].max() <= 160


def test_a_level_has_the_no_data_value_of_the_image(tmp_path):
    path = tmp_path / "x.tif"
    values = noise("u2")
    values[:, HOLE] = 65535
    tag = [(GDAL_NO_DATA, 2, 0, "65535", True)]
    with tifffile.TiffWriter(path) as file:
        file.write(values, tile=(64, 64), subifds=1, extratags=tag, **RESOLUTION)
        file.write(values[::2, ::2], tile=(64, 64), subfiletype=1)
    for mpp in (2.0, 3.0):
        windows = open_windows(path, None, mpp)
        assert windows.form.no_data == 65535
        part = windows.read(0, 0, windows.height, windows.width)
        windows.close()
        assert ((part == 65535) | (part < 400)).all() and (part == 65535).any()


@given(
    st.sampled_from(["u1", "i2", "u2", "f4"]), st.integers(0, 4), st.integers(0, 2**32 - 1),
    st.floats(0, 1), st.floats(1.05, 6), st.sampled_from(["grey", "rgb", "bands"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_valid_pixels_alone_are_interpolated(kind, number, seed, share, scale, layout):
    rng = np.random.default_rng(seed)
    bands = {"grey": 1, "rgb": 3, "bands": 2}[layout]
    values = rng.integers(1, 4, (37, 41, bands)).astype(kind)
    empty = rng.random((37, 41)) < share
    marked = np.where(empty[..., None], np.dtype(kind).type(number + 4), values)
    most = (37 / round(37 / scale), 41 / round(41 / scale))
    windows = ScaledWindows(Values(marked, Form(layout, no_data=number + 4)), scale)
    result = windows.read(0, 0, windows.height, windows.width)
    missing = (result == number + 4).all(axis=2)
    if not empty.any():
        assert not missing.any()
    elif empty.all():
        assert missing.all()
    shown = result[~missing].astype(float)
    largest = 3.6 if kind == "f4" else 4  # 3 and the overshoot of the filter, rounded
    assert (shown >= 0).all() and (shown <= largest).all() and max(most) > 1


def test_data_does_not_become_no_data():
    """Interpolation of bright values overshoots to the number that marks no data."""
    values = np.full((40, 40), 100, np.uint8)
    values[:, 20:] = 254
    windows = ScaledWindows(Values(values, Form("grey", no_data=255)), 2.0)
    assert windows.read(0, 0, 20, 20).max() == 254


def test_hidden_pixels_of_floats_are_nan():
    values = np.full((40, 40, 2), 7, np.float32)
    hidden = np.zeros((40, 40), bool)
    hidden[:20] = True
    values[:20] = 1e30
    windows = ScaledWindows(Values(values, Form("bands"), hidden), 2.0)
    result = windows.read(0, 0, 20, 20)
    assert np.isnan(result[:10]).all() and (result[10:] == 7).all()


@pytest.mark.parametrize("level", [None, 0])
def test_no_data_does_not_decide_which_tiles_are_blank(tmp_path, level):
    """Otherwise the range would be that to the number of no data, and every tile blank."""
    values = noise("u2")
    values[128:] = 330
    values[:, 128:] = 65535
    values[128:, 120:] = 65535
    (tmp_path / "s").mkdir()
    write(tmp_path / "s" / "a.tif", values, "65535")
    tiling = Tiling(128, 128, blank=0.05, level=level)
    cut = tile_image(tmp_path / "s", "a.tif", tmp_path / "t", tiling)
    assert [Path(name).stem for name in cut.tiles] == ["a_tif_0_0"] and cut.blank == 3
