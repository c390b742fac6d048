"""Batch norm with the statistics of the whole batch over several processes.

PyTorch's ``SyncBatchNorm`` requires GPUs; :class:`GlobalBatchNorm` is for everything else.
"""

from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from BYOL._distributed import rank_and_world

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
        values = x.float()
        count = torch.full((1,), values.numel() / values.shape[1], device=x.device)
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
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1)), share)


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


def synchronise_batchnorm(module: M, accelerator: str) -> M:
    """Replace every batch norm by one over all processes; names in the state dict are unchanged.

    Args:
        module: changed in place, and returned. A single batch norm is returned as another module.
        accelerator: on "gpu" PyTorch's SyncBatchNorm is used (by timm's conversion, which supports
            timm's layers with a built-in activation), otherwise :class:`GlobalBatchNorm`.
    """
    if accelerator == "gpu":
        from timm.layers import convert_sync_batchnorm

        return cast(M, convert_sync_batchnorm(module))
    if isinstance(module, _BatchNorm):
        return cast(M, GlobalBatchNorm(module))
    for name, child in module.named_children():
        setattr(module, name, synchronise_batchnorm(child, accelerator))
    return module
