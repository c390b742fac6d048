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
from BYOL.data.sources import open_images
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


@pytest.mark.parametrize(
    "name",
    ['"pipe.tif"', "'pipe.tif'", "'&#47;etc&#47;passwd'", '"../x"', f'"{300 * "x"}.ome.tif"'],
    ids=["pipe", "quotes", "entities", "above", "long"],
)
def test_a_single_part_with_another_identity_is_checked(tmp_path, limit, name):
    os.mkfifo(tmp_path / "pipe.tif")
    path = write_ome(tmp_path / "x.ome.tif", name, uuid="b")
    with pytest.raises(BrokenImageError, match=r"its part \S"):
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


METADATA = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:all"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
    'Type="uint8" SizeX="12" SizeY="9" SizeC="2" SizeZ="1" SizeT="1">{planes}</Pixels></Image>'
    "</OME>"
)
PLANE = (
    '<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="c{c}.ome.tif">urn:uuid:c{c}'
    "</UUID></TiffData>"
)
ELSEWHERE = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:c{c}"><BinaryOnly MetadataFile="{name}" UUID="urn:uuid:all"/></OME>'
)


def write_set(folder: Path, metadata: str) -> list[Path]:
    """Two channels in two files, whose metadata are in a third one."""
    folder.mkdir(parents=True)
    xml = METADATA.format(planes="".join(PLANE.format(c=c) for c in (0, 1)))
    if metadata.endswith(".tif"):
        tifffile.imwrite(folder / metadata, VALUES, description=xml, metadata=None)
    else:
        (folder / metadata).write_text(xml)
    paths = [folder / f"c{c}.ome.tif" for c in (0, 1)]
    for c, path in enumerate(paths):
        text = ELSEWHERE.format(c=c, name=metadata)
        tifffile.imwrite(path, VALUES + 100 * c, description=text, metadata=None)
    return paths


@pytest.mark.parametrize("metadata", ["x.companion.ome", "x.ome.tif"])
def test_metadata_in_another_file_are_read_from_there(tmp_path, metadata):
    paths = write_set(tmp_path / "p", metadata)
    for path in paths:
        values = read_image(path, 2, (0, 255)).numpy()
        assert np.array_equal(values, np.stack([VALUES, VALUES + 100]))
    images = open_images(str(tmp_path / "p")).train
    assert len(images) == 1 if metadata.endswith(".ome") else len(images) <= 2


@pytest.mark.parametrize("name", ["", "gone.companion.ome", "../x.companion.ome", "/etc/passwd"])
def test_missing_metadata_are_named(tmp_path, limit, name):
    path = write_set(tmp_path / "p", "x.companion.ome")[0]
    (tmp_path / "x.companion.ome").write_text("<OME/>")
    text = ELSEWHERE.format(c=0, name=name)
    tifffile.imwrite(path, VALUES, description=text, metadata=None)
    with pytest.raises(BrokenImageError, match="with its metadata is missing"):
        read_image(path, 1)


def test_metadata_elsewhere_cannot_be_read_from_bytes(tmp_path):
    path = write_set(tmp_path / "p", "x.companion.ome")[0]
    with pytest.raises(BrokenImageError, match=r"x\.companion\.ome with its metadata is missing"):
        read_image(path.read_bytes(), 1)


def test_metadata_in_a_pipe_are_missing(tmp_path, limit):
    path = write_set(tmp_path / "p", "x.companion.ome")[0]
    (tmp_path / "p" / "x.companion.ome").unlink()
    os.mkfifo(tmp_path / "p" / "x.companion.ome")
    with pytest.raises(BrokenImageError, match="with its metadata is missing"):
        read_image(path, 1)
