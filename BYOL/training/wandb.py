"""Weights & Biases, for those who follow their runs there: settings, curves, the last figures.

What it gets is in the run's folder as well, and a run never fails for its sake.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger, WandbLogger

from BYOL._distributed import first_process
from BYOL._files import write_atomically
from BYOL.config import PretrainConfig
from BYOL.errors import UserError, first_line
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.runs.folder import RunFolder

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)
_STEP = "trainer/global_step"  # what Lightning's logger calls it


def check_tracking(config: PretrainConfig) -> None:
    """See to it that Weights & Biases will take the run, before anything is written.

    Raises:
        UserError: it is not installed, or nobody is logged in.
    """
    if config.wandb is None or not first_process():
        return
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            f"--wandb={config.wandb} needs Weights & Biases: pip install 'BYOL[wandb]'"
        ) from error
    try:
        if os.environ.get("WANDB_MODE", "online") == "online":
            wandb.login()
    except wandb.Error as error:
        raise UserError(
            f"--wandb={config.wandb} needs a login: wandb login, or WANDB_MODE=offline for files "
            "that wandb sync sends later"
        ) from error


class Tracker:
    """A run at Weights & Biases, or nothing.

    Args:
        run: what ``wandb.init`` gave, or None.
    """

    def __init__(self, run: "wandb.Run | None"):
        self._run = run

    @property
    def loggers(self) -> list[Logger]:
        """For the trainer."""
        return [WandbLogger(experiment=self._run)] if self._run else []

    def conclude(self, results: dict[str, Any]) -> None:
        """Add the last figures: speed, the alarm, and every measure of every row of the evidence.

        Args:
            results: what ``results.json`` holds.
        """
        if not self._run:
            return
        rows = (results["evaluation"] or {"rows": {}})["rows"]
        self._run.summary.update(
            {
                "images_per_second": results["images_per_second"],
                "alarm": results["alarm"],
                **{
                    f"{row}/{m}": point_estimate(v)
                    for row, ms in rows.items()
                    for m, v in ms.items()
                },
            }
        )


@contextlib.contextmanager
def tracked(config: PretrainConfig, folder: RunFolder) -> Iterator[Tracker]:
    """The run at Weights & Biases while it lasts; a run that goes on goes on there as well.

    Args:
        config: of the run, settled.
        folder: of the run.
    """
    run = _begin(config, folder) if config.wandb and first_process() else None
    code = 1
    try:
        yield Tracker(run)
        code = 0
    finally:
        if run:
            run.finish(exit_code=code)


def _begin(config: PretrainConfig, folder: RunFolder) -> "wandb.Run | None":
    import wandb

    folder.logs.mkdir(exist_ok=True)
    name = folder.logs / "wandb-id"
    if not name.exists():
        identity = secrets.token_hex(4)
        write_atomically(name, lambda temporary: temporary.write_text(identity))
    try:
        run = wandb.init(
            project=config.wandb,
            name=str(folder.path),
            id=name.read_text(),
            resume="allow",
            dir=folder.logs,
            config=dataclasses.asdict(config),
            settings=wandb.Settings(console="off", silent=True),
        )
    except wandb.Error as error:
        log.warning(f"Weights & Biases does not answer ({first_line(error)}); logs/ has it all")
        return None
    run.define_metric(_STEP)
    run.define_metric("*", step_metric=_STEP)
    return run
