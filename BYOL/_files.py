"""Files that are either whole or not there."""

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from BYOL.errors import UserError, first_line


def write_atomically(
    path: str | Path,
    write: Callable[[Path], object],
    before: Callable[[], object] = lambda: None,
) -> Path:
    """Call ``write(temporary)``, flush to disk, then rename to ``path``: all of it or nothing.

    File and folder are flushed, so that the rename outlives a power cut.

    Args:
        path: the file to make; its folder must exist. An older file there is replaced.
        write: gets a temporary path in the same folder, with the same suffix, and fills it.
        before: called when the new file is whole and the old one is about to be replaced.

    Raises:
        UserError: the file cannot be written (no space, no permission, no such folder).
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        temporary.unlink(missing_ok=True)  # a link of that name would lead elsewhere
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def check_place(given: str, path: Path) -> Path:
    """The path, if a file can be made there: asked before the work whose result it is to hold.

    Args:
        given: what the user said, for the message: ``--out=e.npy``.
        path: the file.

    Raises:
        UserError: a folder is there, its own folder is not, or may not be written to.
    """
    if path.is_dir():
        raise UserError(f"{given}: {path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"{given}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{given}: the folder {path.parent} may not be written to")
    return path


def to_json(values: Any, indent: int | None = None, *, compact: bool = False) -> str:
    """JSON as its standard has it: a number that is not finite, which it does not know, is null.

    Args:
        values: dictionaries, lists, tuples, strings, numbers, None.
        indent: spaces a level, for people; without it, one line.
        compact: no spaces.
    """
    separators = (",", ":") if compact else None
    text = json.dumps(
        _finite(values), indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
    )
    # Names of files that are no text hold lone surrogates; backslashed, they are JSON's own escape.
    return text.encode("utf-8", "backslashreplace").decode()


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file that a person can read, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    text = to_json(values, indent=2) + os.linesep
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _flush_folder(folder: Path) -> None:
    """Flush a folder's list of names; Windows cannot and need not."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network folders know no such thing
            raise
    finally:
        os.close(descriptor)


def write_folder_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call ``write(temporary)`` on an empty folder beside ``path``, then rename: all or nothing.

    Args:
        path: the folder to make; it must not be there yet, and the folder it is in must.
        write: gets a temporary folder and fills it with files.

    Raises:
        UserError: something is in the way, or the folder cannot be written.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise UserError(f"cannot write {path}: it is there already; give another name")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        with folder_beside(path) as temporary:
            write(temporary)
            for name in temporary.iterdir():
                with name.open("rb+") as file:
                    os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}") from error
    return path


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """An empty folder to be filled, which then gets the name ``path``; it is gone if that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_folder(given: str, path: Path) -> None:
    """See that a folder can be made: nothing is there, or a folder with nothing in it.

    Args:
        given: what the user said, for the message: ``--out=shards``.
        path: the folder.

    Raises:
        UserError: something is in the way.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{given} is not an empty folder: give a new one")


def save_tensors(values: Any, path: Path, metadata: dict[str, str] | None = None) -> None:
    """``torch.save``, or safetensors by the suffix, failing with OSError like any other writer."""
    import torch
    from safetensors.torch import save_file

    with disk_errors(path):
        if path.suffix == ".safetensors":
            path.touch()
            mode = path.stat().st_mode
            save_file(values, path, metadata)
            path.chmod(mode)  # safetensors lets nobody but the owner read it
        else:
            torch.save(values, path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Writers that tell of a full disk in words of their own raise OSError inside."""
    from safetensors import SafetensorError

    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        full = shutil.disk_usage(path.parent).free < 1 << 20
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, f"writing stopped ({first_line(error, 120)})") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the device; nothing was changed"
    return error.strerror or str(error)
