"""Export as a ``torch.export`` program: a graph that runs without this package and timm."""

import io
from pathlib import Path
from typing import Any

import torch

from BYOL._files import to_json, write_atomically
from BYOL.export.equality_check import check_equal, images_to_check
from BYOL.export.exportable import ExportModel
from BYOL.export.pixel_network import export_graph, pixel_metadata

METADATA = "byol.json"  # inside the file: torch.export.load(..., extra_files={"byol.json": ""})


def export_program(model: ExportModel, path: Path) -> dict[str, Any]:
    """Write a .pt2 file, whose ``torch.export.load(path).module()`` takes pixels.

    Args:
        model: the backbone or classifier.
        path: the file to write.

    Returns:
        ``checked_on``, a description of the images, and ``difference``, the largest difference.

    Raises:
        UserError: the network cannot be traced, the file cannot be written, or the outputs of the
            loaded file differ. Nothing is left behind in this case.
    """
    images, description = images_to_check(model.run)
    program = export_graph(model)
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        content = io.BytesIO()  # torch's own file writer aborts the process on a full disk
        extra = {METADATA: to_json(pixel_metadata(model))}
        torch.export.save(program, content, extra_files=extra)
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
        difference = check_equal(path, model, torch.export.load(temporary).module(), images)

    write_atomically(path, write)
    return {"checked_on": description, "difference": difference}
