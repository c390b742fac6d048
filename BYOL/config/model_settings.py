"""Backbone, projector, predictor and target network."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from BYOL.config.fields import setting


@dataclass(frozen=True)
class ModelSettings:
    """Backbone, projector, predictor and target network."""

    title: ClassVar[str] = "networks"

    backbone: str = setting(
        "resnet50",
        "A timm name (resnet18, resnet50, convnext_tiny, …), plain5 or plain6, or a model in "
        "timm's format: hf-hub:OWNER/NAME, local-dir:FOLDER.",
        on_resume="fixed",
        place="network",
        basic=True,
        chosen="recipe",
    )
    backbone_args: dict[str, Any] = setting(
        help="Further arguments of timm's network, such as --backbone-args.drop_path_rate 0.1.",
        factory=dict,
        on_resume="fixed",
    )
    pretrained: bool = setting(
        False,
        "Start from timm's weights, or from those of hf-hub: and local-dir:.",
        on_resume="fixed",
        place="network",
        basic=True,
    )
    weights: str | None = setting(
        None,
        "Start from these instead: the folder of a run that has ended, or a .safetensors or "
        "PyTorch file of weights for the backbone, whoever trained it. A classifier in it is "
        "left out, and a first layer for 3 channels is adapted to others.",
        on_resume="fixed",
        private=True,
        place="input",
        basic=True,
    )
    stem: Literal["auto", "imagenet", "small"] = setting(
        "auto",
        "Imagenet, small (3×3 without stride, for ResNets on small pictures) or auto.",
        on_resume="fixed",
    )
    norm: Literal["bn", "gn-ws"] = setting(
        "bn",
        "Bn, or gn-ws: group-norm and weight standardisation in place of every batch-norm.",
        on_resume="fixed",
    )
    freeze_patches: bool = setting(
        False,
        "Leave a transformer's patch embedding as it is, for stability (MoCo v3).",
        on_resume="fixed",
    )
    hidden_size: int = setting(
        4096,
        "Width of the hidden layers of projector and predictor.",
        low=1,
        on_resume="fixed",
        chosen="recipe",
    )
    output_size: int = setting(
        256,
        "Dimension of projections and predictions.",
        low=1,
        on_resume="fixed",
        chosen="recipe",
    )
    depth_proj: int = setting(
        2,
        "Linear layers of the projector.",
        low=1,
        on_resume="fixed",
    )
    depth_pred: int = setting(
        2,
        "Linear layers of the predictor.",
        low=1,
        on_resume="fixed",
    )
    predictor: Literal[
        "mlp", "linear", "optimal", "orthogonal", "directpred", "directcopy", "none"
    ] = setting(
        "mlp",
        "Mlp, linear, none, or one that is computed and never trained: optimal (least "
        "squares) or orthogonal (Procrustes), both solved on every batch, directpred or "
        "directcopy, both set from a moving average of the projections' correlation.",
        on_resume="fixed",
    )
    predictor_rho: float | None = setting(
        None,
        "Ρ of directpred and directcopy; without it the papers' .3 and .5.",
        low=0,
        high=0.999999,
        on_resume="incomplete",
    )
    predictor_eps: float | None = setting(
        None,
        "Ε of directpred and directcopy; without it the papers' .01 and .3. Of optimal: the "
        "ridge, in mean eigenvalues of the projections' covariance; without it .1.",
        low=0,
        on_resume="incomplete",
    )
    predictor_every: int = setting(
        1,
        "Optimizer steps between two settings of directpred and directcopy.",
        low=1,
        on_resume="incomplete",
    )
    target: Literal["ema", "online", "fixed"] = setting(
        "ema",
        "Ema (a moving average of the online network), online (the online network itself), or "
        "fixed (the untrained network).",
        on_resume="fixed",
    )
    target_norm: Literal["batch", "running"] = setting(
        "batch",
        "What the target's batch-norms use: the statistics of the batch, or running ones that "
        "follow the online network's as the weights do.",
        on_resume="fixed",
    )
    tau: float = setting(
        0.996,
        "Τ at the start of the run.",
        low=0,
        high=1,
        on_resume="incomplete",
        basic=True,
        chosen="recipe",
    )
    tau_schedule: Literal["cosine", "constant"] = setting(
        "cosine",
        "Cosine (τ rises to 1 over the run) or constant.",
        on_resume="incomplete",
    )
