"""A folder for the Hugging Face hub, which timm loads: config.json, weights and a model card."""

from pathlib import Path
from typing import Any

from BYOL._files import save_tensors, to_json, write_folder_atomically
from BYOL.errors import UserError
from BYOL.export.checks import as_timm_shows, check_equal, pictures_to_check
from BYOL.export.exportable import Model
from BYOL.export.model_card import model_card
from BYOL.model.backbones import feature_size
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS, plain_weights
from BYOL.views.transforms import shown_share

CARD = "README.md"  # by the name that the hub looks for


def export_folder(model: Model, path: Path) -> dict[str, Any]:
    """Write a folder that ``timm.create_model("local-dir:PATH", pretrained=True)`` loads.

    Uploaded to the hub it is ``hf-hub:OWNER/NAME``. What timm makes of the folder is held to the
    network on pictures of the run before it gets its name.

    Returns:
        What it was checked on, and the largest difference from the network.

    Raises:
        UserError: something in the way, a folder that cannot be written, or one that timm does not
            read as the same network; nothing is left of it then.
    """
    config = model.config
    if model.run.published:
        raise UserError(
            f"--to={path}/ is for a run, of which its card tells, and RUN={model.run.name} is a "
            "backbone without one: export .safetensors, .onnx or .pt2"
        )
    if config.norm != "bn":
        raise UserError(
            f"--to={path}/ is not for a run with --norm={config.norm}: timm has no name for "
            "its backbone; export .safetensors, .onnx or .pt2"
        )
    pictures, kind = pictures_to_check(model.run)
    network, metadata = model.for_timm()
    worst = 0.0

    def write(temporary: Path) -> None:
        nonlocal worst
        save_tensors(plain_weights(network), temporary / HUB_WEIGHTS, metadata)
        text = to_json(timm_config(model), indent=2)
        (temporary / HUB_CONFIG).write_text(text + "\n", encoding="utf-8")
        (temporary / CARD).write_text(model_card(model, path.name), encoding="utf-8")
        worst = check_equal(path, model, _as_timm_reads(model, temporary), pictures)

    write_folder_atomically(path, write)
    return {"checked_on": kind, "difference": worst}


def timm_config(model: Model) -> dict[str, Any]:
    """config.json in timm's format: the architecture, and how it is shown pictures."""
    from BYOL.model.timm_registry import timm_model

    config = model.config
    sight = config.sight
    architecture, arguments = timm_model(config)
    known = getattr(model.backbone, "pretrained_cfg", {})
    names = model.classifier.names if model.classifier else ()
    return {
        "architecture": architecture,
        "num_classes": len(names),
        "num_features": feature_size(model.backbone, config.channels or 3, sight.size),
        **({"label_names": list(names)} if names else {}),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": {
            "tag": "byol",
            "custom_load": False,
            "input_size": [config.channels, sight.size, sight.size],
            "fixed_input_size": bool(known.get("fixed_input_size")),
            "interpolation": "bicubic",
            "crop_pct": shown_share(sight.size),
            "crop_mode": "center",
            "mean": sight.mean,
            "std": sight.std,
            "num_classes": len(names),
            "pool_size": None,
            "first_conv": known.get("first_conv"),
            "classifier": known.get("classifier"),
            "paper_name": "Bootstrap Your Own Latent",
            "paper_ids": "arXiv:2006.07733",
        },
    }


def _as_timm_reads(model: Model, folder: Path) -> Any:
    import timm

    import BYOL.model.timm_registry  # noqa: F401  tells timm of this package's networks

    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except Exception as error:
        raise UserError(
            f"timm does not read the folder for backbone {model.config.backbone!r} "
            f"({type(error).__name__}: {str(error).splitlines()[0][:120]}); use .safetensors"
        ) from error
    return as_timm_shows(network, model)
