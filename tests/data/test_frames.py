"""Frames of DICOM objects and slices of volumes as separate images, in one group per file."""

from pathlib import Path

import numpy as np
import pytest

from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data.annotations import AnnotationFiles, annotate_splits
from BYOL.data.cache import to_memory
from BYOL.data.formats.frames import Brightest
from BYOL.data.frame_images import FrameImages
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.splits import held_out_mask
from tests.conftest import TINY

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
from tests.data.test_supported import scan  # noqa: E402

COUNTS = {"a/loop.dcm": 5, "a/one.dcm": 1, "a/volume.nii.gz": 4, "b/loop.dcm": 3, "b/x.dcm": 2}


@pytest.fixture
def study(tmp_path) -> Path:
    """Every frame has its own value: 100 times the number of its file, plus its own number."""
    for number, (name, count) in enumerate(COUNTS.items()):
        path = tmp_path / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = (100 * number + np.arange(count)).astype(np.uint16)
        frames = np.broadcast_to(levels[:, None, None], (count, 8, 9))
        if path.suffix == ".gz":
            nibabel.save(nibabel.Nifti1Image(frames.T.astype(np.int16), np.eye(4)), path)
        else:
            data = scan(np.ascontiguousarray(frames if count > 1 else frames[0]), bits=12)
            data.save_as(path, enforce_file_format=True)
    return tmp_path / "study"


def values(images) -> list[int]:
    """The values of constant images, from a range in which a level is a value."""
    return [int(images.read(i)[0, 0, 0]) for i in range(len(images))]


def test_every_frame_is_an_image_named_by_its_file_and_number(study):
    train = open_images(str(study), frames="all", pixel_range=(0, 255)).train
    assert isinstance(train, FrameImages) and len(train) == 15
    names = [train.sample_name(i) for i in range(15)]
    assert names[:6] == [*(f"a/loop.dcm::{k}" for k in range(5)), "a/one.dcm"]
    assert values(train) == [0, 1, 2, 3, 4, 100, 200, 201, 202, 203, 255, 255, 255, 255, 255]
    assert train.labels.tolist() == [0] * 10 + [1] * 5
    assert train.groups.tolist() == [0] * 5 + [1] + [2] * 4 + [3] * 3 + [4] * 2
    (note,) = train.notes
    assert "15 images from 5 files" in note
    part = train.subset(np.array([7, 3]))
    assert [part.sample_name(i) for i in range(2)] == ["a/volume.nii.gz::1", "a/loop.dcm::3"]
    assert values(part) == [201, 3] and part.digest != train.digest
    assert part.open(0).decode()[0, 0, 0] == 201


def test_the_range_is_that_of_all_frames(tmp_path):
    levels = np.linspace(-3000, 3000, 21).astype(np.int16)
    volume = np.broadcast_to(levels, (8, 9, 21)) + np.arange(9, dtype=np.int16)[:, None]
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "volume.nii.gz")
    assert open_images(str(tmp_path), frames="all").pixel_range == (-3000, 3008)


def test_without_all_a_file_is_one_image(study):
    for frames, first, volume in ((None, 0, 202), ("first", 0, 200), ("middle", 2, 202)):
        train = open_images(str(study), frames=frames, pixel_range=(0, 255)).train
        assert len(train) == 5 and train.groups is None
        assert [values(train)[i] for i in (0, 2)] == [first, volume]
    train = open_images(str(study), slice="max", pixel_range=(0, 255)).train
    assert values(train)[:3] == [0, 100, 203]
    assert any("5 frames" in note and "--frames all" in note for note in train.notes)


def test_frames_of_one_object_never_are_on_both_sides_of_a_split(study):
    images = open_images(str(study), frames="all", pixel_range=(0, 255)).train
    for seed in range(20):
        held_out = held_out_mask(LabelledSet.of(images), seed)
        both = set(images.groups[held_out].tolist()) & set(images.groups[~held_out].tolist())
        assert held_out.any() and not both
    held, broken = to_memory(images, 1 << 20)
    assert not broken and (held.groups == images.groups).all()
    assert held.sample_name(7) == "a/volume.nii.gz::1"


def test_tables_name_files_or_frames(study, tmp_path):
    splits = open_images(str(study), frames="all", pixel_range=(0, 255))
    (tmp_path / "labels.csv").write_text(
        "file,label\na/loop.dcm,x\na/one.dcm,y\nb/x.dcm::0,x\nb/x.dcm::1,y\n"
    )
    patients = [f"{name},{'p' if name.endswith('loop.dcm') else name}" for name in COUNTS]
    (tmp_path / "groups.csv").write_text("\n".join(["file,patient", *patients]))
    files = AnnotationFiles(
        labels=str(tmp_path / "labels.csv"), groups=str(tmp_path / "groups.csv")
    )
    found = annotate_splits(splits, files)
    train = found.splits.train
    assert len(train) == 8 and found.left_out == 7
    assert train.labels.tolist() == [0] * 5 + [1, 0, 1]
    assert len(set(train.groups.tolist())) == 3
    (tmp_path / "wrong.csv").write_text("file,label\na/loop.dcm::9,x\na/one.dcm,y\n")
    with pytest.raises(UserError, match=r"a/loop\.dcm::9"):
        annotate_splits(splits, AnnotationFiles(labels=str(tmp_path / "wrong.csv")))


def test_a_run_on_all_frames_keeps_the_setting(study, tmp_path, capsys):
    out = tmp_path / "run"
    argv = ["pretrain", str(study), *TINY, "--batch-size=4", "--frames=all", f"--out={out}"]
    assert main([*argv, "--no-report", "--preset=grey"]) == 0
    assert "15 images from 5 files" in capsys.readouterr().err
    assert load_config(out / "config.yaml").frames == "all"
    features = tmp_path / "e.npz"
    assert main(["embed", str(out), "--out", str(features)]) == 0
    embedded = np.load(features)
    assert len(embedded["embedding"]) == 15


def test_a_file_with_a_damaged_header_stays_one_image(study):
    (study / "a" / "broken.dcm").write_bytes(b"x" * 300)
    train = open_images(str(study), frames="all", pixel_range=(0, 255)).train
    assert len(train) == 16
    with pytest.raises(Exception, match="no image"):
        train.read(0)


def test_slices_of_tiff_stacks_are_frames_too(tmp_path):
    import tifffile

    stack = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4, 1, 1).repeat(5, 3).repeat(6, 4)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    train = open_images(str(tmp_path), frames="all", pixel_range=(0, 255)).train
    assert len(train) == 6 and train.channels == 4
    for number in range(6):
        t, z = divmod(number, 3)
        assert train.read(number)[:, 0, 0].tolist() == stack[t, z, :, 0, 0].tolist()
    first = open_images(str(tmp_path), frames="first", pixel_range=(0, 255)).train
    assert first.read(0)[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_header_that_declares_too_many_frames_is_one_image(tmp_path):
    data = scan(np.zeros((8, 9), np.uint16), bits=12, NumberOfFrames=999_999_999)
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    data.NumberOfFrames = 1
    data.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert len(open_images(str(tmp_path), frames="all").train) == 2


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_the_brightest_value_ignores_no_data_of_every_type(dtype):
    values = np.array([[[0, 1, 1]], [[1, 1, 0]]], dtype)
    assert Brightest(low=False, no_data=1).along(values, (0,)).tolist() == [[0, 1, 0]]
    assert Brightest(low=False, no_data=None).along(values, (0,)).tolist() == [[1, 1, 1]]
