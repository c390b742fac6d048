"""A folder for the Hugging Face hub that timm loads: config.json, weights and a model card."""

from pathlib import Path
from typing import Any

from BYOL._files import to_json, write_folder_atomically
from BYOL.errors import UserError, first_line
from BYOL.export.equality_check import check_equal, images_to_check
from BYOL.export.exportable import ExportModel
from BYOL.export.model_card import model_card
from BYOL.export.pixel_network import timm_forward
from BYOL.export.timm_format import timm_config
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS, copy_state_dict, save_tensors

CARD = "README.md"  # the file name that the hub expects


def export_folder(model: ExportModel, path: Path) -> dict[str, Any]:
    """Write a folder that ``timm.create_model("local-dir:PATH", pretrained=True)`` loads.

    After an upload to the hub, its name is ``hf-hub:OWNER/NAME``. Before the folder gets its final
    name, the network that timm loads from it is checked against ``model`` on images of the run.

    Args:
        model: the backbone or classifier.
        path: the folder to write.

    Returns:
        ``checked_on``, a description of the images, and ``difference``, the largest difference.

    Raises:
        UserError: ``path`` exists or cannot be written, or timm does not load the same network.
            Nothing is left behind in this case.
    """
    config = model.config
    if model.run.published:
        raise UserError(
            f"--to={path}/ needs a run for its model card, and RUN={model.run.name} is a "
            "backbone without a run: export .safetensors, .onnx or .pt2"
        )
    if config.norm != "bn":
        raise UserError(
            f"--to={path}/ is not available for a run with --norm={config.norm}: timm has no "
            "name for its backbone; export .safetensors, .onnx or .pt2"
        )
    images, description = images_to_check(model.run)
    network, metadata = model.timm_weights()
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        save_tensors(copy_state_dict(network), temporary / HUB_WEIGHTS, metadata)
        text = to_json(_config(model), indent=2)
        (temporary / HUB_CONFIG).write_text(text + "\n", encoding="utf-8")
        card = model_card(model, path.name).encode("utf-8", "replace")
        (temporary / CARD).write_bytes(card)
        difference = check_equal(path, model, _load_with_timm(model, temporary), images)

    write_folder_atomically(path, write)
    return {"checked_on": description, "difference": difference}


def _config(model: ExportModel) -> dict[str, Any]:
    from BYOL.model.timm_registry import timm_architecture

    names, spec = model.classifier.names if model.classifier else (), model.spec
    architecture = timm_architecture(spec.backbone, spec.stem, spec.backbone_args)
    return timm_config(model.backbone, *architecture, model.config.input_spec, names)


def _load_with_timm(model: ExportModel, folder: Path) -> Any:
    import timm

    import BYOL.model.timm_registry  # noqa: F401  registers the networks of this package

    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except Exception as error:
        raise UserError(
            f"timm cannot load the folder for backbone {model.config.backbone!r} "
            f"({type(error).__name__}: {first_line(error, 120)}); use .safetensors"
        ) from error
    return timm_forward(network, model)
