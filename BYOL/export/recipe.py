"""The lines of Python that load what was exported."""

from pathlib import Path
from typing import Any

from BYOL.backbones import has_fixed_size
from BYOL.config import PretrainConfig
from BYOL.plain import PLAIN_NETS


def loading_recipe(config: PretrainConfig, path: str | Path) -> str:
    """Lines of Python that load an exported backbone: they work as they stand.

    Args:
        config: the settled settings of the run.
        path: the exported file; anything without an ending is a folder for the hub.
    """
    path = Path(path)
    return "\n".join(_LINES.get(path.suffix, _folder)(config, path))


def _weights(config: PretrainConfig, path: Path) -> list[str]:
    from BYOL.registry import timm_model

    name, arguments = timm_model(config)
    settings = {"num_classes": 0, "in_chans": config.channels, **arguments, **_size(config)}
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
    ]


def _norms(config: PretrainConfig) -> list[str]:
    if config.norm == "bn":
        return []
    return [
        "from BYOL.norms import standardised_for_good, without_batch_statistics",
        "model = standardised_for_good(without_batch_statistics(model))",
    ]


def _size(config: PretrainConfig) -> dict[str, Any]:
    """``img_size``, for networks that are built for one size."""
    return {"img_size": config.image_size} if has_fixed_size(config.backbone) else {}


def _registered(config: PretrainConfig) -> list[str]:
    ours = config.backbone in PLAIN_NETS or config.stem == "small"
    return ["import BYOL.registry  # tells timm of this network"] if ours else []


def _onnx(config: PretrainConfig, path: Path) -> list[str]:
    return [
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({str(path)!r})",
        f"# images: float32 {_shape(config)}, pixels from 0 to 1",
        '(features,) = session.run(["features"], {"images": images})',
    ]


def _program(config: PretrainConfig, path: Path) -> list[str]:
    return [
        "import torch",
        f"model = torch.export.load({str(path)!r}).module()",
        f"features = model(images)  # images: float32 {_shape(config)}, pixels from 0 to 1",
    ]


def _folder(config: PretrainConfig, path: Path) -> list[str]:
    return [
        "import timm",
        *_registered(config),
        f"model = timm.create_model('local-dir:{path}', pretrained=True, num_classes=0).eval()",
    ]


def _shape(config: PretrainConfig) -> str:
    return f"(N, {config.channels}, {config.image_size}, {config.image_size})"


_LINES = {".safetensors": _weights, ".pth": _weights, ".onnx": _onnx, ".pt2": _program}
