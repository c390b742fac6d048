"""A ``torch.export`` program: the network as a graph, which runs without this package or timm."""

import io
from pathlib import Path
from typing import Any

import torch

from BYOL._files import to_json, write_atomically
from BYOL.export.checks import check_equal, pictures_to_check, pixel_metadata, traced
from BYOL.export.exportable import Model

METADATA = "byol.json"  # inside the file: torch.export.load(..., extra_files={"byol.json": ""})


def export_program(model: Model, path: Path) -> dict[str, Any]:
    """Write a .pt2 file: ``torch.export.load(path).module()`` takes pixels.

    Returns:
        What it was checked on, and the largest difference from the network.

    Raises:
        UserError: a network without a graph, a file that cannot be written, or one that, read
            again, does not put out the same; nothing is left of it then.
    """
    pictures, kind = pictures_to_check(model.run)
    program = traced(model)
    worst = 0.0

    def write(temporary: Path) -> None:
        nonlocal worst
        content = io.BytesIO()  # its own writer ends the process where the disk is full
        extra = {METADATA: to_json(pixel_metadata(model))}
        torch.export.save(program, content, extra_files=extra)
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
        worst = check_equal(path, model, torch.export.load(temporary).module(), pictures)

    write_atomically(path, write)
    return {"checked_on": kind, "difference": worst}
