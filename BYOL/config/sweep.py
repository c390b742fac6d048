"""Settings of ``byol sweep``."""

from dataclasses import dataclass

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
