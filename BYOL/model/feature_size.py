"""The number of features of a backbone, and the reason why one does not fit.

A backbone is tried on two black images. The trial runs on a copy, because a forward pass may change
a network (lazy layers, caches).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from BYOL.errors import UserError, first_line
from BYOL.model.copy_network import copy_network

log = logging.getLogger(__name__)
_SIDES = (224, 64, 32)  # pixels; tried first if the size of the images is not specified
# Tried for backbones that accept none of these; a trial of a wrong size usually ends in an error.
_RARE_SIDES = (
    28, 96, 128, 48, 256, 40, 56, 84, 112, 160, 192, 299, 384, 8, 16, 20, 24, 36, 50, 60, 72, 80,
    100, 120, 144, 150, 176, 200, 240, 288, 300, 320, 336, 448, 512,
)  # fmt: skip
_CLASSIFIERS = {
    "fc", "_fc", "classifier", "head", "heads", "logits", "last_linear", "output", "predictions",
}  # fmt: skip
_FAILURES = (RuntimeError, ValueError, AssertionError, TypeError, IndexError)


def feature_size(
    backbone: nn.Module, in_channels: int = 3, image_size: int | None = None
) -> int | None:
    """Return the number of features of the backbone, or None if it is unknown before training.

    timm's networks have an attribute for it. For any other module, and for one that does not pool,
    it is the result of a forward pass.

    Raises:
        UserError: the output is not valid for :func:`pool`, or has the channels last.
    """
    known = _known_size(backbone)
    if known is not None:
        return known
    trial = _Trial(backbone, in_channels)
    return next((size for _, size in trial.sizes(_sides(image_size))), None)


def check_feature_size(
    backbone: nn.Module, input_size: int, in_channels: int = 3, image_size: int | None = None
) -> None:
    """Check that the backbone has ``input_size`` features.

    Lazy layers of ``backbone`` get their shapes.

    Raises:
        UserError: it has another number of features, or does not accept images of ``image_size``
            and ``in_channels``; the message names the argument to change.
    """
    initialise_lazy_layers(backbone, in_channels, image_size)
    known = _known_size(backbone)
    fixed = (getattr(backbone, "pretrained_cfg", None) or {}).get("fixed_input_size")
    if known is not None and not (fixed and image_size):
        if known != input_size:
            raise _wrong_input_size(input_size, known)
        return
    trial = _Trial(backbone, in_channels)
    side, size = next(trial.sizes(_sides(image_size)), (None, None))
    if side is None:
        reason = trial.reason
        _check_channels(trial)
        side, size = next(trial.sizes(_SIDES + _RARE_SIDES), (None, None))
        if image_size is not None:
            other = f": give image_size={side}, or build it for {image_size} px"
            hint = other if side else ""
            raise UserError(f"image_size={image_size} does not fit the backend ({reason}){hint}")
    if size is None:
        return  # nothing is known about its input; the first batch shows whether it fits
    if size != input_size:
        assert side is not None
        raise _misfit(trial, input_size, size, side, image_size)
    if name := _classifier(backbone, size)[0]:
        log.warning(
            f"the backend's classifier {name} is still on: BYOL will train its {size} outputs, not "
            "the features before it"
        )


def initialise_lazy_layers(
    backbone: nn.Module, in_channels: int = 3, image_size: int | None = None
) -> None:
    """Give the lazy layers of ``backbone``, if it has any, their shapes and initial weights.

    The target network needs the same initial weights, so they must exist before it.

    Raises:
        UserError: the shapes depend on the size of the images, which is not specified.
    """
    if not any(is_lazy(value) for value in _state(backbone)):
        return
    shapes: dict[tuple[torch.Size, ...], int] = {}
    for side in _sides(image_size):
        trial = _Trial(backbone, in_channels)
        if trial.output(side) is not None:
            shapes[tuple(value.shape for value in _state(trial.network))] = side
    if not shapes:
        raise UserError(
            f"the backend has lazy layers and does not accept images of {in_channels} channels at "
            f"{' or '.join(map(str, _sides(image_size)))} px ({trial.reason}): give image_size and "
            "in_channels"
        )
    if len(shapes) > 1:
        raise UserError(
            "the backend has lazy layers whose shapes depend on the size of the images: give "
            "image_size"
        )
    with preserve_modes(backbone), torch.no_grad():
        backbone.eval()(_black(backbone, in_channels, next(iter(shapes.values()))))


class _Trial:
    """Forward passes of a copy of a backbone.

    Args:
        backbone: the backbone.
        channels: channels of the images.
    """

    def __init__(self, backbone: nn.Module, channels: int):
        self.network = copy_network(backbone).eval()
        self.channels = channels
        self.reason = ""  # the last error

    def output(self, side: int) -> Any:
        """Return the output for two images of ``side`` px, or None if they are not accepted."""
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                return self.network(_black(self.network, self.channels, side))
        except _FAILURES as error:
            self.reason = first_line(error, 120)
            return None

    def sizes(self, sides: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield every accepted side of ``sides`` with the number of features."""
        for side in sides:
            output = self.output(side)
            if output is not None:
                _check_channels_first(self.network, output)
                yield side, pool(output).shape[1]


def _sides(image_size: int | None) -> tuple[int, ...]:
    return (image_size,) if image_size else _SIDES


def _known_size(backbone: nn.Module) -> int | None:
    known = getattr(backbone, "num_features", None)
    pools = getattr(backbone, "global_pool", True) != ""
    if isinstance(known, int) and getattr(backbone, "num_classes", None) == 0 and pools:
        return int(getattr(backbone, "head_hidden_size", known) or known)
    return None


def _state(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())


def _black(network: nn.Module, channels: int, side: int) -> Tensor:
    """Return two black images of the type and on the device of the weights."""
    like = next((value for value in _state(network) if value.is_floating_point()), torch.empty(0))
    return torch.zeros(2, channels, side, side, dtype=like.dtype, device=like.device)


def _check_channels(trial: _Trial) -> None:
    """Raise a UserError if the backbone is for images of another number of channels."""
    wanted, first = trial.channels, None
    for module in trial.network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            first = module.in_channels
            break
    if first is None or first == wanted:
        return
    trial.channels = first
    if next(trial.sizes(_SIDES + _RARE_SIDES), None) is not None:
        raise UserError(
            f"in_channels={wanted} does not fit the backend, which takes images of {first} "
            f"channels: give in_channels={first}"
        )
    trial.channels = wanted


def _check_channels_first(network: nn.Module, output: Any) -> None:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return
    # The images are square, so the two equal axes are those of the image.
    _, first, second, last = output.shape
    if str(getattr(network, "output_fmt", "")).endswith("NHWC") or first == second != last:
        raise UserError(
            f"the backend outputs (B, h, w, F), here {tuple(output.shape)}: its channels come "
            "last, and it would be averaged over the wrong axes: let it pool (timm: without "
            "global_pool=''), or permute its output to (B, F, h, w)"
        )


def _misfit(
    trial: _Trial, input_size: int, size: int, side: int, image_size: int | None
) -> UserError:
    """Return the error for a backbone of ``size`` features at ``side`` px."""
    sizes = dict(trial.sizes([s for s in _SIDES if s != side])) | {side: size}
    if len(set(sizes.values())) > 1:
        sizes |= dict(trial.sizes(_RARE_SIDES)) if input_size not in sizes.values() else {}
        fitting = next((s for s, n in sizes.items() if n == input_size), None)
        advice = f"give image_size={fitting}" if fitting else "give image_size"
        if image_size:
            advice = f"give input_size={size}" + (f" or image_size={fitting}" if fitting else "")
        return UserError(
            f"input_size={input_size} does not fit the backend, whose number of features depends "
            f"on the size of the images ({size} at {side} px): {advice}"
        )
    name, before = _classifier(trial.network, size, input_size)
    if name:
        only = f" and image_size={side}" if not image_size and side != _SIDES[0] else ""
        return UserError(
            f"input_size={input_size} does not fit the backend, whose classifier {name} is still "
            f"on and outputs {size} values: replace that layer by torch.nn.Identity() (timm: "
            f"num_classes=0) and give input_size={before}{only}"
        )
    return _wrong_input_size(input_size, size)


def _wrong_input_size(input_size: int, size: int) -> UserError:
    return UserError(
        f"input_size={input_size} does not fit the backend, which outputs {size} features: give "
        f"input_size={size}"
    )


def _classifier(
    network: nn.Module, size: int, input_size: int | None = None
) -> tuple[str | None, int]:
    """Return name and number of inputs of the last layer if it is a classifier of ``size`` outputs.

    It is one if its name is usual for a classifier, or if it has ``input_size`` inputs.
    """
    for name, module in reversed(list(network.named_modules())):
        if isinstance(module, nn.Linear):
            inputs, outputs = module.in_features, module.out_features
        elif isinstance(module, nn.Conv2d):
            inputs, outputs = module.in_channels, module.out_channels
        elif next(module.parameters(recurse=False), None) is not None:
            break
        else:
            continue
        usual = not _CLASSIFIERS.isdisjoint(name.split("."))
        if outputs == size and (usual or inputs == input_size):
            return name, inputs
        break
    return None, 0


@contextmanager
def preserve_modes(network: nn.Module) -> Iterator[None]:
    """Restore the mode, training or evaluation, of every module of ``network`` on exit.

    Modules may differ in their mode, for example in a target that drops nothing.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def pool(features: Tensor) -> Tensor:
    """Return (B, F) features unchanged, and (B, F, h, w) averaged over h and w.

    Raises:
        UserError: any other shape or type.
    """
    if not isinstance(features, Tensor):
        keys = f" of {', '.join(map(str, features))}" if isinstance(features, Mapping) else ""
        raise UserError(
            f"the backend outputs a {type(features).__name__}{keys}: it must be one tensor, "
            "(B, F) or (B, F, h, w); wrap it in a module that returns one"
        )
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    if features.ndim == 2:
        return features
    tokens = "; average its tokens, or return the class token" if features.ndim == 3 else ""
    raise UserError(
        f"the backend outputs a tensor of shape {tuple(features.shape)}: "
        f"it must be (B, F) or (B, F, h, w){tokens}"
    )
