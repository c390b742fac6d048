"""Initial weights of a backbone: from a run, or from a file of any program."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from BYOL._files import to_json
from BYOL._untrusted import check_file_link
from BYOL.config.schema import read_json
from BYOL.errors import WeightsError
from BYOL.model.weight_layouts import fitting
from BYOL.model.weights import (
    HUB_CONFIG,
    HUB_WEIGHTS,
    RUN_WEIGHTS,
    TORCH_WEIGHTS,
    finite,
    load_candidates,
)

_TOKENS = ("cls_token", "dist_token", "reg_token", "pos_embed")  # of transformers
_TRAINED = ("weight", "bias", "scale", *_TOKENS)  # last parts of names; gamma is checked separately


@dataclass(frozen=True)
class Weights:
    """Trained weights that were read from a file.

    Args:
        candidates: the state dicts in the file, the preferred one first. Most files have one.
        facts: the metadata of files that this package wrote; empty for other files.
        path: path of the file, for messages.
    """

    candidates: list[dict[str, Tensor]]
    facts: dict[str, str]
    path: Path

    @property
    def normalisation(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of every channel in the training, or None if unknown."""
        try:
            mean, std = (json.loads(self.facts[name]) for name in ("mean", "std"))
            return [float(value) for value in mean], [float(value) for value in std]
        except (KeyError, ValueError, TypeError):
            return None

    @property
    def small_stem(self) -> bool:
        """Whether the first convolution is that of a ResNet for small images: 3×3."""
        for weights in self.candidates:
            for name, weight in weights.items():
                if weight.ndim == 4 and f".{name}".endswith((".conv1.weight", ".0.weight")):
                    return weight.shape[-1] == 3
        return False


def read_start(place: str | Path, argument: str = "--weights") -> Weights:
    """Read the weights at ``place``.

    Args:
        place: folder of a complete run, folder of a Hugging Face hub model, or a .safetensors or
            PyTorch file (.pth, .pt, .bin, .ckpt).
        argument: name of ``place`` in messages.

    Raises:
        UserError: ``place`` does not exist, or it cannot be read without running code.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise WeightsError(f"{argument}={place} is not there: give a run's folder, or a file")
    if path.is_dir():
        inside = [path / name for name in (RUN_WEIGHTS, HUB_WEIGHTS) if (path / name).is_file()]
        if not inside:
            raise WeightsError(
                f"{argument}={place} holds neither {RUN_WEIGHTS} nor {HUB_WEIGHTS}: give the "
                "folder of a run that has ended, or a file"
            )
        path = inside[0]
        check_file_link(path, f"{argument}={place}")
    candidates, facts = load_candidates(path)
    return Weights(candidates, {**_normalisation_of_config(path), **facts}, path)


def _normalisation_of_config(path: Path) -> dict[str, str]:
    """Return the mean and standard deviation in the config.json of timm next to ``path``."""
    if path.name not in (HUB_WEIGHTS, TORCH_WEIGHTS):
        return {}
    try:
        check_file_link(path.with_name(HUB_CONFIG), "--weights")
        config = read_json(path.with_name(HUB_CONFIG), dict[str, Any]) or {}
        known = config.get("pretrained_cfg") or config
        return {name: to_json(known[name]) for name in ("mean", "std")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def start_from(backbone: nn.Module, place: str | Path, argument: str = "--weights") -> None:
    """Load trained weights into ``backbone`` in place.

    A file may contain state dicts at one to five levels of nesting, under any name. Prefixes of the
    names of the backbone (``module.``, ``encoder_q.``, ``backbone.``) are removed. If there are
    several copies, the first one that fits is used, in the order of
    :mod:`BYOL.model.tensor_files`. Weights that the backbone does not have, for example those of a
    classifier, are ignored. timm converts the names that other projects use for its transformers,
    position embeddings of another size, and a first layer for 3 channels.

    Args:
        backbone: (B, C, H, W) → features; the network to train.
        place: see :func:`read_start`.
        argument: name of ``place`` in messages.

    Raises:
        UserError: as :func:`read_start`; or the weights are those of another network. The message
            names the first weight that is missing or has another shape.
    """
    start = read_start(place, argument)
    wanted = {n: w for n, w in backbone.state_dict().items() if not _is_counter(n)}
    weights = finite(start.path, fitting(backbone, start.candidates, wanted))
    first = _first_convolution(backbone)
    if first in weights and first in wanted:
        weights = {**weights, first: _for_channels(weights[first], wanted[first])}
    if problem := _misfit(weights, wanted) or _surplus(weights, wanted, _classifiers(backbone)):
        whose = f"; it is of {start.facts['backbone']}" if "backbone" in start.facts else ""
        raise WeightsError(f"{argument}={place} does not fit the backbone: {problem}{whose}")
    own = backbone.state_dict()
    backbone.load_state_dict({name: weights.get(name, value) for name, value in own.items()})


def _misfit(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> str | None:
    """Describe the first weight that is missing or has another shape; None if all fit."""
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
    """Describe the first trained weight in a module of the backbone that has no such weight.

    Such weights are those of another network, for example with layer scale, which other
    transformers of the same shapes do not have. None means that there is no such weight.
    """
    parts = {part for name in wanted for part in _parts(name)}
    for name in weights:
        last = name.rpartition(".")[2]
        is_trained = last in _TRAINED or last.startswith("gamma")
        inside = name in _TOKENS or not parts.isdisjoint(_parts(name))
        if name not in wanted and is_trained and inside and not name.startswith(classifiers):
            return f"{name} is there, and the backbone has no such thing"
    return None


def _parts(name: str) -> list[str]:
    """Return the modules of a weight: blocks, blocks.0, … for ``blocks.0.norm.weight``."""
    return [name[:i] for i, letter in enumerate(name) if letter == "."]


def _classifiers(backbone: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the names of a classifier in the timm network of this kind."""
    names = (getattr(backbone, "pretrained_cfg", None) or {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def _first_convolution(backbone: nn.Module) -> str:
    first = (getattr(backbone, "pretrained_cfg", None) or {}).get("first_conv")
    return f"{first}.weight" if isinstance(first, str) else ""


def _for_channels(weight: Tensor, wanted: Tensor) -> Tensor:
    """Adapt the weight (out, 3, k, k) of a first layer to the channels of ``wanted``."""
    from timm.models import adapt_input_conv

    if weight.ndim != 4 or weight.shape[1] != 3 or wanted.shape[1] == 3:
        return weight
    return adapt_input_conv(wanted.shape[1], weight)


def _is_counter(name: str) -> bool:
    """Whether ``name`` is the batch counter of a batch-norm, which is unused and optional."""
    return name.endswith("num_batches_tracked")


def _shape(weight: Tensor) -> str:
    return "×".join(map(str, weight.shape))
