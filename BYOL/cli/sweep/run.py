"""The runs of a sweep that are not finished, made one after another.

Any number of processes, on any number of hosts, may work on one sweep in one folder: each takes a
run that no other is at, and passes over what is finished meanwhile.
"""

import dataclasses
import logging
import shutil
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path

from BYOL._lock import claimed
from BYOL.cli.sweep.results import known_rows, results_of
from BYOL.config import PretrainConfig
from BYOL.errors import UserError, first_line
from BYOL.runs.folder import RunFolder
from BYOL.training.pretrain import pretrain

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What became of one run.

    Args:
        run: its settings.
        made: whether it was made here, and not by another process.
        failure: why it could not be made, or None.
    """

    run: PretrainConfig
    made: bool = True
    failure: str | None = None


Attempts = Generator[Attempt, None, None]


def one_by_one(waiting: Sequence[PretrainConfig], runs: Sequence[PretrainConfig]) -> Attempts:
    """Make the runs that wait, in this process.

    Args:
        waiting: the runs to make.
        runs: all of the sweep, which may know what a run need not measure again.
    """
    for number, run in enumerate(waiting, start=1):
        log.info(f"run {number} of {len(waiting)}: {run.out}")
        yield attempt(run, runs)


def attempt(run: PretrainConfig, runs: Sequence[PretrainConfig]) -> Attempt:
    """Make one run, from where it was stopped; a mistake or an error in it ends no other run.

    What is no user's mistake leaves its traceback on standard error.
    """
    assert run.out is not None
    folder = Path(run.out)
    try:
        _make_parent(folder)
        with claimed(folder.with_name(f".{folder.name}.lock")) as mine:
            if not mine or results_of(run) is not None:
                return Attempt(run, made=False)
            pretrain(resumed(run), known=known_rows(run, runs))
    except UserError as error:
        return Attempt(run, failure=str(error))
    except Exception as error:  # a network that does not fit into memory, say
        traceback.print_exc()
        return Attempt(run, failure=f"{type(error).__name__}: {first_line(error)}")
    return Attempt(run)


def _make_parent(folder: Path) -> None:
    try:
        folder.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder.parent} cannot be made: {error.strerror}") from error


def resumed(run: PretrainConfig) -> PretrainConfig:
    """The run, to go on from where it was stopped; what has no checkpoint yet begins anew."""
    assert run.out is not None
    folder = RunFolder(Path(run.out))
    if folder.checkpoint.exists():
        return dataclasses.replace(run, resume=True)
    if folder.config.exists():
        shutil.rmtree(folder.path)
    return run
