"""Weights from somewhere: a run, an exported file or folder, or a model in timm's format.

Every command that takes a run also takes a backbone without a run: what ``byol export`` wrote (a
.safetensors file or a folder for the hub), or a model in timm's format (``hf-hub:OWNER/NAME``,
``local-dir:FOLDER``).
"""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from BYOL._console import visible
from BYOL._untrusted import check_file_link
from BYOL.config import load_config
from BYOL.config.yaml_io import MAX_CHANNELS, MAX_SIDE
from BYOL.data.formats.stored import Slice
from BYOL.errors import UserError, WeightsError
from BYOL.model.backbones import build_backbone
from BYOL.model.classifier import OUTPUTS, Activation
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.hub import FOLDER, is_hub_model, plausible_statistics
from BYOL.model.lite0 import LITE0
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS, load_weights
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import (
    Run,
    backbone_metadata,
    checkpoint_backbone,
    folder_and_checkpoint,
    open_run,
    trained_weights,
)
from BYOL.runs.published import open_published, open_timm_format, run_without_folder
from BYOL.views.transforms import EvalTransform

_LARGEST = 1e30  # of a pixel value; float32 ends at 3e38
_OWN_METADATA = {"backbone", "channels", "image_size", "mean", "std"}  # in files of this package


def load_backbone(source: str | Path) -> nn.Module:
    """Load a trained backbone, ready for use::

        backbone = BYOL.load_backbone("runs/NAME")
        features = backbone(backbone.transform(image)[None])  # (1, d)

    Args:
        source: folder of a run (its last checkpoint is used if the run is not finished), one of its
            checkpoints (``RUN/checkpoints/best.ckpt``), or a .safetensors file or a folder for the
            Hugging Face hub that ``byol export`` wrote. A classifier in it is left out.

    Returns:
        The network, on the CPU and in evaluation mode: (B, C, size, size) normalised float32 →
        (B, d). Its attribute ``transform`` is the :class:`BYOL.views.transforms.EvalTransform` of
        ``byol embed``: it turns a PIL image, a (C, H, W) tensor or a (B, C, H, W) batch, uint8 or
        float in [0, 1], into the input of the network. ``transform.size``, ``.mean`` and ``.std``
        are its parameters.

    Raises:
        WeightsError: ``source`` is none of these, is damaged, or holds the weights of another
            network than its metadata describe.
    """
    weights = find_weights(source)
    return _with_transform(build_network(weights), weights)


def load_classifier(source: str | Path) -> nn.Module:
    """Load a backbone with the classifier of ``byol export --classifier``::

        classifier = BYOL.load_classifier("photos.safetensors")
        (probabilities,) = classifier(classifier.transform(image)[None])
        classifier.classes[probabilities.argmax()]

    Args:
        source: the .safetensors file, or the folder for the Hugging Face hub.

    Returns:
        The network, on the CPU and in evaluation mode: (B, C, size, size) normalised float32 →
        (B, t), probabilities of classes or tags, or values. Its attribute ``classes`` is the tuple
        of their names, ``task`` is classification, multilabel or regression, and ``transform`` is
        as in :func:`load_backbone`.

    Raises:
        WeightsError: ``source`` has no classifier, is damaged, or holds another network than its
            metadata describe.
    """
    weights = find_weights(source)
    classes = _class_names(weights.metadata)
    if not classes:
        raise WeightsError(
            f"source={source} has no classifier: byol export --classifier linear writes one"
        )
    task = weights.metadata["task"]
    classifier = nn.Sequential(build_network(weights, len(classes)), Activation(task)).eval()
    classifier.classes, classifier.task = classes, task  # type: ignore[assignment]
    return _with_transform(classifier, weights)


@dataclass(frozen=True)
class LoadedWeights:
    """Weights and their metadata.

    Args:
        path: where they are, for messages.
        metadata: metadata as strings.
        state: a state dict.
    """

    path: Path
    metadata: dict[str, str]
    state: dict[str, Tensor]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The metadata as values: see :func:`BYOL.runs.open.backbone_metadata`.

        Raises:
            WeightsError: they are incomplete or invalid.
        """
        return _read_metadata(self.path, self.metadata)


def find_weights(source: str | Path) -> LoadedWeights:
    """Return the weights of ``source``: see :func:`load_backbone`."""
    if not isinstance(source, str | PathLike):
        raise WeightsError(
            f"source is a {type(source).__name__}: give a run's folder or a .safetensors file"
        )
    if source == "":  # a variable that is not set; as a path it would be the present folder
        raise WeightsError("source is empty: give a run's folder or a .safetensors file")
    path = Path(source).expanduser()
    if not path.exists():
        raise WeightsError(
            f"source={path} is not there: give a run's folder or a .safetensors file"
        )
    folder, checkpoint = folder_and_checkpoint(path)
    if folder.path.is_dir() and folder.config.exists():
        folder.check_links(f"source={source}")
    if (checkpoint or path.is_dir()) and folder.config.exists():
        metadata = backbone_metadata(load_config(folder.config))
        state = checkpoint_backbone(checkpoint) if checkpoint else trained_weights(folder)
        return LoadedWeights(path, metadata, state)
    if path.is_file() and path.suffix != ".safetensors":
        raise WeightsError(
            f"source={path} does not say which network it is of: give a run's folder, a hub "
            "folder or a .safetensors file that byol export wrote"
        )
    file = path / HUB_WEIGHTS if path.is_dir() else path
    if not file.exists():
        raise WeightsError(
            f"source={path} is neither a run's folder (no {folder.config.name}) nor one for the "
            f"hub (no {HUB_WEIGHTS})"
        )
    if path.is_dir():
        check_file_link(file, f"source={source}")
    state, metadata = load_weights(file)
    return LoadedWeights(path, metadata, state)


def build_network(weights: LoadedWeights, classes: int = 0) -> nn.Module:
    """Return the network of ``weights`` in evaluation mode, with a head of ``classes`` outputs."""
    settings, state = weights.settings, weights.state
    if not classes and (name := weights.metadata.get("classifier")):
        head = (f"{name}.weight", f"{name}.bias")
        state = {key: value for key, value in state.items() if key not in head}
    network = build_backbone(
        settings["backbone"],
        in_channels=settings["channels"],
        image_size=settings["image_size"],
        stem=settings["stem"],
        arguments=settings["backbone_args"],
        classes=classes,
    )
    if weights.metadata.get("norm") == "gn-ws":
        network = without_batch_statistics(network)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"the weights in {weights.path} are not those of a {settings['backbone']}"
        ) from error
    return network.eval()


def open_backbone(name: str, *, trust: bool = False) -> Run:
    """Open a run, or a backbone without a run.

    Args:
        name: the folder of a run or one of its checkpoints (see :func:`BYOL.runs.open.open_run`), a
            file or a folder that ``byol export`` wrote, ``hf-hub:OWNER/NAME``,
            ``local-dir:FOLDER`` or ``lite0``.
        trust: see :func:`BYOL.runs.open.open_run`.

    Raises:
        UserError: ``name`` is none of these or cannot be loaded.
    """
    if not name:
        raise WeightsError("RUN is empty: give a run's folder or a .safetensors file")
    path = Path(name.removeprefix(FOLDER)).expanduser()
    no_run = path.is_dir() and not RunFolder(path).config.exists()
    if path.is_file() and path.suffix == ".safetensors":
        return _open_file(name, path)
    if name == LITE0 and not path.exists():
        return open_published(name)
    if no_run and (path / HUB_WEIGHTS).is_file():
        weights = find_weights(path)
        if weights.metadata.keys() >= _OWN_METADATA:
            return _open_exported(name, weights)
    if is_hub_model(name):
        return open_timm_format(name, name)
    if no_run and (path / HUB_CONFIG).is_file():
        return open_timm_format(f"{FOLDER}{name}", name)
    return open_run(name, trust=trust)


def _open_file(name: str, path: Path) -> Run:
    try:
        return _open_exported(name, find_weights(path))
    except UserError as error:
        raise type(error)(str(error).replace("source=", "RUN=", 1)) from error


def _open_exported(name: str, weights: LoadedWeights) -> Run:
    norm = weights.metadata.get("norm", "bn")
    return run_without_folder(name, build_network(weights), norm=norm, **weights.settings)


def _with_transform(network: nn.Module, weights: LoadedWeights) -> nn.Module:
    names = ("image_size", "mean", "std", "pixel_range", "no_data")
    network.transform = EvalTransform(*map(weights.settings.get, names))  # type: ignore
    return network


def _class_names(metadata: dict[str, str]) -> tuple[str, ...]:
    """Return the names of the classes; none without a classifier or if they are invalid."""
    try:
        names = json.loads(metadata.get("classes", "[]"))
    except (ValueError, RecursionError):
        return ()
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    names = [visible(name, kept="") for name in names] if valid else []
    return tuple(names) if valid and metadata.get("task") in OUTPUTS else ()


def _read_metadata(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Convert and check what :func:`BYOL.runs.open.backbone_metadata` wrote."""
    try:
        settings: dict[str, Any] = {name: metadata[name] for name in ("backbone", "stem")}
        settings |= {name: int(metadata[name]) for name in ("channels", "image_size")}
        for name in ("mean", "std"):
            settings[name] = [float(value) for value in json.loads(metadata[name])]
        settings["backbone_args"] = dict(json.loads(metadata.get("backbone_args", "{}")))
        pixel_range = json.loads(metadata.get("pixel_range", "null"))
        settings["pixel_range"] = pixel_range and tuple(map(float, pixel_range))
        settings["no_data"] = float(metadata["no_data"]) if "no_data" in metadata else None
        settings["slice"] = metadata.get("slice", "middle")
        valid = settings["slice"] in get_args(Slice)
        valid = valid and len(settings["mean"]) == len(settings["std"]) == settings["channels"]
        valid = valid and 0 < settings["image_size"] <= MAX_SIDE
        valid = valid and settings["channels"] <= MAX_CHANNELS
        lengths = (0, 2, 2 * settings["channels"])
        valid = valid and len(settings["pixel_range"] or ()) in lengths
        numbers = (*settings["mean"], *settings["std"], *(settings["pixel_range"] or ()))
        valid = valid and all(math.isfinite(value) and abs(value) < _LARGEST for value in numbers)
        valid = valid and plausible_statistics(settings["mean"], settings["std"])
    except (KeyError, ValueError, TypeError, IndexError, RecursionError):
        valid = False
    if not valid:
        raise WeightsError(
            f"source={path} does not say which network it is of and which input it needs: "
            "give a file that byol export wrote"
        )
    return settings
