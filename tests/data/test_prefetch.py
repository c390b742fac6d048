"""Copying batches ahead; without a GPU, stand-in streams record the calls in order."""

import contextlib

import pytest
import torch
from torch.utils.data import DataLoader

from BYOL.data.batch import Batch
from BYOL.data.prefetch import CudaPrefetcher


class Stream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def record_event(self):
        self.log.append(f"{self.name} copied")
        return len(self.log)

    def wait_event(self, event):
        self.log.append(f"{self.name} waits for {event}")


@pytest.fixture
def log(monkeypatch):
    """Replace CUDA's streams by stand-ins; the "device" is the CPU."""
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(log, "copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(log, "computing"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, stream: log.append(f"kept for {stream.name}")
    )
    return log


def batches(n: int) -> DataLoader:
    data = [Batch(i, torch.full((2,), i)) for i in range(n)]
    return DataLoader(data, batch_size=None)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_every_batch_is_yielded_once_in_order(log, n):
    ahead = CudaPrefetcher(batches(n), torch.device("cpu"))
    assert len(ahead) == n
    for _ in range(2):
        copied = list(ahead)
        assert [batch.epoch for batch in copied] == list(range(n))
        assert all((batch.ids == i).all() for i, batch in enumerate(copied))


def test_the_next_copy_starts_before_a_batch_is_yielded(log):
    iterator = iter(CudaPrefetcher(batches(3), torch.device("cpu")))
    next(iterator)
    assert log == [
        "copying copied",
        "copying copied",
        "computing waits for 1",
        "kept for computing",
    ]


def test_the_sampler_of_the_loader_is_accessible(log):
    loader = batches(3)
    assert CudaPrefetcher(loader, torch.device("cpu")).sampler is loader.sampler
