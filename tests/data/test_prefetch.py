"""Without a GPU the streams are stand-ins that write down what is asked of them, in order."""

import contextlib

import pytest
import torch
from torch.utils.data import DataLoader

from BYOL.data.prefetch import CopiedAhead


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
    """Replaces CUDA's streams; the "device" is the CPU."""
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(log, "copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(log, "computing"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, stream: log.append(f"kept for {stream.name}")
    )
    return log


def batches(n: int) -> DataLoader:
    data = [{"epoch": i, "crops": torch.full((2,), i), "broken": []} for i in range(n)]
    return DataLoader(data, batch_size=None)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_every_batch_comes_once_in_order_whole(log, n):
    ahead = CopiedAhead(batches(n), torch.device("cpu"))
    assert len(ahead) == n
    for _ in range(2):
        found = list(ahead)
        assert [batch["epoch"] for batch in found] == list(range(n))
        assert all((batch["crops"] == i).all() for i, batch in enumerate(found))


def test_the_next_copy_is_under_way_before_a_batch_is_handed_over(log):
    iterator = iter(CopiedAhead(batches(3), torch.device("cpu")))
    next(iterator)
    assert log == [
        "copying copied",
        "copying copied",
        "computing waits for 1",
        "kept for computing",
    ]


def test_the_epoch_of_the_order_can_be_set_through_it(log):
    loader = batches(3)
    assert CopiedAhead(loader, torch.device("cpu")).sampler is loader.sampler
