"""Threads and memory of processes whose memory is limited."""

import subprocess
import sys
import threading

import pytest

from BYOL import _hardware
from BYOL._hardware import available_memory, thread_pool

pytest.importorskip("resource")


def test_work_is_done_in_threads() -> None:
    with thread_pool(2, "work") as pool:
        names = set(pool.map(lambda _: threading.current_thread().name, range(4)))
    assert names <= {"work_0", "work_1"}


def test_where_memory_is_limited_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hardware, "_free_address_space", lambda: 100 << 20)
    with thread_pool(2) as pool:
        assert set(pool.map(lambda _: threading.current_thread(), range(4))) == {
            threading.current_thread()
        }
        failed = pool.submit(int, "x")
        assert isinstance(failed.exception(), ValueError)
        assert pool.submit(int, "3", base=5).result() == 3


_LIMITED = """
import resource
from BYOL._hardware import available_memory, thread_pool
before = available_memory()
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
pools = [type(thread_pool(n)).__name__ for n in (1, 2)]
print(available_memory() <= 200 << 20 < before, *pools)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read as on Linux")
def test_the_limit_of_a_process_counts_as_available_memory() -> None:
    assert available_memory()
    command = [sys.executable, "-c", _LIMITED]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["True", "ThreadPoolExecutor", "_CallerExecutor"]
