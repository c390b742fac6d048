"""The lines of Python that load what was exported."""

from pathlib import Path
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.config.tasks import CLASSES, TAGS
from BYOL.model.backbones import has_fixed_size
from BYOL.model.classifier import Classifier, output_name
from BYOL.model.plain_net import PLAIN_NETS

SHOWN = 5  # names of classes in a line of comment


def loading_recipe(
    config: PretrainConfig, path: str | Path, classifier: Classifier | None = None
) -> str:
    """Lines of Python that load an exported backbone: they work as they stand.

    Args:
        config: the settled settings of the run.
        path: the exported file; anything without an ending is a folder for the hub.
        classifier: what stands on it, if anything.
    """
    path = Path(path)
    return "\n".join(_LINES.get(path.suffix, _folder)(config, path, classifier))


def _weights(config: PretrainConfig, path: Path, classifier: Classifier | None) -> list[str]:
    from BYOL.model.timm_registry import timm_model

    name, arguments = timm_model(config)
    classes = len(classifier.names) if classifier else 0
    settings = {"num_classes": classes, "in_chans": config.channels, **arguments, **_size(config)}
    words = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in settings.items())])
    reader = "safetensors.torch" if path.suffix == ".safetensors" else "torch"
    read = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    return [
        f"import {reader}",
        "import timm",
        *_registered(config),
        f"model = timm.create_model({words})",
        *_norms(config),
        f"model.load_state_dict({read}({str(path)!r}), strict=True)",
        "model.eval()",
        *_last(classifier),
    ]


def _last(classifier: Classifier | None) -> list[str]:
    """How the outputs of timm's classifier become what they mean."""
    if classifier is None:
        return []
    last = {CLASSES: ".softmax(dim=1)", TAGS: ".sigmoid()"}.get(classifier.task, "")
    return [f"# model(x){last} has a column for each of {_listed(classifier.names)}"]


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown if len(names) <= SHOWN else f"{shown}, … ({len(names):,} in all)"


def _norms(config: PretrainConfig) -> list[str]:
    if config.norm == "bn":
        return []
    return [
        "from BYOL.model.group_norm import standardised_for_good, without_batch_statistics",
        "model = standardised_for_good(without_batch_statistics(model))",
    ]


def _size(config: PretrainConfig) -> dict[str, Any]:
    """``img_size``, for networks that are built for one size."""
    return {"img_size": config.image_size} if has_fixed_size(config.backbone) else {}


def _registered(config: PretrainConfig) -> list[str]:
    ours = config.backbone in PLAIN_NETS or config.stem == "small"
    return ["import BYOL.model.timm_registry  # tells timm of this network"] if ours else []


def _onnx(config: PretrainConfig, path: Path, classifier: Classifier | None) -> list[str]:
    output = output_name(classifier)
    return [
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({str(path)!r})",
        f"# images: float32 {_shape(config)}, pixels from 0 to 1",
        f'({output},) = session.run(["{output}"], {{"images": images}})',
        *_columns(classifier),
    ]


def _program(config: PretrainConfig, path: Path, classifier: Classifier | None) -> list[str]:
    output = output_name(classifier)
    return [
        "import torch",
        f"model = torch.export.load({str(path)!r}).module()",
        f"{output} = model(images)  # images: float32 {_shape(config)}, pixels from 0 to 1",
        *_columns(classifier),
    ]


def _columns(classifier: Classifier | None) -> list[str]:
    return [f"# with a column for each of {_listed(classifier.names)}"] if classifier else []


def _folder(config: PretrainConfig, path: Path, classifier: Classifier | None) -> list[str]:
    none = "" if classifier else ", num_classes=0"
    return [
        "import timm",
        *_registered(config),
        f"model = timm.create_model('local-dir:{path}', pretrained=True{none}).eval()",
        *_last(classifier),
    ]


def _shape(config: PretrainConfig) -> str:
    return f"(N, {config.channels}, {config.image_size}, {config.image_size})"


_LINES = {".safetensors": _weights, ".pth": _weights, ".onnx": _onnx, ".pt2": _program}
