"""Python code that loads an exported file."""

from collections.abc import Sequence
from pathlib import Path

from BYOL.config.backbone_spec import BackboneSpec
from BYOL.config.tasks import CLASSES, TAGS
from BYOL.model.backbones import has_fixed_size
from BYOL.model.classifier import Classifier, output_name
from BYOL.model.plain_net import PLAIN_NETS
from BYOL.views.config import InputSpec

_LISTED_NAMES = 5  # class names in a comment
_NORM_LAYERS = [
    "from BYOL.model.group_norm import with_standardised_weights, without_batch_statistics",
    "model = with_standardised_weights(without_batch_statistics(model))",
]


def loading_recipe(
    spec: BackboneSpec, inputs: InputSpec, path: str | Path, classifier: Classifier | None = None
) -> str:
    """Return complete Python code that loads an exported backbone or classifier.

    Args:
        spec: what the backbone of the run is built from.
        inputs: the size and the normalization of its input.
        path: the exported file. A path without a suffix is a folder for the hub.
        classifier: the classifier on the backbone, or None.
    """
    path = Path(path)
    return "\n".join(_LINES.get(path.suffix, _folder)(spec, inputs, path, classifier))


def _weights(
    spec: BackboneSpec, inputs: InputSpec, path: Path, classifier: Classifier | None
) -> list[str]:
    from BYOL.model.timm_registry import timm_architecture

    name, arguments = timm_architecture(spec.backbone, spec.stem, spec.backbone_args)
    classes = len(classifier.names) if classifier else 0
    settings = {"num_classes": classes, "in_chans": spec.channels, **arguments}
    if has_fixed_size(spec.backbone):
        settings["img_size"] = spec.image_size
    call = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in settings.items())])
    module = "safetensors.torch" if path.suffix == ".safetensors" else "torch"
    load = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    return [
        f"import {module}",
        "import timm",
        *_registration(spec),
        f"model = timm.create_model({call})",
        *([] if spec.norm == "bn" else _NORM_LAYERS),
        f"model.load_state_dict({load}({str(path)!r}), strict=True)",
        "model.eval()",
        f"# model(x): x is float32 {_shape(spec.channels, inputs.size)}, pixels from 0 to 1, minus "
        f"{_numbers(inputs.mean)}, divided by {_numbers(inputs.std)}",
        *_activation_comment(classifier),
    ]


def _activation_comment(classifier: Classifier | None) -> list[str]:
    """Return a comment that names the activation and the columns of timm's classifier."""
    if classifier is None:
        return []
    activation = {CLASSES: ".softmax(dim=1)", TAGS: ".sigmoid()"}.get(classifier.task, "")
    return [f"# model(x){activation} has a column for each of {_listed(classifier.names)}"]


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:_LISTED_NAMES]))
    return shown if len(names) <= _LISTED_NAMES else f"{shown}, … ({len(names):,} in all)"


def _registration(spec: BackboneSpec) -> list[str]:
    from_byol = spec.backbone in PLAIN_NETS or spec.stem == "small"
    line = "import BYOL.model.timm_registry  # registers this network with timm"
    return [line] if from_byol else []


def _onnx(
    spec: BackboneSpec, inputs: InputSpec, path: Path, classifier: Classifier | None
) -> list[str]:
    output = output_name(classifier)
    return [
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({str(path)!r})",
        f"# images: float32 {_shape(spec.channels, inputs.size)}, pixels from 0 to 1",
        f'({output},) = session.run(["{output}"], {{"images": images}})',
        *_columns_comment(classifier),
    ]


def _program(
    spec: BackboneSpec, inputs: InputSpec, path: Path, classifier: Classifier | None
) -> list[str]:
    output, shape = output_name(classifier), _shape(spec.channels, inputs.size)
    return [
        "import torch",
        f"model = torch.export.load({str(path)!r}).module()",
        f"{output} = model(images)  # images: float32 {shape}, pixels from 0 to 1",
        *_columns_comment(classifier),
    ]


def _columns_comment(classifier: Classifier | None) -> list[str]:
    return [f"# with a column for each of {_listed(classifier.names)}"] if classifier else []


def _folder(
    spec: BackboneSpec, inputs: InputSpec, path: Path, classifier: Classifier | None
) -> list[str]:
    argument = "" if classifier else ", num_classes=0"
    return [
        "import timm",
        *_registration(spec),
        f"model = timm.create_model({f'local-dir:{path}'!r}, pretrained=True{argument}).eval()",
        "settings = timm.data.resolve_model_data_config(model)",
        "transform = timm.data.create_transform(**settings)  # of a PIL image",
        *_activation_comment(classifier),
    ]


def _numbers(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"


def _shape(channels: int | None, size: int) -> str:
    return f"(N, {channels}, {size}, {size})"


_LINES = {".safetensors": _weights, ".pth": _weights, ".onnx": _onnx, ".pt2": _program}
