"""Weights in files that timm, torchvision and plain PyTorch read."""

from pathlib import Path

import torch
from torch import Tensor, nn

from BYOL.errors import UserError
from BYOL.files import save_tensors, write_atomically

SUFFIXES = (".safetensors", ".pth")


def export_backbone(backbone: nn.Module, path: str | Path, metadata: dict[str, str]) -> Path:
    """Write a backbone's state dict.

    Args:
        backbone: its names and shapes are kept, so the network that it came from loads it with
            ``strict=True``.
        path: ends in .safetensors (which also keeps ``metadata``) or .pth.
        metadata: plain strings.

    Raises:
        UserError: another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"--to={path} has an unknown ending: use {' or '.join(SUFFIXES)}")
    # clone: safetensors refuses tensors that share memory, and a view must not drag its base along
    weights = {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in backbone.state_dict().items()
    }
    return write_atomically(path, lambda temporary: save_tensors(weights, temporary, metadata))


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`export_backbone` wrote, running no code that the file may carry.

    Returns:
        The state dict, and the metadata (empty for .pth).

    Raises:
        UserError: it cannot be read, is damaged, or holds more than tensors.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return weights, file.metadata() or {}
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"{path} is damaged, or holds no weights") from error
    except Exception as error:  # pickle's many ways to refuse
        raise UserError(f"{path} is refused: it is damaged, or holds code") from error
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise UserError(f"{path} holds no weights: it is not a state dict")
    return weights, {}
