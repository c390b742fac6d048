import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.data import loading
from BYOL.data.centres import eval_batches
from BYOL.data.loading import CropsDataset, EpochSampler, train_loader
from BYOL.data.sources import open_images
from BYOL.views.config import paper_views
from tests.conftest import draw_pictures

CPU = torch.device("cpu")


def requests(sampler: EpochSampler) -> list[tuple[int, list[int]]]:
    return [(epoch, ids.tolist()) for epoch, ids in sampler]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_an_epoch_shows_every_picture_at_most_once(n, batch, accumulate, seed):
    sampler = EpochSampler(n, batch, accumulate=accumulate, seed=seed)
    passed = requests(sampler)
    assert len(passed) == len(sampler) == n // (batch * accumulate) * accumulate
    shown = [i for _, ids in passed for i in ids]
    assert len(set(shown)) == len(shown) and all(0 <= i < n for i in shown)


def test_every_pass_is_the_next_epoch_and_has_its_own_order():
    sampler = EpochSampler(32, 8, seed=3)
    first, second = requests(sampler), requests(sampler)
    assert {e for e, _ in first} == {0} and {e for e, _ in second} == {1}
    assert [i for _, i in first] != [i for _, i in second]
    sampler.set_epoch(0)
    assert requests(sampler) == first


def test_a_restart_in_the_middle_goes_on_where_it_was():
    whole = requests(EpochSampler(50, 4, seed=1, start_epoch=2))
    rest = EpochSampler(50, 4, seed=1, start_epoch=2, start_batch=5)
    assert requests(rest) == whole[5:]
    assert len(requests(rest)) == len(whole)  # only the first pass is cut short


def test_processes_share_a_batch_as_one_process_would_have_it(monkeypatch):
    alone = requests(EpochSampler(40, 8, seed=1))
    shares = []
    for rank in range(4):
        monkeypatch.setattr(loading, "_processes", lambda rank=rank: (rank, 4))
        shares.append(requests(EpochSampler(40, 2, seed=1)))
    for k, (_, ids) in enumerate(alone):
        assert sorted(i for share in shares for i in share[k][1]) == sorted(ids)


def test_accumulated_parts_together_are_one_batch():
    whole = requests(EpochSampler(40, 8, seed=1))
    parts = requests(EpochSampler(40, 4, accumulate=2, seed=1))
    assert [a + b for (_, a), (_, b) in zip(parts[::2], parts[1::2], strict=True)] == [
        ids for _, ids in whole
    ]


def batches(images, workers: int, epochs: int = 2) -> list[dict]:
    sampler = EpochSampler(len(images), 6, seed=5)
    loader = train_loader(images, sampler, views=paper_views(12), workers=workers, device=CPU)
    return [batch for _ in range(epochs) for batch in loader]


def test_memory_gives_the_pictures_of_the_request():
    images = open_images(None).train
    sampler = EpochSampler(len(images), 6, seed=5)
    loader = train_loader(images, sampler, views=paper_views(12), workers=0, device=CPU)
    batch = next(iter(loader))
    assert batch["epoch"] == 0 and len(loader) == len(images) // 6
    assert torch.equal(batch["images"], images.data[batch["ids"]])


def test_the_number_of_workers_changes_nothing(tmp_path):
    images = open_images(str(draw_pictures(tmp_path / "pictures", side=30))).train
    alone = batches(images, 0)
    assert len(alone) == 8 and alone[0]["crops"].shape == (6, 3, 12, 12)
    assert [b["epoch"] for b in alone] == [0] * 4 + [1] * 4
    for workers in (1, 3):
        for a, b in zip(alone, batches(images, workers), strict=True):
            assert torch.equal(a["ids"], b["ids"]) and a["epoch"] == b["epoch"]
            assert torch.equal(a["crops"], b["crops"]) and torch.equal(a["crops1"], b["crops1"])


def test_a_broken_picture_is_replaced_by_the_next_and_named(tmp_path):
    images = open_images(str(draw_pictures(tmp_path / "pictures", each=3))).train
    (tmp_path / "pictures" / "a" / "01.png").write_bytes(b"")
    batch = CropsDataset(images, 0, paper_views(12))[(0, np.array([0, 1, 2]))]
    assert batch["broken"] == ["a/01.png"] and batch["crops"].shape == (3, 3, 12, 12)


def test_evaluation_sees_every_picture_once_in_order(tmp_path):
    images = open_images(str(draw_pictures(tmp_path / "pictures", side=30))).train
    (tmp_path / "pictures" / "a" / "01.png").write_bytes(b"")
    for workers in (0, 2):
        found = list(eval_batches(images, 12, 7, workers))
        assert torch.cat([ids for ids, _ in found]).tolist() == [0, *range(2, 24)]
        assert all(pixels.shape[1:] == (3, 12, 12) for _, pixels in found)


def test_evaluation_of_memory_and_of_files_is_the_same(tmp_path):
    from BYOL.data.memory import to_memory

    images = open_images(str(draw_pictures(tmp_path / "pictures", side=30))).train
    held, _ = to_memory(images, 1 << 30)
    for (_, a), (_, b) in zip(
        eval_batches(images, 15, 24), eval_batches(held, 15, 24), strict=True
    ):
        assert (a.int() - b.int()).abs().max() <= 2  # Pillow rounds between its two passes
