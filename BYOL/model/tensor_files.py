"""State dicts in files that any program wrote, read without running code from the file."""

import argparse
import pathlib
import pickle
import re
import types
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from BYOL._untrusted import open_plain, utf8_name
from BYOL.errors import UserError, WeightsError

# Where programs keep weights in their checkpoints, the preferred ones first: as timm's own loader,
# an exponential moving average before what was trained; as DINO, the teacher before the student.
_KEYS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher", "state_dict", "model",
    "model_state_dict", "model_state", "student", "net", "network", "encoder", "backbone", "trunk",
)  # fmt: skip
_DEEPEST = 5  # levels: VISSL has classy_state_dict, base_model, model, trunk
_LEAST = 0.5  # share of the values that are tensors in a dictionary of weights
_SAVE_AGAIN = "torch.save(model.state_dict(), 'weights.pth')"


def read_file(path: Path) -> tuple[Any, dict[str, str]]:
    """What a .safetensors or PyTorch file holds, and its metadata (empty but for .safetensors).

    The content decides which of the two it is, not the name.

    Raises:
        UserError: it cannot be read, is damaged, is no such file, or holds an object of a class
            that is not plain data.
    """
    try:
        with open_plain(path) as file:
            head = file.read(16)
        if head[8:9] == b"{" or (path.suffix == ".safetensors" and head[:2] != b"PK"):
            return _safetensors(path)
        if head[:2] != b"PK" and head[:1] != b"\x80" and not _is_old_tar(path):
            raise WeightsError(f"{path} is neither a PyTorch nor a .safetensors file{_empty(head)}")
        if path.suffix == ".safetensors":  # by which torch.load would choose its reader
            raise WeightsError(f"{path} is a PyTorch file: rename it to end in .pth")
        with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_classes()):
            warnings.simplefilter("ignore")  # PyTorch's, about the pickle; the errors say more
            return torch.load(path, map_location="cpu", weights_only=True), {}
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(_refused(path, str(error))) from error
    except UserError:
        raise
    except Exception as error:  # every layer of a damaged file fails in its own way
        raise WeightsError(_unreadable(path, str(error))) from error


def state_dicts(content: Any) -> list[dict[str, Tensor]]:
    """All dictionaries of tensors in a checkpoint, the preferred one first.

    Args:
        content: a state dict, or what holds some at any of a few levels.
    """
    found = list(_found(content, 0))
    return [weights for weights in found if weights]


def keys_of(content: Any) -> str:
    """What a message says of a file without weights: its keys, or its type."""
    if isinstance(content, dict) and content:
        names = [str(name) for name in list(content)[:6]]
        return f"its keys are {', '.join(names)}{' …' if len(content) > 6 else ''}"
    return f"it holds {'an empty ' if content == {} else 'a '}{type(content).__name__}"


def no_weights(path: Path, content: Any) -> UserError:
    """The mistake of a file without a state dict."""
    return UserError(
        f"{path} holds no weights: {keys_of(content)}; save the network's state dict, {_SAVE_AGAIN}"
    )


def _found(content: Any, level: int) -> Iterator[dict[str, Tensor]]:
    if not isinstance(content, dict) or level > _DEEPEST:
        return
    tensors = {n: v for n, v in content.items() if isinstance(n, str) and isinstance(v, Tensor)}
    # A loss or a counter beside other entries is no network.
    if len(tensors) >= _LEAST * len(content):
        yield tensors
    for name in sorted((n for n in content if isinstance(n, str)), key=_preference):
        if "optim" not in name:
            yield from _found(content[name], level + 1)


def _preference(name: str) -> int:
    return _KEYS.index(name) if name in _KEYS else len(_KEYS)


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    with utf8_name(path) as name, safe_open(name, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return weights, file.metadata() or {}


def stored_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a .safetensors file, from its header; empty for any other file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with utf8_name(path) as name, safe_open(name, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def _plain_classes() -> list[Any]:
    """Classes that only hold data, which training programs put beside their weights."""
    core = getattr(np, "_core", None) or np.core  # type: ignore[attr-defined]  # before numpy 2
    multiarray = core.multiarray
    numbers = [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    arrays = [
        (getattr(multiarray, name), f"numpy.{place}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for place in ("core", "_core")
    ]
    places = [pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath]
    return [
        argparse.Namespace, types.SimpleNamespace, np.dtype, np.ndarray, *numbers, *arrays, *places
    ]  # fmt: skip


def _refused(path: Path, message: str) -> str:
    """The line for an object that is not plain data; a pickle that ends too early is damaged."""
    named = re.search(r"(?:GLOBAL|[Uu]nsupported class|[Uu]nsupported type:?) ([\w.]+)", message)
    names = [named[1]] if named else _unsafe_classes(path)
    if not names:
        return (
            f"{path} is damaged" if "truncated" in message else f"{path} is refused: {message[:80]}"
        )
    return (
        f"{path} is refused: it holds {', '.join(names[:3])}, and reading a class may run code; "
        f"save the state dict alone where it was written, {_SAVE_AGAIN}"
    )


def _unsafe_classes(path: Path) -> list[str]:
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # an old format, or damaged
        return []


def _unreadable(path: Path, message: str) -> str:
    if "TorchScript" in message:
        return (
            f"{path} is a TorchScript program: save its weights, "
            "torch.save(torch.jit.load(file).state_dict(), 'weights.pth')"
        )
    if _is_other_archive(path):
        return f"{path} is a zip archive, but none that torch.save wrote"
    return f"{path} is damaged"


def _is_other_archive(path: Path) -> bool:
    """Whether the file is a whole zip archive without the content of PyTorch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith("data.pkl") for name in archive.namelist())
    except Exception:  # zipfile raises many types of errors on damaged archives
        return False


def _is_old_tar(path: Path) -> bool:
    """Whether it is of PyTorch before 0.1.10."""
    import tarfile

    return tarfile.is_tarfile(path)


def _empty(head: bytes) -> str:
    return "" if head else ": it is empty"
