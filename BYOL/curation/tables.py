"""What was found, as a CSV file."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from BYOL.errors import UserError
from BYOL.files import write_atomically


def check_outputs(
    out: str, grid: str | None, kept: str | None = None
) -> tuple[Path, Path | None, Path | None]:
    """The paths, if their endings are right and their folders there.

    Raises:
        UserError: they are not.
    """
    paths = {"out": (out, ".csv"), "grid": (grid, ".png"), "kept": (kept, ".txt")}
    for flag, (given, suffix) in paths.items():
        if given is None:
            continue
        if Path(given).suffix.lower() != suffix:
            raise UserError(f"--{flag}={given} has an unknown ending: use {suffix}")
        if not Path(given).parent.is_dir():
            raise UserError(f"--{flag}={given}: there is no folder {Path(given).parent}")
    return Path(out), Path(grid) if grid else None, Path(kept) if kept else None


def write_list(path: Path, files: Iterable[str]) -> Path:
    """Write a list of pictures that :func:`BYOL.data.listed.read_list` takes, whole or not at all.

    Args:
        path: the file.
        files: paths; they are written as absolute ones, so that the list may be moved.

    Raises:
        UserError: a path that no line can hold.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as lines:
            for file in files:
                if "\n" in file or "\r" in file:
                    raise UserError(f"--kept={path}: {file!r} has a line break in its name")
                lines.write(os.fsencode(os.path.abspath(file)) + b"\n")  # noqa: PTH100

    return write_atomically(path, write)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file with a header, in UTF-8, whole or not at all."""

    def write(temporary: Path) -> None:
        # Names of files may hold bytes that are no text; they come back as they were.
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)

    return write_atomically(path, write)
