"""Everything that is resolved before the training of a run starts."""

from dataclasses import dataclass
from typing import Any

from BYOL import byol
from BYOL._hardware import Machine
from BYOL.config import PretrainConfig
from BYOL.training.budget import Estimate
from BYOL.training.prepare import Prepared
from BYOL.training.resume import Start


@dataclass(frozen=True, eq=False)
class RunSetup:
    """A run that is ready to be trained.

    Args:
        config: resolved settings. A time limit may correct their length during training.
        prepared: the images.
        model: the networks.
        start: where the run starts, and its folder.
        machine: the machine that trains.
        estimate: the measured speed, or None; with a deadline, the length is corrected.
        facts: what a resumed run must share with its checkpoints.
    """

    config: PretrainConfig
    prepared: Prepared
    model: byol.BYOL
    start: Start
    machine: Machine
    estimate: Estimate | None
    facts: dict[str, Any]
