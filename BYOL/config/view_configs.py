"""What the views of a run are drawn from, by its settings."""

from typing import Any

from BYOL.config.pretrain import PretrainConfig
from BYOL.errors import UserError
from BYOL.views.config import ViewConfig


def view_configs(config: PretrainConfig) -> tuple[ViewConfig, ViewConfig]:
    """What the two views are drawn from."""
    size = config.view_size or config.image_size
    assert size is not None
    shared = _shared(config)
    first, second = (
        ViewConfig(size=size, blur=blur, solarize=solarize, **shared)
        for blur, solarize in zip(config.blur, config.solarize, strict=True)
    )
    return first, second


def small_view_configs(config: PretrainConfig) -> tuple[ViewConfig, ...]:
    """What the small views are drawn from: as the second view, but for size and share."""
    large = config.view_size or config.image_size
    assert large is not None
    size = config.small_size or large // 2
    if config.small_views and size >= large:
        raise UserError(f"--small_size={size} is not smaller than the other views: {large}")
    shared = {**_shared(config), "crop_scale": config.small_scale}
    small = ViewConfig(max(size, 1), blur=config.blur[1], solarize=config.solarize[1], **shared)
    return (small,) * config.small_views


def largest_view(config: PretrainConfig) -> int:
    """Side of the largest view, in pixels."""
    return max(view.size for view in (*view_configs(config), *small_view_configs(config)))


def _shared(config: PretrainConfig) -> dict[str, Any]:
    return {
        name: getattr(config, name)
        for name in (
            "crop_scale", "crop_ratio", "flip", "vertical_flip", "rotate", "jitter", "brightness",
            "contrast", "saturation", "hue", "grey", "blur_sigma",
        )
    }  # fmt: skip
