"""The distributions of the views of a run, from its settings."""

import dataclasses
from dataclasses import replace
from typing import Any

from BYOL.config.view_settings import ViewSettings
from BYOL.errors import SettingsError
from BYOL.views.config import ViewConfig


def view_configs(config: ViewSettings) -> tuple[ViewConfig, ViewConfig]:
    """The distributions of the two views."""
    size = config.view_size or config.image_size
    assert size is not None
    own = {field.name for field in dataclasses.fields(ViewConfig)} & vars(config).keys()
    shared: dict[str, Any] = {name: getattr(config, name) for name in own - {"blur", "solarize"}}
    first, second = (
        ViewConfig(size=size, blur=blur, solarize=solarize, **shared)
        for blur, solarize in zip(config.blur, config.solarize, strict=True)
    )
    return first, second


def further_view_configs(config: ViewSettings) -> tuple[ViewConfig, ...]:
    """The distributions of the small views and the cutout views, in this order.

    They are that of the second view: small views with another size and scale, cutout views with a
    filled part, and both with their own probability of blur and solarization where specified.

    Raises:
        SettingsError: the small views are not smaller than the others, or a range is empty.
    """
    large = config.view_size or config.image_size
    assert large is not None
    size = config.small_size or large // 2
    if config.small_views and size >= large:
        raise SettingsError(f"--small_size={size} is not smaller than the other views: {large}")
    for name in ("small_scale", "cutout_area"):
        low, high = getattr(config, name)
        if not 0 < low <= high <= 1:
            raise SettingsError(
                f"--{name}={(low, high)} is out of range: give 0 < least ≤ most ≤ 1"
            )
    blur = config.blur[1] if config.further_blur is None else config.further_blur
    solarize = config.solarize[1] if config.further_solarize is None else config.further_solarize
    whole = replace(view_configs(config)[1], blur=blur, solarize=solarize)
    small = replace(whole, size=max(size, 1), crop_scale=config.small_scale)
    cutout = replace(whole, cutout=config.cutout_area)
    return (small,) * config.small_views + (cutout,) * config.cutout_views


def further_kinds(config: ViewSettings) -> tuple[str, ...]:
    """The kind of each view of :func:`further_view_configs`."""
    return tuple(view.kind for view in further_view_configs(config))


def largest_view(config: ViewSettings) -> int:
    """The side of the largest view in pixels."""
    return max(view.size for view in (*view_configs(config), *further_view_configs(config)))


def input_sizes(config: ViewSettings) -> dict[str, int]:
    """The side length of every size that images have in training, by the setting that names it."""
    assert config.image_size is not None
    sides = {"image_size": config.image_size}
    if config.view_size:
        sides["view_size"] = config.view_size
    if config.small_views:
        sides["small_size"] = further_view_configs(config)[0].size
    return sides
