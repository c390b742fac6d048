"""The command ``byol runs``."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from BYOL._console import printable, tables_text
from BYOL.cli.commands.common import Answer
from BYOL.config.metrics import METRICS
from BYOL.config.runs import RunsConfig
from BYOL.errors import DataError
from BYOL.runs.listing import ListedRun, find_runs, list_run

_WIDTH = 200
_ACCURACY = "accuracy"
_INCOMPARABLE = (
    "there is no best of all runs: they were evaluated on different test images, labels or metrics"
)


def _rank(run: ListedRun, value: float | None) -> tuple[bool, bool, str, float]:
    """Return a key that is larger for a better result; other metrics come after accuracies."""
    if value is None:
        return False, False, "", 0.0
    smaller_is_better = run.metric == METRICS["mae"].suffix.strip()
    return True, run.metric == _ACCURACY, run.metric, -value if smaller_is_better else value


_ORDERS: dict[str, Callable[[ListedRun], Any]] = {
    "linear": lambda run: _rank(run, run.linear),
    "knn": lambda run: _rank(run, run.knn),
    "time": lambda run: run.changed,
    "name": lambda run: run.run,
}


def runs_run(config: RunsConfig) -> Answer:
    """List the runs in a folder.

    Raises:
        UserError: the folder does not exist or contains no run.
    """
    folder = Path(config.folder)
    runs = [list_run(found) for found in find_runs(folder)]
    if not runs:
        reason = "contains no run" if folder.is_dir() else "is not a folder"
        raise DataError(f"FOLDER={folder} {reason}: byol pretrain writes runs into runs/")
    runs.sort(key=_ORDERS[config.sort], reverse=config.sort != "name")
    sets = _comparable(runs)
    bests = [max(members, key=_ORDERS["linear"]) for members in sets]
    answer = {
        "runs": [asdict(run) for run in runs],
        "best": bests[0].run if len(sets) == 1 else None,
        "best_of": [
            {"best": best.run, "runs": [run.run for run in members]}
            for best, members in zip(bests, sets, strict=True)
        ],
    }
    return answer, _table(runs, bests, sets)


def _comparable(runs: Sequence[ListedRun]) -> list[list[ListedRun]]:
    """Return the runs with a linear probe, those that can be compared with each other together."""
    sets: dict[tuple[str, str], list[ListedRun]] = {}
    for run in runs:
        if run.linear is not None:
            sets.setdefault((run.metric, run.test_set), []).append(run)
    return list(sets.values())


def _best_lines(bests: Sequence[ListedRun], sets: Sequence[Sequence[ListedRun]]) -> list[str]:
    """Return a line for the best of all runs, or one for each set of several comparable runs."""
    if len(sets) == 1:
        return [f"best by the linear probe: {printable(bests[0].run)}"]
    lines = [
        f"best by the linear probe of the {len(members)} runs with the same test images and "
        f"{best.metric}: {printable(best.run)}"
        for best, members in zip(bests, sets, strict=True)
        if len(members) > 1
    ]
    return [*lines, _INCOMPARABLE] if sets else []


def _cell(run: ListedRun, value: float | None) -> str:
    """Return a value with its metric, unless that is the accuracy."""
    if value is None:
        return ""
    return f"{value:.3f}" if run.metric == _ACCURACY else f"{run.metric} {value:.3f}"


def _table(
    runs: Sequence[ListedRun],
    bests: Sequence[ListedRun],
    sets: Sequence[Sequence[ListedRun]],
) -> str:
    from rich.table import Table

    table = Table()
    for name in ("run", "data", "recipe", "state"):
        table.add_column(name, overflow="fold")
    for name in ("images", "minutes", "k-NN", "linear"):
        table.add_column(name, justify="right")
    for run in runs:
        cells = (
            *map(printable, (run.run, run.data, run.recipe, run.state)),
            "" if run.images is None else f"{run.images:,}",
            "" if run.minutes is None else f"{run.minutes:.1f}",
            *(_cell(run, value) for value in (run.knn, run.linear)),
        )
        table.add_row(*cells, style="bold" if len(sets) == 1 and run is bests[0] else "")
    lines = [line.rstrip() for line in tables_text([table], _WIDTH).splitlines()]
    return "\n".join([*lines, *_best_lines(bests, sets)])
