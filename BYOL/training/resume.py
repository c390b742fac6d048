"""Where a run begins: anew, or where another one stopped."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL._distributed import first_process
from BYOL._links import check_run_links
from BYOL._lock import locked
from BYOL.config import PretrainConfig, load_config
from BYOL.config.fields import fields_of, info_of, names_where
from BYOL.config.run_settings import Resume
from BYOL.data.dataset import Images
from BYOL.errors import UserError
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import newest_usable
from BYOL.training.checkpoint_io import adopt, sweep

# Settings that a resumed run must share with its checkpoint.
_FIXED = tuple(names_where(PretrainConfig, lambda info: info.on_resume == "fixed"))


def facts(config: PretrainConfig, pictures: Images) -> dict[str, Any]:
    """What a run that goes on must have in common with its checkpoint."""
    settings = {name: getattr(config, name) for name in _FIXED}
    return {"pictures": len(pictures), "digest": pictures.digest, **settings}


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Args:
        folder: of the run.
        checkpoint: what it goes on from, or None.
        step: the optimizer steps that it has behind it, or None.
        held_to: :func:`facts` of the checkpoint.
        compiled: whether the run was compiled so far, "on" or "off", or None.
        results: of a run that is complete already: nothing is trained then.
    """

    folder: RunFolder
    checkpoint: Path | None = None
    step: int | None = None
    held_to: dict[str, Any] | None = None
    compiled: str | None = None
    results: dict[str, Any] | None = None

    def check(self, config: PretrainConfig, pictures: Images) -> None:
        """Refuse settings, or a set of pictures, that the checkpoint does not fit.

        Raises:
            UserError: it names the setting and both values.
        """
        now = facts(config, pictures)
        for name, value in (self.held_to or {}).items():
            if name == "pictures" and value != now[name]:
                raise UserError(
                    f"--resume: DATA has {now[name]} pictures, but the run in {self.folder.path} "
                    f"was made with {value}: bring them back, or begin a new run"
                )
            if name == "digest" and value != now[name]:
                raise UserError(
                    f"--resume: the pictures of DATA are others than those of the run in "
                    f"{self.folder.path}: bring them back, in the same order, or begin a new run"
                )
            if name in now:
                self._hold(name, value, now[name])

    def check_complete(self, config: PretrainConfig) -> None:
        """Refuse other settings than those of a run that is complete: they would change nothing.

        Raises:
            UserError: it names the setting and both values.
        """
        fields = fields_of(PretrainConfig)
        for name, value in vars(load_config(self.folder.config)).items():
            if info_of(fields[name]).on_resume != "any":
                self._hold(name, value, getattr(config, name))

    def _hold(self, name: str, was: Any, now: Any) -> None:
        if was != now:
            given = f"--{name}={now}" if now is not None else f"no --{name}"
            raise UserError(
                f"{given} does not go with --resume: the run in {self.folder.path} was made with "
                f"{'none' if was is None else was}"
            )

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """The folder made and locked, by the first process; the others only look on.

        Raises:
            UserError: it cannot be made, or another run writes into it.
        """
        if not first_process():
            yield
            return
        check_run_links(self.folder.path, f"--out={self.folder.path}")
        self.folder.create()
        with locked(self.folder.lock, f"--out={self.folder.path}"):
            sweep(self.folder)
            if self.checkpoint:
                adopt(self.folder, self.checkpoint)
            yield


def find_start(folder: RunFolder, resume: Resume, epochs: int) -> Start:
    """What ``resume`` means for a folder; nothing is written.

    Args:
        folder: of the run.
        resume: False: it must be new. True: it must have a checkpoint. "auto": either.
        epochs: that are wanted; with "auto", a run that has ended with fewer goes on.

    Raises:
        UserError: the folder is not as it must be, or every checkpoint in it is damaged.
    """
    if not resume:
        # Other processes of this run look when the first one may have made it.
        if folder.path.exists() and first_process():
            raise UserError(
                f"--out={folder.path} exists already: give --resume to go on with it, or another "
                "name"
            )
        return Start(folder)
    check_run_links(folder.path, f"--out={folder.path}")
    found = newest_usable(folder)
    results = _results(folder) if resume == "auto" else None
    if found is None:
        if results and results.get("epochs", 0) >= epochs:  # no disk had room for a checkpoint
            return Start(folder, results=results)
        if resume is True or results:
            raise UserError(f"--resume: {folder.path} has no checkpoint to go on from")
        if folder.path.exists() and not _may_be_a_run(folder):
            raise UserError(f"--out={folder.path} is not the folder of a run: give another name")
        return Start(folder)
    path, checkpoint = found
    settings = checkpoint["byol_config"]
    done = settings.get("epochs", 0)
    step, held_to = int(checkpoint["global_step"]), checkpoint.get("byol_facts")
    if results and results.get("epochs") == done >= epochs:
        return Start(folder, held_to=held_to, results=results)
    return Start(folder, path, step, held_to, settings.get("compile"))


def _may_be_a_run(folder: RunFolder) -> bool:
    """A run killed before its first checkpoint, or an empty folder."""
    known = {folder.config, folder.start, folder.checkpoint.parent, folder.logs, folder.views}
    return (
        folder.path.is_dir()
        and {path for path in folder.path.iterdir() if not path.name.startswith(".")} <= known
    )


def _results(folder: RunFolder) -> dict[str, Any] | None:
    try:
        found = json.loads(folder.results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and "evaluation" in found and folder.backbone.exists()
    return found if whole else None
