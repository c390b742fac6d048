"""Batch norm with the statistics of the whole batch over several processes.

PyTorch's ``SyncBatchNorm`` requires GPUs; :class:`GlobalBatchNorm` is for everything else.
"""

import logging
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from BYOL._distributed import rank_and_world

log = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)


class GlobalBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance are those of the samples of all processes.

    Processes may have different numbers of samples. The gradient flows through the statistics on
    every process. In evaluation mode, and with a single process, it is plain batch norm. State
    dicts are those of ``nn.BatchNorm1d`` to ``3d``.

    Args:
        norm: the layer that is replaced; its parameters and buffers are shared, not copied.

    Shapes: (N, C, *) → the same.
    """

    def __init__(self, norm: _BatchNorm):
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.training = norm.training
        # timm's BatchNormAct2d: dropout and activation are part of the layer
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm expects (N, C, ...), not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``, in training mode with the statistics of all processes."""
        if not self.training or rank_and_world()[1] == 1:
            return self.act(self.drop(super().forward(input)))
        self._check_input_dim(input)
        return self.act(self.drop(self._normalise(input)))

    def _normalise(self, x: Tensor) -> Tensor:
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        values = x if x.dtype == torch.float64 else x.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        # Deviations from a mean, because E[x²] − E[x]² loses precision by cancellation.
        spread, local_mean = torch.var_mean(values, dims, correction=0)
        mean, variance, count = _GlobalStatistics.apply(local_mean, spread * count, count)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out = (values - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            out = out + self.bias.view(shape)
        self._update_running(mean.detach(), variance.detach(), count)
        return out.to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # the average of all batches
            share = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var), share)


class _GlobalStatistics(torch.autograd.Function):
    """Mean and variance over all processes, with one communication forward and one backward.

    It maps this process's mean (C,), squared deviations from it (C,) and number of values (1,) to
    the mean (C,), biased variance (C,) and number (1,) of all processes (Chan et al. 1979). The
    loss of every process depends on them, so their gradients are summed over processes.
    """

    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, squares: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        local = torch.cat([mean, squares, count])
        rows = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(rows, local)
        means, squared, counts = torch.stack(rows).split([len(mean), len(squares), 1], dim=1)
        total = counts.sum(0)
        global_mean = (counts * means).sum(0) / total
        variance = (squared + counts * (means - global_mean).square()).sum(0) / total
        ctx.save_for_backward(count / total, mean - global_mean, total)
        ctx.mark_non_differentiable(total)
        return global_mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        share, offset, total = ctx.saved_tensors
        both = torch.stack(gradients[:2])
        dist.all_reduce(both)
        by_mean, by_variance = both
        # Σ count · (mean − global_mean) is 0, so the variance has no gradient through global_mean.
        return share * (by_mean + 2 * offset * by_variance), by_variance / total, None


def synchronise_batchnorm(module: M, accelerator: str | None = None) -> M:
    """Replace every batch norm by one over all processes; names in the state dict are unchanged.

    In evaluation mode, and in a single process, the network computes the same as before, which
    torch's own conversion does not guarantee for timm's networks: it drops the activations of batch
    norms with a built-in activation. A second call changes nothing.

    Args:
        module: changed in place, and returned. A single batch norm is returned as another module.
        accelerator: on "gpu" PyTorch's SyncBatchNorm is used, otherwise :class:`GlobalBatchNorm`.
            None means "gpu" if there is a CUDA device.
    """
    if accelerator is None:
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    return cast(M, _synchronised(module, accelerator == "gpu"))


def _synchronised(module: nn.Module, on_gpu: bool) -> nn.Module:
    if isinstance(module, GlobalBatchNorm | nn.SyncBatchNorm):
        return restore_activations(module)
    if isinstance(module, _BatchNorm):
        if not _is_plain(module):
            log.warning(
                f"{type(module).__name__} is a batch norm with a forward pass of its own: it is "
                "not synchronised over processes"
            )
            return module
        if not on_gpu:
            return GlobalBatchNorm(module)
        from timm.layers import convert_sync_batchnorm

        return cast(nn.Module, convert_sync_batchnorm(module))
    for name, child in list(module.named_children()):
        new = _synchronised(child, on_gpu)
        if new is not child:
            setattr(module, name, new)
    return module


def _is_plain(norm: _BatchNorm) -> bool:
    """Return whether the forward pass of ``norm`` is known: that of PyTorch or of timm."""
    if type(norm).forward is _BatchNorm.forward:
        return True
    from timm.layers import BatchNormAct2d

    return type(norm).forward is BatchNormAct2d.forward


def restore_activations(module: M) -> M:
    """Restore the activations of timm's batch norms in a network that torch has converted.

    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` keeps them as children of the new norm, whose
    forward pass does not call them.

    Args:
        module: changed in place, and returned.
    """
    for norm in module.modules():
        if type(norm) is nn.SyncBatchNorm and "act" in norm._modules:
            from timm.layers.norm_act import SyncBatchNormAct

            norm.__class__ = SyncBatchNormAct  # type: ignore[assignment]
    return module
