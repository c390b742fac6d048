"""``byol export``."""

from pathlib import Path

from BYOL.commands.common import Answer
from BYOL.config.commands import ExportConfig
from BYOL.errors import UserError
from BYOL.export import SUFFIXES, export_backbone
from BYOL.plain import PLAIN_NETS
from BYOL.runs import Run, open_run


def export_run(config: ExportConfig) -> Answer:
    """``byol export``: the backbone's weights as a file for timm, torchvision or plain PyTorch.

    Raises:
        UserError: no run, an unknown ending, a file that cannot be written.
    """
    if Path(config.to).suffix not in SUFFIXES:
        raise UserError(f"--to={config.to} has an unknown ending: use {' or '.join(SUFFIXES)}")
    run = open_run(config.run)
    path = export_backbone(run.backbone, config.to, run.metadata)
    return {"to": str(path), **run.metadata}, f"written to {path}; in Python:\n{_recipe(run, path)}"


def _recipe(run: Run, path: Path) -> str:
    """The lines of Python that load an exported backbone."""
    c = run.config
    read = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    if c.stem == "small":
        made = (
            f"BYOL.backbones.build_backbone({c.backbone!r}, in_channels={c.channels}, stem='small')"
        )
    else:
        made = f"timm.create_model({c.backbone!r}, num_classes=0, in_chans={c.channels})"
    if c.norm == "gn-ws":
        made = (
            f"BYOL.norms.standardised_for_good(\n      BYOL.norms.without_batch_statistics({made}))"
        )
    known = "  import BYOL.backbones  # tells timm of it\n" if c.backbone in PLAIN_NETS else ""
    return f"{known}  model = {made}\n  model.load_state_dict({read}({str(path)!r}), strict=True)"
