"""``byol sweep``."""

import dataclasses
import shutil
from pathlib import Path

from BYOL.commands.common import Answer
from BYOL.config import PretrainConfig
from BYOL.config.commands import SweepConfig
from BYOL.errors import UserError
from BYOL.files import write_atomically, write_json
from BYOL.lines import to_stderr
from BYOL.pretraining import pretrain
from BYOL.runs import RunFolder
from BYOL.sweeps import Cell, known_rows, read_sweep, results_of, save_plot, summarise, table


def sweep_run(config: SweepConfig) -> Answer:
    """``byol sweep``: every run of a sweep file that is not finished yet, then a table and a plot.

    Writes ``table.md``, ``sweep.json`` and ``sweep.png`` into the sweep's folder, anew after every
    run.

    Raises:
        UserError: a mistake in the file, or a folder that holds something else; then nothing has
            been run.
    """
    out = Path(config.out or Path("sweeps") / Path(config.sweep).stem)
    cells = read_sweep(config.sweep, out)
    # seed by seed, so that the table has every variant early
    by_seed = zip(*(cell.runs for cell in cells), strict=True)
    runs = [run for same_seed in by_seed for run in same_seed]
    waiting = [run for run in runs if results_of(run) is None]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out} cannot be made: {error.strerror}") from error
    to_stderr(f"{len(runs)} runs of {len(cells)} variants, {len(runs) - len(waiting)} finished")
    text = ""
    for number, run in enumerate(waiting, start=1):
        to_stderr(f"run {number} of {len(waiting)}: {run.out}")
        pretrain(_resumed(run), known=known_rows(run, runs))
        text = _write(cells, out)
    text = text or _write(cells, out)
    answer = {"out": str(out), "runs": len(runs), "rows": summarise(cells)}
    return answer, f"{text}\n\nthe runs, table.md, sweep.json and sweep.png are in {out}"


def _resumed(run: PretrainConfig) -> PretrainConfig:
    """The run, to go on from where it was stopped; what has no checkpoint yet begins anew."""
    assert run.out is not None
    folder = RunFolder(Path(run.out))
    if folder.checkpoint.exists():
        return dataclasses.replace(run, resume=True)
    if folder.config.exists():
        shutil.rmtree(folder.path)
    return run


def _write(cells: list[Cell], out: Path) -> str:
    rows = summarise(cells)
    text = table(rows)
    write_atomically(out / "table.md", lambda temporary: temporary.write_text(text + "\n"))
    write_json(out / "sweep.json", {"rows": rows})
    save_plot(rows, out / "sweep.png")
    return text
