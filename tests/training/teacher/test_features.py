"""The features of a teacher are computed once, stored next to the runs, and used again."""

import contextlib
import errno
import json
import os
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from BYOL import _waiting
from BYOL._hardware import Machine
from BYOL.data.sources import open_images
from BYOL.errors import MachineError
from BYOL.training.teacher.features import TeacherFeatures
from BYOL.training.teacher.image_keys import image_keys
from BYOL.training.teacher.network import Teacher, TeacherNetwork
from BYOL.views.config import InputSpec
from tests.conftest import draw_images


class Counted(nn.Module):
    """Means of the channels and of the left half; counts the images."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.images += len(x)
        half = x[..., : x.shape[-1] // 2]
        return torch.cat([x.mean(dim=(2, 3)), half.mean(dim=(2, 3))], dim=1)


def features_in(folder, digest: str = "one", **changes) -> TeacherFeatures:
    network = TeacherNetwork(Counted(), InputSpec(16, [0.5] * 3, [0.25] * 3), [0, 1, 2])
    values = {"size": 16, "channels": 3, "features": 6, "digest": digest} | changes
    teacher = Teacher("t", network, trained_on="x", licence="y", command_name="t", **values)
    return TeacherFeatures(teacher, folder, Machine("cpu", "fp32"))


def count(features: TeacherFeatures) -> int:
    return features.teacher.network.network.images


@pytest.fixture
def photos(tmp_path):
    """Files of two sizes, which are not kept in memory."""
    draw_images(tmp_path / "photos", each=3, side=20)
    Image.new("RGB", (30, 24), (10, 200, 90)).save(tmp_path / "photos" / "a" / "last.png")
    return tmp_path / "photos"


def test_features_are_those_of_the_network_on_normalised_pixels(photos, tmp_path):
    images = open_images(str(photos)).train
    found = features_in(tmp_path / "f").of(images)
    assert found.dtype == np.float16 and found.shape == (7, 6)
    index = next(i for i in range(7) if images.sample_name(i).endswith("last.png"))
    colour = (np.array([10, 200, 90]) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(found[index], np.tile(colour, 2), atol=2e-3)


def test_a_later_run_reads_the_file_and_reports_what_it_had_cost(photos, tmp_path):
    images = open_images(str(photos)).train
    first = features_in(tmp_path / "f")
    stored = np.array(first.of(images))
    assert not first.reused and count(first) >= 7
    later = features_in(tmp_path / "f")
    assert np.array_equal(later.of(open_images(str(photos)).train), stored)
    assert later.reused and count(later) == 0
    file = next((tmp_path / "f").glob("*.json"))
    assert later.facts["images"] == 7
    assert later.seconds == json.loads(file.read_text())["seconds"]


def test_nothing_is_written_or_locked_where_all_features_are_complete(
    photos, tmp_path, monkeypatch
):
    images = open_images(str(photos)).train
    stored = np.array(features_in(tmp_path / "f").of(images))
    monkeypatch.delattr("BYOL.training.teacher.features.claimed")  # the folder may be read-only
    assert np.array_equal(features_in(tmp_path / "f").of(images), stored)


def test_a_run_says_that_it_waits_for_the_features_of_another(photos, tmp_path, monkeypatch, lines):
    @contextlib.contextmanager
    def slow(path, wait):
        assert wait
        time.sleep(0.3)
        yield True

    monkeypatch.setattr(_waiting, "_FIRST", 0.05)
    monkeypatch.setattr("BYOL.training.teacher.features.claimed", slow)
    features_in(tmp_path / "f").of(open_images(str(photos)).train)
    assert any(
        line.startswith("waiting for another process that computes features") for line in lines()
    )


def test_a_full_disk_is_found_before_the_features_are_computed(photos, tmp_path, monkeypatch):
    """A memory-mapped file without space would end the process by SIGBUS."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    features = features_in(tmp_path / "f")
    with pytest.raises(MachineError, match="no space left on the device; nothing was changed"):
        features.of(open_images(str(photos)).train)
    assert count(features) == 0
    assert [path.name for path in (tmp_path / "f").iterdir()] == [".lock"]


def test_space_that_a_file_system_cannot_reserve_is_no_mistake(photos, tmp_path, monkeypatch):
    def unknown(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    assert len(features_in(tmp_path / "f").of(open_images(str(photos)).train)) == 7


def test_the_files_of_images_are_read_once_for_their_keys(photos, tmp_path, monkeypatch):
    images, calls = open_images(str(photos)).train, []
    monkeypatch.setattr(
        "BYOL.training.teacher.features.image_keys",
        lambda images: calls.append(1) or image_keys(images),
    )
    features = features_in(tmp_path / "f")
    features.of(images)
    features.read(images)
    features.vectors(images)
    assert len(calls) == 1


@pytest.mark.parametrize("change", ["file", "teacher", "new image"])
def test_the_file_is_not_reused_if_something_has_changed(photos, tmp_path, change):
    features_in(tmp_path / "f").of(open_images(str(photos)).train)
    later = features_in(tmp_path / "f", digest="two" if change == "teacher" else "one")
    if change == "file":
        Image.new("RGB", (20, 20), (1, 2, 3)).save(photos / "b" / "00.png")
    if change == "new image":
        Image.new("RGB", (20, 20), (1, 2, 3)).save(photos / "b" / "new.png")
    images = open_images(str(photos)).train
    found = later.of(images)
    assert not later.reused and count(later) >= len(images)
    if change == "file":
        index = next(i for i in range(7) if images.file_name(i).endswith("b/00.png"))
        np.testing.assert_allclose(found[index, 0], (1 / 255 - 0.5) / 0.25, atol=2e-3)


def test_equal_names_sizes_and_times_are_no_equal_images(tmp_path):
    """Files from an archive with constant times: only their content tells them apart."""
    keys = []
    for shade in (10, 200):
        folder = tmp_path / str(shade) / "photos"
        folder.mkdir(parents=True)
        for i, side in enumerate((20, 30)):  # two sizes are not kept in memory
            file = folder / f"{i}.bmp"
            Image.new("RGB", (side, side), (shade, 0, 0)).save(file)
            os.utime(file, (315532800, 315532800))
        keys.append(image_keys(open_images(str(folder)).train))
    assert not set(keys[0]) & set(keys[1])


@pytest.mark.parametrize(
    "content", [None, b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00v\x00{'("]
)
def test_a_damaged_file_is_written_again(photos, tmp_path, lines, content):
    images = open_images(str(photos)).train
    stored = np.array(features_in(tmp_path / "f").of(images))
    file = next((tmp_path / "f").glob("*.npy"))
    file.write_bytes(file.read_bytes()[:100] if content is None else content)
    later = features_in(tmp_path / "f")
    assert np.array_equal(later.of(images), stored) and not later.reused
    assert sum("is damaged and is written again" in line for line in lines()) == 1


def test_an_unreadable_image_has_the_features_of_the_next_readable_one(photos, tmp_path):
    (photos / "a" / "00.png").write_bytes(b"no image")
    images = open_images(str(photos)).train
    found = features_in(tmp_path / "f").of(images)
    index = next(i for i in range(7) if images.file_name(i).endswith("a/00.png"))
    assert np.array_equal(found[index], found[index + 1])


def test_vectors_of_a_part_of_the_images_come_from_the_file(photos, tmp_path):
    images = open_images(str(photos)).train
    features = features_in(tmp_path / "f")
    stored = features.of(images)
    before = count(features)
    part = images.subset(np.array([4, 1]))
    assert np.array_equal(features.vectors(part), stored[[4, 1]].astype(np.float32))
    assert count(features) == before


def test_vectors_of_other_images_are_computed(photos, tmp_path):
    features = features_in(tmp_path / "f")
    features.of(open_images(str(photos)).train)
    other = draw_images(tmp_path / "other", each=2, side=21)
    before = count(features)
    assert features.vectors(open_images(str(other)).train).shape == (4, 6)
    assert count(features) > before


def test_keys_of_images_in_memory_are_those_of_their_pixels(tmp_path):
    pixels = np.zeros((3, 20, 20, 3), np.uint8)
    pixels[1] = 7
    np.save(tmp_path / "a.npy", pixels)
    keys = image_keys(open_images(str(tmp_path / "a.npy")).train)
    assert keys[0] == keys[2] != keys[1]


def test_a_file_that_was_only_touched_is_computed_again(photos):
    before = image_keys(open_images(str(photos)).train)
    os.utime(photos / "a" / "01.png", ns=(1, 1))
    after = image_keys(open_images(str(photos)).train)
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1
