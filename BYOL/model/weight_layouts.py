"""Names of weights in other programs' checkpoints, as a backbone has them."""

import re
import sys
from collections.abc import Iterator

from torch import Tensor, nn

# Modules around a backbone in the programs that train it.
_WRAPPERS = (
    "module", "_orig_mod", "model", "student", "teacher", "online_network", "online_encoder",
    "encoder_q", "base_encoder", "encoder", "backbone", "net", "network", "trunk",
    "_feature_blocks", "base_model", "visual", "f",
)  # fmt: skip


def fitting(
    backbone: nn.Module, candidates: list[dict[str, Tensor]], wanted: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The first of the state dicts in a file that has all weights of a backbone.

    Args:
        backbone: that gets the weights.
        candidates: the state dicts, the preferred one first; at least one.
        wanted: the backbone's own state dict, without counters.

    Returns:
        The state dict by the backbone's names, with what else was in it. Where none has all of
        them, the one that has most of the backbone's names, for the caller to say what is missing.
    """
    best, most = candidates[0], -1
    for candidate in candidates:
        for weights in _readings(backbone, candidate, list(wanted)):
            common = len(wanted.keys() & weights.keys())
            if common == len(wanted):
                return weights
            if common > most:
                best, most = weights, common
    return best


def _readings(
    backbone: nn.Module, weights: dict[str, Tensor], names: list[str]
) -> Iterator[dict[str, Tensor]]:
    """Ways to read the names of one state dict, the most literal one first."""
    plain = _without_prefix(weights, names)
    yield _renamed(backbone, plain)
    unwrapped = _unwrapped(weights)
    yield _renamed(backbone, unwrapped)
    yield _by_position(backbone, unwrapped)


def _without_prefix(weights: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """The part of ``weights`` that has all ``names``, without what stands before them."""
    ends = [found.removesuffix(names[0]) for found in weights if found.endswith(names[0])]
    whole = [prefix for prefix in ends if all(prefix + name in weights for name in names)]
    if not whole:
        return weights
    prefix = min(whole, key=_is_momentum_copy)
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}


def _is_momentum_copy(prefix: str) -> bool:
    """Whether the names are those of a copy that followed the trained network."""
    return any(mark in prefix for mark in ("momentum", "encoder_k", "target"))


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The part of ``weights`` inside of known wrappers, the first one of each level."""
    while True:
        firsts = dict.fromkeys(name.partition(".")[0] for name in weights if "." in name)
        wrapper = next((first for first in firsts if first in _WRAPPERS), None)
        if wrapper is None:
            return weights
        inside = f"{wrapper}."
        weights = {n.removeprefix(inside): w for n, w in weights.items() if n.startswith(inside)}


def _by_position(backbone: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a backbone that was put into ``nn.Sequential(*backbone.children())``, as lightly's
    examples do: numbers become the names of the children at these places."""
    children = [name for name, _ in backbone.named_children()]

    def renamed(name: str) -> str:
        number = re.match(r"(\d+)\.", name)
        if not number or int(number[1]) >= len(children):
            return name
        return children[int(number[1])] + name[len(number[1]) :]

    return {renamed(name): weight for name, weight in weights.items()}


def _renamed(backbone: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What timm's own loader makes of weights for this kind of network; if nothing, as they are."""
    rename = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return weights
    try:
        return dict(rename(dict(weights), backbone))
    except Exception:  # weights of something else altogether: the caller says what does not fit
        return weights
