"""Checkpoints on disk: their files, their schedule, and atomic writes.

last.ckpt             the newest
step-000001200.ckpt   older ones, as many as are configured
best.ckpt             the best by the online k-NN

All have a checksum. A new checkpoint is written under a temporary name, flushed and renamed, so a
complete checkpoint exists at every moment.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins import TorchCheckpointIO

from BYOL._files import write_atomically
from BYOL._temporary import is_temporary, remove, temporary_path
from BYOL.errors import UserError
from BYOL.model.weights import save_tensors
from BYOL.runs.checksum import add_checksum
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint

log = logging.getLogger(__name__)


class CheckpointStore(TorchCheckpointIO):
    """Writes checkpoints atomically and removes old ones.

    If a checkpoint cannot be written, a warning is logged and training continues.

    Args:
        folder: folder of the run.
        keep: number of latest checkpoints that are kept, at least 1; the best one is kept too.
        restore_folder: function that creates the folder of the run again if it was removed.
        step: optimizer step of an existing ``last.ckpt``.
    """

    def __init__(
        self,
        folder: RunFolder,
        keep: int,
        restore_folder: Callable[[], object],
        step: int | None = None,
    ):
        super().__init__()
        self.restore_folder = restore_folder
        self.folder = folder
        self.keep = keep
        self.step = step
        self._writing: int | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``; an older file stays until the new one is complete."""
        path = Path(path)

        def write(temporary: Path) -> None:
            save_tensors(checkpoint, temporary)
            add_checksum(temporary)

        step = self._writing = int(checkpoint["global_step"])
        try:
            if not path.parent.is_dir():
                log.warning(f"{path.parent} was removed during the run: it is created again")
                self.restore_folder()
            write_atomically(path, write, before=self._rename_last)
            self.step = step
            self._remove_oldest()
        except (UserError, OSError) as error:
            kept = f"that of step {self.step} is kept" if self.step is not None else "there is none"
            log.warning(
                f"no checkpoint at step {step}: {error}; {kept}, training continues and tries again"
            )

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read the checkpoint at ``path``; ``weights_only`` is always True."""
        return load_checkpoint(Path(path))

    def mark_best(self) -> None:
        """Make ``best.ckpt`` an alias of the last checkpoint."""
        try:
            _link(self.folder.checkpoint, self.folder.best_checkpoint)
        except OSError as error:
            name, reason = self.folder.best_checkpoint.name, error.strerror or error
            log.warning(f"{name} could not be written: {reason}")

    def _rename_last(self) -> None:
        """Give the checkpoint that is about to be replaced the name with its step."""
        last = self.folder.checkpoint
        if self.step is None or self.step == self._writing:
            return
        if self.keep > 1 and last.exists():
            _link(last, self.folder.older_checkpoint(self.step))

    def _remove_oldest(self) -> None:
        for path in self.folder.older_checkpoints()[self.keep - 1 :]:
            path.unlink(missing_ok=True)


def _link(path: Path, name: Path) -> None:
    """Make ``name`` an alias of ``path`` atomically; a copy where the disk has no hard links."""
    temporary = temporary_path(name)
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        import shutil

        shutil.copyfile(path, temporary)
    temporary.replace(name)
    temporary.unlink(missing_ok=True)  # renaming an alias of a file to another alias does nothing


def make_last(folder: RunFolder, path: Path) -> None:
    """Make the older checkpoint ``path`` the last one, in place of a damaged one."""
    if path != folder.checkpoint:
        _link(path, folder.checkpoint)


def remove_temporary_files(folder: RunFolder) -> None:
    """Remove the incomplete files that a killed process has left in ``folder``, which is locked."""
    for place in (folder.path, folder.checkpoints, folder.logs):
        for path in place.glob(".*"):
            if is_temporary(path.name):
                remove(path)


class CheckpointSchedule:
    """Decides within an epoch when a checkpoint is due.

    Args:
        steps: optimizer steps between checkpoints; 0 means never.
        minutes: minutes after the last checkpoint; 0 means never.
    """

    def __init__(self, steps: int, minutes: float):
        self.steps = steps
        self.seconds = minutes * 60
        self.since = time.monotonic()

    def due_by_steps(self, step: int) -> bool:
        """Return whether a checkpoint is due after optimizer step ``step``."""
        return bool(self.steps) and step % self.steps == 0

    def due_by_time(self) -> bool:
        """Return whether a checkpoint is due at this time."""
        return bool(self.seconds) and time.monotonic() - self.since >= self.seconds

    def restart(self) -> None:
        """Start the time anew after a checkpoint, or an attempt to write one."""
        self.since = time.monotonic()
