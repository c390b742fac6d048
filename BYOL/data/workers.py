"""Loader processes: their threads, their sockets, and the signals that they leave alone."""

import os
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing import queues, util
from types import FrameType
from typing import Any

import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from BYOL.errors import MachineError

_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_SOCKET_NAME = len("/pymp-01234567/listener-01234567")  # the name within the temporary folder
_LONGEST_SOCKET = 103  # bytes of the path of a socket: 107 on Linux, 103 on macOS
_LONGEST_WAIT = 600  # seconds from the first SIGTERM to the end of a worker
REPEATED = 0.2  # seconds: a launcher and a terminal may both send the same signal
_requested_at: float | None = None  # time of the first SIGTERM
_LEFT_TO_MAIN = ("SIGINT", "SIGHUP", "SIGUSR1")

# PyTorch closes an iterator whose queues could not be created, too: it has nothing to close, and
# without this value it ends in a traceback.
_MultiProcessingDataLoaderIter._shutdown = True  # type: ignore[attr-defined]


def worker_arguments(workers: int, prefetch: int) -> dict[str, Any]:
    """Return the arguments of a ``DataLoader`` with ``workers`` processes.

    Args:
        workers: number of loader processes; 0 decodes in this process.
        prefetch: number of batches that each process holds ready.

    Raises:
        MachineError: loader processes cannot send batches on this machine.
    """
    if not workers:
        return {}
    _prepare_sockets()
    return {
        "num_workers": workers,
        "prefetch_factor": prefetch,
        "worker_init_fn": start_worker,
    }


def loaded_batches(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of a ``DataLoader``; its processes end as soon as the iteration does.

    An error that comes from a process refers to the iterator. Both would wait for the garbage
    collector, which closes the queues before the iterator can send its processes their end, and
    then waits five seconds for each of them.
    """
    iterator = iter(loader)
    try:
        yield from iterator
    finally:
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()


def _prepare_sockets() -> None:
    """Make sure that loader processes can send batches although the temporary folder is long.

    They send file descriptors through a socket in the temporary folder, and the path of a socket
    is limited by the system. multiprocessing chooses the folder once per process, so a short one
    is chosen here, before the first loader process starts.

    Raises:
        MachineError: the temporary folder is too long, and no short one can be written to.
    """
    folder = tempfile.gettempdir()
    length = len(os.fsencode(folder))
    if length + _SOCKET_NAME <= _LONGEST_SOCKET:
        return
    short = next((name for name in _SHORT_FOLDERS if os.access(name, os.W_OK | os.X_OK)), None)
    if short is None:
        raise MachineError(
            f"the temporary folder {folder} (TMPDIR) has a path of {length} bytes, and loader "
            f"processes need at most {_LONGEST_SOCKET - _SOCKET_NAME}: set TMPDIR to a shorter "
            "one, or give --workers=0"
        )
    tempfile.tempdir = short
    try:
        util.get_temp_dir()  # it creates the folder, and removes it when the process ends
    finally:
        tempfile.tempdir = folder


def start_worker(worker: int) -> None:
    """Prepare a loader process, for ``DataLoader(worker_init_fn=…)``.

    A terminal, ``timeout``, SLURM and Kubernetes send a signal to all processes of a run. The main
    process completes its step and saves it, and needs the batches of its workers for that. So
    workers ignore SIGINT, SIGHUP and SIGUSR1, and the first SIGTERM. A later SIGTERM ends them: it
    is that of PyTorch, which sends one to workers that have not ended when the loader is closed, or
    the user's second one. Workers also end when the main process ends, and ten minutes after the
    first SIGTERM, in case that it was PyTorch's.

    Args:
        worker: number of the worker.
    """
    torch.set_num_threads(1)  # the other cores serve the other workers and training
    for name in _LEFT_TO_MAIN:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_at_second)
    # A batch that cannot be sent, because shared memory is full, would be dropped with a traceback,
    # and the main process would wait for it for ever. It notices that a worker has ended.
    queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: BaseException, batch: object) -> None:
    os._exit(1)


def _end_at_second(number: int, frame: FrameType | None) -> None:
    global _requested_at
    now = time.monotonic()
    if _requested_at is None:
        _requested_at = now
        if hasattr(signal, "alarm"):  # its default action ends the process
            signal.alarm(_LONGEST_WAIT)
    elif now - _requested_at > REPEATED:
        os._exit(0)  # as PyTorch's own handler; a worker has nothing to save
