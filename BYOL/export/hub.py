"""A folder for the Hugging Face hub, which timm loads: config.json, weights and a model card."""

from pathlib import Path
from typing import Any

from BYOL.backbones import feature_size
from BYOL.errors import UserError
from BYOL.export.card import model_card
from BYOL.export.pixels import check_equal, pictures_to_check
from BYOL.export.weights import HUB_CONFIG, HUB_WEIGHTS, plain_weights
from BYOL.files import save_tensors, to_json, write_folder_atomically
from BYOL.runs import Run
from BYOL.views.transforms import normalise, shown_share

CARD = "README.md"  # by the name that the hub looks for


def export_folder(run: Run, path: Path) -> dict[str, Any]:
    """Write a folder that ``timm.create_model("local-dir:PATH", pretrained=True)`` loads.

    Uploaded to the hub it is ``hf-hub:OWNER/NAME``. What timm makes of the folder is held to the
    backbone on pictures of the run before it gets its name.

    Returns:
        What it was checked on, and the largest difference from the backbone.

    Raises:
        UserError: something in the way, a folder that cannot be written, or one that timm does not
            read as the same network; nothing is left of it then.
    """
    if run.config.norm != "bn":
        raise UserError(
            f"--to={path}/ is not for a run with --norm={run.config.norm}: timm has no name for "
            "its backbone; export .safetensors, .onnx or .pt2"
        )
    pictures, kind = pictures_to_check(run)
    worst = 0.0

    def write(temporary: Path) -> None:
        nonlocal worst
        save_tensors(plain_weights(run.backbone), temporary / HUB_WEIGHTS, run.metadata)
        text = to_json(timm_config(run), indent=2)
        (temporary / HUB_CONFIG).write_text(text + "\n", encoding="utf-8")
        (temporary / CARD).write_text(model_card(run, path.name), encoding="utf-8")
        worst = check_equal(path, run, _as_timm_reads(run, temporary), pictures)

    write_folder_atomically(path, write)
    return {"checked_on": kind, "difference": worst}


def timm_config(run: Run) -> dict[str, Any]:
    """config.json in timm's format: the architecture, and how it is shown pictures."""
    from BYOL.registry import timm_model

    config = run.config
    sight = config.sight
    architecture, arguments = timm_model(config)
    known = getattr(run.backbone, "pretrained_cfg", {})
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": feature_size(run.backbone, config.channels or 3, sight.size),
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
            "num_classes": 0,
            "pool_size": None,
            "first_conv": known.get("first_conv"),
            "classifier": known.get("classifier"),
            "paper_name": "Bootstrap Your Own Latent",
            "paper_ids": "arXiv:2006.07733",
        },
    }


def _as_timm_reads(run: Run, folder: Path) -> Any:
    import timm

    import BYOL.registry  # noqa: F401  tells timm of this package's networks

    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    except Exception as error:
        raise UserError(
            f"timm does not read the folder for backbone {run.config.backbone!r} "
            f"({type(error).__name__}: {str(error).splitlines()[0][:120]}); use .safetensors"
        ) from error
    sight = run.config.sight
    return lambda images: model(normalise(images, sight.mean, sight.std))
