"""A trained backbone in one line of Python, with the transform that its pictures need."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from BYOL._links import check_file_link, check_run_links
from BYOL.config import load_config
from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.classifier import OUTPUTS, Activation
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.hub import MAX_CHANNELS, MAX_SIDE
from BYOL.model.weights import HUB_WEIGHTS, load_weights
from BYOL.runs.open import backbone_metadata, backbone_of, folder_and_checkpoint, trained_weights
from BYOL.views.transforms import EvalTransform


def load_backbone(source: str | Path) -> nn.Module:
    """Open a trained backbone, ready for use::

        backbone = BYOL.load_backbone("runs/NAME")
        features = backbone(backbone.transform(image)[None])  # (1, d)

    Args:
        source: the folder of a run (finished or not: then its last checkpoint is taken), one of
            its checkpoints (``RUN/checkpoints/best.ckpt``), or a .safetensors file or a folder for
            the Hugging Face hub that ``byol export`` wrote; of one with a classifier the backbone
            is taken.

    Returns:
        The network, on the CPU and in evaluation mode: (B, C, size, size) normalised float32 →
        (B, d). Its attribute ``transform`` is the :class:`BYOL.views.transforms.EvalTransform`
        that shows it pictures as ``byol embed`` does: a PIL image, a (C, H, W) tensor or a
        (B, C, H, W) batch, uint8 or float in [0, 1], becomes what the network takes;
        ``transform.size``, ``.mean`` and ``.std`` are what it does.

    Raises:
        UserError: none of these, damaged, or weights of another network than it says.
    """
    found = find_weights(source)
    return _with_transform(network_of(found), found)


def load_classifier(source: str | Path) -> nn.Module:
    """Open a backbone with the classifier that ``byol export --classifier`` put on it::

        classifier = BYOL.load_classifier("photos.safetensors")
        (probabilities,) = classifier(classifier.transform(image)[None])
        classifier.classes[probabilities.argmax()]

    Args:
        source: the .safetensors file, or the folder for the Hugging Face hub.

    Returns:
        The network, on the CPU and in evaluation mode: (B, C, size, size) normalised float32 →
        (B, t), probabilities of classes or tags, or values. Its attribute ``classes`` is the tuple
        of their names, ``task`` says what they are (classification, multilabel or regression), and
        ``transform`` is as in :func:`load_backbone`.

    Raises:
        UserError: it has no classifier, is damaged, or holds another network than it says.
    """
    found = find_weights(source)
    classes = _classes(found.metadata)
    if not classes:
        raise UserError(
            f"source={source} has no classifier: byol export --classifier linear writes one"
        )
    task = found.metadata["task"]
    classifier = nn.Sequential(network_of(found, len(classes)), Activation(task)).eval()
    classifier.classes, classifier.task = classes, task  # type: ignore[assignment]
    return _with_transform(classifier, found)


@dataclass(frozen=True)
class Found:
    """Weights and what is known of them.

    Args:
        place: where they were, for messages.
        metadata: what they say of themselves.
        weights: a state dict.
    """

    place: Path
    metadata: dict[str, str]
    weights: dict[str, Tensor]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The metadata as values: see :func:`BYOL.runs.open.backbone_metadata`.

        Raises:
            UserError: they make no sense.
        """
        return _read_metadata(self.place, self.metadata)


def find_weights(source: str | Path) -> Found:
    """The weights that a source of :func:`load_backbone` holds."""
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"source={path} is not there: give a run's folder or a .safetensors file")
    folder, checkpoint = folder_and_checkpoint(path)
    if folder.path.is_dir() and folder.config.exists():
        check_run_links(folder.path, f"source={source}")
    if checkpoint and folder.config.exists():
        metadata = backbone_metadata(load_config(folder.config))
        return Found(path, metadata, backbone_of(checkpoint))
    if path.is_file() and path.suffix != ".safetensors":
        raise UserError(
            f"source={path} does not say which network it is of: give a run's folder, a hub "
            "folder or a .safetensors file that byol export wrote"
        )
    if path.is_dir() and folder.config.exists():
        metadata = backbone_metadata(load_config(folder.config))
        return Found(path, metadata, trained_weights(folder))
    file = path / HUB_WEIGHTS if path.is_dir() else path
    if not file.exists():
        raise UserError(
            f"source={path} is neither a run's folder (no config.yaml) nor one for the hub "
            f"(no {HUB_WEIGHTS})"
        )
    if path.is_dir():
        check_file_link(file, f"source={source}")
    weights, metadata = load_weights(file)
    return Found(path, metadata, weights)


def network_of(found: Found, classes: int = 0) -> nn.Module:
    """The network, in evaluation mode; without ``classes`` a classifier is left out."""
    settings, weights = found.settings, found.weights
    if not classes and (name := found.metadata.get("classifier")):
        own = (f"{name}.weight", f"{name}.bias")
        weights = {key: value for key, value in weights.items() if key not in own}
    network = build_backbone(
        settings["backbone"],
        in_channels=settings["channels"],
        image_size=settings["image_size"],
        stem=settings["stem"],
        arguments=settings["backbone_args"],
        classes=classes,
    )
    if found.metadata.get("norm") == "gn-ws":
        network = without_batch_statistics(network)
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise UserError(
            f"the weights in {found.place} are not those of a {settings['backbone']}"
        ) from error
    return network.eval()


def _with_transform(network: nn.Module, found: Found) -> nn.Module:
    input_spec = (found.settings[name] for name in ("image_size", "mean", "std", "pixel_range"))
    network.transform = EvalTransform(*input_spec)  # type: ignore[assignment]
    return network


def _classes(metadata: dict[str, str]) -> tuple[str, ...]:
    """Names of what a classifier tells apart; none where there is none, or it says no sense."""
    try:
        names = json.loads(metadata.get("classes", "[]"))
    except ValueError:
        return ()
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if sound and metadata.get("task") in OUTPUTS else ()


def _read_metadata(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What :func:`BYOL.runs.open.backbone_metadata` wrote, from strings to values, checked."""
    try:
        settings: dict[str, Any] = {name: metadata[name] for name in ("backbone", "stem")}
        settings |= {name: int(metadata[name]) for name in ("channels", "image_size")}
        for name in ("mean", "std"):
            settings[name] = [float(value) for value in json.loads(metadata[name])]
        settings["backbone_args"] = dict(json.loads(metadata.get("backbone_args", "{}")))
        deep = json.loads(metadata.get("pixel_range", "null"))
        settings["pixel_range"] = deep and (float(deep[0]), float(deep[1]))
        sound = len(settings["mean"]) == len(settings["std"]) == settings["channels"]
        sound = sound and 0 < settings["image_size"] <= MAX_SIDE
        sound = sound and settings["channels"] <= MAX_CHANNELS
        numbers = (*settings["mean"], *settings["std"], *(settings["pixel_range"] or ()))
        sound = sound and all(map(math.isfinite, numbers)) and min(settings["std"]) > 0
    except (KeyError, ValueError, TypeError, IndexError, RecursionError):
        sound = False
    if not sound:
        raise UserError(
            f"source={path} does not say which network it is of and how it sees pictures: "
            "give a file that byol export wrote"
        )
    return settings
