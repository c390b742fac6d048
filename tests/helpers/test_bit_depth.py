import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from BYOL.views.pixel_range import to_uint8
from BYOL.views.pixels import is_high_depth, to_pixels
from tests.conftest import estimate_pixel_range


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 200], np.uint16), (0, 255)),
        (np.array([0, 300], np.uint16), (0, 1023)),
        (np.arange(0, 3001, dtype=np.uint16), (0, 4095)),
        (np.append(np.zeros(1000), 65_535).astype(np.uint16), (0, 1)),  # a hot pixel
        (np.array([5, 4095], np.int32), (0, 4095)),
        (np.array([0.0, 1.0], np.float32), (0, 1)),
        (np.array([0.2, np.nan]), (0, 1)),
        (np.array([0.0, 255.0]), (0, 255)),
        (np.array([-50, 50], np.int16), (-49.5, 49.5)),
        (np.full(4, 70_000), (70_000, 70_001)),
        (np.array([np.nan, np.inf]), None),
    ],
)
def test_the_pixel_range_is_estimated_from_the_values(values, expected):
    found = estimate_pixel_range([values])
    assert found == (None if expected is None else pytest.approx(expected))


def test_outliers_do_not_change_the_pixel_range():
    tile = np.random.default_rng(0).random((100, 100)) * 0.4
    tile[0, 0], tile[0, 1], tile[0, 2] = 1.3, np.nan, -9999
    low, high = estimate_pixel_range([tile, tile])
    assert 0 <= low < 0.01 and 0.39 < high < 0.41
    assert len(np.unique(to_uint8(tile, (low, high)))) == 256


@pytest.mark.parametrize("nothing", [-9999.0, -32768.0, np.finfo(np.float32).min])
def test_no_data_values_do_not_change_the_pixel_range(nothing):
    whole = np.random.default_rng(0).random((100, 100)).astype(np.float32) * 0.77
    torn = whole.copy()
    torn[:30, :30] = nothing
    assert estimate_pixel_range([whole, torn]) == (0, 1)
    low, high = estimate_pixel_range([7 * whole, np.where(torn < 0, torn, 7 * whole)])
    assert 0 <= low < 0.1 and 5.2 < high < 5.5
    assert estimate_pixel_range([np.full((4, 4), nothing)]) is None


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.booleans())
def test_black_is_0_white_is_255_and_values_stay_ordered(low, width, turned):
    high = low + width
    values = np.linspace(low - width, high + width, 31)
    pixels = to_uint8(values, (high, low) if turned else (low, high)).astype(int)
    steps = np.diff(pixels)
    assert (steps <= 0).all() if turned else (steps >= 0).all()
    assert {pixels[0], pixels[-1]} == {0, 255}
    assert to_uint8(np.array([np.nan]), (low, high)) == 0


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_an_image_of_high_bit_depth_is_converted_by_its_own_range(mode):
    values = np.array([[0, 4095]], {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    image = Image.fromarray(values)
    assert is_high_depth(image) and not is_high_depth(Image.new("L", (2, 2)))
    assert to_pixels(image, 1)[..., 0].tolist() == [[0, 255]]
    assert to_pixels(image, 1, (0, 8190))[..., 0].tolist() == [[0, 128]]
    assert to_pixels(image, 3, (0, 8190, 0, 4095, 4095, 0))[0, 1].tolist() == [128, 255, 0]
    assert to_pixels(image, 1, (8190, 0), no_data=4095)[..., 0].tolist() == [[255, 0]]
