"""Weights & Biases: settings, curves and final results of a run.

All of them are in the folder of the run as well, and a failure there never ends a run.
"""

import contextlib
import dataclasses
import logging
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger, WandbLogger

from BYOL._distributed import first_process
from BYOL._files import write_atomically
from BYOL.config import PretrainConfig
from BYOL.config.schema import read_text
from BYOL.errors import DataError, MachineError, first_line
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.runs.folder import RunFolder

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)
_STEP = "trainer/global_step"  # the name in Lightning's logger


def check_wandb(config: PretrainConfig) -> None:
    """Check that Weights & Biases is installed and accepts the login, before anything is written.

    Raises:
        MachineError: it is not installed, or there is no login.
    """
    if config.wandb is None or not first_process():
        return
    try:
        import wandb
    except ImportError as error:
        raise MachineError(
            f"--wandb={config.wandb} needs Weights & Biases: pip install 'BYOL[wandb]'"
        ) from error
    try:
        if os.environ.get("WANDB_MODE", "online") == "online":
            wandb.login()
    except wandb.Error as error:
        raise MachineError(
            f"--wandb={config.wandb} needs a login: wandb login, or WANDB_MODE=offline for files "
            "that wandb sync sends later"
        ) from error


class WandbRun:
    """A run at Weights & Biases.

    Args:
        run: the result of ``wandb.init``; None means that nothing is sent.
    """

    def __init__(self, run: "wandb.Run | None"):
        self._run = run

    @property
    def loggers(self) -> list[Logger]:
        """Return the loggers for the trainer."""
        return [WandbLogger(experiment=self._run)] if self._run else []

    def log_results(self, results: dict[str, Any]) -> None:
        """Send speed, alarm and every measure of the evaluation.

        Args:
            results: content of ``results.json``.
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
def wandb_run(config: PretrainConfig, folder: RunFolder) -> Iterator[WandbRun]:
    """Open the run at Weights & Biases as a context; a resumed run is resumed there as well.

    If Weights & Biases does not answer, a warning is logged and nothing is sent.

    Args:
        config: resolved settings of the run.
        folder: folder of the run.
    """
    run = _start(config, folder) if config.wandb and first_process() else None
    code = 1
    try:
        yield WandbRun(run)
        code = 0
    finally:
        if run:
            run.finish(exit_code=code)


def _identity(path: Path) -> str:
    """Return the identifier of the run in the file ``path``; a new one if it is damaged."""
    text = ""
    with contextlib.suppress(DataError):
        text = read_text(path) or ""
    if re.fullmatch(r"[\w-]{1,64}", text):
        return text
    identity = secrets.token_hex(4)
    write_atomically(path, lambda temporary: temporary.write_text(identity))
    return identity


def _start(config: PretrainConfig, folder: RunFolder) -> "wandb.Run | None":
    import wandb

    folder.logs.mkdir(exist_ok=True)
    try:
        run = wandb.init(
            project=config.wandb,
            name=str(folder.path),
            id=_identity(folder.wandb_id),
            resume="allow",
            dir=folder.logs,
            config=dataclasses.asdict(config),
            settings=wandb.Settings(console="off", silent=True),
        )
    except wandb.Error as error:
        log.warning(f"Weights & Biases does not answer ({first_line(error)}); logs/ has everything")
        return None
    run.define_metric(_STEP)
    run.define_metric("*", step_metric=_STEP)
    return run
