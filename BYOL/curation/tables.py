"""What was found, as a CSV file."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from BYOL.errors import UserError
from BYOL.files import write_atomically


def check_outputs(out: str, grid: str | None) -> tuple[Path, Path | None]:
    """Both paths, if their endings are right and their folders there.

    Raises:
        UserError: they are not.
    """
    paths = {"out": (out, ".csv"), "grid": (grid, ".png")}
    for flag, (given, suffix) in paths.items():
        if given is None:
            continue
        if Path(given).suffix.lower() != suffix:
            raise UserError(f"--{flag}={given} has an unknown ending: use {suffix}")
        if not Path(given).parent.is_dir():
            raise UserError(f"--{flag}={given}: there is no folder {Path(given).parent}")
    return Path(out), Path(grid) if grid else None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file with a header, in UTF-8, whole or not at all."""

    def write(temporary: Path) -> None:
        # Names of files may hold bytes that are no text; they come back as they were.
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)

    return write_atomically(path, write)
