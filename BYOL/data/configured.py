"""Open a data set with the settings of a run."""

import logging
from typing import Any

from BYOL.config.data_settings import DataSettings
from BYOL.data.data_source import DataSource
from BYOL.data.dataset import Images
from BYOL.data.sources import Splits, open_images

log = logging.getLogger(__name__)

# Settings of a run that are arguments of open_images.
_READING = ("channels", "pixel_range", "data_root", "no_data", "slice", "frames")


def open_configured(
    data: str | DataSource | None, settings: DataSettings, **changes: Any
) -> Splits:
    """Open a data set with the settings of a run.

    Args:
        data: see :func:`BYOL.data.sources.open_images`.
        settings: how the images are read.
        changes: its arguments that differ from ``settings``.

    Raises:
        UserError: ``data`` does not exist or has no images.
    """
    return open_images(data, **{name: getattr(settings, name) for name in _READING} | changes)


def report_closed_folders(images: Images) -> None:
    """Log a warning if folders of ``images`` were left out because they cannot be read."""
    for note in images.notes:
        if note.endswith("that cannot be accessed"):
            log.warning(note)
