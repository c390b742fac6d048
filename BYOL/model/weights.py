"""Files of weights that timm, torchvision and plain PyTorch read."""

from pathlib import Path

import torch
from torch import Tensor, nn

from BYOL._files import save_tensors, write_atomically
from BYOL.errors import UserError
from BYOL.model.group_norm import standardised_for_good

SUFFIXES = (".safetensors", ".pth")
HUB_WEIGHTS = "model.safetensors"  # weights in a folder for the hub; the name is timm's
HUB_CONFIG = "config.json"  # their architecture and metadata, in the same folder
TORCH_WEIGHTS = "pytorch_model.bin"  # weights in older repositories
RUN_WEIGHTS = "backbone.safetensors"  # weights in the folder of a complete run
_INSIDE = ("state_dict", "model")  # keys of the weights in checkpoints of training programs


def export_backbone(backbone: nn.Module, path: str | Path, metadata: dict[str, str]) -> Path:
    """Write the state dict of a backbone.

    Args:
        backbone: the network. Names and shapes are kept, so the same architecture loads the file
            with ``strict=True``. Standardised weights are written in their standardised form.
        path: ends in .safetensors (which also stores ``metadata``) or .pth.
        metadata: plain strings.

    Raises:
        UserError: another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"--to={path} has an unknown ending: use {' or '.join(SUFFIXES)}")
    weights = plain_weights(backbone)
    return write_atomically(path, lambda temporary: save_tensors(weights, temporary, metadata))


def plain_weights(backbone: nn.Module) -> dict[str, Tensor]:
    """Return a state dict on the CPU whose tensors share no memory with anything else."""
    # copied: safetensors refuses tensors that share memory, and a view keeps all of its base
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in standardised_for_good(backbone).state_dict().items()
    }


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of :func:`export_backbone` or PyTorch without running code in it.

    Args:
        path: .safetensors, or any file of ``torch.save``: a state dict, or a checkpoint that has
            one as ``state_dict`` or ``model``.

    Returns:
        The state dict, and the metadata (empty except for .safetensors).

    Raises:
        UserError: the file cannot be read, is damaged, has more than tensors, or values that are
            not finite.
    """
    from safetensors import SafetensorError, safe_open

    path, metadata = Path(path), dict[str, str]()
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"{path} is damaged, or has no weights") from error
    except Exception as error:  # pickle raises many types of errors
        raise UserError(f"{path} is refused: it is damaged, or contains code") from error
    if isinstance(weights, dict) and path.suffix != ".safetensors":
        inside = (weights[name] for name in _INSIDE if isinstance(weights.get(name), dict))
        weights = next(inside, weights)
    valid = isinstance(weights, dict) and all(isinstance(v, Tensor) for v in weights.values())
    if not valid or not weights:
        raise UserError(f"{path} has no weights: it is not a state dict")
    return _finite(path, weights), metadata


def _finite(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``weights`` if all of them are finite.

    Raises:
        UserError: some are not finite. Features would be invalid too, and the error would come
            later.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path} has weights that are not finite: {name}")
    return weights
