"""``byol export``."""

import textwrap
from pathlib import Path

from BYOL.commands.common import Answer
from BYOL.config.commands import ExportConfig
from BYOL.errors import UserError
from BYOL.export import SUFFIXES, export_backbone
from BYOL.export.recipe import loading_recipe
from BYOL.runs import open_run


def export_run(config: ExportConfig) -> Answer:
    """``byol export``: the backbone's weights as a file for timm, torchvision or plain PyTorch.

    Raises:
        UserError: no run, an unknown ending, a file that cannot be written.
    """
    if Path(config.to).suffix not in SUFFIXES:
        raise UserError(f"--to={config.to} has an unknown ending: use {' or '.join(SUFFIXES)}")
    run = open_run(config.run)
    path = export_backbone(run.backbone, config.to, run.metadata)
    recipe = textwrap.indent(loading_recipe(run.config, path), "  ")
    return {"to": str(path), **run.metadata}, f"written to {path}; in Python:\n{recipe}"
