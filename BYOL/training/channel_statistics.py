"""Mean and standard deviation of every channel, which normalize the input of the backbone."""

import torch
from torch import Tensor

from BYOL.config.view_settings import ViewSettings
from BYOL.data.dataset import ArrayImages, Images, readable
from BYOL.errors import SettingsError
from BYOL.model.initial_weights import read_start

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
MEASURED = 64  # files from which the statistics of unusual channels are measured
Statistics = tuple[list[float], list[float]]  # mean and standard deviation of every channel
MIN_STD = 0.02  # of measured values: a channel that hardly varies is not amplified


def channel_statistics(
    config: ViewSettings, train: Images, of_weights: Statistics | None
) -> Statistics:
    """Return mean and standard deviation of every channel.

    Those that are not specified are those of the initial weights (``of_weights``), those of
    ImageNet, or measured.

    Raises:
        SettingsError: the specified ones are not as many as the images have channels.
    """
    mean, std = config.mean, config.std
    if mean is None or std is None:
        default_mean, default_std = _default_statistics(train, of_weights)
        mean = default_mean if mean is None else mean
        std = default_std if std is None else std
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != train.channels:
            raise SettingsError(
                f"--{name}={values} has {len(values)} numbers for images of "
                f"{train.channels} channels"
            )
    return list(mean), list(std)


def _default_statistics(train: Images, of_weights: Statistics | None) -> Statistics:
    if of_weights and len(of_weights[0]) == train.channels:
        return of_weights
    if train.channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    mean, std = _measured(train)
    return [round(v, 5) for v in mean.tolist()], [
        round(v, 5) for v in std.clamp_min(MIN_STD).tolist()
    ]


def _measured(train: Images) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of every channel of some of the images, (C,) each."""
    if isinstance(train, ArrayImages):
        sample = train.data[:: max(len(train) // 2000, 1)].float() / 255
        return sample.mean(dim=(0, 2, 3)), sample.std(dim=(0, 2, 3))
    files = [p.flatten(1).double() / 255 for p in readable(train, train.probes(MEASURED))]
    if not files:
        return torch.full((train.channels,), 0.5), torch.full((train.channels,), 0.25)
    # every file has the same weight, whatever its size
    mean = torch.stack([pixels.mean(dim=1) for pixels in files]).mean(dim=0)
    square = torch.stack([pixels.square().mean(dim=1) for pixels in files]).mean(dim=0)
    return mean, (square - mean.square()).clamp_min(0).sqrt()


def weight_statistics(backbone: str, weights: str | None, pretrained: bool) -> Statistics | None:
    """Return mean and standard deviation that the initial weights were trained with, if known."""
    if weights:
        return read_start(weights).normalisation
    if pretrained:
        import timm

        known = timm.get_pretrained_cfg(backbone)
        return (list(known.mean), list(known.std)) if known else None
    return None
