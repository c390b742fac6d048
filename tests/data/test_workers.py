"""Loader processes leave signals to the main process."""

import os
import resource
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from BYOL.data.workers import REPEATED, start_worker


class _Slow(Dataset):
    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        time.sleep(0.05)
        return os.getpid(), torch.tensor(index)

    def __len__(self) -> int:
        return 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_all_processes_costs_no_batch(number: signal.Signals) -> None:
    loader = DataLoader(_Slow(), batch_size=None, num_workers=1, worker_init_fn=start_worker)
    seen = []
    for worker, index in loader:
        seen.append(int(index))
        if len(seen) in (2, 3):  # within the time of a repeated signal
            os.kill(worker, number)
        if len(seen) == 12:
            break
    assert seen == list(range(12))


def test_a_second_sigterm_ends_a_worker() -> None:
    loader = DataLoader(_Slow(), batch_size=None, num_workers=1, worker_init_fn=start_worker)
    batches = iter(loader)
    for _ in range(2):
        worker, _ = next(batches)
        os.kill(worker, signal.SIGTERM)
        time.sleep(REPEATED * 2)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(batches)


def _limited(worker: int) -> None:
    start_worker(worker)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # shared memory is a file


@pytest.mark.timeout(60)
def test_a_batch_that_cannot_be_sent_ends_the_loader(capfd: pytest.CaptureFixture[str]) -> None:
    loader = DataLoader(_Slow(), batch_size=None, num_workers=1, worker_init_fn=_limited)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(loader)
    assert "Traceback" not in capfd.readouterr().err
