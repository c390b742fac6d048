"""Features from any layer of any network, pooled or as a grid.

They are read by a forward hook, which works for every ``nn.Module``. timm's
``forward_intermediates`` is not in every model and numbers blocks in its own way. Tracing by
``torch.fx`` fails at the first ``if`` that depends on a tensor. Layers after the selected one are
not computed.
"""

import difflib
import math
from typing import Any

from torch import Tensor, nn

from BYOL.config.features import POOLS
from BYOL.errors import UserError
from BYOL.model.feature_size import pool as pool_output


class _ReachedError(Exception):
    """The layer has been computed, and the rest of the network is skipped."""


class LayerFeatures(nn.Module):
    """A backbone that outputs the features of one of its layers.

    Args:
        backbone: (B, C, S, S) → (B, d) or (B, d, h, w); it is not changed.
        layer: name of a submodule, as in ``backbone.named_modules()``. If it is called several
            times, the first call counts. None means the last layer with positions, which is the
            output of ``forward_features``, or with ``pool="auto"`` the output of the backbone.
        pool: "mean" or "max" over positions, "token" (the class token of a transformer), "none" (a
            vector for every position), or "auto": without a layer the network's own pooling, else
            the mean.

    Shapes: (B, C, S, S) → (B, d), or (B, h, w, d) with ``pool="none"``.

    Raises:
        UserError: an unknown layer (with similar names) or pooling. When called: a layer without
            positions to pool, without a class token, or that the network does not call.
    """

    def __init__(self, backbone: nn.Module, layer: str | None = None, pool: str = "auto"):
        super().__init__()
        if pool not in POOLS:
            raise UserError(f"--pool={pool} is unknown: choose one of {', '.join(POOLS)}")
        if layer is not None:
            _check_layer(backbone, layer)
        self.backbone = backbone
        self.layer = layer
        self.pool = "mean" if pool == "auto" and layer is not None else pool

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features: see the class."""
        if self.layer is not None:
            return self._at_layer(self.layer, x)
        if self.pool == "auto":
            return pool_output(self.backbone(x))
        return self._pooled(getattr(self.backbone, "forward_features", self.backbone)(x))

    def _at_layer(self, name: str, x: Tensor) -> Tensor:
        features: list[Tensor] = []

        def save_and_stop(_: nn.Module, __: Any, output: Any) -> None:
            features.append(self._pooled(output))
            raise _ReachedError

        handle = self.backbone.get_submodule(name).register_forward_hook(save_and_stop)
        try:
            self.backbone(x)
        except _ReachedError:
            return features[0]
        finally:
            handle.remove()
        children = self.backbone.get_submodule(name).named_children()
        submodules = [f"{name}.{child}" for child, _ in children]
        hint = f": try {', '.join(submodules[:3])}" if submodules else ""
        raise UserError(f"--layer={name} is not called by the network{hint}")

    def _pooled(self, output: Any) -> Tensor:
        """Pool ``output`` to (B, d), or reshape it to (B, h, w, d) if ``pool`` is "none"."""
        if isinstance(output, tuple | list):
            output = next((o for o in output if isinstance(o, Tensor)), None)
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            kind = type(output).__name__
            shape = tuple(output.shape) if isinstance(output, Tensor) else kind
            raise UserError(
                f"{self._flags} gets {shape}: give a layer with outputs (B, d), (B, n, d), "
                "(B, d, h, w) or (B, h, w, d)"
            )
        if output.ndim == 2 and self.pool in ("mean", "max"):
            return output
        if output.ndim == 2:
            raise UserError(f"{self._flags} gets one vector per image: give an earlier --layer")
        if output.ndim == 3:
            return self._pool_tokens(output)
        return self._pool_grid(_channels_last(output, getattr(self.backbone, "output_fmt", "NCHW")))

    def _pool_tokens(self, tokens: Tensor) -> Tensor:
        count, prefix = tokens.shape[1], _prefix_tokens(self.backbone, tokens.shape[1])
        if self.pool == "token":
            if not prefix:
                raise UserError(f"{self._flags} gets no class token: use mean, max or none")
            return tokens[:, 0]
        side = math.isqrt(count - prefix)
        if side * side == count - prefix:
            return self._pool_grid(tokens[:, prefix:].unflatten(1, (side, side)))
        if self.pool == "none":
            raise UserError(f"{self._flags} gets {count} tokens, which are no square grid")
        return self._pool_grid(tokens[:, prefix:, None])

    def _pool_grid(self, grid: Tensor) -> Tensor:
        if self.pool == "token":
            raise UserError(f"{self._flags} gets a grid without a class token: use mean or max")
        if self.pool == "none":
            return grid.contiguous()
        return grid.amax(dim=(1, 2)) if self.pool == "max" else grid.mean(dim=(1, 2))

    @property
    def _flags(self) -> str:
        return f"--pool={self.pool}" + (f" at --layer={self.layer}" if self.layer else "")


def _check_layer(backbone: nn.Module, layer: str) -> None:
    names = [name for name, _ in backbone.named_modules() if name]
    if layer in names:
        return
    near = difflib.get_close_matches(layer, names, n=3, cutoff=0.5) or [
        name for name, _ in backbone.named_children()
    ]
    raise UserError(f"--layer={layer} is not in the network: did you mean {', '.join(near)}?")


def _prefix_tokens(backbone: nn.Module, count: int) -> int:
    """Return the number of class and register tokens before the patches; 0 if none are added."""
    known = getattr(backbone, "num_prefix_tokens", 1)
    squares = [p for p in (known, 0) if count > p and math.isqrt(count - p) ** 2 == count - p]
    return squares[0] if squares else 0


def _channels_last(output: Tensor, format: str) -> Tensor:
    """Return (B, d, h, w) or (B, h, w, d), with equal h and w, as (B, h, w, d)."""
    _, a, b, c = output.shape
    last = format == "NHWC" if a == b == c else a == b
    return output if last else output.permute(0, 2, 3, 1)
