"""Loader processes: their threads, and the signals that they leave to the main process."""

import os
import signal
import time
from multiprocessing import queues
from types import FrameType

import torch

REPEATED = 0.2  # seconds: a launcher and a terminal may both send the same signal
_requested_at: float | None = None  # time of the first SIGTERM
_LEFT_TO_MAIN = ("SIGINT", "SIGHUP", "SIGUSR1")


def start_worker(worker: int) -> None:
    """Prepare a loader process, for ``DataLoader(worker_init_fn=…)``.

    A terminal, ``timeout``, SLURM and Kubernetes send a signal to all processes of a run. The main
    process completes its step and saves it, and needs the batches of its workers for that. So
    workers ignore SIGINT, SIGHUP and SIGUSR1, and the first SIGTERM. A later SIGTERM ends them: it
    is that of PyTorch, which sends one to workers that have not ended when the loader is closed, or
    the user's second one. Workers also end when the main process ends.

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
    elif now - _requested_at > REPEATED:
        os._exit(0)  # as PyTorch's own handler; a worker has nothing to save
