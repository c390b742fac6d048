"""Settings of ``byol sweep``, and the parts of its file."""

from dataclasses import dataclass
from typing import Any

from BYOL.config.common_fields import output_path
from BYOL.config.fields import Settings, setting


@dataclass(frozen=True)
class SweepConfig(Settings):
    """Settings of ``byol sweep``."""

    sweep: str = setting(
        help="YAML file with settings, rows, grid and seeds, as in benchmarks/sweeps.",
        place="input",
        home=True,
        basic=True,
    )
    out: str | None = output_path(
        None,
        "Folder of the sweep. The default is a folder in sweeps/ named after the file. Runs that "
        "are complete there are not repeated. Runs that another byol sweep process is working on "
        "are left to it.",
    )
    trust: bool = setting(
        False,
        "Open the images, labels, weights and hosts that the file names. Without it, a sweep may "
        "name only built-in images and networks.",
        basic=True,
    )


@dataclass(frozen=True)
class SweepFile:
    """The parts of a sweep file. Every part is optional."""

    settings: dict[str, Any] = setting(
        factory=dict,
        help="Settings of every run, by name. A name is that of the flag of byol pretrain with "
        "underscores: batch_size for --batch-size.",
    )
    rows: dict[str, Any] = setting(
        factory=dict,
        help="Variants: a name and the settings in which the variant differs from settings. {} is "
        "a variant without a difference. The first variant is the one that others are compared "
        "with.",
    )
    grid: dict[str, Any] = setting(
        factory=dict,
        help="Lists of values by name of the setting. Every combination of them is a variant, for "
        "every row.",
    )
    seeds: list[int] = setting(
        factory=lambda: [0],
        help="The seeds of every variant. The table has the mean and the standard deviation over "
        "them.",
        low=0,
    )
