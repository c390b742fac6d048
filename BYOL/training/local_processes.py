"""The processes of a command on this machine, if no launcher has started them."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from BYOL._console import show_messages
from BYOL._distributed import set_process
from BYOL.errors import StoppedError, UserError

log = logging.getLogger(__name__)


def run_processes(
    work: Callable[..., Any], arguments: tuple[Any, ...], ranks: range, processes: int
) -> list[Any]:
    """Run ``work`` in a process for every rank, without communication between them.

    If a process fails, the others finish their work first.

    Args:
        work: a function of a module; its result is returned.
        arguments: its arguments, which the rank and the number of processes follow.
        ranks: the ranks of this machine.
        processes: number of processes on all machines.

    Returns:
        The results by rank.

    Raises:
        UserError: that of the first process that has one.
        StoppedError: a process died.
    """
    context = multiprocessing.get_context("spawn")  # CUDA cannot be used after a fork
    readers: dict[Any, int] = {}
    started = []
    for rank in ranks:
        reader, writer = context.Pipe(duplex=False)
        own = (writer, work, arguments, rank, processes, len(ranks))
        started.append(context.Process(target=_child, args=own))
        started[-1].start()
        writer.close()
        readers[reader] = rank
    try:
        found = _receive(readers, processes)
    except BaseException:
        for process in started:
            process.terminate()
        raise
    finally:
        for process in started:
            process.join()
    for rank in ranks:  # not in the order in which the processes ended
        if (error := found[rank][0]) is not None:
            raise error
    return [found[rank][1] for rank in ranks]


def _receive(readers: dict[Any, int], processes: int) -> dict[int, tuple[Any, Any]]:
    """Return the error and the result of every rank."""
    found: dict[int, tuple[Any, Any]] = {}
    while readers:
        ready: list[Any] = wait(list(readers))
        for reader in ready:
            rank = readers.pop(reader)
            try:
                found[rank] = reader.recv()
            except EOFError:
                line = f"process {rank} of {processes} died"
                log.warning(f"{line}; the others finish their work")
                error = StoppedError(f"{line}; the same command computes what is missing")
                found[rank] = (error, None)
    return found


def _child(
    writer: Any,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    rank: int,
    processes: int,
    neighbours: int,
) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(torch.get_num_threads() // neighbours, 1))
    show_messages()
    set_process(rank, processes)
    try:
        writer.send((None, work(*arguments, rank, processes)))
    except UserError as error:
        writer.send((type(error)(str(error)), None))
    except KeyboardInterrupt:  # which the parent has received, too
        os._exit(130)


def _end_with_parent() -> None:
    """End this process when its parent ends, by whatever signal."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
