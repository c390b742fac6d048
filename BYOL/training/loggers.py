"""Curves on disk that outlive a kill: no row lost, none doubled."""

import contextlib
import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from BYOL._files import write_atomically
from BYOL.errors import UserError


class CurveTable(Logger):
    """``metrics.csv``: a row for every call, written whole every time.

    Lightning's own CSV logger deletes the rows of a run that is resumed.

    Args:
        path: the file.
        until: optimizer step of the checkpoint that a run goes on from: rows up to it are kept,
            later ones are made again. None: a new table.
        warn: gets one line where the file could not be written; the rows are kept in memory then
            and written with the next ones.
        seconds: between writes, at least; every checkpoint writes too. Whoever watches a run reads
            the file while it grows.
    """

    def __init__(
        self,
        path: Path,
        until: int | None = None,
        warn: Callable[[str], None] = lambda line: None,
        seconds: float = 30.0,
    ):
        super().__init__()
        self.path = path
        self.warn = warn
        self.seconds = seconds
        self.saved_at = time.monotonic()
        self.rows: list[dict[str, Any]] = [] if until is None else _rows_until(path, until)
        self.written = len(self.rows) if until is not None else -1

    @property
    def name(self) -> str:
        """None: the table is in the run's folder."""
        return ""

    @property
    def version(self) -> str:
        """None."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row."""
        self.rows.append({**metrics, "step": step})
        if time.monotonic() - self.saved_at >= self.seconds:
            self.save()

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """They are in ``config.yaml``."""

    @rank_zero_only
    def save(self) -> None:
        """Write all rows."""
        if not self.rows or len(self.rows) == self.written:
            return
        self.saved_at = time.monotonic()
        columns = sorted(set().union(*self.rows))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(
                self.path, lambda temporary: temporary.write_bytes(table.getvalue().encode())
            )
            self.written = len(self.rows)
        except (UserError, OSError) as error:
            self.warn(f"the curves were not written: {error}; they are kept and tried again")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()


class PatientTensorBoard(TensorBoardLogger):
    """TensorBoard's files; where they cannot be written any more, their curves end, not the run."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add points."""
        with self._patience():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def save(self) -> None:
        """Write what waits in memory."""
        with self._patience():
            self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left and close."""
        with self._patience():
            super().finalize(status)

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        # The writer's thread ends at its first error and raises it at every later call.
        with contextlib.suppress(OSError, ValueError):  # Lightning turns an OSError into the latter
            yield


def loggers(folder: Path, until: int | None, warn: Callable[[str], None]) -> list[Logger]:
    """Those of a run: CSV and TensorBoard.

    Args:
        folder: where they write.
        until: see :class:`CurveTable`; TensorBoard is told to forget later points.
        warn: see :class:`CurveTable`.
    """
    purge: dict[str, Any] = {} if until is None else {"purge_step": until + 1}
    return [
        CurveTable(folder / "metrics.csv", until, warn),
        PatientTensorBoard(str(folder), name="", version="", **purge),
    ]


def _rows_until(path: Path, step: int) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error, UnicodeDecodeError):
        return []
    kept = []
    for row in rows:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if int(row["step"]) <= step:
                kept.append({name: value for name, value in row.items() if value})
    return kept
