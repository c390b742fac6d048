"""The images that a command processes: those of its DATA argument, or those of the run."""

import dataclasses
from typing import TypeVar

from BYOL._console import counted
from BYOL.config.curation import PredictConfig
from BYOL.config.data_settings import DataSettings
from BYOL.config.evaluate import EvaluateConfig
from BYOL.curation.outputs import Outputs, check_images
from BYOL.data.configured import open_configured, report_closed_folders
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.runs.open import Run

Config = TypeVar("Config", EvaluateConfig, PredictConfig)


def with_run_annotations(config: Config, run: Run) -> Config:
    """Fill in the label and group files of ``run`` if ``config`` names no other images."""
    if config.data is not None:
        return config
    names = ["groups", "group_column"] if config.groups is None else []
    if config.labels is None:
        names += ["labels", "label_column", "task"] if run.config.labels else []
        names += [] if config.file_column else ["file_column"]
    return dataclasses.replace(config, **{name: getattr(run.config, name) for name in names})


def open_run_images(run: Run, data: str | None, data_root: str) -> Splits:
    """Open the images of ``data``, or the training images of ``run`` if ``data`` is None.

    Args:
        run: the run, whose number of channels and pixel range are used.
        data: the DATA argument of the command, or None.
        data_root: the folder of named data sets, which are downloaded if missing.

    Raises:
        UserError: the run has no images of its own, the images cannot be opened, or they have
            another number of channels than the run.
    """
    channels = run.config.channels
    if not data:
        run.check_places()
    # Only files can be converted to another number of channels; arrays have a fixed number.
    try:
        settings = run.config.only(DataSettings)
        splits = open_configured(data or settings.data, settings, data_root=data_root)
    except UserError as error:
        if not str(error).startswith("--channels="):
            raise
        raise UserError(  # --channels is a flag of pretrain only
            f"DATA={data or run.config.data} has images of other channels than the {channels} that "
            f"{run.name} was trained on"
        ) from error
    for images in (splits.train, splits.test):
        if images is not None and images.channels != channels:
            raise UserError(
                f"DATA={data} has images of {counted(images.channels, 'channel')}; "
                f"{run.name} was trained on {channels}"
            )
    report_closed_folders(splits.train)
    return splits


def open_images_of_flag(
    run: Run, data: str, data_root: str, argument: str, outputs: Outputs
) -> Splits:
    """Open the images ``data`` of the flag ``--argument``; errors name this flag.

    Args:
        run: as for :func:`open_run_images`.
        data: the value of the flag.
        data_root: as for :func:`open_run_images`.
        argument: the name of the flag.
        outputs: the files that the command writes, which must be none of the images.
    """
    try:
        splits = open_run_images(run, data, data_root)
    except UserError as error:
        raise UserError(str(error).replace("DATA=", f"--{argument}=", 1)) from error
    check_images(outputs, splits)
    return splits
