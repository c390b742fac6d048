"""What was found, as a CSV file, and where such files may be written."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from BYOL._files import check_place, write_atomically
from BYOL.errors import UserError


def check_output(flag: str, given: str, suffix: str) -> Path:
    """The path, if its ending is right and a file can be made there.

    Raises:
        UserError: they are not.
    """
    path = Path(given)
    if path.suffix.lower() != suffix:
        raise UserError(f"--{flag}={given} has an unknown ending: use {suffix}")
    return check_place(f"--{flag}={given}", path)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file with a header, in UTF-8, whole or not at all."""

    def write(temporary: Path) -> None:
        # Names of files may hold bytes that are no text; they come back as they were.
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)

    return write_atomically(path, write)
