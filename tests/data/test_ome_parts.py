"""An OME-TIFF opens no other file than the checked parts of its image."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from BYOL.data.decode import BrokenImageError, read_header, read_image
from BYOL.data.formats.pyramids import open_windows
from BYOL.data.tiling import Tiling, tile_image

XML = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:a"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
    'Type="uint8" SizeX="12" SizeY="9" SizeC="1" SizeZ="1" SizeT="1"><TiffData IFD="0" '
    'PlaneCount="1"><UUID FileName={name}>urn:uuid:{uuid}</UUID></TiffData></Pixels></Image></OME>'
)
VALUES = np.arange(108, dtype=np.uint8).reshape(9, 12)


def write_ome(path: Path, name: str, uuid: str) -> Path:
    xml = XML.format(name=name, uuid=uuid)
    tifffile.imwrite(path, VALUES, description=xml, metadata=None, photometric="minisblack")
    return path


@pytest.fixture
def limit() -> Iterator[None]:
    """Fail instead of waiting at a pipe for ever."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("name", ['"pipe.tif"', "'pipe.tif'", "'&#47;etc&#47;passwd'", '"../x"'])
def test_a_single_part_with_another_identity_is_checked(tmp_path, limit, name):
    os.mkfifo(tmp_path / "pipe.tif")
    path = write_ome(tmp_path / "x.ome.tif", name, uuid="b")
    with pytest.raises(BrokenImageError, match=r"its part .* is missing"):
        read_image(path, 1)
    with pytest.raises(BrokenImageError, match="other files"):
        read_image(path.read_bytes(), 1)
    for level in (None, 0):
        cut = tile_image(tmp_path, path.name, tmp_path / "tiles", Tiling(8, 8, level=level))
        assert cut.error and not cut.tiles
    with pytest.raises(ValueError, match="no levels"):
        open_windows(path, 0, None)


def test_a_renamed_image_is_read(tmp_path):
    path = write_ome(tmp_path / "renamed.tif", '"original.ome.tif"', uuid="a")
    for source in (path, path.read_bytes()):
        assert (read_image(source, 1).numpy()[0] == VALUES).all()


def test_further_images_of_a_file_are_named(tmp_path):
    path = tmp_path / "positions.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for shift in range(3):
            file.write(VALUES + shift, photometric="minisblack")
    assert read_header(path).notes == ("only image 1 of 3 is used",)
    assert (read_image(path, 1).numpy()[0] == VALUES).all()
