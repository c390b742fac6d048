"""Conversion of colours to sRGB by ICC profiles."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_INDISTINCT = 3  # of 255: a profile that changes no colour by more is treated as sRGB
_MOST_BYTES = 1 << 22  # of a profile


def image_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image of mode L, RGB or CMYK by its ICC profile; others are returned unchanged.

    Args:
        image: the image.
        profile: its ICC profile; None, an invalid one and one of other colours have no effect.

    Returns:
        An image of mode L or RGB; CMYK is unchanged without a valid profile.
    """
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted.getchannel(0) if image.mode == "L" else converted


def pixels_to_srgb(pixels: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Convert (H, W, 1 or 3) uint8 by an ICC profile; see :func:`image_to_srgb`."""
    mode = _MODES[pixels.shape[2]]
    if profile is None or _transform(profile, mode) is None:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if mode == "L" else pixels), mode)
    converted = np.array(image_to_srgb(image, profile))
    return converted[..., None] if converted.ndim == 2 else converted


def cmyk_to_rgb(inks: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Convert (H, W, 4) uint8 inks to (H, W, 3) uint8 sRGB, by an ICC profile if it is valid."""
    image = Image.frombytes("CMYK", inks.shape[1::-1], np.ascontiguousarray(inks).tobytes())
    return np.array(image_to_srgb(image, profile).convert("RGB"))


@lru_cache(maxsize=64)
def changes_colours(profile: bytes) -> bool:
    """Whether ``profile`` is a valid one of colours or grey values, and not that of sRGB."""
    return any(_transform(profile, mode) is not None for mode in ("RGB", "L"))


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Any:
    """The transform from ``profile`` to sRGB; None if it is invalid or changes nothing visible."""
    if mode not in _MODES.values() or len(profile) > _MOST_BYTES:
        return None
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(own, srgb, mode, "RGB")
        if mode == "CMYK":
            return transform
        steps = np.linspace(0, 255, 6).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(6, 36, 3)
        grid = np.ascontiguousarray(grid if mode == "RGB" else np.repeat(grid[..., :1], 3, axis=2))
        before = Image.fromarray(grid if mode == "RGB" else np.ascontiguousarray(grid[..., 0]))
        after = np.asarray(ImageCms.applyTransform(before, transform)).astype(int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if np.abs(after - grid).max() > _INDISTINCT else None
