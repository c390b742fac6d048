"""The number of optimizer steps of a run, which a time limit may correct while it is trained."""

from dataclasses import dataclass, field

from BYOL.config.optimization_settings import OptimizationSettings


@dataclass
class Length:
    """The number of optimizer steps of a run, as a function of the step.

    The schedules at a step depend on the length that was planned at that step. So a run whose
    length was corrected repeats bit for bit from the recorded corrections.

    Args:
        per_epoch: number of optimizer steps per epoch.
        final: number of steps of the whole run.
        changes: pairs of a step and the number of steps of the run that is planned from it on, by
            step; empty if the length is the same from the start.
    """

    per_epoch: int
    final: int
    changes: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(
        cls, config: OptimizationSettings, length_changes: list[int], per_epoch: int
    ) -> "Length":
        """The length of a run of ``per_epoch`` optimizer steps per epoch.

        The recorded corrections ``length_changes`` are left out where they do not lead to the
        length of ``config``: a run that is resumed with another number of epochs has the schedule
        of that number.
        """
        final = config.limited_steps(per_epoch)
        changes = list(zip(length_changes[::2], length_changes[1::2], strict=False))
        if not changes or changes[-1][1] != final:
            changes = []
        return cls(per_epoch, final, changes)

    @property
    def first(self) -> int:
        """The number of steps that was planned at the start."""
        return self.changes[0][1] if self.changes else self.final

    def at(self, step: int) -> int:
        """The number of steps of the run as planned at ``step``."""
        planned = [total for start, total in self.changes if start <= step]
        return planned[-1] if planned else self.first

    def change(self, step: int, total: int) -> None:
        """Plan ``total`` steps from ``step`` on."""
        self.changes = [*(self.changes or [(0, self.final)]), (step, total)]
        self.final = total

    @property
    def flat(self) -> list[int]:
        """``changes`` as the setting ``length_changes``."""
        return [number for change in self.changes for number in change]
