"""The command ``byol runs``."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from BYOL._console import printable, tables_text
from BYOL.cli.commands.common import Answer
from BYOL.config.runs import RunsConfig
from BYOL.errors import DataError
from BYOL.runs.listing import ListedRun, find_runs, list_run

_ORDERS: dict[str, Callable[[ListedRun], Any]] = {
    "linear": lambda run: -1.0 if run.linear is None else run.linear,
    "knn": lambda run: -1.0 if run.knn is None else run.knn,
    "time": lambda run: run.changed,
    "name": lambda run: run.run,
}
_WIDTH = 200


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
    best = max(runs, key=_ORDERS["linear"]) if any(r.linear is not None for r in runs) else None
    answer = {
        "runs": [asdict(run) for run in runs],
        "best": None if best is None else best.run,
    }
    return answer, _table(runs, best)


def _table(runs: Sequence[ListedRun], best: ListedRun | None) -> str:
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
            *("" if value is None else f"{value:.3f}" for value in (run.knn, run.linear)),
        )
        table.add_row(*cells, style="bold" if run is best else "")
    lines = [line.rstrip() for line in tables_text([table], _WIDTH).splitlines()]
    if best is not None:
        lines.append(f"best by the linear probe: {printable(best.run)}")
    return "\n".join(lines)
