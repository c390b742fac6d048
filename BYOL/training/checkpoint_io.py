"""Checkpoints on disk: which there are, which to go on from, and how a new one gets there.

last.ckpt             the newest
step-000001200.ckpt   older ones, as many as are kept
best.ckpt             the best by the online k-NN

All are sealed with a checksum. A new one is written under a temporary name, flushed and renamed, so
at every moment there is a whole one.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins import TorchCheckpointIO

from BYOL._files import save_tensors, write_atomically
from BYOL.errors import UserError
from BYOL.runs.checksum import seal
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint

log = logging.getLogger(__name__)


class CheckpointStore(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, keeps the last few, survives a full disk.

    Args:
        folder: of the run.
        keep: how many of the last are kept, from 1 up; the best is kept besides.
        restore: makes the run's folder again where someone has removed it.
        step: optimizer step of the ``last.ckpt`` that is there already.
    """

    def __init__(
        self,
        folder: RunFolder,
        keep: int,
        restore: Callable[[], object],
        step: int | None = None,
    ):
        super().__init__()
        self.restore = restore
        self.folder = folder
        self.keep = keep
        self.step = step
        self._writing: int | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``; an older file stays until the new one is whole."""
        path = Path(path)

        def write(temporary: Path) -> None:
            save_tensors(checkpoint, temporary)
            seal(temporary)

        step = self._writing = int(checkpoint["global_step"])
        try:
            if not path.parent.is_dir():
                log.warning(f"{path.parent} was removed while the run was on: it is made again")
                self.restore()
            write_atomically(path, write, before=self._set_aside)
            self.step = step
            self._forget()
        except (UserError, OSError) as error:
            kept = f"that of step {self.step} is kept" if self.step is not None else "there is none"
            log.warning(
                f"no checkpoint at step {step}: {error}; {kept}, training goes on and tries again"
            )

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint; ``weights_only`` is True whatever is asked."""
        return load_checkpoint(Path(path))

    def mark_best(self) -> None:
        """Give the last checkpoint its second name, ``best.ckpt``."""
        try:
            _link(self.folder.checkpoint, self.folder.best_checkpoint)
        except OSError as error:
            log.warning(f"best.ckpt could not be made: {error.strerror or error}")

    def _set_aside(self) -> None:
        """The checkpoint that is about to be replaced gets a name of its own."""
        last = self.folder.checkpoint
        if self.keep > 1 and self.step not in (None, self._writing) and last.exists():
            _link(last, last.with_name(f"step-{self.step:09}.ckpt"))

    def _forget(self) -> None:
        for path in self.folder.older_checkpoints()[self.keep - 1 :]:
            path.unlink(missing_ok=True)


def _link(path: Path, name: Path) -> None:
    """A second name for a file: at once and without a copy, replacing an older file there."""
    temporary = name.with_name(f".{name.stem}.{os.getpid()}.tmp{name.suffix}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links
        import shutil

        shutil.copyfile(path, temporary)
    temporary.replace(name)
    temporary.unlink(missing_ok=True)  # to rename one name of a file to another does nothing


def adopt(folder: RunFolder, path: Path) -> None:
    """Make an older checkpoint the last one, in place of a damaged one."""
    if path != folder.checkpoint:
        _link(path, folder.checkpoint)


def sweep(folder: RunFolder) -> None:
    """Remove what a killed process left half written."""
    for place in (folder.path, folder.checkpoint.parent, folder.logs):
        for path in place.glob(".*.tmp*"):
            with contextlib.suppress(OSError):
                path.unlink()


class Due:
    """When a checkpoint is due.

    Args:
        steps: every so many optimizer steps (0: never).
        minutes: this long after the last one (0: never).
    """

    def __init__(self, steps: int, minutes: float):
        self.steps = steps
        self.seconds = minutes * 60
        self.since = time.monotonic()

    def by_steps(self, step: int) -> bool:
        """Whether the step asks for one."""
        return bool(self.steps) and step % self.steps == 0

    def by_time(self) -> bool:
        """Whether the clock asks for one."""
        return bool(self.seconds) and time.monotonic() - self.since >= self.seconds

    def done(self) -> None:
        """One has been made, or tried."""
        self.since = time.monotonic()
