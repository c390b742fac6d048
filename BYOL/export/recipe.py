"""The lines of Python that load what was exported."""

from pathlib import Path

from BYOL.config import PretrainConfig
from BYOL.plain import PLAIN_NETS


def loading_recipe(config: PretrainConfig, path: str | Path) -> str:
    """Lines of Python that load an exported backbone, to be shown to a person and to work as typed.

    Args:
        config: the settled settings of the run.
        path: the exported file.
    """
    path = Path(path)
    read = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    name, channels = config.backbone, config.channels
    if config.stem == "small":
        made = f"BYOL.backbones.build_backbone({name!r}, in_channels={channels}, stem='small')"
    else:
        made = f"timm.create_model({name!r}, num_classes=0, in_chans={channels})"
    known = "import BYOL.backbones  # tells timm of it\n" if name in PLAIN_NETS else ""
    return f"{known}model = {made}\nmodel.load_state_dict({read}({str(path)!r}), strict=True)"
