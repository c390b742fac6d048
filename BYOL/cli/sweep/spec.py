"""The runs that a sweep file specifies.

A sweep file is YAML::

    settings: {preset: digits, epochs: 20}     # for every run
    rows:                                      # named variants with their settings
      mlp: {}
      no predictor: {predictor: none}
    grid: {tau: [0.9, 0.99]}                   # every combination, for every row
    seeds: [0, 1, 2]

:class:`BYOL.config.sweep.SweepFile` describes the parts, which are all optional.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_origin

from BYOL._console import printable
from BYOL.config import PretrainConfig
from BYOL.config.fields import fields_of, info_of, kinds_of
from BYOL.config.from_values import run_settings
from BYOL.config.paths import check_named_places
from BYOL.config.sweep import SweepFile
from BYOL.config.yaml_io import read_settings
from BYOL.errors import UserError
from BYOL.model.hub import resolve_backbone

_PARTS = {name: get_origin(kind) for name, kind in kinds_of(SweepFile).items()}


@dataclass(frozen=True)
class Cell:
    """One variant of a sweep: its name and the settings of a run for every seed."""

    name: str
    runs: tuple[PretrainConfig, ...]


def read_sweep(path: str | Path, out: str | Path, *, trust: bool = False) -> list[Cell]:
    """Read a sweep file and resolve the settings of all of its runs.

    Args:
        path: the YAML file.
        out: the folder of the sweep; a run is in out/VARIANT/seed-N.
        trust: whether the places that the file names may be opened.

    Raises:
        UserError: the file cannot be read or is not a sweep, or a setting is unknown or out of
            range.
    """
    try:
        parts = read_settings(Path(path))
    except UserError as error:
        raise UserError(f"SWEEP={error}") from error
    for part, value in parts.items():
        if part not in _PARTS:
            raise UserError(
                f"SWEEP={path} has a part {printable(part)!r}: give {', '.join(_PARTS)}"
            )
        if not isinstance(value, _PARTS[part]):
            kind = "a list" if _PARTS[part] is list else "names with values"
            raise UserError(f"SWEEP={path}: {part} must be {kind}")
    seeds = parts.get("seeds", [0])
    cells = []
    for name, changes in _variants(parts, path):
        settings = {**parts.get("settings", {}), **changes}
        folder = Path(out) / _as_file_name(name)
        cells.append(Cell(name, _runs(settings, folder, seeds, path, trust)))
    folders = [cell.runs[0].out for cell in cells]
    if len(set(folders)) < len(folders):
        raise UserError(f"SWEEP={path}: two of its variants have the same name")
    return cells


def _variants(parts: dict[str, Any], path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the settings of every row with every combination of the grid."""
    grid = parts.get("grid", {})
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"SWEEP={path}: grid: {key} must be a list of values")
    for row, changes in (parts.get("rows") or {"": {}}).items():
        if not isinstance(changes, dict):
            raise UserError(f"SWEEP={path}: rows: {row} must be names with values, or {{}}")
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            words = [str(row)] if row else []
            words += [f"{key}={value}" for key, value in point.items()]
            yield " ".join(words) or "run", {**changes, **point}


def _runs(
    settings: dict[str, Any], folder: Path, seeds: list[int], path: str | Path, trust: bool
) -> tuple[PretrainConfig, ...]:
    if not seeds or not all(type(seed) is int for seed in seeds):
        raise UserError(f"SWEEP={path}: seeds must be a list of whole numbers")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"SWEEP={path}: seeds={seeds} has one twice: each is one run")
    for key, field in fields_of(PretrainConfig).items():
        if key in settings and (reason := info_of(field).unswept):
            raise UserError(f"SWEEP={path}: {key} is not for a sweep to set: {reason}")
    for key, value in settings.items():
        if not _is_plain(value):
            raise UserError(
                f"SWEEP={path}: {printable(key)}={printable(value)} is neither text, number, true, "
                "false, null nor a list of these: write text in quotation marks"
            )
    check_named_places(PretrainConfig, settings, f"SWEEP={path}", trusted=trust, has_flags=False)
    try:
        first = resolve_backbone(run_settings({**settings, "seed": seeds[0]}))
        return tuple(
            replace(first, seed=seed, out=str(folder / f"seed-{seed}"))  # checks the seed
            for seed in seeds
        )
    except UserError as error:
        raise UserError(f"SWEEP={path}: {error}") from error


def _is_plain(value: Any) -> bool:
    """Whether a YAML value is a plain one. YAML also has dates, sets and bytes."""
    values = value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str | int | float) for item in values)


def _as_file_name(name: str) -> str:
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.")
