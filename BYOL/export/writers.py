"""From the ending of a name to what is written: one table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from BYOL._files import check_place
from BYOL.errors import UserError
from BYOL.export.checks import as_timm_shows, check_equal, pictures_to_check
from BYOL.export.exportable import Model
from BYOL.export.hub_folder import export_folder
from BYOL.export.onnx import check_onnx, export_onnx
from BYOL.export.torch_export import export_program
from BYOL.model.weights import export_backbone

# Each takes a model and a path, and answers with what it has found out about the result.
Writer = Callable[[Model, Path], dict[str, Any]]
FOLDER = "/"


def _write_weights(model: Model, path: Path) -> dict[str, Any]:
    network, metadata = model.for_timm()
    found: dict[str, Any] = {}
    if model.classifier:  # a backbone is what it is; with a layer more there is something to hold
        pictures, kind = pictures_to_check(model.run)
        worst = check_equal(path, model, as_timm_shows(network, model), pictures)
        found = {"checked_on": kind, "difference": worst}
    export_backbone(network, path, metadata)
    return found


WRITERS: dict[str, Writer] = {
    ".safetensors": _write_weights,
    ".pth": _write_weights,
    ".onnx": export_onnx,
    ".pt2": export_program,
    FOLDER: export_folder,
}


def pick_writer(to: str) -> Writer:
    """The writer for a name, from its ending; a folder's name ends in a slash.

    Raises:
        UserError: no such ending, something in the way, or packages that it needs are missing.
    """
    path = Path(to)
    ending = FOLDER if to.endswith(FOLDER) else path.suffix
    if ending not in WRITERS:
        files = ", ".join(name for name in WRITERS if name != FOLDER)
        raise UserError(
            f"--to={to} has an unknown ending: use {files}, or NAME/ for a folder for the hub"
        )
    if ending == FOLDER and path.exists():
        raise UserError(f"--to={to} is there already: give another name")
    check_place(f"--to={to}", path)
    if ending == ".onnx":
        check_onnx(path)
    return WRITERS[ending]
