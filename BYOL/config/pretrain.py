"""Settings of a run."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from BYOL.config.tasks import TASKS
from BYOL.config.validation import (
    COUNT,
    POSITIVE,
    SEED,
    SHARE,
    check_numbers,
    check_pairs,
    check_settings,
    check_task,
)
from BYOL.errors import UserError
from BYOL.views.config import Pair, Sight

_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "batch_size", "accumulate", "devices", "nodes"), COUNT),
    **dict.fromkeys(("hidden_size", "output_size", "depth_proj", "depth_pred"), COUNT),
    **dict.fromkeys(("image_size", "view_size", "channels", "small_size"), COUNT),
    **dict.fromkeys(("checkpoint_every", "checkpoint_keep", "predictor_every"), COUNT),
    **dict.fromkeys(("shuffle_buffer", "steps"), COUNT),
    "minutes": (0.05, math.inf),
    **dict.fromkeys(("checkpoint_steps", "checkpoint_minutes"), POSITIVE),
    **dict.fromkeys(("tau", "momentum", "flip", "vertical_flip", "jitter", "grey"), SHARE),
    **dict.fromkeys(("blur", "solarize", "crop_scale", "contrast", "saturation"), SHARE),
    **dict.fromkeys(("lr", "weight_decay", "trust", "warmup_epochs", "memory"), POSITIVE),
    **dict.fromkeys(("knn_every", "gauges_every", "workers", "predictor_lr_scale"), POSITIVE),
    **dict.fromkeys(("blur_sigma", "crop_ratio"), POSITIVE),
    "brightness": SHARE,
    "hue": (0.0, 0.5),
    "rotate": (0.0, 180.0),
    "small_views": POSITIVE,
    "small_scale": SHARE,
    "seed": SEED,
    "predictor_rho": (0.0, 0.999999),
    "predictor_eps": POSITIVE,
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("lars", "sgd", "adamw"),
    "predictor": (
        "mlp",
        "linear",
        "optimal",
        "orthogonal",
        "directpred",
        "directcopy",
        "none",
    ),
    "target": ("ema", "online", "fixed"),
    "tau_schedule": ("cosine", "constant"),
    "norm": ("bn", "gn-ws"),
    "target_norm": ("batch", "running"),
    "stem": ("auto", "imagenet", "small"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "compile": ("auto", "on", "off"),
    "on_collapse": ("warn", "stop"),
    "task": TASKS,
    "accelerator": ("auto", "cpu", "gpu", "mps"),
}


Resume = bool | Literal["auto"]


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of a run. The defaults are the preset's: see ``BYOL.config.presets``.

    Args:
        data: a folder of pictures, a .txt file with the path of one on each line, an .npz or .npy
            of images, .tar or .parquet shards (a folder of them, a pattern such as
            "s3://bucket/{000..127}.tar"), or one of digits, cifar10, cifar100, stl10. Without it:
            scikit-learn's handwritten digits.
        preset: a recipe: auto (what fits the images, the machine and the time), digits, small (up
            to 96 px), 32px-minutes (no GPU), 32px-100, -200, -400, -800, solo-cifar,
            lightly-cifar, 128px (64 to 128 px), few (under 10,000 images), grey, many-channel,
            pretrained, vit, convnext, paper-40, -100, -300, -1000, or paper-gn-ws.
            BYOL/config/presets.py and BYOL/config/recipe.py say where their numbers come from.
        out: the run's folder, made new. Without it: runs/ and a name with the time.
        resume: go on from the last checkpoint in ``out``. auto: start, or go on where there is one;
            without ``out`` the folder is runs/NAME then. A run that gets SIGTERM, SIGINT, SIGHUP or
            SIGUSR1 finishes its step, saves and ends with exit code 75: the same line with
            --resume auto goes on, to the same weights bit for bit. A second signal stops at once.
        data_root: where named data sets lie or are downloaded to.
        labels: a CSV file of labels, with a header: first the picture's file, then its class, or
            several columns of 0 and 1, or numbers. Nothing is learnt from them: they judge, as
            class folders do, which they replace. Pictures without a row are learnt from too.
        task: what the labels are: classification, multilabel, regression, or auto: what they look
            like.
        groups: a CSV file of pictures that belong together, with a header: first the picture's
            file, then the name of its patient, camera or part. Nothing is learnt from it: where
            labels judge, no group is on both sides then, and intervals are over groups.
        channels: 1, 3, 4 … channels of the pictures; without it, what the pictures have.
        pixel_range: values of black and white in pictures of more than 8 bits (0,4095); without it
            settled by a look at some of them. Values beyond are cut off.
        image_size: side in pixels of what the network sees; without it, that of the pictures where
            all are alike and at most 96 px, else 224.
        view_size: side in pixels of the views in training; without it, image_size. Smaller views
            cost less, and suit the size at which evaluation shows things, since a crop enlarges
            them (arXiv 1906.06423).
        backbone: a timm name (resnet18, resnet50, convnext_tiny, …), plain5 or plain6, or a model
            in timm's format: hf-hub:OWNER/NAME, local-dir:FOLDER.
        backbone_args: further arguments of timm's network, such as --backbone-args.drop_path_rate
            0.1.
        pretrained: start from timm's weights, or from those of hf-hub: and local-dir:.
        weights: start from these instead: the folder of a run that has ended, or a .safetensors or
            PyTorch file of weights for the backbone, whoever trained it. A classifier in it is
            left out, and a first layer for 3 channels is adapted to others.
        stem: imagenet, small (3×3 without stride, for ResNets on small pictures) or auto.
        norm: bn, or gn-ws: group-norm and weight standardisation in place of every batch-norm.
        freeze_patches: leave a transformer's patch embedding as it is, for stability (MoCo v3).
        hidden_size: width of the hidden layers of projector and predictor.
        output_size: dimension of projections and predictions.
        depth_proj: linear layers of the projector.
        depth_pred: linear layers of the predictor.
        predictor: mlp, linear, none, or one that is computed and never trained: optimal (least
            squares) or orthogonal (Procrustes), both solved on every batch, directpred or
            directcopy, both set from a moving average of the projections' correlation.
        predictor_rho: ρ of directpred and directcopy; without it the papers' .3 and .5.
        predictor_eps: ε of directpred and directcopy; without it the papers' .01 and .3. Of
            optimal: the ridge, in mean eigenvalues of the projections' covariance; without it .1.
        predictor_every: optimizer steps between two settings of directpred and directcopy.
        target: ema (a moving average of the online network), online (the online network itself),
            or fixed (the untrained network).
        target_norm: what the target's batch-norms use: the statistics of the batch, or running ones
            that follow the online network's as the weights do.
        tau: τ at the start of the run.
        tau_schedule: cosine (τ rises to 1 over the run) or constant.
        epochs: passes over the pictures.
        steps: optimizer steps after which the run ends, where that is before the last epoch does.
        minutes: how long the whole command takes: reading, training, evaluation and report. The
            speed is measured before the first step, and the epochs follow from it. With ``epochs``
            the run ends at whichever is shorter.
        batch_size: pictures per optimizer step, over all processes and accumulated parts.
        accumulate: parts that a process computes one after the other for one optimizer step.
        optimizer: lars, sgd or adamw.
        lr: learning rate for a batch of 256; the rate used is lr · batch_size / 256.
        weight_decay: for weights; biases and norms have none.
        momentum: of LARS and SGD, β₁ of AdamW.
        trust: LARS's trust coefficient η.
        warmup_epochs: length of the linear rise of the rate.
        predictor_lr_scale: λ, times the rate for the predictor; without it 1, or 10 with
            ``target`` online.
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
        small_views: further views of every picture that only the online network sees (multi-crop).
        small_size: their side in pixels; without it half of view_size.
        small_scale: share of the picture's area that they show, least and most.
        mean: of every channel, for normalisation; without it what the weights are used to that the
            run begins with, ImageNet's for three channels, or measured on some of the pictures.
        std: likewise.
        seed: of everything random.
        accelerator: cpu, gpu, mps or auto.
        devices: processes on this machine, each with a device of its own.
        nodes: machines.
        deterministic: use only operations that give the same bits every time (a CPU always does).
        precision: fp32, bf16, fp16, or auto: bf16 where the hardware multiplies it.
        compile: on, off, or auto: on where a run is long enough to earn back the minutes it takes.
        grad_checkpointing: keep less of the forward pass and compute it again in the backward
            pass: large backbones fit with larger batches, at about a third more time.
        sync_batchnorm: batch statistics over all processes.
        workers: processes that load pictures; without it, what fits the machine.
        memory: gigabytes that pictures may take to be held decoded in memory.
        shuffle_buffer: pictures of shards that are shuffled among each other at a time, over all
            processes and workers. Where shards are not local archives, twice as many are held in
            memory, encoded.
        strict_images: stop before training if any picture cannot be read.
        knn_every: epochs between online checks, by k-NN and a linear probe (0: never).
        gauges_every: optimizer steps between readings of the collapse gauges (0: never); at least
            four readings an epoch.
        on_collapse: warn, or stop: end training in order, with exit code 3.
        checkpoint_every: epochs between checkpoints.
        checkpoint_steps: optimizer steps between checkpoints within an epoch (0: none).
        checkpoint_minutes: minutes after which there is one within an epoch (0: none).
        checkpoint_keep: how many of the last are kept; the best by the online k-NN is kept too.
        evaluate: end with the comparison against raw pixels and the untrained backbone.
        report: end with report.html, the run as one page.
        wandb: a project at Weights & Biases that gets settings and curves too.
        recipe: not to be specified: config.yaml records in it what the preset auto was resolved
            from, and why it chose what it did.
    """

    data: str | None = None
    preset: str = "auto"
    out: str | None = None
    resume: Resume = False
    data_root: str = "~/.cache/byol"
    labels: str | None = None
    task: str = "auto"
    groups: str | None = None
    channels: int | None = None
    pixel_range: Pair | None = None
    image_size: int | None = None
    view_size: int | None = None
    backbone: str = "resnet50"
    backbone_args: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    weights: str | None = None
    stem: str = "auto"
    norm: str = "bn"
    freeze_patches: bool = False
    hidden_size: int = 4096
    output_size: int = 256
    depth_proj: int = 2
    depth_pred: int = 2
    predictor: str = "mlp"
    predictor_rho: float | None = None
    predictor_eps: float | None = None
    predictor_every: int = 1
    target: str = "ema"
    target_norm: str = "batch"
    tau: float = 0.996
    tau_schedule: str = "cosine"
    epochs: int = 300
    steps: int | None = None
    minutes: float | None = None
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
    small_views: int = 0
    small_size: int | None = None
    small_scale: Pair = (0.05, 0.4)
    mean: list[float] | None = None
    std: list[float] | None = None
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    deterministic: bool = False
    precision: str = "auto"
    compile: str = "auto"
    grad_checkpointing: bool = False
    sync_batchnorm: bool = True
    workers: int | None = None
    memory: float = 4.0
    shuffle_buffer: int = 8192
    strict_images: bool = False
    knn_every: int = 10
    gauges_every: int = 50
    on_collapse: str = "warn"
    checkpoint_every: int = 1
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 10.0
    checkpoint_keep: int = 2
    evaluate: bool = True
    report: bool = True
    wandb: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_pairs(self)
        check_settings(self, _RANGES, _CHOICES)
        check_task(self.task, self.labels)
        if self.batch_size % (self.accumulate * self.devices * self.nodes):
            raise UserError(
                f"--batch_size={self.batch_size} does not divide evenly over {self.devices} "
                f"devices × {self.nodes} nodes × {self.accumulate} accumulated parts"
            )
        if self.norm != "bn" and self.pretrained and not self.weights:
            raise UserError(
                f"--norm={self.norm} and --pretrained exclude each other: the pretrained weights "
                "need their batch-norms"
            )
        if self.pixel_range and not 0 < abs(self.pixel_range[1] - self.pixel_range[0]) < math.inf:
            raise UserError(
                f"--pixel_range={self.pixel_range} is no range: give the values of black and white"
            )
        check_numbers("mean", self.mean, (-math.inf, math.inf))
        check_numbers("std", self.std, (0.0, math.inf))
        if self.resume is True and self.out is None:
            raise UserError("--resume needs --out: the folder of the run to go on with")

    @property
    def specified(self) -> frozenset[str]:
        """The settings that the user has specified, where that is known."""
        return frozenset(self.recipe.get("specified", ()))

    @property
    def undecided(self) -> bool:
        """Whether the preset is auto and the images have not been looked at yet."""
        return self.preset == "auto" and "specified" in self.recipe and "facts" not in self.recipe

    def total_steps(self, images: int) -> int:
        """Optimizer steps of the whole run over so many images."""
        steps = images // self.batch_size * self.epochs
        return steps if self.steps is None else min(steps, self.steps)

    @property
    def micro_batch(self) -> int:
        """Pictures that one process sees at a time."""
        return self.batch_size // (self.accumulate * self.devices * self.nodes)

    @property
    def view_shape(self) -> tuple[int, int, int, int]:
        """(B, C, S, S) of a process's views, once that is settled."""
        assert self.channels is not None
        assert self.image_size is not None
        side = self.view_size or self.image_size
        return self.micro_batch, self.channels, side, side

    @property
    def sight(self) -> Sight:
        """How the backbone is shown pictures, once that is settled."""
        assert self.image_size is not None
        assert self.mean is not None
        assert self.std is not None
        return Sight(self.image_size, self.mean, self.std)
