"""``byol export``."""

import textwrap
from pathlib import Path

from BYOL.commands.common import Answer
from BYOL.config.commands import ExportConfig
from BYOL.export.recipe import loading_recipe
from BYOL.export.writers import pick_writer
from BYOL.runs import open_run


def export_run(config: ExportConfig) -> Answer:
    """``byol export``: the backbone for timm, torchvision, PyTorch, ONNX or the hub.

    Raises:
        UserError: no run, an unknown ending, missing packages, a file that cannot be written, or
            one that does not give the backbone's features.
    """
    write = pick_writer(config.to)
    run = open_run(config.run)
    path = Path(config.to)
    found = write(run, path)
    checked = (
        f" (checked on {found['checked_on']}: differs by {found['difference']:.1e} at most)"
        if found
        else ""
    )
    recipe = textwrap.indent(loading_recipe(run.config, path), "  ")
    answer = {"to": str(path), **run.metadata, **found}
    return answer, f"written to {path}{checked}; in Python:\n{recipe}"
