"""Writing files: each is complete or does not exist, and replaces no input. Also JSON and CSV."""

import contextlib
import csv
import errno
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from BYOL._temporary import remove, temporary_path
from BYOL.errors import MachineError, UserError

_CONTROLS = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def write_atomically(
    path: str | Path,
    write: Callable[[Path], object],
    before: Callable[[], object] = lambda: None,
) -> Path:
    """Call ``write(temporary)``, flush to disk, then rename the temporary file to ``path``.

    The file and its folder are flushed, so that the new file survives a power failure.

    Args:
        path: the file to write. Its folder must exist. An existing file is replaced.
        write: writes to the temporary path that it receives, in the same folder with the same
            suffix.
        before: called when the new file is complete, before the old one is replaced.

    Raises:
        UserError: the file cannot be written (no space, no permission, no such folder).
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = temporary_path(path)
    try:
        temporary.unlink(missing_ok=True)  # it could be a symbolic link
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise MachineError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def check_output_file(flag: str, value: str, suffix: str) -> Path:
    """Check, before any work, that a file with this suffix can be written.

    Args:
        flag: the setting that names the file.
        value: the name of the file.
        suffix: the required ending, such as ``.csv``.

    Returns:
        The path of the file.

    Raises:
        UserError: the ending is another, or the file cannot be written.
    """
    path = Path(value)
    if path.suffix.lower() != suffix:
        raise UserError(f"--{flag}={value} has an unknown ending: use {suffix}")
    return check_output_path(f"--{flag}={value}", path)


def check_output_path(argument: str, path: Path) -> Path:
    """Check, before any work, that a file can be written to ``path``.

    Args:
        argument: how the user named the file, for the message: ``--out=e.npy``.
        path: the file.

    Returns:
        ``path``.

    Raises:
        UserError: ``path`` is a folder, or its folder does not exist or is not writable.
    """
    if path.is_dir():
        raise UserError(f"{argument}: {path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"{argument}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise MachineError(f"{argument}: the folder {path.parent} may not be written to")
    return path


def to_json(values: Any, indent: int | None = None, *, compact: bool = False) -> str:
    """``values`` as standard JSON, in which numbers that are not finite become null.

    Args:
        values: dictionaries, lists, tuples, strings, numbers, None.
        indent: spaces per level; None for a single line.
        compact: whether to omit all spaces.
    """
    separators = (",", ":") if compact else None
    text = json.dumps(
        _finite(values), indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
    )
    # Lone surrogates, of file names that are not valid UTF-8, and the control characters that JSON
    # allows become escapes: a terminal may show the text.
    text = _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode("utf-8", "backslashreplace").decode()


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write ``values`` as an indented JSON file, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    text = to_json(values, indent=2) + os.linesep
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file with a header in UTF-8, atomically.

    Raises:
        UserError: the file cannot be written.
    """

    def write(temporary: Path) -> None:
        # surrogateescape preserves file names that are not valid UTF-8
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)

    return write_atomically(path, write)


def _flush_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk; Windows neither supports nor needs this."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network folders do not support it
            raise
    finally:
        os.close(descriptor)


def write_folder_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call ``write(temporary)`` on an empty folder next to ``path``, then rename it to ``path``.

    Args:
        path: the folder to create. It must not exist, and its parent must exist.
        write: fills the temporary folder that it receives with files.

    Raises:
        UserError: ``path`` exists, or the folder cannot be written.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise UserError(f"cannot write {path}: it exists already; give another name")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        with temporary_folder(path) as temporary:
            write(temporary)
            for name in temporary.iterdir():
                with name.open("rb+") as file:
                    os.fsync(file.fileno())
    except OSError as error:
        raise MachineError(f"cannot write {path}: {_reason(error)}") from error
    return path


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder next to ``path``. It is renamed to ``path``, or deleted on failure.

    ``path`` must not exist, or be an empty folder.
    """
    temporary = temporary_path(path)
    remove(temporary)  # of an earlier process with the same number
    try:
        temporary.mkdir()
        yield temporary
        if path.is_dir() and not path.is_symlink():
            path.rmdir()  # Windows renames onto nothing, not even onto an empty folder
        temporary.rename(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def completed_folder(out: Path) -> Iterator[Path]:
    """Yield a folder next to ``out``, which is renamed to ``out``, or deleted on failure.

    Args:
        out: the folder to create. It must not exist, or be empty; its parents are created.

    Raises:
        UserError: the folder cannot be written.
    """
    target = out.resolve()  # "." has no name
    temporary = target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target) as temporary:
            yield temporary
    except OSError as error:
        raise MachineError(f"--out={out} cannot be written: {error.strerror or error}") from error
    except MachineError as error:  # the hidden folder is not what the user has named
        raise MachineError(str(error).replace(str(temporary), str(out))) from error


def check_new_folder(argument: str, path: Path) -> None:
    """Check that ``path`` does not exist or is an empty folder.

    Args:
        argument: how the user named the folder, for the message: ``--out=shards``.
        path: the folder.

    Raises:
        UserError: ``path`` is a file or a folder with content.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{argument} is not an empty folder: give a new one")


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the device; nothing was changed"
    return error.strerror or str(error)


def check_not_input(
    argument: str, out: Path, *inputs: str | Path | None, run: str | Path = ""
) -> None:
    """Check that the file ``out`` replaces none of the ``inputs``.

    Args:
        argument: how the user named the file, for the message: ``--grid=e.png``.
        out: the file to write.
        inputs: files and folders that are read; names of other kinds are ignored. Every file in an
            input folder counts as an input.
        run: a folder that may hold outputs, also if it is in an input folder; empty: none.

    Raises:
        UserError: ``out`` exists and is an input.
    """
    if not out.is_file():
        return
    own = Path(run).expanduser().resolve() if run else None
    for place in (Path(name).expanduser() for name in inputs if name):
        if not place.exists():
            continue
        folder = place.resolve()
        is_own = own is not None and own.is_relative_to(folder) and _is_inside(out, own)
        if out.samefile(place) or (place.is_dir() and not is_own and _is_inside(out, folder)):
            raise replaces_input(argument, place)


def replaces_input(argument: str, place: str | Path) -> UserError:
    """Return the error that the output ``argument`` would replace the input ``place``."""
    return UserError(f"{argument} would replace a file that is read ({place}): give another")


def _is_inside(file: Path, folder: Path) -> bool:
    """Whether ``file``, or the target of this link, is in the resolved ``folder``."""
    places = (file.resolve(), file.parent.resolve() / file.name)
    return any(place.is_relative_to(folder) for place in places)
