"""The random views of an image."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from BYOL.config.common_fields import fixed_setting
from BYOL.config.fields import setting
from BYOL.views.config import InputSpec, Pair


def _augmentation(
    default: Any, help: str, high: float | None = 1, chosen: Literal["recipe"] | None = None
) -> Any:
    """A number from 0 to ``high`` that must not change before the run is complete."""
    return setting(default, help, low=0, high=high, on_resume="incomplete", chosen=chosen)


@dataclass(frozen=True)
class ViewSettings:
    """The random views of an image."""

    title: ClassVar[str] = "views"

    image_size: int | None = fixed_setting(
        None,
        "Side in pixels of the images that the network takes. The default is the side of the "
        "images if all are equal and at most 96 px, otherwise 224.",
        low=1,
        chosen="recipe",
        basic=True,
    )
    view_size: int | None = fixed_setting(
        None,
        "Side in pixels of the training views. The default is --image-size. Smaller views take "
        "less computation. They also match the apparent size of objects in evaluation, because a "
        "random crop enlarges them (arXiv 1906.06423).",
        low=1,
        chosen="recipe",
    )
    crop_scale: Pair = _augmentation(
        (0.08, 1.0),
        "Smallest and largest fraction of the image's area that a crop covers.",
        chosen="recipe",
    )
    crop_ratio: Pair = _augmentation(
        (3 / 4, 4 / 3),
        "Smallest and largest aspect ratio (width / height) of a crop before it is resized to a "
        "square.",
        high=None,
    )
    flip: float = _augmentation(0.5, "Probability of a horizontal flip.")
    vertical_flip: float = _augmentation(0.0, "Probability of a vertical flip.")
    rotate: float = _augmentation(0.0, "Largest rotation of a view in degrees.", high=180)
    jitter: float = _augmentation(
        0.8, "Probability of color jitter: brightness, contrast, saturation and hue."
    )
    brightness: float = _augmentation(
        0.4, "Largest change of brightness in color jitter.", chosen="recipe"
    )
    contrast: float = _augmentation(
        0.4, "Largest change of contrast in color jitter.", chosen="recipe"
    )
    saturation: float = _augmentation(
        0.2, "Largest change of saturation in color jitter, for color images only."
    )
    hue: float = _augmentation(
        0.1, "Largest change of hue in color jitter, in turns, for color images only.", high=0.5
    )
    grey: float = _augmentation(
        0.2,
        "Probability that a view is converted to grayscale, for color images only.",
        chosen="recipe",
    )
    blur: Pair = _augmentation(
        (1.0, 0.1),
        "Probability of Gaussian blur for the first and the second view.",
        chosen="recipe",
    )
    blur_sigma: Pair = _augmentation(
        (0.1, 2.0), "Smallest and largest standard deviation of the blur in pixels.", high=None
    )
    solarize: Pair = _augmentation(
        (0.0, 0.2),
        "Probability of solarization for the first and the second view.",
        chosen="recipe",
    )
    small_views: int = fixed_setting(
        0,
        "Number of additional small views per image, which only the online network sees "
        "(multi-crop).",
        low=0,
    )
    small_size: int | None = fixed_setting(
        None, "Side in pixels of the small views. The default is half of --view-size.", low=1
    )
    small_scale: Pair = _augmentation(
        (0.05, 0.4), "Smallest and largest fraction of the image's area that a small view covers."
    )
    cutout_views: int = fixed_setting(
        0,
        "Number of additional views per image in which a rectangle is filled with the mean. Only "
        "the online network sees them.",
        low=0,
    )
    cutout_area: Pair = _augmentation(
        (0.2, 0.6), "Smallest and largest fraction of a cutout view that is filled."
    )
    further_blur: float | None = _augmentation(
        None,
        "Probability of Gaussian blur for small views and cutout views. The default is that of the "
        "second view.",
    )
    further_solarize: float | None = _augmentation(
        None,
        "Probability of solarization for small views and cutout views. The default is that of the "
        "second view.",
    )
    mean: list[float] | None = fixed_setting(
        None,
        "Mean of each channel, for normalization. The default is the mean that the starting "
        "weights expect, ImageNet's for three channels, or the mean of a sample of the images.",
    )
    std: list[float] | None = fixed_setting(
        None,
        "Standard deviation of each channel, for normalization. The default is chosen as for "
        "--mean.",
    )

    @property
    def input_spec(self) -> InputSpec:
        """The size and the normalization of the backbone's input, once they are resolved."""
        assert self.image_size is not None
        assert self.mean is not None
        assert self.std is not None
        return InputSpec(self.image_size, self.mean, self.std)
