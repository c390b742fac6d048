"""The table of export formats by file suffix."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from BYOL._files import check_place
from BYOL.errors import UserError
from BYOL.export.equality_check import check_equal, images_to_check
from BYOL.export.exportable import ExportModel
from BYOL.export.hub_folder import export_folder
from BYOL.export.onnx import check_onnx, export_onnx
from BYOL.export.pixel_network import timm_forward
from BYOL.export.torch_export import export_program
from BYOL.model.weights import export_backbone

# A writer takes a model and a path. It returns the result of its equality check, if there was one.
Writer = Callable[[ExportModel, Path], dict[str, Any]]
FOLDER = "/"


def _write_weights(model: ExportModel, path: Path) -> dict[str, Any]:
    network, metadata = model.timm_weights()
    check: dict[str, Any] = {}
    if model.classifier:  # a backbone is saved unchanged; only an added layer needs a check
        images, description = images_to_check(model.run)
        difference = check_equal(path, model, timm_forward(network, model), images)
        check = {"checked_on": description, "difference": difference}
    export_backbone(network, path, metadata)
    return check


WRITERS: dict[str, Writer] = {
    ".safetensors": _write_weights,
    ".pth": _write_weights,
    ".onnx": export_onnx,
    ".pt2": export_program,
    FOLDER: export_folder,
}


def pick_writer(to: str) -> Writer:
    """Return the writer for the suffix of ``to``. The name of a folder ends in a slash.

    Raises:
        UserError: the suffix is unknown, the folder exists, ``to`` cannot be written, or a required
            package is missing.
    """
    path = Path(to)
    ending = FOLDER if to.endswith(FOLDER) else path.suffix
    if ending not in WRITERS:
        files = ", ".join(name for name in WRITERS if name != FOLDER)
        raise UserError(
            f"--to={to} has an unknown ending: use {files}, or NAME/ for a folder for the hub"
        )
    if ending == FOLDER and path.exists():
        raise UserError(f"--to={to} already exists: give another name")
    check_place(f"--to={to}", path)
    if ending == ".onnx":
        check_onnx(path)
    return WRITERS[ending]
