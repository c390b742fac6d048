"""What every command can be told: one dataclass a command, nothing imported that takes time.

The command line, the YAML files and the Python functions all take these; a run's folder holds the
one that made it.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL.errors import UserError
from BYOL.views.config import Sight

Pair = tuple[float, float]


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of a run. The defaults are the preset's: see ``BYOL.presets``.

    Args:
        data: a folder of pictures, an .npz or .npy of images, or one of digits, cifar10,
            cifar100, stl10. Without it: scikit-learn's handwritten digits.
        preset: digits, small, paper-100, paper-300, paper-1000, or auto: what fits the pictures.
        out: the run's folder, made new. Without it: runs/ and a name with the time.
        resume: go on from the last checkpoint in ``out``.
        data_root: where named data sets lie or are downloaded to.
        channels: 1, 3, 4 … channels of the pictures; without it, what the pictures have.
        image_size: side in pixels of what the network sees; without it, that of the pictures where
            all are alike and at most 96 px, else 224.
        backbone: a timm name (resnet18, resnet50, convnext_tiny, …) or plain5, plain6.
        pretrained: start from timm's weights.
        stem: imagenet, small (3×3 without stride, for ResNets on small pictures) or auto.
        hidden_size: width of the hidden layers of projector and predictor.
        output_size: dimension of projections and predictions.
        depth_proj: linear layers of the projector.
        depth_pred: linear layers of the predictor.
        predictor: mlp, linear, optimal (closed form, solved on every batch) or none.
        ema: whether the target is a moving average; otherwise it is the online network.
        tau: τ at the start; it rises to 1 by a cosine over the run.
        epochs: passes over the pictures.
        batch_size: pictures per optimizer step, over all processes and accumulated parts.
        accumulate: parts that a process computes one after the other for one optimizer step.
        optimizer: lars, sgd or adamw.
        lr: learning rate for a batch of 256; the rate used is lr · batch_size / 256.
        weight_decay: for weights; biases and norms have none.
        momentum: of LARS and SGD, β₁ of AdamW.
        trust: LARS's trust coefficient η.
        warmup_epochs: length of the linear rise of the rate.
        predictor_lr_scale: λ, times the rate for the predictor; without it 1, or 10 without ema.
        crop_scale: share of the picture's area that a view shows, least and most.
        crop_ratio: width / height of a crop before it is made square, least and most.
        flip: probability of a mirrored view.
        vertical_flip: probability of an upside-down view.
        rotate: largest turn of a view, in degrees.
        jitter: probability of the colour changes below.
        brightness: largest change of brightness.
        contrast: largest change of contrast.
        saturation: largest change of saturation (colour pictures only).
        hue: largest change of hue, in turns (colour pictures only).
        grey: probability of a grey view (colour pictures only).
        blur: probability of a blur, for the first and the second view.
        blur_sigma: its standard deviation in pixels, least and most.
        solarize: probability of solarizing, for the first and the second view.
        mean: of every channel, for normalisation; without it ImageNet's, or measured.
        std: likewise.
        seed: of everything random.
        accelerator: cpu, gpu, mps or auto.
        devices: processes on this machine, each with a device of its own.
        nodes: machines.
        precision: fp32, bf16, fp16, or auto: bf16 where the hardware multiplies it.
        sync_batchnorm: batch statistics over all processes (on GPUs).
        workers: processes that load pictures; without it, what fits the machine.
        memory: gigabytes that pictures may take to be held decoded in memory.
        strict_images: stop before training if any picture cannot be read.
        knn_every: epochs between online k-NN checks (0: never).
        gauges_every: optimizer steps between readings of the collapse gauges (0: never).
        checkpoint_every: epochs between checkpoints.
        evaluate: end with the comparison against raw pixels and the untrained backbone.
    """

    data: str | None = None
    preset: str = "auto"
    out: str | None = None
    resume: bool = False
    data_root: str = "~/.cache/byol"
    channels: int | None = None
    image_size: int | None = None
    backbone: str = "resnet50"
    pretrained: bool = False
    stem: str = "auto"
    hidden_size: int = 4096
    output_size: int = 256
    depth_proj: int = 2
    depth_pred: int = 2
    predictor: str = "mlp"
    ema: bool = True
    tau: float = 0.996
    epochs: int = 300
    batch_size: int = 256
    accumulate: int = 1
    optimizer: str = "lars"
    lr: float = 0.3
    weight_decay: float = 1e-6
    momentum: float = 0.9
    trust: float = 1e-3
    warmup_epochs: float = 10.0
    predictor_lr_scale: float | None = None
    crop_scale: Pair = (0.08, 1.0)
    crop_ratio: Pair = (3 / 4, 4 / 3)
    flip: float = 0.5
    vertical_flip: float = 0.0
    rotate: float = 0.0
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grey: float = 0.2
    blur: Pair = (1.0, 0.1)
    blur_sigma: Pair = (0.1, 2.0)
    solarize: Pair = (0.0, 0.2)
    mean: list[float] | None = None
    std: list[float] | None = None
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    sync_batchnorm: bool = True
    workers: int | None = None
    memory: float = 4.0
    strict_images: bool = False
    knn_every: int = 10
    gauges_every: int = 50
    checkpoint_every: int = 1
    evaluate: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(
                    f"--{name}={getattr(self, name)} is unknown: choose one of {', '.join(choices)}"
                )
        if self.batch_size % (self.accumulate * self.devices * self.nodes):
            raise UserError(
                f"--batch_size={self.batch_size} does not divide evenly over {self.devices} "
                f"devices × {self.nodes} nodes × {self.accumulate} accumulated parts"
            )
        if self.resume and self.out is None:
            raise UserError("--resume needs --out: the folder of the run to go on with")

    @property
    def micro_batch(self) -> int:
        """Pictures that one process sees at a time."""
        return self.batch_size // (self.accumulate * self.devices * self.nodes)

    @property
    def sight(self) -> Sight:
        """How the backbone is shown pictures, once that is settled."""
        assert self.image_size is not None
        assert self.mean is not None
        assert self.std is not None
        return Sight(self.image_size, self.mean, self.std)


@dataclass(frozen=True)
class ViewsConfig(PretrainConfig):
    """Settings of ``byol views``: those of a run, of which the ones about views matter.

    Args:
        out: the .png file to write; without it views.png.
        pictures: rows of the picture.
    """

    pictures: int = 8


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of ``byol evaluate``.

    Args:
        run: a run's folder.
        data: labelled pictures; without it, those of the run.
        protocol: which measurements, separated by commas: fewshot, knn, linear. Their results go
            to the screen and to evaluation.json in the run's folder.
        batch_size: pictures at a time.
        accelerator: cpu, gpu, mps or auto.
        seed: of the few-shot draws and the splits.
        data_root: where named data sets lie or are downloaded to.
    """

    run: str
    data: str | None = None
    protocol: str = "fewshot,knn,linear"
    batch_size: int = 256
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"


@dataclass(frozen=True)
class EmbedConfig:
    """Settings of ``byol embed``.

    Args:
        run: a run's folder.
        data: pictures; without it, those of the run.
        out: the file to write, .parquet or .npz.
        split: train, test or all.
        batch_size: pictures at a time.
        accelerator: cpu, gpu, mps or auto.
        data_root: where named data sets lie or are downloaded to.
    """

    run: str
    data: str | None = None
    out: str = "embeddings.parquet"
    split: str = "all"
    batch_size: int = 256
    accelerator: str = "auto"
    data_root: str = "~/.cache/byol"


@dataclass(frozen=True)
class ExportConfig:
    """Settings of ``byol export``.

    Args:
        run: a run's folder.
        to: the file to write, .safetensors or .pth.
    """

    run: str
    to: str = "backbone.safetensors"


_COUNT = (1, math.inf)
_SHARE = (0.0, 1.0)
_POSITIVE = (0.0, math.inf)
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "batch_size", "accumulate", "devices", "nodes"), _COUNT),
    **dict.fromkeys(("hidden_size", "output_size", "depth_proj", "depth_pred"), _COUNT),
    **dict.fromkeys(("image_size", "channels", "checkpoint_every"), _COUNT),
    **dict.fromkeys(("tau", "momentum", "flip", "vertical_flip", "jitter", "grey"), _SHARE),
    **dict.fromkeys(("blur", "solarize", "crop_scale", "contrast", "saturation"), _SHARE),
    **dict.fromkeys(("lr", "weight_decay", "trust", "warmup_epochs", "memory"), _POSITIVE),
    **dict.fromkeys(("knn_every", "gauges_every", "workers", "predictor_lr_scale"), _POSITIVE),
    **dict.fromkeys(("blur_sigma", "crop_ratio", "std"), _POSITIVE),
    "brightness": _SHARE,
    "hue": (0.0, 0.5),
    "rotate": (0.0, 180.0),
    "seed": (0, 2**63 - 1),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("lars", "sgd", "adamw"),
    "predictor": ("mlp", "linear", "optimal", "none"),
    "stem": ("auto", "imagenet", "small"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "accelerator": ("auto", "cpu", "gpu", "mps"),
}


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    for number in value if isinstance(value, list | tuple) else [value]:
        if number is not None and not low <= number <= high:
            accepted = f"from {low:g} up" if high == math.inf else f"from {low:g} to {high:g}"
            raise UserError(f"--{name}={number} is out of range: give a number {accepted}")


def save_config(config: PretrainConfig, path: Path) -> None:
    """Write the configuration as YAML that ``byol pretrain --config`` reads."""
    import yaml

    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def load_config(path: Path) -> PretrainConfig:
    """Read what :func:`save_config` wrote.

    Raises:
        UserError: no such file, not YAML, or not the settings of a run.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    fields = {field.name: field for field in dataclasses.fields(PretrainConfig)}
    if not isinstance(values, dict) or not values.keys() <= fields.keys():
        unknown = (
            sorted(map(str, values.keys() - fields.keys())) if isinstance(values, dict) else []
        )
        detail = f": it has no setting {unknown[0]}" if unknown else ""
        raise UserError(f"{path} is not the configuration of a run{detail}")
    pairs = {name for name, field in fields.items() if field.type is Pair}
    settled: dict[str, Any] = {n: tuple(v) if n in pairs else v for n, v in values.items()}
    try:
        return PretrainConfig(**settled)
    except TypeError as error:
        raise UserError(f"{path} has a value of the wrong type: {error}") from error
