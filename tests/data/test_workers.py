"""Loader processes leave signals to the main process, and send batches wherever files are."""

import gc
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from BYOL.data import workers
from BYOL.data.workers import REPEATED, loaded_batches, start_worker, worker_arguments
from BYOL.errors import MachineError


class _Slow(Dataset):
    seconds = 0.05

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        time.sleep(self.seconds)
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


_LOADS = """
import tempfile
from torch.utils.data import DataLoader
from multiprocessing.util import get_temp_dir
from BYOL.data.workers import worker_arguments
from tests.data.test_workers import _Slow
_Slow.seconds = 0
loader = DataLoader(_Slow(), batch_size=None, **worker_arguments(1, 2))
print(sum(int(index) for _, index in loader), get_temp_dir(), tempfile.gettempdir())
"""


@pytest.mark.parametrize("length", [71, 72, 120])
def test_a_long_temporary_folder_costs_no_batch(tmp_path: Path, length: int) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="t"))  # shorter than tmp_path
    try:
        long = folder / ("x" * (length - len(str(folder)) - 1))
        long.mkdir()
        assert len(str(long)) == length
        answer = subprocess.run(
            [sys.executable, "-c", _LOADS], env={**os.environ, "TMPDIR": str(long)}, check=True,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        total, sockets, temporary = answer.stdout.split()
        assert int(total) == sum(range(60)) and temporary == str(long)
        assert (Path(sockets).parent == long) == (length <= 71)
        assert not Path(sockets).exists() and not list(long.iterdir())
    finally:
        shutil.rmtree(folder)


def test_a_machine_without_a_short_folder_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 90)
    monkeypatch.setattr(workers, "_SHORT_FOLDERS", ("/nowhere",))
    with pytest.raises(MachineError, match=r"\(TMPDIR\) has a path of 91 bytes.*at most 71"):
        worker_arguments(1, 2)
    assert worker_arguments(0, 2) == {}


class _Broken(Dataset):
    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise MachineError("the disk is gone")
        return index

    def __len__(self) -> int:
        return 60


def test_an_error_ends_the_processes_at_once() -> None:
    loader = DataLoader(_Broken(), batch_size=None, **worker_arguments(2, prefetch=2))
    began = time.monotonic()
    with pytest.raises(MachineError, match="the disk is gone") as caught:
        list(loaded_batches(loader))
    assert not multiprocessing.active_children()
    del caught
    gc.collect()
    assert time.monotonic() - began < 4


def test_batches_that_are_not_all_wanted_leave_no_process() -> None:
    batches = loaded_batches(DataLoader(_Slow(), batch_size=None, **worker_arguments(1, 2)))
    assert next(batches) and len(multiprocessing.active_children()) == 1
    batches.close()
    assert not multiprocessing.active_children()


_QUEUES_FAIL = """
import multiprocessing
from torch.utils.data import DataLoader
from BYOL.data.workers import worker_arguments

def full(*_):
    raise OSError(28, "No space left on device")

context = multiprocessing.get_context()
context.Queue = full
loader = DataLoader(
    range(4), multiprocessing_context=context, **worker_arguments(1, prefetch=2)
)
try:
    iter(loader)
except OSError as error:
    print(error.strerror)
"""


def test_workers_whose_queues_cannot_be_created_leave_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _QUEUES_FAIL], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("No space left on device\n", "")
