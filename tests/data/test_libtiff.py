"""Errors of Pillow's libtiff have a reason, and nothing is written past the log."""

import numpy as np
import pytest
import tifffile

from BYOL.data.decode import BrokenImageError, read_image, read_stored

VALUES = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits", "jpeg"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_truncated_tiff_is_named_as_one(tmp_path, capfd, compression, tiled):
    pytest.importorskip("imagecodecs", reason="the extra tiff is not installed")
    path = tmp_path / "scene.tif"
    shape = {"tile": (16, 16)} if tiled else {"rowsperstrip": 16}
    tifffile.imwrite(path, VALUES, photometric="rgb", compression=compression, **shape)
    assert read_stored(path).values.shape == VALUES.shape
    content = path.read_bytes()[: path.stat().st_size * 3 // 5]
    path.write_bytes(content)
    for source in (path, content):
        for read in (read_stored, lambda it: read_image(it, 3)):
            with pytest.raises(BrokenImageError, match="truncated"):
                read(source)
    assert capfd.readouterr() == ("", "")


def test_damaged_values_of_a_tiff_are_named(tmp_path, capfd):
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, VALUES, photometric="rgb", compression="deflate", rowsperstrip=16)
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[1]
    content = bytearray(path.read_bytes())
    content[start : start + 200] = bytes(200)
    for read in (read_stored, lambda it: read_image(it, 3)):
        with pytest.raises(BrokenImageError, match="its compressed values are damaged"):
            read(bytes(content))
    assert capfd.readouterr() == ("", "")


def test_colours_that_only_pillow_converts_have_a_reason_too(tmp_path, capfd):
    from PIL import Image

    path = tmp_path / "lab.tif"
    Image.fromarray(VALUES).convert("LAB").save(path, compression="tiff_adobe_deflate")
    content = path.read_bytes()
    assert read_image(content, 3).shape == (3, 64, 64)
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[0]
    hurt = bytearray(content)
    hurt[start : start + 200] = bytes(200)
    with pytest.raises(BrokenImageError, match="its compressed values are damaged"):
        read_image(bytes(hurt), 3)
    assert capfd.readouterr() == ("", "")
