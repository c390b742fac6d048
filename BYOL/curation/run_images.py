"""The images a command works on: those the user named, else those of the run."""

import dataclasses
from typing import TypeVar

from BYOL._console import counted
from BYOL.config.commands import EvaluateConfig
from BYOL.config.labelling import PredictConfig
from BYOL.data.open import Splits, open_images
from BYOL.errors import UserError
from BYOL.runs.open import Run

Judged = TypeVar("Judged", EvaluateConfig, PredictConfig)


def as_the_run(config: Judged, run: Run) -> Judged:
    """With the run's own files of labels and groups, where its own pictures are meant."""
    if config.data is not None:
        return config
    known = {"groups": config.groups or run.config.groups}
    if config.labels is None and run.config.labels:
        known |= {"labels": run.config.labels, "task": run.config.task}
    return dataclasses.replace(config, **known)  # type: ignore[arg-type]


def pictures_for(run: Run, data: str | None, data_root: str) -> Splits:
    """What the user named, else what the run was trained on, with the run's channels."""
    wanted = run.config.channels
    if not data:
        run.check_places()
    # Arrays say how many channels they have; only files can be converted.
    try:
        splits = open_images(
            data or run.config.data,
            channels=wanted,
            pixel_range=run.config.pixel_range,
            data_root=data_root,
        )
    except UserError as error:
        if not str(error).startswith("--channels="):
            raise
        raise UserError(  # which is a flag of training alone
            f"DATA={data or run.config.data} has pictures of other channels than the {wanted} that "
            f"{run.name} was trained on"
        ) from error
    for images in (splits.train, splits.test):
        if images is not None and images.channels != wanted:
            raise UserError(
                f"DATA={data} has images of {counted(images.channels, 'channel')}; "
                f"{run.name} was trained on {wanted}"
            )
    return splits


def pictures_elsewhere(run: Run, data: str, data_root: str, argument: str) -> Splits:
    """Other pictures than DATA, named by ``--argument``."""
    try:
        return pictures_for(run, data, data_root)
    except UserError as error:
        raise UserError(str(error).replace("DATA=", f"--{argument}=", 1)) from error
