"""Processes that a command starts itself."""

import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from BYOL.errors import DataError, StoppedError
from BYOL.training import local_processes
from BYOL.training.local_processes import run_processes
from tests.forked import FORKSERVER


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that need not import PyTorch; test_embed_parts.py has those of a command."""
    multiprocessing = SimpleNamespace(get_context=lambda _: FORKSERVER)
    monkeypatch.setattr(local_processes, "multiprocessing", multiprocessing)


def kill_second(name: str, rank: int, processes: int) -> str:
    if rank == 1:
        os.kill(os.getpid(), 9)
    return f"{name} {rank} of {processes}"


def test_a_killed_process_is_reported_after_the_others_have_finished(lines: Any) -> None:
    assert run_processes(kill_second, ("x",), range(2, 4), 4) == ["x 2 of 4", "x 3 of 4"]
    with pytest.raises(StoppedError, match="process 1 of 2 died"):
        run_processes(kill_second, ("x",), range(2), 2)
    assert lines() == ["warning: process 1 of 2 died; the others finish their work"]


def fail(rank: int, processes: int) -> None:
    if rank == 0:
        time.sleep(0.5)  # the others end before it
    raise DataError(f"rank {rank}: no images")


def test_a_mistake_is_that_of_the_first_process() -> None:
    with pytest.raises(DataError, match="rank 0: no images"):
        run_processes(fail, (), range(2), 2)
