"""The figures of a run that the advice depends on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from BYOL.report.trend import Trend

# Outcomes of the comparison with a baseline over the protocols: see :func:`outcome_of`.
BETTER, EVEN, MIXED, WORSE, PARTLY_WORSE = "better", "even", "mixed", "worse", "partly worse"


def outcome_of(signs: Collection[int]) -> str | None:
    """Return the outcome of the comparison with a baseline, or None if there was none.

    Args:
        signs: for each protocol 1 if the backbone is better, -1 if it is worse, 0 if no difference
            is shown.

    Returns:
        ``BETTER``: better in a protocol and worse in none. ``WORSE``: worse in all protocols.
        ``PARTLY_WORSE``: worse in some and better in none. ``MIXED``: better in one and worse in
        another. ``EVEN``: no difference is shown.
    """
    if not signs:
        return None
    if 1 in signs:
        return MIXED if -1 in signs else BETTER
    if -1 in signs:
        return PARTLY_WORSE if 0 in signs else WORSE
    return EVEN


@dataclass(frozen=True)
class Figures:
    """The figures of a run that the advice depends on.

    Args:
        run: path of the run folder.
        data: path or name of the images; None for the default images (digits).
        described: flags of the user that describe the images and their labels.
        specified: flags of the user that a run of another length needs, if ``--minutes`` determines
            the length; None if the settings come from a named preset.
        processes: number of processes of the run. ``--minutes`` is for one process only.
        labelled: whether there are labels; None if unknown.
        labels: number of labelled images that the evaluation used.
        unlabelled: number of training images without a label.
        classes: number of classes.
        baseline: the state before training: "untrained" or "start" (trained initial weights).
        baseline_accuracy: accuracy of ``baseline``, or its balanced accuracy if that is lower; 0
            without classes.
        outcome: the outcome of the comparison with ``baseline``; see :func:`outcome_of`.
        undecided: why the metric that decides has no value, in a sentence, or "".
        near_duplicates: number of test images with a near-copy among the training images.
        test_folder: whether the test images are in a folder of their own.
        trend: the trend of the online accuracy, or None.
        minutes: minutes of training.
        overhead: minutes of the command besides training.
        epochs: planned number of epochs.
        steps: planned number of optimizer steps if it limits the run, or None.
        progress: completed and planned epochs as text.
        finished: whether the run is complete.
        alarm: message of the collapse alarm, or None.
        remedy: setting that removes the likely cause of the alarm, as a flag with a value, or "".
        backbone: name of the backbone.
        teacher: name by which commands open the teacher; "" without a teacher.
        teacher_outcome: as ``outcome``, for the features of the teacher.
        raw_pixels_outcome: as ``outcome``, for raw pixels.
        color: whether the images have three channels, as photographs do.
    """

    run: str
    data: str | None = None
    described: Mapping[str, str] = field(default_factory=dict)
    specified: Mapping[str, str] | None = field(default_factory=dict)
    processes: int = 1
    labelled: bool | None = True
    labels: int = 0
    unlabelled: int = 0
    classes: int = 0
    baseline: str = "untrained"
    baseline_accuracy: float = 0.0
    outcome: str | None = None
    undecided: str = ""
    near_duplicates: int = 0
    test_folder: bool = False
    trend: Trend | None = None
    minutes: float = 0.0
    overhead: float = 0.0
    epochs: int = 0
    steps: int | None = None
    progress: str = ""
    finished: bool = True
    alarm: str | None = None
    remedy: str = ""
    backbone: str = ""
    teacher: str = ""
    teacher_outcome: str | None = None
    raw_pixels_outcome: str | None = None
    color: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """The argument DATA, which no shell and no parser takes for a flag; empty for digits."""
        if not self.data:
            return ()
        return (f"./{self.data}" if self.data.startswith("-") else self.data,)
