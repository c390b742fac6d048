"""The figures of a run that the advice depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from BYOL.report.trend import Trend


@dataclass(frozen=True)
class Figures:
    """The figures of a run that the advice depends on.

    Args:
        run: path of the run folder.
        data: path or name of the images; None for the default images (digits).
        specified: flags of the user that a run of another length needs, if ``--minutes`` determines
            the length; None if the settings come from a named preset.
        labelled: whether there are labels; None if unknown.
        labels: number of labelled images that the evaluation used.
        unlabelled: number of training images without a label.
        classes: number of classes.
        baseline: the state before training: "untrained" or "start" (trained initial weights).
        baseline_accuracy: accuracy of ``baseline``; 0 for other measures.
        better: whether training is shown to have improved on ``baseline``; None if not compared.
        near_duplicates: number of test images with a near-copy among the training images.
        test_folder: whether the test images are in a folder of their own.
        trend: the trend of the online accuracy, or None.
        minutes: minutes of training.
        overhead: minutes of the command besides training.
        epochs: planned number of epochs.
        progress: completed and planned epochs as text.
        finished: whether the run is complete.
        alarm: message of the collapse alarm, or None.
        remedy: setting that removes the likely cause of the alarm, as a flag with a value, or "".
        backbone: name of the backbone.
        teacher: name by which commands open the teacher; "" without a teacher.
        teacher_sign: -1 if the teacher is better than the backbone, 1 if it is worse, else 0.
        raw_pixels_sign: the same for raw pixels.
        color: whether the images have three channels, as photographs do.
    """

    run: str
    data: str | None = None
    specified: Mapping[str, str] | None = field(default_factory=dict)
    labelled: bool | None = True
    labels: int = 0
    unlabelled: int = 0
    classes: int = 0
    baseline: str = "untrained"
    baseline_accuracy: float = 0.0
    better: bool | None = None
    near_duplicates: int = 0
    test_folder: bool = False
    trend: Trend | None = None
    minutes: float = 0.0
    overhead: float = 0.0
    epochs: int = 0
    progress: str = ""
    finished: bool = True
    alarm: str | None = None
    remedy: str = ""
    backbone: str = ""
    teacher: str = ""
    teacher_sign: int = 0
    raw_pixels_sign: int = 0
    color: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """The argument DATA, which no shell and no parser takes for a flag; empty for digits."""
        if not self.data:
            return ()
        return (f"./{self.data}" if self.data.startswith("-") else self.data,)
