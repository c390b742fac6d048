"""The teacher of a run: a published network, and how it sees the images of the run."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from BYOL.config.model_settings import ModelSettings
from BYOL.errors import SettingsError, UserError
from BYOL.model.backbones import has_fixed_size
from BYOL.model.feature_size import feature_size, pool
from BYOL.model.folded_norms import folded
from BYOL.model.hub import HUB, is_hub_model
from BYOL.model.lite0 import LITE0
from BYOL.model.weights import weights_digest
from BYOL.runs.load import open_backbone
from BYOL.runs.open import Run
from BYOL.runs.published import open_published
from BYOL.views.config import InputSpec

CPU_SIZE = 128  # pixels at most on a CPU, where the default would take several times as long


class TeacherNetwork(nn.Module):
    """A published network that takes pixels in [0, 1] with the channels of the run's images.

    Args:
        network: (B, c, S, S) → (B, d) or (B, d, h, w).
        input_spec: its mean and standard deviation, one number per channel of ``network``.
        channels: for each channel of ``network``, the channel of the images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, input_spec: InputSpec, channels: list[int]):
        super().__init__()
        self.network = network
        self.channels = channels
        mean, std = torch.tensor(input_spec.mean), torch.tensor(input_spec.std)
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (B, C, S, S) in [0, 1] to features (B, d)."""
        return pool(self.network((x[:, self.channels] - self.mean) / self.std))


@dataclass(frozen=True, eq=False)
class Teacher:
    """The teacher of a run.

    Args:
        name: as the user specified it.
        network: pixels (B, channels, size, size) in [0, 1] → features (B, d).
        size: side in pixels of the images that it sees.
        channels: number of channels of the images.
        features: number of its features.
        digest: hash of its weights, size and channels.
        trained_on: what it was trained on, for the report.
        licence: the licence of its weights, or "unknown".
        command_name: the name by which other commands open it.
    """

    name: str
    network: TeacherNetwork
    size: int
    channels: int
    features: int
    digest: str
    trained_on: str
    licence: str
    command_name: str

    @property
    def input_spec(self) -> InputSpec:
        """The input specification: pixels in [0, 1], which the network normalises itself."""
        return InputSpec(self.size, [0.0] * self.channels, [1.0] * self.channels)

    @functools.cached_property
    def folded_network(self) -> nn.Module:
        """The network that computes features: faster, equal up to rounding.

        It is made at first use, so that a command that only reads stored features does not make it.
        """
        generator = torch.Generator().manual_seed(0)
        example = torch.rand(2, self.channels, self.size, self.size, generator=generator)
        return folded(self.network, example.to(self.network.mean.device))

    @property
    def facts(self) -> dict[str, object]:
        """What a report says about it."""
        return {
            "name": self.name,
            "command_name": self.command_name,
            "size": self.size,
            "features": self.features,
            "digest": self.digest,
            "trained_on": self.trained_on,
            "licence": self.licence,
        }


def open_teacher(config: ModelSettings, channels: int, accelerator: str) -> Teacher:
    """Open the teacher of ``config``.

    Args:
        config: settings with ``teacher``, which is not auto.
        channels: channels of the images.
        accelerator: cpu, gpu or mps; the default size depends on it.

    Raises:
        UserError: it does not exist, or does not fit the images.
    """
    assert config.teacher is not None
    run = _open(config.teacher)
    known = run.config.input_spec
    size = config.teacher_size or _default_size(run, known.size, accelerator)
    order = _channels(config, channels, len(known.mean))
    network = TeacherNetwork(run.backbone, known, order).eval()
    try:
        count = feature_size(network, channels, size)
    except UserError:
        count = None
    if count is None:
        raise SettingsError(
            f"--teacher_size={size} does not fit the teacher {config.teacher}: give another size"
        )
    about = _origin(config.teacher, run)
    digest = _digest(run.backbone, f"{run.config.backbone} {known}", size, order)
    return Teacher(config.teacher, network, size, channels, count, digest, *about)


def _open(name: str) -> Run:
    place = Path(name.removeprefix("local-dir:")).expanduser()
    if not place.exists() and not is_hub_model(name):
        if "/" in name or name.endswith(".safetensors"):
            raise UserError(f"--teacher={name} is not there: {_ACCEPTED}")
        return open_published(name, "--teacher")
    try:
        return open_backbone(name)
    except UserError as error:
        raise type(error)(str(error).replace("RUN=", "--teacher=", 1)) from error


_ACCEPTED = (
    "give lite0, a timm name with weights, hf-hub:OWNER/NAME, local-dir:FOLDER or a run's folder"
)


def _default_size(run: Run, own: int, accelerator: str) -> int:
    fixed = run.published is not None and has_fixed_size(run.config.backbone)
    return own if fixed or accelerator == "gpu" else min(own, CPU_SIZE)


def _channels(config: ModelSettings, images: int, teacher: int) -> list[int]:
    """For each channel of the teacher, the channel of the images."""
    bands = config.teacher_bands
    if bands is not None:
        if len(bands) != teacher or max(bands) > images:
            raise SettingsError(
                f"--teacher_bands={','.join(map(str, bands))} does not fit: give {teacher} numbers "
                f"from 1 to {images}"
            )
        return [band - 1 for band in bands]
    if images == teacher:
        return list(range(images))
    if images == 1:
        return [0] * teacher
    example = ",".join(str(i + 1) for i in range(teacher))
    raise SettingsError(
        f"--teacher={config.teacher} takes images of {teacher} channels, and these have {images}: "
        f"choose the bands that it sees, such as --teacher_bands={example}"
    )


def _origin(name: str, run: Run) -> tuple[str, str, str]:
    """What the teacher was trained on, its licence, and the name for other commands."""
    if name == LITE0 and run.published:
        return "labels of ImageNet-1k", "Apache-2.0", name
    if run.published is None:
        return "the images of its run, without labels", "unknown", name
    known = getattr(run.backbone, "pretrained_cfg", None) or {}
    if is_hub_model(name) or Path(name).exists():
        return "unknown images", "unknown", name
    hub, tag = known.get("hf_hub_id"), known.get("tag") or ""
    images = "labels of ImageNet-1k" if tag.endswith("in1k") else f"unknown images ({tag})"
    return images, str(known.get("license") or "unknown"), f"{HUB}{hub}" if hub else name


def _digest(network: nn.Module, name: str, size: int, channels: list[int]) -> str:
    text = f"{name} {size} {channels} {weights_digest(network)}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
