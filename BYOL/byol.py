"""The BYOL model: an online network that learns, and a target network that follows it.

    view x  ──► backend ──► projection ──► predictor ──► onlinex        (gradient)
    view x1 ──► backend ──► projection ──────────────► targetx1         (no gradient)

(and the same with the views exchanged). The names are the specification's; "backend" is what the
field calls the backbone. Shapes: B images, C channels, F = ``input_size`` features,
P = ``output_size``.
"""

import copy

import torch
from torch import Tensor, nn

from BYOL.model.backbones import build_backbone, check_feature_size, pool
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.heads import MLP, build_predictor
from BYOL.model.options import check_names, check_sizes, check_tau, check_together
from BYOL.model.predictors import EXACT, ClosedFormPredictor


class Network(nn.Module):
    """Backend and projection, and for the online network the predictor.

    Args:
        backend: (B, C, H, W) → (B, F), or (B, F, h, w), which is then averaged over h and w.
        projection: (B, F) → (B, P).
        predictor: (B, P) → (B, P), or None for a target network.
    """

    def __init__(
        self, backend: nn.Module, projection: nn.Module, predictor: nn.Module | None = None
    ):
        super().__init__()
        self.backend = backend
        self.projection = projection
        self.predictor = predictor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, P) projections."""
        return self.projection(pool(self.backend(x)))


class BYOL(nn.Module):
    """Bootstrap Your Own Latent (arXiv 2006.07733).

    Args:
        input_size: F, the number of features that ``backend`` puts out.
        hidden_size: width of the hidden layers of projection and predictor.
        output_size: P, the dimension of projections and predictions.
        depth_proj: linear layers of the projection, from 1 up.
        depth_pred: linear layers of the predictor, from 1 up.
        closedFormPredicator: use the optimal linear predictor, solved on every batch in closed
            form, instead of a trained one (appendix I): plain least squares.
        EAvg: True: the target is a moving average of the online network. False: the target *is*
            the online network with the gradient stopped; give the predictor ten times the learning
            rate then (:func:`BYOL.training.optimizers.build_optimizer` does).
        t: τ in [0, 1], how much of itself the target keeps at every update.
        backend: a timm name (resnet18, …, resnet152 and a thousand more) or any ``nn.Module``.
        pretrained: start from timm's weights for that name.
        in_channels: C.
        image_size: side of the pictures in pixels, for backbones that are built for one size.
        stem: "imagenet", or "small" for pictures of up to about 64 px (ResNets: a 3×3
            convolution without stride in place of 7×7 with stride and pooling).
        predictor: "mlp", "linear" or "none", or one that is computed and never trained:
            "optimal" (least squares with a ridge), "orthogonal", "directpred", "directcopy"
            (:mod:`BYOL.model.predictors`).
        predictor_rho: ρ of DirectPred and DirectCopy; None means the paper's.
        predictor_eps: ε of DirectPred and DirectCopy, None means the paper's; the ridge of the
            optimal predictor, None means 0.1, with ``closedFormPredicator=True`` 1e-6.
        predictor_every: optimizer steps between two settings of DirectPred and DirectCopy.
        target: "ema", "online" (``EAvg=False``), or "fixed": the initial network for good (τ = 1,
            the paper's constant random target).
        norm: "bn", or "gn-ws": every batch-norm, heads included, gives way to group-norm with
            weight standardisation (:mod:`BYOL.model.group_norm`); a module given as ``backend`` is
            changed in place.
        target_norm: "batch": the target normalises by the statistics of its own batch, as the
            paper's. "running": by running statistics, which follow the online network's by τ as
            the weights do (EMAN, Cai et al. 2021, arXiv 2101.08482).

    Raises:
        UserError: an argument out of its range, an unknown name, or an ``input_size`` that is not
            what the backend puts out (the message says what it is).

    The target is copied from the online network here, never gets a gradient, and moves only in
    :meth:`updateTargetNetwork`: ``model.parameters()`` may go whole to any optimizer.
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
    ):
        super().__init__()
        check_sizes(
            input_size=input_size, hidden_size=hidden_size, output_size=output_size,
            depth_proj=depth_proj, depth_pred=depth_pred,
        )  # fmt: skip
        check_names(target, norm, target_norm)
        check_together(
            closed_form=closedFormPredicator, moving=EAvg, predictor=predictor, target=target,
            norm=norm, target_norm=target_norm, pretrained=pretrained,
        )  # fmt: skip
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
        prediction = build_predictor(
            "optimal" if closedFormPredicator else predictor,
            output_size, hidden_size, depth_pred,
            rho=predictor_rho, eps=EXACT if exact else predictor_eps, every=predictor_every,
        )  # fmt: skip
        self.onlineNet = Network(backbone, projection, prediction)
        if norm == "gn-ws":
            for part in self.onlineNet.children():
                without_batch_statistics(part)
        self._make_target()

    def _make_target(self) -> None:
        if self.target != "online":
            self.targetNet = Network(
                copy.deepcopy(self.onlineNet.backend), copy.deepcopy(self.onlineNet.projection)
            ).requires_grad_(False)
        else:
            # The same network under its second name. Past nn.Module's own registration, so that
            # its weights stand once in the state dict.
            object.__setattr__(self, "targetNet", self.onlineNet)
        if self.target_norm == "running":
            self.targetNet.eval()

    def forward(self, x: Tensor, x1: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions and targets of two views of the same images.

        Args:
            x: (B, C, H, W) first view, normalised.
            x1: (B, C, H, W) second view.

        Returns:
            ``onlinex, onlinex1, targetx, targetx1``, each (B, P): pass them on as
            ``criterion(onlinex, targetx1, onlinex1, targetx)``. In training mode every network
            sees one view at a time, so batch-norm statistics are those of that view.
        """
        z, z1 = self.onlineNet(x), self.onlineNet(x1)
        targetx, targetx1 = self._targets(x, x1, z, z1)
        predictor = self.onlineNet.predictor
        assert predictor is not None
        if isinstance(predictor, ClosedFormPredictor):
            predictor.observe(torch.cat([z, z1]), torch.cat([targetx1, targetx]))
        return predictor(z), predictor(z1), targetx, targetx1

    def predict_further(self, x: Tensor, targetx: Tensor, targetx1: Tensor) -> Tensor:
        """Predictions of a further view of the same images.

        Args:
            x: (B, C, h, w), of any size that the backend takes.
            targetx: (B, P), from :meth:`forward`; both targets are to be predicted.
            targetx1: likewise.

        Returns:
            (B, P). A predictor that is solved on every batch is solved for this view; the best
            one for two targets is the best for their mean.
        """
        predictor = self.onlineNet.predictor
        assert predictor is not None
        z = self.onlineNet(x)
        if isinstance(predictor, ClosedFormPredictor):
            return predictor.predict_further(z, (targetx + targetx1) / 2)
        return predictor(z)

    @torch.no_grad()
    def _targets(self, x: Tensor, x1: Tensor, z: Tensor, z1: Tensor) -> tuple[Tensor, Tensor]:
        if self.target == "online":
            return z.detach(), z1.detach()
        return self.targetNet(x), self.targetNet(x1)

    def train(self, mode: bool = True) -> "BYOL":
        """Training or evaluation mode, for all but a target that keeps to running statistics.

        Nothing is dropped of what a target says (dropout, stochastic depth, patches, attention), as
        with DINO's teacher (arXiv 2104.14294): it is what the online network is to predict. Many
        networks drop by functions and not by modules, so all but batch-norms evaluate.
        """
        super().train(mode)
        if self.target_norm == "running":
            self.targetNet.eval()
        for module in self.targetNet.modules() if self.target != "online" else ():
            if not _gathers_statistics(module):
                module.training = False
        return self

    @torch.no_grad()
    def updateTargetNetwork(self, t: float | None = None) -> None:
        """ξ ← τξ + (1 − τ)θ, for every parameter; call it once after each optimizer step.

        Batch-norm running statistics are not averaged: the target gathers its own from what it
        sees, as in the authors' code (but see ``target_norm``). Without a moving average
        (``EAvg=False``) the target stays as it is. A predictor that is computed from statistics
        (DirectPred, DirectCopy) is set here, before the target moves.

        Args:
            t: τ for this update, in [0, 1]; the constructor's if None.
        """
        if isinstance(self.onlineNet.predictor, ClosedFormPredictor):
            self.onlineNet.predictor.update()
        if not self.EAvg:
            return
        tau = self.t if t is None else check_tau(t)
        parts = (self.onlineNet.backend, self.onlineNet.projection)
        online = [weight for part in parts for weight in _weights(part)]
        target = _weights(self.targetNet)
        if self.target_norm == "running":
            online += [b for part in parts for b in part.buffers() if b.is_floating_point()]
            target += [b for b in self.targetNet.buffers() if b.is_floating_point()]
        torch._foreach_lerp_(target, online, 1 - tau)


def _gathers_statistics(module: nn.Module) -> bool:
    """Whether it has running statistics of its own, as batch-norm has: only that is to train."""
    return any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))


def _weights(module: nn.Module) -> list[Tensor]:
    """What ``module.parameters()`` gives, in its order, in a quarter of the time.

    A GPU that waits for the next step of a small network waits for this as well.
    """
    found: dict[int, Tensor] = {}
    _gather(module, found)
    return list(found.values())


def _gather(module: nn.Module, found: dict[int, Tensor]) -> None:
    for parameter in module._parameters.values():
        if parameter is not None:
            found[id(parameter)] = parameter
    for child in module._modules.values():
        if child is not None:
            _gather(child, found)
