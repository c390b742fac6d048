"""The distributions of the views of a run, from its settings."""

import dataclasses
from typing import Any

from BYOL.config.view_settings import ViewSettings
from BYOL.errors import SettingsError
from BYOL.views.config import ViewConfig


def view_configs(config: ViewSettings) -> tuple[ViewConfig, ViewConfig]:
    """The distributions of the two views."""
    size = config.view_size or config.image_size
    assert size is not None
    shared = _shared(config)
    first, second = (
        ViewConfig(size=size, blur=blur, solarize=solarize, **shared)
        for blur, solarize in zip(config.blur, config.solarize, strict=True)
    )
    return first, second


def small_view_configs(config: ViewSettings) -> tuple[ViewConfig, ...]:
    """The distributions of the small views: that of the second view with another size and scale.

    Raises:
        UserError: the small views are not smaller than the others.
    """
    large = config.view_size or config.image_size
    assert large is not None
    size = config.small_size or large // 2
    if config.small_views and size >= large:
        raise SettingsError(f"--small_size={size} is not smaller than the other views: {large}")
    shared = {**_shared(config), "crop_scale": config.small_scale}
    small = ViewConfig(max(size, 1), blur=config.blur[1], solarize=config.solarize[1], **shared)
    return (small,) * config.small_views


def largest_view(config: ViewSettings) -> int:
    """The side of the largest view in pixels."""
    return max(view.size for view in (*view_configs(config), *small_view_configs(config)))


def _shared(config: ViewSettings) -> dict[str, Any]:
    own = {field.name for field in dataclasses.fields(ViewSettings)} - {"blur", "solarize"}
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(ViewConfig)
        if field.name in own
    }
