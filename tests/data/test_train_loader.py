"""Training and evaluation batches from memory and from files."""

import weakref

import numpy as np
import torch

from BYOL.data.eval_loader import eval_batches
from BYOL.data.sampler import EpochSampler
from BYOL.data.sources import open_images
from BYOL.data.train_loader import CropsDataset, MemoryLoader, train_loader
from BYOL.views.config import paper_views
from tests.conftest import draw_images

CPU = torch.device("cpu")


def batches(images, workers: int, epochs: int = 2) -> list[dict]:
    sampler = EpochSampler(len(images), 6, seed=5)
    loader = train_loader(images, sampler, views=paper_views(12), workers=workers, device=CPU)
    return [batch for _ in range(epochs) for batch in loader]


def test_the_memory_loader_yields_the_requested_images():
    images = open_images(None).train
    sampler = EpochSampler(len(images), 6, seed=5)
    loader = train_loader(images, sampler, views=paper_views(12), workers=0, device=CPU)
    batch = next(iter(loader))
    assert batch.epoch == 0 and len(loader) == len(images) // 6
    assert torch.equal(batch.images, images.data[batch.ids])


def test_images_move_to_the_device_when_training_starts():
    """With several GPUs, a process knows its device only then; earlier, all would use the first."""
    images = open_images(None).train
    loader = MemoryLoader(images, EpochSampler(len(images), 6), torch.device("meta"), 2)
    assert loader.data.device == CPU
    batch = next(iter(loader))
    devices = {loader.data.device, batch.images.device, batch.together.ids.device}
    assert devices == {torch.device("meta")}


def test_joint_batches_equal_separate_batches():
    """As on a GPU: four batches together, of an epoch of ten that resumes at its second batch."""
    images = open_images(None).train
    images = images.subset(np.arange(63))

    def epoch(together):
        sampler = EpochSampler(63, 6, seed=5, start_batch=1)
        return list(MemoryLoader(images, sampler, CPU, together))

    alone, shared = epoch(1), epoch(4)
    assert len(alone) == len(shared) == 9 and alone[0].together is None
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a.ids, b.ids) and torch.equal(a.images, b.images)
        whole, part = b.together, slice(b.start, b.start + 6)
        assert torch.equal(whole.ids[part], b.ids) and len(whole.ids) == 24
        assert torch.equal(whole.images[part], b.images)
    assert len({id(b.together) for b in shared}) == 3


def test_batches_do_not_depend_on_the_number_of_workers(tmp_path):
    images = open_images(str(draw_images(tmp_path / "images", side=30))).train
    alone = batches(images, 0)
    assert len(alone) == 8 and alone[0].crops[0].shape == (6, 3, 12, 12)
    assert [b.epoch for b in alone] == [0] * 4 + [1] * 4
    for workers in (1, 3):
        for a, b in zip(alone, batches(images, workers), strict=True):
            assert torch.equal(a.ids, b.ids) and a.epoch == b.epoch
            assert torch.equal(a.crops[0], b.crops[0]) and torch.equal(a.crops[1], b.crops[1])


def test_a_broken_image_is_replaced_by_the_next_and_reported(tmp_path):
    images = open_images(str(draw_images(tmp_path / "images", each=3))).train
    (tmp_path / "images" / "a" / "01.png").write_bytes(b"")
    batch = CropsDataset(images, 0, paper_views(12))[(0, np.array([0, 1, 2]))]
    assert batch.broken == ["a/01.png"] and batch.crops[0].shape == (3, 3, 12, 12)


def test_pixels_of_only_one_image_at_a_time_are_in_memory(tmp_path, monkeypatch):
    images = open_images(str(draw_images(tmp_path / "images", each=5))).train
    real, before = CropsDataset._crops, []

    def crops(self, file, boxes):
        assert all(reference() is None for reference in before)
        before.append(weakref.ref(file))
        return real(self, file, boxes)

    monkeypatch.setattr(CropsDataset, "_crops", crops)
    CropsDataset(images, 0, paper_views(12))[(0, np.arange(10))]
    assert len(before) == 10


def test_evaluation_yields_every_image_once_in_order(tmp_path):
    images = open_images(str(draw_images(tmp_path / "images", side=30))).train
    (tmp_path / "images" / "a" / "01.png").write_bytes(b"")
    for workers in (0, 2):
        batches = list(eval_batches(images, 12, 7, workers))
        assert torch.cat([ids for ids, _ in batches]).tolist() == [0, *range(2, 24)]
        assert all(pixels.shape[1:] == (3, 12, 12) for _, pixels in batches)


def test_evaluation_batches_of_memory_and_files_are_equal(tmp_path):
    from BYOL.data.cache import to_memory

    images = open_images(str(draw_images(tmp_path / "images", side=30))).train
    held, _ = to_memory(images, 1 << 30)
    for (_, a), (_, b) in zip(
        eval_batches(images, 15, 24), eval_batches(held, 15, 24), strict=True
    ):
        assert (a.int() - b.int()).abs().max() <= 2  # Pillow rounds between its two passes
