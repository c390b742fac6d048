"""Curves on disk; a killed and resumed run neither loses nor repeats a row."""

import contextlib
import csv
import io
import itertools
import logging
import os
import socket
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from BYOL._files import write_atomically
from BYOL.errors import DataError, UserError
from BYOL.runs.curves import read_metrics
from BYOL.runs.folder import RunFolder

log = logging.getLogger(__name__)
_COUNTER = itertools.count()  # for file names that are unique within a process


class RunLogger(Logger):
    """A logger without a name and a version, because its files are in the folder of the run."""

    @property
    def name(self) -> str:
        """Return no name."""
        return ""

    @property
    def version(self) -> str:
        """Return no version."""
        return ""


class CurveTable(RunLogger):
    """``metrics.csv``: a row for every call; the whole file is written every time.

    If the file cannot be written, a warning is logged and the rows are written with the next ones.

    Lightning's own CSV logger deletes the rows of a run that is resumed.

    Args:
        path: path of the file.
        until: optimizer step of the checkpoint that the run resumes from: rows up to it are kept,
            later ones are written again. None means a new table.
        seconds: least time between writes, for users who read the file during the run; every
            checkpoint writes it too.
    """

    def __init__(
        self,
        path: Path,
        until: int | None = None,
        seconds: float = 30.0,
    ):
        super().__init__()
        self.path = path
        self.seconds = seconds
        self.saved_at = time.monotonic()
        self.rows: list[dict[str, Any]] = [] if until is None else _rows_until(path, until)
        self.written = len(self.rows) if until is not None else -1

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row with ``metrics`` and ``step``."""
        self.rows.append({**metrics, "step": step})
        if time.monotonic() - self.saved_at >= self.seconds:
            self.save()

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the settings are in ``config.yaml``."""

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
            log.warning(f"the curves were not written: {error}; they are kept and tried again")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows."""
        self.save()


class EventFile(RunLogger):
    """Curves for TensorBoard; a removed folder or a full disk costs points, never the run.

    TensorBoard's own writer is a thread that ends with a traceback at its first error, and its
    curves end with it. This one writes where it is called. Points that cannot be written are
    dropped, and a new file is started for the next ones: TensorBoard joins the files of a folder.

    Args:
        folder: where the files are.
        until: optimizer step of the checkpoint that the run resumes from: TensorBoard hides later
            points of earlier files. None: a new run.
    """

    def __init__(self, folder: Path, until: int | None = None):
        super().__init__()
        self.folder = folder
        self._purge_step = None if until is None else until + 1
        self._path: Path | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each curve that ``metrics`` names."""
        values = [Summary.Value(tag=tag, simple_value=float(v)) for tag, v in metrics.items()]
        try:
            if self._path is None or not self._path.exists():
                self._path = self._new_file()
            _append(self._path, Event(step=step, summary=Summary(value=values)))
        except OSError:
            self._path = None  # TensorBoard reads nothing after an incomplete record

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the settings are in ``config.yaml``."""

    def _new_file(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names: file 10 comes after file 9.
        number = f"{next(_COUNTER):06}"
        origin = f"{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}.{number}"
        path = self.folder / f"events.out.tfevents.{origin}"
        _append(path, Event(file_version="brain.Event:2"))
        if self._purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            _append(path, Event(step=self._purge_step, session_log=start))
            self._purge_step = None
        return path


def _append(path: Path, event: Event) -> None:
    event.wall_time = time.time()
    with path.open("ab") as file:
        RecordWriter(file).write(event.SerializeToString())


def build_loggers(names: Collection[str], folder: RunFolder, until: int | None) -> list[Logger]:
    """Return the loggers that write files: those of csv and tensorboard that ``names`` has.

    Args:
        names: values of ``--logger``.
        folder: folder of the run.
        until: see :class:`CurveTable` and :class:`EventFile`.
    """
    loggers: list[Logger] = []
    if "csv" in names:
        loggers.append(CurveTable(folder.metrics, until))
    if "tensorboard" in names:
        loggers.append(EventFile(folder.logs, until))
    return loggers


def _rows_until(path: Path, step: int) -> list[dict[str, Any]]:
    """Return the rows up to ``step``; a damaged file is renamed, because it is written anew."""
    try:
        return [row for row in read_metrics(path) if float(row["step"]) <= step]
    except DataError as error:
        kept = path.with_name("metrics.damaged.csv")
        log.warning(f"{error}; it is renamed to {kept.name}, and the curves start again")
        with contextlib.suppress(OSError):
            path.replace(kept)
        return []
