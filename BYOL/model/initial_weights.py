"""Weights that a backbone starts from: those of a run, or of a file, whoever wrote it."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from BYOL._files import to_json
from BYOL._links import check_file_link
from BYOL.errors import UserError
from BYOL.model.weight_layouts import fitting
from BYOL.model.weights import (
    HUB_CONFIG,
    HUB_WEIGHTS,
    RUN_WEIGHTS,
    TORCH_WEIGHTS,
    finite,
    load_candidates,
)

_TOKENS = ("cls_token", "dist_token", "reg_token", "pos_embed")  # a transformer's own
_LEARNT = ("weight", "bias", "scale", *_TOKENS)  # ends of names, beside gamma


@dataclass(frozen=True)
class Weights:
    """What was trained elsewhere.

    Args:
        candidates: the state dicts in the file, the preferred one first; most files have one.
        facts: what this package's own files say of themselves; of others nothing.
        path: of the file, for messages.
    """

    candidates: list[dict[str, Tensor]]
    facts: dict[str, str]
    path: Path

    @property
    def normalisation(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of every channel that they are used to, if known."""
        try:
            mean, std = (json.loads(self.facts[name]) for name in ("mean", "std"))
            return [float(value) for value in mean], [float(value) for value in std]
        except (KeyError, ValueError, TypeError):
            return None

    @property
    def small_stem(self) -> bool:
        """Whether they are a ResNet's with a first convolution for small pictures, 3×3."""
        for weights in self.candidates:
            for name, weight in weights.items():
                if weight.ndim == 4 and f".{name}".endswith((".conv1.weight", ".0.weight")):
                    return weight.shape[-1] == 3
        return False


def read_start(place: str | Path, argument: str = "--weights") -> Weights:
    """Read weights.

    Args:
        place: the folder of a run that has ended, one for the Hugging Face hub, or a .safetensors
            or PyTorch file (.pth, .pt, .bin, .ckpt).
        argument: what the user calls ``place``.

    Raises:
        UserError: nothing there, or nothing that can be read without running code.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise UserError(f"{argument}={place} is not there: give a run's folder, or a file")
    if path.is_dir():
        inside = [path / name for name in (RUN_WEIGHTS, HUB_WEIGHTS) if (path / name).is_file()]
        if not inside:
            raise UserError(
                f"{argument}={place} holds neither {RUN_WEIGHTS} nor {HUB_WEIGHTS}: give the "
                "folder of a run that has ended, or a file"
            )
        path = inside[0]
        check_file_link(path, f"{argument}={place}")
    candidates, facts = load_candidates(path)
    return Weights(candidates, {**_beside(path), **facts}, path)


def _beside(path: Path) -> dict[str, str]:
    """Mean and standard deviation that timm's config.json tells of the weights beside it."""
    if path.name not in (HUB_WEIGHTS, TORCH_WEIGHTS):
        return {}
    try:
        check_file_link(path.with_name(HUB_CONFIG), "--weights")
        told = json.loads(path.with_name(HUB_CONFIG).read_text(encoding="utf-8"))
        known = told.get("pretrained_cfg") or told
        return {name: to_json(known[name]) for name in ("mean", "std")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def start_from(backbone: nn.Module, place: str | Path, argument: str = "--weights") -> None:
    """Load into a backbone, in place, weights that were trained elsewhere.

    A file may hold state dicts one to five levels down, under any name. What stands before the
    backbone's own names (``module.``, ``encoder_q.``, ``backbone.``) is taken away; of several
    copies the first that fits counts, in the order of :mod:`BYOL.model.tensor_files`. What the
    backbone does not have, a classifier say, is left out. Other people's names for timm's
    transformers, and position embeddings of another size, are put right by timm, a first layer for
    3 channels likewise.

    Args:
        backbone: (B, C, H, W) → features; as it is to be trained.
        place: see :func:`read_start`.
        argument: what the user calls ``place``.

    Raises:
        UserError: as :func:`read_start`; or weights of another network: it names the first that
            is missing or of another shape.
    """
    found = read_start(place, argument)
    wanted = {n: w for n, w in backbone.state_dict().items() if not _is_counter(n)}
    weights = finite(found.path, fitting(backbone, found.candidates, wanted))
    first = _first_convolution(backbone)
    if first in weights and first in wanted:
        weights = {**weights, first: _for_channels(weights[first], wanted[first])}
    if problem := _misfit(weights, wanted) or _surplus(weights, wanted, _classifiers(backbone)):
        whose = f"; it is of {found.facts['backbone']}" if "backbone" in found.facts else ""
        raise UserError(f"{argument}={place} does not fit the backbone: {problem}{whose}")
    own = backbone.state_dict()
    backbone.load_state_dict({name: weights.get(name, value) for name, value in own.items()})


def _misfit(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> str | None:
    """What is wrong with the first weight that does not fit."""
    for name, value in wanted.items():
        if name not in weights:
            return f"{name} is missing"
        if weights[name].shape != value.shape:
            return f"{name} is {_shape(weights[name])}, not {_shape(value)}"
    for name in weights:
        layer, _, kind = name.rpartition(".")
        if kind == "running_mean" and name not in wanted and f"{layer}.weight" in wanted:
            return f"{layer} is a batch-norm there"
    return None


def _surplus(
    weights: dict[str, Tensor], wanted: dict[str, Tensor], classifiers: tuple[str, ...]
) -> str | None:
    """What was learnt there inside of a part that the backbone has without it: another network.

    Layer scale, say, which many transformers have and others of the same shapes have not.
    """
    parts = {part for name in wanted for part in _parts(name)}
    for name in weights:
        last = name.rpartition(".")[2]
        learnt = last in _LEARNT or last.startswith("gamma")
        inside = name in _TOKENS or not parts.isdisjoint(_parts(name))
        if name not in wanted and learnt and inside and not name.startswith(classifiers):
            return f"{name} is there, and the backbone has no such thing"
    return None


def _parts(name: str) -> list[str]:
    """The modules that a weight is in: of ``blocks.0.norm.weight`` blocks, blocks.0 …"""
    return [name[:i] for i, letter in enumerate(name) if letter == "."]


def _classifiers(backbone: nn.Module) -> tuple[str, ...]:
    """How names of a classifier begin in timm's network of this kind."""
    found = (getattr(backbone, "pretrained_cfg", None) or {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((found,) if isinstance(found, str) else found))


def _first_convolution(backbone: nn.Module) -> str:
    first = (getattr(backbone, "pretrained_cfg", None) or {}).get("first_conv")
    return f"{first}.weight" if isinstance(first, str) else ""


def _for_channels(weight: Tensor, wanted: Tensor) -> Tensor:
    """A first layer's weight (out, in, k, k) for as many channels as wanted, if it is for 3."""
    from timm.models import adapt_input_conv

    if weight.ndim != 4 or weight.shape[1] != 3 or wanted.shape[1] == 3:
        return weight
    return adapt_input_conv(wanted.shape[1], weight)


def _is_counter(name: str) -> bool:
    """Of batches that a batch-norm has seen, which older files lack and nothing here reads."""
    return name.endswith("num_batches_tracked")


def _shape(weight: Tensor) -> str:
    return "×".join(map(str, weight.shape))
