"""Weights in files that timm, torchvision and plain PyTorch read."""

from pathlib import Path

from torch import Tensor, nn

from BYOL._files import save_tensors, write_atomically
from BYOL.errors import UserError
from BYOL.model.group_norm import standardised_for_good
from BYOL.model.tensor_files import no_weights, read_file, state_dicts

SUFFIXES = (".safetensors", ".pth")
HUB_WEIGHTS = "model.safetensors"  # in a folder for the hub, by timm's name for it
HUB_CONFIG = "config.json"  # beside them, what they are
TORCH_WEIGHTS = "pytorch_model.bin"  # the same, as older repositories have it
RUN_WEIGHTS = "backbone.safetensors"  # in the folder of a run that has ended


def export_backbone(backbone: nn.Module, path: str | Path, metadata: dict[str, str]) -> Path:
    """Write a backbone's state dict.

    Args:
        backbone: its names and shapes are kept, so the network that it came from loads it with
            ``strict=True``; standardised weights are written as they are used.
        path: ends in .safetensors (which also keeps ``metadata``) or .pth.
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
    """A state dict on the CPU that shares no memory with the network, nor within itself."""
    # copied: safetensors refuses tensors that share memory, and a view must not drag its base along
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in standardised_for_good(backbone).state_dict().items()
    }


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`export_backbone` or PyTorch wrote, running no code that it may carry.

    Args:
        path: .safetensors, or anything that ``torch.save`` wrote: a state dict, or a checkpoint
            that holds one; of several the preferred one (:mod:`BYOL.model.tensor_files`).

    Returns:
        The state dict, and the metadata (empty but for .safetensors).

    Raises:
        UserError: it cannot be read, is damaged, holds more than tensors, or no finite numbers.
    """
    found, metadata = load_candidates(path)
    return finite(Path(path), found[0]), metadata


def load_candidates(path: str | Path) -> tuple[list[dict[str, Tensor]], dict[str, str]]:
    """All state dicts in a file, the preferred one first, and the metadata.

    Args:
        path: see :func:`load_weights`.

    Raises:
        UserError: it cannot be read, is damaged, or holds no state dict.
    """
    path = Path(path)
    content, metadata = read_file(path)
    found = state_dicts(content)
    if not found:
        raise no_weights(path, content)
    return found, metadata


def finite(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, if all of them are numbers.

    Raises:
        UserError: one is not; features would be none either, and say so late and elsewhere.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path} holds weights that are not finite: {name}")
    return weights
