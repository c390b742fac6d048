"""A ``torch.export`` program: the backbone as a graph, which runs without this package or timm."""

from pathlib import Path
from typing import Any

import torch

from BYOL.export.pixels import check_equal, pictures_to_check, pixel_metadata, traced
from BYOL.files import disk_errors, to_json, write_atomically
from BYOL.runs import Run

METADATA = "byol.json"  # inside the file: torch.export.load(..., extra_files={"byol.json": ""})


def export_program(run: Run, path: Path) -> dict[str, Any]:
    """Write a .pt2 file: ``torch.export.load(path).module()`` takes pixels and gives features.

    Returns:
        What it was checked on, and the largest difference from the backbone.

    Raises:
        UserError: a network without a graph, a file that cannot be written, or one that, read
            again, does not give the backbone's features; nothing is left of it then.
    """
    pictures, kind = pictures_to_check(run)
    program = traced(run)
    worst = 0.0

    def write(temporary: Path) -> None:
        nonlocal worst
        with disk_errors(temporary):
            extra = {METADATA: to_json(pixel_metadata(run))}
            torch.export.save(program, temporary, extra_files=extra)
        worst = check_equal(path, run, torch.export.load(temporary).module(), pictures)

    write_atomically(path, write)
    return {"checked_on": kind, "difference": worst}
