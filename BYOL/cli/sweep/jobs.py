"""Several runs of a sweep at once, each with its share of the machine.

A sweep is spread over its runs, never a run over devices: runs side by side need not wait for each
other.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from BYOL._console import to_stderr
from BYOL._hardware import own_cores, pick_accelerator
from BYOL.cli.sweep.run import Attempt, Attempts, attempt
from BYOL.config import PretrainConfig
from BYOL.errors import RESUME_CODE, StoppedError, UserError
from BYOL.training.signals import SIGNALS, StopRequest


@dataclass(frozen=True)
class Share:
    """What one of the processes may use.

    Args:
        cores: numbers of its cores.
        gpu: number or name of its GPU, as in CUDA_VISIBLE_DEVICES; None without one.
    """

    cores: tuple[int, ...]
    gpu: str | None = None


def settle_jobs(wanted: int | None, runs: Sequence[PretrainConfig]) -> list[Share]:
    """The shares of as many processes as are to work at once.

    Args:
        wanted: how many; None for one a GPU, or one.
        runs: of the sweep.

    Raises:
        UserError: more than there are cores, or no such accelerator.
    """
    gpus = _gpus() if {pick_accelerator(run.accelerator) for run in runs} == {"gpu"} else []
    jobs = wanted or max(len(gpus), 1)
    cores = own_cores()
    if jobs > len(cores):
        raise UserError(f"--jobs={jobs} is more than this process has cores: {len(cores)}")
    parts = np.array_split(cores, jobs)
    return [
        Share(tuple(part.tolist()), gpus[i % len(gpus)] if gpus else None)
        for i, part in enumerate(parts)
    ]


def _gpus() -> list[str]:
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return shown.split(",")[:count] if shown else [str(i) for i in range(count)]


def at_once(
    waiting: Sequence[PretrainConfig], runs: Sequence[PretrainConfig], shares: Sequence[Share]
) -> Attempts:
    """Make the runs that wait, in a process for every share; in the order in which they end.

    What a run says goes to VARIANT/seed-N.log. When this process is asked to stop, or its caller
    is not interested in more, the runs save and stop.

    Raises:
        StoppedError: asked to, or a process was killed; the others have saved.
    """
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()
    with StopRequest(to_stderr), _pool(context, shares, stopping) as pool:
        try:
            futures = [pool.submit(_attempt_aside, run, runs) for run in waiting]
            for future in as_completed(futures):
                yield future.result()
        except BaseException as error:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise StoppedError(
                    "a process of this sweep was killed, often for want of memory (then: fewer "
                    "--jobs); the same line goes on"
                ) from error
            raise


def _pool(context: SpawnContext, shares: Sequence[Share], stopping: Event) -> ProcessPoolExecutor:
    queue = context.SimpleQueue()
    for share in shares:
        queue.put(share)
    return ProcessPoolExecutor(len(shares), context, _take_share, (queue, stopping))


# of a process of the pool
_stopping: Event
_busy = threading.Lock()


def _take_share(shares: "SimpleQueue[Share]", stopping: Event) -> None:
    """Once in every process of the pool, before its first run."""
    global _stopping
    _stopping = stopping
    share = shares.get()
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)
        torch.set_num_threads(min(len(share.cores), torch.get_num_threads()))
    for number in SIGNALS:  # between two runs there is nothing to stop
        signal.signal(number, _nothing)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Save and stop where the sweep's first process was killed: nobody waits for more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _stopping.set()
    os.kill(os.getpid(), signal.SIGTERM)
    with _busy:
        os._exit(RESUME_CODE)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _attempt_aside(run: PretrainConfig, runs: Sequence[PretrainConfig]) -> Attempt:
    """One run in a process of the pool."""
    assert run.out is not None
    folder = Path(run.out)
    try:
        folder.parent.mkdir(exist_ok=True)
        with folder.with_name(f"{folder.name}.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    except OSError as error:
        return Attempt(run, failure=f"its log cannot be written: {error.strerror}")
    with _busy, StopRequest(to_stderr):
        if _stopping.is_set():
            raise StoppedError("")
        return attempt(run, runs)
