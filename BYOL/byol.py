"""The BYOL model: an online network that is trained, and a target network that follows it.

    view x  ──► backend ──► projection ──► predictor ──► onlinex        (gradient)
    view x1 ──► backend ──► projection ──────────────► targetx1         (no gradient)

(and the same with the views exchanged). The names are those of the specification; "backend" is the
backbone. Shapes: B images, C channels, F = ``input_size`` features, P = ``output_size``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from BYOL.model.backbones import build_backbone
from BYOL.model.feature_size import check_feature_size
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.heads import MLP, build_predictor
from BYOL.model.kept_buffers import buffers_kept
from BYOL.model.networks import Network, TargetNetwork
from BYOL.model.options import (
    check_combinations,
    check_flags,
    check_names,
    check_sizes,
    check_tau,
    check_view_predictors,
)
from BYOL.model.predictors import EXACT, ClosedFormPredictor
from BYOL.model.short_averages import adopt_types


class BYOL(nn.Module):
    """Bootstrap Your Own Latent (arXiv 2006.07733).

    Args:
        input_size: F, the number of features of ``backend``.
        hidden_size: width of the hidden layers of projection and predictor.
        output_size: P, the dimension of projections and predictions.
        depth_proj: number of linear layers of the projection, at least 1.
        depth_pred: number of linear layers of the predictor, at least 1.
        closedFormPredicator: use the optimal linear predictor, solved on every batch by plain least
            squares, instead of a trained one (appendix I). It requires 2 · batch size (over all
            processes) above ``output_size``, and better several times as much. A smaller batch is
            fitted exactly, which teaches nothing; ``predictor="optimal"`` also works with it.
        EAvg: True: the target is a moving average of the online network. False: the target is the
            online network with the gradient stopped. The predictor then needs ten times the
            learning rate (:func:`BYOL.training.optimizers.build_optimizer` sets it).
        t: τ in [0, 1], the weight of the old target in every update.
        backend: a timm name (resnet18, …, resnet152 and a thousand more) or any ``nn.Module``.
        pretrained: start from timm's weights for that name.
        in_channels: C.
        image_size: side of the images in pixels, for backbones that are built for one size.
        stem: "imagenet", or "small" for images of up to about 64 px (ResNets: a 3×3 convolution
            without stride in place of 7×7 with stride and pooling).
        predictor: "mlp", "linear" or "none", or one that is computed and never trained:
            "optimal" (least squares with a ridge), "orthogonal", "directpred", "directcopy"
            (:mod:`BYOL.model.predictors`).
        predictor_rho: ρ of DirectPred and DirectCopy; None means the value of the paper.
        predictor_eps: ε of DirectPred and DirectCopy, None means the value of the paper. For the
            optimal predictor it is the ridge; None means 0.1, with ``closedFormPredicator=True``
            1e-6.
        predictor_every: number of optimizer steps between updates of DirectPred and DirectCopy.
        target: "ema", "online" (``EAvg=False``), "fixed": the initial network, never updated (τ
            = 1, the constant random target of the paper), or "teacher": there is no target network,
            and the loss uses vectors of another network (:mod:`BYOL.model.teacher_targets`).
        norm: "bn", or "gn-ws": every batch norm, also in the heads, is replaced by group norm with
            weight standardisation (:mod:`BYOL.model.group_norm`). A module passed as ``backend`` is
            changed in place.
        target_norm: "batch": the target normalises by the statistics of its own batch, as in the
            paper. "running": by running statistics, which follow those of the online network by τ
            like the weights (EMAN, Cai et al. 2021, arXiv 2101.08482).
        view_predictors: kinds of further views that have a predictor of their own, such as
            ``("small", "cutout")`` (MULAN, De Plaen et al. 2026, arXiv 2602.05845). The names are
            those that are passed to :meth:`predict_further`.

    Raises:
        UserError: an argument is out of range, a name is unknown, or ``input_size`` is not the
            number of features of the backend (the message has the number).

    The target is a copy of the online network. It never gets a gradient and changes only in
    :meth:`updateTargetNetwork`, so ``model.parameters()`` can be passed to any optimizer.
    """

    def __init__(
        self,
        input_size: int = 2048,
        hidden_size: int = 4096,
        output_size: int = 256,
        depth_proj: int = 2,
        depth_pred: int = 2,
        closedFormPredicator: bool = False,
        EAvg: bool = True,
        t: float = 0.996,
        backend: str | nn.Module = "resnet50",
        pretrained: bool = False,
        *,
        in_channels: int = 3,
        image_size: int | None = None,
        stem: str = "imagenet",
        predictor: str = "mlp",
        predictor_rho: float | None = None,
        predictor_eps: float | None = None,
        predictor_every: int = 1,
        target: str = "ema",
        norm: str = "bn",
        target_norm: str = "batch",
        view_predictors: Sequence[str] = (),
    ):
        super().__init__()
        check_sizes(
            input_size=input_size, hidden_size=hidden_size, output_size=output_size,
            depth_proj=depth_proj, depth_pred=depth_pred, in_channels=in_channels,
        )  # fmt: skip
        if image_size is not None:
            check_sizes(image_size=image_size)
        check_flags(closedFormPredicator=closedFormPredicator, EAvg=EAvg, pretrained=pretrained)
        check_names(target, norm, target_norm)
        check_combinations(
            closed_form=closedFormPredicator, moving=EAvg, predictor=predictor, target=target,
            norm=norm, target_norm=target_norm, pretrained=pretrained,
        )  # fmt: skip
        check_view_predictors(view_predictors, predictor)
        self.t = check_tau(t)
        self.target = target if EAvg else "online"
        self.target_norm = target_norm
        self.EAvg = self.target == "ema"
        self.closedFormPredicator = closedFormPredicator
        backbone = build_backbone(
            backend, in_channels=in_channels, image_size=image_size, stem=stem,
            pretrained=pretrained,
        )  # fmt: skip
        check_feature_size(backbone, input_size, in_channels, image_size)
        projection = MLP(input_size, hidden_size, output_size, depth_proj)
        exact = closedFormPredicator and predictor_eps is None
        prediction, *others = (
            build_predictor(
                "optimal" if closedFormPredicator else predictor,
                output_size, hidden_size, depth_pred,
                rho=predictor_rho, eps=EXACT if exact else predictor_eps, every=predictor_every,
            )
            for _ in ("large", *view_predictors)
        )  # fmt: skip
        place = next((p for p in backbone.parameters() if p.is_floating_point()), None)
        if place is not None:  # a module may be on another device or of another type
            for head in (projection, prediction, *others):
                head.to(place.device, place.dtype)
        own = dict(zip(view_predictors, others, strict=True))
        self.onlineNet = Network(backbone, projection, prediction, own)
        if norm == "gn-ws":
            for part in self.onlineNet.children():
                without_batch_statistics(part)
        self._make_target()

    def _make_target(self) -> None:
        if self.target in ("ema", "fixed"):
            self.targetNet = TargetNetwork(self.onlineNet, running=self.target_norm == "running")
        else:
            # A second name of the same network. It bypasses the registration of nn.Module, so that
            # the state dict has the weights only once.
            object.__setattr__(self, "targetNet", self.onlineNet)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        if local_metadata.get("assign_to_params_buffers") and self.targetNet is not self.onlineNet:
            adopt_types(self.targetNet, state_dict, f"{prefix}onlineNet.")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def forward(self, x: Tensor, x1: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute predictions and targets of two views of the same images.

        Args:
            x: (B, C, H, W) first view, normalised.
            x1: (B, C, H, W) second view.

        Returns:
            ``onlinex, onlinex1, targetx, targetx1``, each (B, P). The loss is ``criterion(onlinex,
            targetx1, onlinex1, targetx)``. In training mode every network processes one view at a
            time, so batch-norm statistics are those of one view. With ``target="teacher"`` the
            targets are the projections themselves, which the vectors of the teacher replace.
        """
        z, z1 = self.onlineNet(x), self.onlineNet(x1)
        targetx, targetx1 = self._targets(x, x1, z, z1)
        predictor = self.onlineNet.predictor
        assert predictor is not None
        if isinstance(predictor, ClosedFormPredictor):
            predictor.observe(torch.cat([z, z1]), torch.cat([targetx1, targetx]))
        return predictor(z), predictor(z1), targetx, targetx1

    def predict_further(
        self, x: Tensor, targetx: Tensor, targetx1: Tensor, kind: str = "small"
    ) -> Tensor:
        """Compute predictions of a further view of the same images.

        The view changes no buffer of the backend, the projection and the predictor of large views:
        running statistics remain those of the views of :meth:`forward`, which evaluation and
        exported weights use.

        Args:
            x: (B, C, h, w), of any size that the backend accepts.
            targetx: (B, P), from :meth:`forward`; the view predicts both targets.
            targetx1: (B, P), from :meth:`forward`.
            kind: the kind of the view. It is predicted by the predictor of this kind if there is
                one (``view_predictors``), otherwise by that of the large views.

        Returns:
            (B, P). A predictor that is solved on every batch is solved for this view; the optimum
            for two targets is the optimum for their mean.
        """
        predictor = self.onlineNet.predictor
        assert predictor is not None
        target = (targetx + targetx1) / 2
        with buffers_kept(self.onlineNet):
            z = self.onlineNet(x)
            if kind not in self.onlineNet.view_predictors:
                if isinstance(predictor, ClosedFormPredictor):
                    return predictor.predict_further(z, target)
                return predictor(z)
        own = self.onlineNet.view_predictors[kind]
        if isinstance(own, ClosedFormPredictor):
            own.observe(z, target)
        return own(z)

    @torch.no_grad()
    def _targets(self, x: Tensor, x1: Tensor, z: Tensor, z1: Tensor) -> tuple[Tensor, Tensor]:
        if self.target in ("online", "teacher"):
            return z.detach(), z1.detach()
        return self.targetNet(x), self.targetNet(x1)

    @torch.no_grad()
    def updateTargetNetwork(self, t: float | None = None) -> None:
        """Update every target parameter, ξ ← τξ + (1 − τ)θ; call it once after each optimizer step.

        Batch-norm running statistics are not averaged: the target computes its own, as in the
        authors' code (but see ``target_norm``). Without a moving average (``EAvg=False``) the
        target is not changed. A predictor that is computed from statistics (DirectPred, DirectCopy)
        is updated here, before the target.

        Args:
            t: τ for this update, in [0, 1]; None means that of the constructor.
        """
        for predictor in (self.onlineNet.predictor, *self.onlineNet.view_predictors.values()):
            if isinstance(predictor, ClosedFormPredictor):
                predictor.update()
        if not self.EAvg:
            return
        tau = self.t if t is None else check_tau(t)
        if tau < 1:
            self.targetNet.follow(self.onlineNet, 1 - tau)
