"""The command ``byol sweep``."""

import contextlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from BYOL._console import with_dashes
from BYOL._untrusted import check_tree_links
from BYOL.cli.commands.common import Answer
from BYOL.cli.sweep.results import results_of
from BYOL.cli.sweep.run import one_by_one
from BYOL.cli.sweep.spec import Cell, read_sweep
from BYOL.cli.sweep.summary import write_summary
from BYOL.config import PretrainConfig
from BYOL.config.sweep import SweepConfig
from BYOL.errors import StoppedError, UserError
from BYOL.training.launcher import find_launcher

log = logging.getLogger(__name__)


def sweep_run(config: SweepConfig) -> Answer:
    """Run every run of a sweep that is not complete, then write a table and a plot.

    ``table.md``, ``sweep.json`` and ``sweep.png`` in the folder of the sweep are updated after
    every run. A failed run does not stop the others, unless it is the first run of the sweep. In
    that case the mistake probably concerns the whole sweep.

    Raises:
        UserError: there is a mistake in the file, or the folder holds something else; nothing has
            been run then. Or some runs failed.
    """
    _refuse_launchers()
    out = Path(config.out or Path("sweeps") / Path(config.sweep).stem)
    check_tree_links(out, 3, f"--out={out}")
    cells = read_sweep(config.sweep, out, trust=config.trust)
    # by seed, so that the table has every variant early
    by_seed = zip(*(cell.runs for cell in cells), strict=True)
    runs = [run for same_seed in by_seed for run in same_seed]
    waiting = [run for run in runs if results_of(run) is None]
    _make_folder(out)
    log.info(f"{len(runs)} runs of {len(cells)} variants, {len(runs) - len(waiting)} finished")
    try:
        failed = _work(cells, runs, waiting, out)
    except StoppedError as error:  # a sweep always resumes
        raise StoppedError(re.sub(" with --resume( auto)?", "", str(error))) from error
    summary, text = write_summary(cells, out)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed, see above; the table of the others is "
            f"{out / 'table.md'}"
        )
    answer = {"out": str(out), "runs": len(runs), **summary}
    return answer, f"{text}\n\nthe runs, table.md, sweep.json and sweep.png are in {out}"


def _refuse_launchers() -> None:
    """Refuse processes that would be one run. The tasks of srun share the runs of a sweep."""
    launcher = find_launcher(devices=1)
    if launcher.tasks > 1 and launcher.name != "srun":
        raise UserError(
            f"byol sweep is one process, not one of several of {launcher.name}: start the same "
            "command several times, and the processes share the runs"
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out} cannot be made: {error.strerror}") from error


def _work(
    cells: Sequence[Cell],
    runs: Sequence[PretrainConfig],
    waiting: Sequence[PretrainConfig],
    out: Path,
) -> list[str]:
    """Run the remaining runs, and return the folders of those that failed."""
    failed: list[str] = []
    all_remaining = len(waiting) == len(runs)
    with contextlib.closing(one_by_one(waiting, runs)) as attempts:
        for number, attempt in enumerate(attempts, start=1):
            run = str(attempt.run.out)
            if attempt.failure and all_remaining and attempt.run == waiting[0]:
                raise UserError(f"{run}: {attempt.failure}")
            if attempt.failure:
                failed.append(run)
                log.info(with_dashes(f"{run} failed: {attempt.failure}"))
                continue
            outcome = "finished" if attempt.made else "is left to another byol sweep"
            log.info(f"{run} {outcome}, {number} of {len(waiting)}")
            write_summary(cells, out)
    return failed
