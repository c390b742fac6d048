"""Files of weights that timm, torchvision and plain PyTorch read."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save, save_file
from torch import Tensor, nn

from BYOL._files import write_atomically
from BYOL.errors import WeightsError, first_line
from BYOL.model.group_norm import with_standardised_weights
from BYOL.model.tensor_files import no_weights, read_file, state_dicts

SUFFIXES = (".safetensors", ".pth")
HUB_WEIGHTS = "model.safetensors"  # weights in a folder for the hub; the name is timm's
HUB_CONFIG = "config.json"  # their architecture and metadata, in the same folder
TORCH_WEIGHTS = "pytorch_model.bin"  # weights in older repositories
RUN_WEIGHTS = "backbone.safetensors"  # weights in the folder of a complete run


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
        raise WeightsError(f"--to={path} has an unknown ending: use {' or '.join(SUFFIXES)}")
    weights = copy_state_dict(backbone)
    return write_atomically(path, lambda temporary: save_tensors(weights, temporary, metadata))


def save_tensors(values: Any, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Save tensors with safetensors or ``torch.save``, depending on the suffix of ``path``.

    Raises:
        OSError: the file cannot be written.
    """
    with disk_errors(path):
        if path.suffix == ".safetensors":
            _save_safetensors(values, path, metadata)
        else:
            torch.save(values, path)


def _save_safetensors(
    values: dict[str, Tensor], path: Path, metadata: dict[str, str] | None
) -> None:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # safetensors writes only to names in UTF-8
        path.write_bytes(save(values, metadata))
        return
    path.touch()
    mode = path.stat().st_mode
    save_file(values, path, metadata)
    path.chmod(mode)  # safetensors makes the file readable by its owner only


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Convert the errors that torch and safetensors raise on a full disk to OSError."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        full = shutil.disk_usage(path.parent).free < 1 << 20
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, f"writing stopped ({first_line(error, 120)})") from error


def copy_state_dict(backbone: nn.Module) -> dict[str, Tensor]:
    """Return a state dict on the CPU whose tensors share no memory with anything else."""
    # copied: safetensors refuses tensors that share memory, and a view keeps all of its base
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in with_standardised_weights(backbone).state_dict().items()
    }


def weights_digest(network: nn.Module) -> str:
    """Return a hash of the weights and buffers of ``network``, equal for equal values."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of :func:`export_backbone` or PyTorch without running code in it.

    Args:
        path: .safetensors, or anything that ``torch.save`` wrote: a state dict, or a checkpoint
            that holds one; of several the preferred one (:mod:`BYOL.model.tensor_files`).

    Returns:
        The state dict, and the metadata (empty except for .safetensors).

    Raises:
        UserError: the file cannot be read, is damaged, has more than tensors, or values that are
            not finite.
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
        UserError: some are not finite. Features would be invalid too, and the error would come
            later.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(f"{path} has weights that are not finite: {name}")
    return weights
