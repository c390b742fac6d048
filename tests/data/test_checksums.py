"""Damaged and truncated compressed volumes never give other values."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from BYOL.data.decode import BrokenImageError, read_stored
from BYOL.data.formats.stored import ReadOptions

nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
SimpleITK = pytest.importorskip("SimpleITK", reason="the extra medical is not installed")

SHAPE = (4, 24, 32)
STEPS = np.random.default_rng(0).integers(-3, 4, SHAPE)
VOXELS = (STEPS.cumsum(axis=2) + 500).astype(np.int16)
SIZE = rb"CompressedDataSize = (\d+)\n"


def write(path: Path) -> tuple[bytes, int]:
    """Write a compressed volume; returns its content, and the place of the compressed values."""
    if path.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(VOXELS.T.copy(), np.diag([-1, -1, 1, 1])), path)
        return path.read_bytes(), 10
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), str(path), useCompression=True)
    content = path.read_bytes()
    end = b"\n\n" if path.suffix == ".nrrd" else b"LOCAL\n"
    return content, content.index(end) + len(end)


def middle(path: Path) -> np.ndarray:
    return read_stored(path).values[..., 0]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_damaged_volumes_are_rejected_whichever_slice_is_read(tmp_path, capfd, ending):
    content, start = write(tmp_path / f"whole{ending}")
    np.testing.assert_array_equal(middle(tmp_path / f"whole{ending}"), VOXELS[2])
    path = tmp_path / f"damaged{ending}"
    places = np.linspace(start + 12, len(content) - 9, 12).astype(int)
    damaged = [content[:i] + bytes([content[i] ^ 0x55]) + content[i + 1 :] for i in places]
    damaged += [content[:-1], content[:-200]]
    if ending != ".nii.gz":  # which is recognized by its start
        damaged.append(content[:start] + b"ab" + content[start + 2 :])
    for text in damaged:
        path.write_bytes(text)
        for frame in (None, 0, 3):
            with pytest.raises(BrokenImageError):
                read_stored(path, ReadOptions(frame=frame))
    assert capfd.readouterr().out == ""  # ITK prints a line about damage


def test_a_metaimage_without_the_size_of_its_compressed_values_is_rejected(tmp_path, capfd):
    content, _ = write(tmp_path / "whole.mha")
    path = tmp_path / "without.mha"
    size = int(re.search(SIZE, content)[1])
    for field in (b"", b"CompressedDataSize = 0\n"):
        path.write_bytes(re.sub(SIZE, field, content))
        with pytest.raises(BrokenImageError, match="how many compressed bytes"):
            middle(path)
    path.write_bytes(re.sub(SIZE, b"CompressedDataSize = %d\n" % (size - 50), content))
    with pytest.raises(BrokenImageError, match="truncated"):
        middle(path)
    assert capfd.readouterr().out == ""


def test_values_in_several_compressed_parts_and_after_skipped_lines_are_read(tmp_path):
    content, _ = write(tmp_path / "whole.nii.gz")
    plain = gzip.decompress(content)
    path = tmp_path / "parts.nii.gz"
    path.write_bytes(gzip.compress(plain[:2000]) + gzip.compress(plain[2000:]))
    np.testing.assert_array_equal(middle(path), VOXELS[2])
    content, start = write(tmp_path / "whole.nrrd")
    path = tmp_path / "lines.nrrd"
    path.write_bytes(content[: start - 1] + b"line skip: 2\n\na\nb\n" + content[start:])
    np.testing.assert_array_equal(middle(path), VOXELS[2])


def test_a_file_that_decompresses_to_far_more_than_it_declares_is_rejected(tmp_path):
    content, _ = write(tmp_path / "whole.nii.gz")
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(content) + bytes(1 << 25), 1))
    with pytest.raises(BrokenImageError, match="larger than its header says"):
        middle(path)
