"""Views of a batch: draw the parameters, apply the augmentations, normalise."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from BYOL._random import fold
from BYOL.errors import UserError
from BYOL.views import ops
from BYOL.views.config import ViewConfig
from BYOL.views.cpu import cpu_view
from BYOL.views.crop_resize import crop_resize
from BYOL.views.sample_params import AppearanceParams, sample_appearance, sample_crops

AppearanceFunction = Callable[
    [ViewConfig, Tensor, AppearanceParams, list[float], list[float]], Tensor
]
# a colour operation: its column in the draw's order, the function, its values, its strength
_ColourOperation = tuple[int, Callable[[Tensor, Tensor], Tensor], Tensor, float]


def augment_appearance(
    config: ViewConfig, x: Tensor, params: AppearanceParams, mean: list[float], std: list[float]
) -> Tensor:
    """Apply everything that follows the crop and the horizontal flip, and normalise.

    The work is batched tensor operations on any device. Every operation is computed for all images,
    and the result is kept only where it was drawn. Counting the drawn images would force the host
    to wait for the GPU.

    Args:
        config: the augmentations.
        x: (B, C, size, size) float in [0, 1], cropped and flipped.
        params: the parameters of each image.
        mean: mean of each channel.
        std: standard deviation of each channel.

    Returns:
        (B, C, size, size), normalised.
    """
    if config.vertical_flip:
        x = ops.vertical_flip(x, params.vertical_flip)
    if config.rotate:
        x = ops.rotate(x, params.angle).clamp_(0, 1)
    if params.cutout is not None:
        x = ops.cutout(x, params.cutout, mean)
    if config.jitter:
        x = _jitter(config, x, params)
    if config.grey and x.shape[1] == 3:
        x = _apply_where(params.grey, config.grey, x, ops.grey)
    if config.blur and ops.blur_radius(config.size):
        x = _apply_where(params.blur, config.blur, x, ops.blur, params.sigma)
    if config.solarize:
        x = _apply_where(params.solarize, config.solarize, x, ops.solarize)
    scale = 1 / ops.per_channel(std, x)
    return torch.addcmul(-ops.per_channel(mean, x) * scale, x, scale)


def _apply_where(
    chosen: Tensor, probability: float, x: Tensor, operation: Callable[..., Tensor], *values: Tensor
) -> Tensor:
    if probability == 1:
        return operation(x, *values)
    return torch.where(chosen[:, None, None, None], operation(x, *values), x)


def _jitter(config: ViewConfig, x: Tensor, params: AppearanceParams) -> Tensor:
    """Apply the four colour operations in the order that was drawn for each image."""
    operations: list[_ColourOperation] = [
        (0, ops.brightness, params.brightness, config.brightness),
        (1, ops.contrast, params.contrast, config.contrast),
    ]
    if x.shape[1] == 3:
        operations += [
            (2, ops.saturation, params.saturation, config.saturation),
            (3, ops.hue, params.hue, config.hue),
        ]
    operations = [entry for entry in operations if entry[3]]
    for position in range(4):
        for column, operation, value, _ in operations:
            chosen = params.jitter & (params.order[:, column] == position)
            x = torch.where(chosen[:, None, None, None], operation(x, value), x)
    return x


class Views:
    """Two views of every image of a batch, and optional further views, on the batch's device.

    Args:
        first: the augmentations of the first view.
        second: the augmentations of the second view.
        mean: mean of each channel, for normalisation.
        std: standard deviation of each channel.
        compiled: fuse the operations on a GPU with ``torch.compile``, which takes some seconds at
            the first batch. It has no effect on a CPU, where other compiled code is used.
        further: the augmentations of each further view (small views and cutout views), which only
            the online network processes.
    """

    def __init__(
        self,
        first: ViewConfig,
        second: ViewConfig,
        mean: list[float],
        std: list[float],
        compiled: bool = False,
        further: tuple[ViewConfig, ...] = (),
    ):
        self.configs = (first, second)
        self.further = further
        self.mean = list(mean)
        self.std = list(std)
        self.appearance: AppearanceFunction = (
            torch.compile(augment_appearance, dynamic=False) if compiled else augment_appearance
        )

    @property
    def all_configs(self) -> tuple[ViewConfig, ...]:
        """The augmentations of all views of an image: the two views, then the further ones."""
        return self.configs + self.further

    def __call__(
        self,
        images: Tensor | Sequence[Tensor],
        ids: Tensor,
        key: int,
        which: Sequence[int] = (0, 1),
    ) -> list[Tensor]:
        """Return the two large views, or others, of every image.

        Args:
            images: (B, C, H, W) uint8, or float in [0, 1]; or for every view of ``all_configs`` the
                crops (B, C, size, size), made with the boxes of the same ``key``.
            ids: (B,) sample numbers. Together with ``key`` they determine the draws of each image.
            key: random key of the epoch, ``fold(seed, epoch)``.
            which: the positions of the requested views in ``all_configs``.

        Returns:
            A (B, C, size, size) float32 tensor for each requested view, normalised.
        """
        cropped, views = not isinstance(images, Tensor), []
        for number in which:
            pixels = images[number] if cropped else images
            assert isinstance(pixels, Tensor)
            config, view_key = self.all_configs[number], fold(key, number)
            views.append(
                make_view(
                    config, pixels, ids, view_key, self.mean, self.std, self.appearance, cropped
                )
            )
        return views


def make_view(
    config: ViewConfig,
    images: Tensor,
    ids: Tensor,
    key: int,
    mean: list[float],
    std: list[float],
    appearance: AppearanceFunction = augment_appearance,
    cropped: bool = False,
) -> Tensor:
    """Return one view of every image.

    The order is that of the paper (appendix B): crop, flips, rotation, cutout, colour jitter,
    greyscale, blur, solarize, normalisation.

    Args:
        config: the augmentations.
        images: (B, C, H, W) uint8, or float in [0, 1]; of the size of the view if ``cropped``.
        ids: (B,) sample numbers. Together with ``key`` they determine the draws of each image.
        key: random key of the view.
        mean: mean of each channel.
        std: standard deviation of each channel.
        appearance: :func:`augment_appearance`, or its compiled form. It is not used on a CPU.
        cropped: whether ``images`` are cropped already, with the boxes that ``key`` draws.

    Returns:
        (B, C, size, size) float32.

    Raises:
        UserError: ``mean`` or ``std`` has another number of channels than the images.
    """
    if not len(mean) == len(std) == images.shape[1]:
        raise UserError(
            f"mean has {len(mean)} and std {len(std)} numbers for images of {images.shape[1]} "
            "channels"
        )
    ids = ids.to(images.device)
    draw = sample_appearance(config, key, ids)
    boxes = None
    if not cropped:
        sides = (torch.full((), side, device=ids.device) for side in images.shape[-2:])
        boxes = sample_crops(config, key, ids, *sides)
    if images.device.type == "cpu":
        return cpu_view(config, images, boxes, draw, mean, std)
    if boxes is None:
        x = images.float() * (1 if images.is_floating_point() else 1 / 255)
        return appearance(config, ops.flip(x, draw.flip), draw, mean, std)
    return appearance(config, crop_resize(images, boxes, config.size, draw.flip), draw, mean, std)
