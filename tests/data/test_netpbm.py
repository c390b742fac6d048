"""PGM and PPM files of more than 8 bits have the values that the camera wrote."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from BYOL.data.decode import BrokenImageError, read_header, read_image, read_stored
from BYOL.data.sources import open_images

COMMENTS = [b"", b"# made by a camera\n", b"#\n# two lines\r"]


def encode(values: np.ndarray, most: int, text: bool = False, comment: bytes = b"") -> bytes:
    height, width = values.shape[:2]
    kind = {(1, False): b"P5", (3, False): b"P6", (1, True): b"P2", (3, True): b"P3"}
    start = kind[values.shape[2], text] + b"\n" + comment + b"%d %d\n%d\n" % (width, height, most)
    if text:
        return start + b" ".join(b"%d" % value for value in values.ravel())
    return start + values.astype(">u2").tobytes()


@given(
    st.sampled_from([256, 1023, 4095, 16383, 65535]), st.sampled_from([1, 3]), st.booleans(),
    st.sampled_from(COMMENTS), st.integers(1, 9), st.integers(1, 9),
)  # fmt: skip
def test_values_are_those_of_the_file(most, bands, text, comment, height, width):
    rng = np.random.default_rng(0)
    values = rng.integers(0, most, (height, width, bands), dtype=np.uint16, endpoint=True)
    content = encode(values, most, text, comment)
    np.testing.assert_array_equal(read_stored(content).values, values)
    header = read_header(content)
    assert header.size == (height, width) and header.channels == bands and header.deep
    pixels = read_image(content, bands, (0, most)).numpy().transpose(1, 2, 0)
    assert np.abs(pixels - values / most * 255).max() <= 0.5


def test_a_folder_of_12_bit_files_has_a_range_of_12_bits(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64, 1)
    for ending in ("pgm", "pnm"):
        (tmp_path / f"x.{ending}").write_bytes(encode(values, 4095))
    splits = open_images(str(tmp_path))
    assert splits.pixel_range == (0, 4095) and len(splits.train) == 2
    assert len(np.unique(splits.train.read(0))) == 256


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"P5 100000 100000 65535\n", "million pixels"),
        (b"P6 5 5 70000\n", "largest value is 70000"),
        (b"P5 5 5 1000\nxx", "truncated"),
        (b"P2 2 2 1000\n1 2 3 99999", "no number from 0 to 65535"),
        (b"P2 2 2 1000\n1 2 x 4", "no number"),
    ],
)
def test_damaged_files_are_reported_in_one_line(content, reason):
    with pytest.raises(BrokenImageError, match=reason) as error:
        read_image(content, 1)
    assert "\n" not in str(error.value)
