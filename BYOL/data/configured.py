"""Open a data set with the settings of a run."""

from typing import Any

from BYOL.config.data_settings import DataSettings
from BYOL.data.data_source import DataSource
from BYOL.data.sources import Splits, open_images

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
