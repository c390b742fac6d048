"""Start of a run: anew, or from the checkpoint of an earlier one."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL._console import counted
from BYOL._distributed import first_process
from BYOL._hardware import Machine
from BYOL.config import PretrainConfig, load_config
from BYOL.config.fields import fields_of, info_of, names_where
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.run_settings import CompileSetting, Resume
from BYOL.data.dataset import Images
from BYOL.errors import DataError, MachineError, SettingsError, UserError, WeightsError
from BYOL.runs.folder import RunFolder
from BYOL.runs.lock import locked
from BYOL.runs.open import newest_complete_checkpoint
from BYOL.runs.schema import read_results
from BYOL.training.checkpoint_io import make_last, remove_temporary_files
from BYOL.training.compile import DTYPES
from BYOL.training.teacher.network import Teacher

log = logging.getLogger(__name__)

# Settings that a resumed run must share with its checkpoint.
_FIXED = tuple(names_where(PretrainConfig, lambda info: info.on_resume == "fixed"))


def fixed_facts(
    config: PretrainConfig, images: Images, teacher: Teacher | None = None
) -> dict[str, Any]:
    """Return the facts that a resumed run must share with its checkpoint."""
    settings = {name: getattr(config, name) for name in _FIXED}
    facts = {"pictures": len(images), "digest": images.digest, **settings}
    return {**facts, "teacher_digest": teacher.digest} if teacher else facts


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Args:
        folder: folder of the run.
        checkpoint: checkpoint that the run resumes from, or None.
        step: optimizer step of the checkpoint, or None.
        facts: :func:`fixed_facts` of the checkpoint, or None.
        compiled: whether the run was compiled so far, "on" or "off", or None.
        results: results of a run that is already complete and is not trained again, or None.
        new: whether the folder must not exist yet.
        stamps: :meth:`RunFolder.stamps` from before the folder was read.
    """

    folder: RunFolder
    checkpoint: Path | None = None
    step: int | None = None
    facts: dict[str, Any] | None = None
    compiled: str | None = None
    results: dict[str, Any] | None = None
    new: bool = False
    stamps: tuple[tuple[int, int] | None, ...] = (None, None)

    def check(self, present: dict[str, Any], length: OptimizationSettings) -> None:
        """Check that the run fits the checkpoint.

        Args:
            present: :func:`fixed_facts` of the run.
            length: its length.

        Raises:
            UserError: it names the setting and both values.
        """
        for name, value in (self.facts or {}).items():
            if name == "pictures" and value != present[name]:
                raise DataError(
                    f"--resume: DATA has {present[name]} images, but the run in {self.folder.path} "
                    f"was started with {value}: restore them, or start a new run"
                )
            if name == "digest" and value != present[name]:
                raise DataError(
                    f"--resume: the images of DATA are not those of the run in "
                    f"{self.folder.path}: restore them in the same order, or start a new run"
                )
            if name == "teacher_digest" and value != present.get(name, value):
                raise WeightsError(
                    f"--resume: the teacher {present['teacher']} has other weights than when the "
                    f"run in {self.folder.path} was started: restore them, or start a new run"
                )
            if name in present:
                self._check_equal(name, value, present[name])
        self._check_length(length, present["pictures"])

    def _check_length(self, config: OptimizationSettings, images: int) -> None:
        """Check that the run is at least as long as it has been trained.

        Raises:
            SettingsError: it is shorter.
        """
        steps, made = config.total_steps(images), self.step or 0
        if steps < made:
            limited = config.steps is not None and config.steps == steps
            flag = f"--steps={config.steps}" if limited else f"--epochs={config.epochs}"
            raise SettingsError(
                f"{flag} does not fit --resume: the run in {self.folder.path} has made "
                f"{counted(made, 'step')}, and would have {steps:,}: give more, or start a new run"
            )

    def recorded_machine(self, machine: Machine, precision: str) -> Machine:
        """Return ``machine`` with the precision of the run so far, where ``precision`` is auto.

        The choice is measured, and another one rounds differently.
        """
        accelerator, _, used = str((self.facts or {}).get("hardware")).partition(" ")
        if precision != "auto" or used not in DTYPES or accelerator != machine.accelerator:
            return machine
        return dataclasses.replace(machine, precision=used)

    def recorded_compile(self, specified: CompileSetting) -> CompileSetting:
        """Return ``specified``; for auto, the choice so far: another one rounds differently."""
        if specified != "auto" or not self.compiled:
            return specified
        return "on" if self.compiled == "on" else "off"

    def check_complete(self, config: PretrainConfig) -> None:
        """Check that ``config`` has the settings of a complete run; others would change nothing.

        Raises:
            UserError: it names the setting and both values.
        """
        fields = fields_of(PretrainConfig)
        for name, value in vars(load_config(self.folder.config)).items():
            if info_of(fields[name]).on_resume != "any":
                self._check_equal(name, value, getattr(config, name))

    def _check_equal(self, name: str, recorded: Any, present: Any) -> None:
        if recorded != present:
            started = _as_flag(name, recorded) if isinstance(recorded, bool) else recorded
            raise SettingsError(
                f"{_as_flag(name, present)} does not fit --resume: the run in {self.folder.path} "
                f"was started with {'none' if started is None else started}"
            )

    @contextlib.contextmanager
    def locked_folder(self) -> Iterator[None]:
        """Create and lock the folder in the first process, as a context; others do nothing.

        Raises:
            UserError: it cannot be created, or another run writes into it or has done so since
                :func:`find_start`.
        """
        if not first_process():
            yield
            return
        self.folder.check_links(f"--out={self.folder.path}")
        self.folder.create(new=self.new)
        with locked(self.folder.lock, f"--out={self.folder.path}"):
            if self.folder.stamps() != self.stamps:
                raise UserError(
                    f"--out={self.folder.path}: another run has written into it meanwhile: wait "
                    "for it, or give another name"
                )
            remove_temporary_files(self.folder)
            if self.checkpoint:
                make_last(self.folder, self.checkpoint)
            try:
                yield
            except MachineError:  # such as a full disk: the same command can be tried again
                if self.new:
                    self.folder.remove_if_unused()
                raise


def find_start(folder: RunFolder, resume: Resume, epochs: int) -> Start:
    """Return where the run in ``folder`` starts; nothing is written.

    Args:
        folder: folder of the run.
        resume: False requires a new folder, True a checkpoint; "auto" accepts both.
        epochs: epochs of the run; with "auto", a complete run of fewer epochs is resumed.

    Raises:
        UserError: the folder does not fit ``resume``, or all checkpoints are damaged.
    """
    if not resume:
        # The first process may have created it before the others check.
        if folder.path.exists() and first_process():
            raise SettingsError(
                f"--out={folder.path} already exists: give --resume to resume its run, or another "
                "name"
            )
        return Start(folder, new=True)
    folder.check_links(f"--out={folder.path}")
    stamps = folder.stamps()
    newest = newest_complete_checkpoint(folder)
    results = _results(folder) if resume == "auto" else None
    if newest is None:
        if results and results.get("epochs", 0) >= epochs:  # the disk had no room for a checkpoint
            return Start(folder, results=results, stamps=stamps)
        if resume is True or results:
            raise WeightsError(f"--resume: {folder.path} has no checkpoint to resume from")
        if other := _other_entry(folder):
            raise UserError(
                f"--out={folder.path} is not the folder of a run without a checkpoint: {other} is "
                "in the way; give another name"
            )
        return Start(folder, stamps=stamps)
    path, checkpoint = newest
    settings = checkpoint["byol_config"]
    recorded_epochs = settings.get("epochs", 0)
    step, facts = int(checkpoint["global_step"]), checkpoint.get("byol_facts")
    if results and results.get("epochs") == recorded_epochs >= epochs:
        return Start(folder, facts=facts, results=results, stamps=stamps)
    return Start(folder, path, step, facts, settings.get("compile"), stamps=stamps)


def _other_entry(folder: RunFolder) -> str | None:
    """Return an entry of ``folder`` that a run without a checkpoint does not have, or None."""
    if not folder.path.is_dir():
        return folder.path.name if folder.path.exists() else None
    known = {
        folder.config, folder.start, folder.teacher, folder.checkpoints, folder.logs, folder.views,
    }  # fmt: skip
    entries = (path for path in folder.path.iterdir() if not path.name.startswith("."))
    return next((path.name for path in sorted(entries) if path not in known), None)


def _results(folder: RunFolder) -> dict[str, Any] | None:
    """Return the results of a complete run; damaged results are written again."""
    try:
        results: dict[str, Any] | None = read_results(folder.results)
    except DataError as error:
        log.warning(f"{error}; it is written again")
        return None
    complete = results is not None and "epochs" in results and folder.backbone.exists()
    return results if complete else None


def _as_flag(name: str, value: Any) -> str:
    """Return a setting as it is typed."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"no --{name}" if value is None else f"--{name}={value}"
