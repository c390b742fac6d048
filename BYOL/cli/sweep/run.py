"""Execution of the runs of a sweep that are not complete, one after another.

Any number of processes, on any number of hosts, may work on one sweep in one folder. Each takes a
run that no other process is working on, and skips runs that have been completed meanwhile.
"""

import dataclasses
import functools
import logging
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path

from BYOL.cli.sweep.results import known_rows, results_of
from BYOL.config import PretrainConfig
from BYOL.errors import UserError, first_line, ran_out_of_memory
from BYOL.runs.lock import claimed
from BYOL.training.pretrain import pretrain

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """The outcome of one run.

    Args:
        run: the settings of the run.
        made: whether this process executed it, and not another one.
        failure: the reason why it failed, or None.
    """

    run: PretrainConfig
    made: bool = True
    failure: str | None = None


Attempts = Generator[Attempt, None, None]


def one_by_one(waiting: Sequence[PretrainConfig], runs: Sequence[PretrainConfig]) -> Attempts:
    """Execute the remaining runs in this process.

    Args:
        waiting: the runs to execute.
        runs: all runs of the sweep, whose baselines are reused.
    """
    for number, run in enumerate(waiting, start=1):
        log.info(f"run {number} of {len(waiting)}: {run.out}")
        yield attempt(run, runs)


def attempt(run: PretrainConfig, runs: Sequence[PretrainConfig]) -> Attempt:
    """Execute or resume one run. An error in it does not stop other runs.

    The traceback of an error that is neither a mistake of the user nor one of the operating system
    is printed on standard error.
    """
    assert run.out is not None
    folder = Path(run.out)
    try:
        _make_parent(folder)
        with claimed(folder.with_name(f".{folder.name}.lock")) as mine:
            if not mine or results_of(run) is not None:
                return Attempt(run, made=False)
            pretrain(resumed(run), known=functools.partial(known_rows, others=runs))
    except UserError as error:
        return Attempt(run, failure=str(error))
    except Exception as error:
        if not isinstance(error, OSError) and not ran_out_of_memory(error):
            traceback.print_exc()
        return Attempt(run, failure=f"{type(error).__name__}: {first_line(error)}")
    return Attempt(run)


def _make_parent(folder: Path) -> None:
    try:
        folder.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder.parent} cannot be made: {error.strerror}") from error


def resumed(run: PretrainConfig) -> PretrainConfig:
    """The settings that resume ``run``; a run without any checkpoint starts again.

    Nothing is deleted: a folder with files that are not of a run is refused.
    """
    return dataclasses.replace(run, resume="auto")
