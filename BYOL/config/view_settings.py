"""The random views of an image."""

from dataclasses import dataclass
from typing import ClassVar

from BYOL.config.fields import setting
from BYOL.views.config import Pair


@dataclass(frozen=True)
class ViewSettings:
    """The random views of an image."""

    title: ClassVar[str] = "views"

    image_size: int | None = setting(
        None,
        "Side in pixels of the images that the network takes. The default is the side of the "
        "images if all are equal and at most 96 px, otherwise 224.",
        low=1,
        on_resume="fixed",
        chosen="recipe",
        basic=True,
    )
    view_size: int | None = setting(
        None,
        "Side in pixels of the training views. The default is --image-size. Smaller views take "
        "less computation. They also match the apparent size of objects in evaluation, because a "
        "random crop enlarges them (arXiv 1906.06423).",
        low=1,
        on_resume="fixed",
        chosen="recipe",
    )
    crop_scale: Pair = setting(
        (0.08, 1.0),
        "Smallest and largest fraction of the image's area that a crop covers.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    crop_ratio: Pair = setting(
        (3 / 4, 4 / 3),
        "Smallest and largest aspect ratio (width / height) of a crop before it is resized to a "
        "square.",
        low=0,
        on_resume="incomplete",
    )
    flip: float = setting(
        0.5, "Probability of a horizontal flip.", low=0, high=1, on_resume="incomplete"
    )
    vertical_flip: float = setting(
        0.0, "Probability of a vertical flip.", low=0, high=1, on_resume="incomplete"
    )
    rotate: float = setting(
        0.0, "Largest rotation of a view in degrees.", low=0, high=180, on_resume="incomplete"
    )
    jitter: float = setting(
        0.8,
        "Probability of color jitter: brightness, contrast, saturation and hue.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    brightness: float = setting(
        0.4,
        "Largest change of brightness in color jitter.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    contrast: float = setting(
        0.4,
        "Largest change of contrast in color jitter.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    saturation: float = setting(
        0.2,
        "Largest change of saturation in color jitter, for color images only.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    hue: float = setting(
        0.1,
        "Largest change of hue in color jitter, in turns, for color images only.",
        low=0,
        high=0.5,
        on_resume="incomplete",
    )
    grey: float = setting(
        0.2,
        "Probability that a view is converted to grayscale, for color images only.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    blur: Pair = setting(
        (1.0, 0.1),
        "Probability of Gaussian blur for the first and the second view.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    blur_sigma: Pair = setting(
        (0.1, 2.0),
        "Smallest and largest standard deviation of the blur in pixels.",
        low=0,
        on_resume="incomplete",
    )
    solarize: Pair = setting(
        (0.0, 0.2),
        "Probability of solarization for the first and the second view.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    small_views: int = setting(
        0,
        "Number of additional small views per image, which only the online network sees "
        "(multi-crop).",
        low=0,
        on_resume="fixed",
    )
    small_size: int | None = setting(
        None,
        "Side in pixels of the small views. The default is half of --view-size.",
        low=1,
        on_resume="fixed",
    )
    small_scale: Pair = setting(
        (0.05, 0.4),
        "Smallest and largest fraction of the image's area that a small view covers.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    cutout_views: int = setting(
        0,
        "Number of additional views per image in which a rectangle is filled with the mean. Only "
        "the online network sees them.",
        low=0,
        on_resume="fixed",
    )
    cutout_area: Pair = setting(
        (0.2, 0.6),
        "Smallest and largest fraction of a cutout view that is filled.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    further_blur: float | None = setting(
        None,
        "Probability of Gaussian blur for small views and cutout views. The default is that of the "
        "second view.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    further_solarize: float | None = setting(
        None,
        "Probability of solarization for small views and cutout views. The default is that of the "
        "second view.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    mean: list[float] | None = setting(
        None,
        "Mean of each channel, for normalization. The default is the mean that the starting "
        "weights expect, ImageNet's for three channels, or the mean of a sample of the images.",
        on_resume="fixed",
    )
    std: list[float] | None = setting(
        None,
        "Standard deviation of each channel, for normalization. The default is chosen as for "
        "--mean.",
        on_resume="fixed",
    )
