"""What to do after a run: rules from its figures to advice, each with the commands to type."""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from BYOL.report.figures import BETTER, EVEN, MIXED, PARTLY_WORSE, WORSE, Figures

FEW_LABELS = 20  # labels per class; fewer make wide intervals
CEILING = 0.98  # accuracy that leaves no room for a visible improvement
TO_LABEL = 100  # images that ``byol select`` is asked for
LOSING = (WORSE, PARTLY_WORSE)
OF_LABELS = (
    "labels", "label_column", "file_column", "group_column", "task", "groups", "metric",
)  # fmt: skip
LARGER = {"plain5": "plain6", "plain6": "resnet18", "resnet18": "resnet50"}


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    Args:
        title: what to do, in a few words.
        reason: the figures that it follows from, in sentences.
        commands: the commands to type.
    """

    title: str
    reason: str
    commands: tuple[str, ...]

    @property
    def line(self) -> str:
        """The advice as one line for a terminal."""
        return f"next: {self.title[0].lower()}{self.title[1:]}: {self.commands[0]}"


def advise(figures: Figures) -> list[Advice]:
    """Return the advice for a run, the most important first.

    After a collapse, and before the end of a run, other figures do not matter yet.
    """
    for rule in (_collapse, _unfinished):
        if advice := rule(figures):
            return [advice]
    return [advice for rule in RULES if (advice := rule(figures))]


def _collapse(figures: Figures) -> Advice | None:
    if not figures.alarm:
        return None
    reason = f"{figures.alarm[0].upper()}{figures.alarm[1:].rstrip('.')}."
    if not figures.remedy:
        views = _command("views", *figures.images, "--out", "views.png")
        return Advice("Look at the images and their views", reason, (views,))
    name, value = figures.remedy.removeprefix("--").split(" ")
    again = _again(figures, {name: value, **_length(figures, 1.0)})
    return Advice(f"Train again with {figures.remedy}", reason, (again,))


def _unfinished(figures: Figures) -> Advice | None:
    if figures.finished:
        return None
    config = f"{figures.run}/config.yaml"
    command = _command("pretrain", "--config", config, "--out", figures.run, "--resume")
    return Advice("Resume the run", f"It has completed {figures.progress} epochs.", (command,))


def _leakage(figures: Figures) -> Advice | None:
    count = figures.near_duplicates
    if not count:
        return None
    reason = (
        f"{count:,} test image{'s have' if count > 1 else ' has'} a near-copy among the "
        "training images, so the accuracy is probably too high. A table of groups keeps images "
        "that belong together on one side."
    )
    between = ("--between", "train", "test") if figures.test_folder else ()
    listed = _command("duplicates", figures.run, *figures.images, *between)
    grouped = _command("evaluate", figures.run, "--groups", "groups.csv")
    return Advice("Check for copies between training and test images", reason, (listed, grouped))


def _unevaluated(figures: Figures) -> Advice | None:
    if not figures.labelled or figures.labels:
        return None
    reason = "Without a comparison with baselines, an accuracy allows no conclusion."
    return Advice("Evaluate the backbone", reason, (_command("evaluate", figures.run),))


def _undecided(figures: Figures) -> Advice | None:
    if not figures.undecided:
        return None
    reason = f"{figures.undecided} So nothing is known about the backbone yet."
    labels = {name: v for name, v in figures.described.items() if name in OF_LABELS}
    again = _command("evaluate", figures.run, *figures.images, *_flags(labels))
    return Advice("Evaluate again with test images of every class", reason, (again,))


def _unproven(figures: Figures) -> Advice | None:
    outcome = figures.outcome
    if outcome in (None, BETTER):
        return None
    if outcome == EVEN and figures.baseline_accuracy >= CEILING:
        reason = (
            f"Before training the accuracy is already {figures.baseline_accuracy * 100:.1f} %, so "
            "these labels cannot show an improvement."
        )
        harder = _command("evaluate", figures.run, *figures.images, "--labels", "labels.csv")
        return Advice("Evaluate with labels that are harder to predict", reason, (harder,))
    reason = _unproven_reason(outcome, figures.baseline)
    if figures.baseline == "start":
        title = "Train longer, or use the initial weights"
        return Advice(title, reason, (_longer(figures, 2.0),))
    reason += " More images, a longer run or published weights may help."
    trend, weights = figures.trend, _from_weights(figures)
    if trend is not None and trend.flat and weights:
        return Advice("Start from published weights", reason, weights)
    longer = _longer(figures, trend.times if trend is not None else 2.0)
    return Advice("Train longer, or start from published weights", reason, (longer, *weights))


def _unproven_reason(outcome: str | None, baseline: str) -> str:
    """Return a sentence about a backbone that is not better than before training."""
    before = "initial weights" if baseline == "start" else "untrained backbone"
    if outcome == EVEN:
        return f"The trained backbone is not shown to be better than the {before}."
    if outcome == MIXED:
        return (
            f"The trained backbone is better than the {before} in one evaluation and worse in "
            "another."
        )
    where = "" if outcome == WORSE else " in some evaluations and better in none"
    return f"The trained backbone is worse than the {before}{where}."


def _worse_than_raw_pixels(figures: Figures) -> Advice | None:
    other_rule = figures.outcome not in (None, BETTER) or figures.teacher_outcome in LOSING
    if figures.raw_pixels_outcome not in LOSING or other_rule:
        return None
    commands = [_longer(figures, figures.trend.times if figures.trend is not None else 2.0)]
    if figures.color and figures.images and not figures.teacher:
        teacher = ("--teacher", "lite0", "--out", f"{figures.run}-teacher")
        words = *figures.images, *_flags(figures.described), *teacher
        commands.append(_command("pretrain", *words))
    reason = (
        "Raw pixels are better here than the features of the backbone, so it is of no use yet."
        if figures.raw_pixels_outcome == WORSE
        else "Raw pixels are better here in some evaluations, and the backbone is better in none."
    )
    title = "Train longer, or with a published network"
    return Advice(title, reason, (*commands, *_from_weights(figures)))


def _teacher(figures: Figures) -> Advice | None:
    if not figures.teacher or figures.teacher_outcome not in LOSING:
        return None
    where = "" if figures.teacher_outcome == WORSE else " in some evaluations"
    return Advice(
        "Use the teacher itself",
        f"Its own features are better here{where} than those of the trained backbone, which is "
        "smaller and faster. A longer run may come nearer to it.",
        (
            _command("embed", figures.teacher, *figures.images, "--out", "embeddings.parquet"),
            _longer(figures, 2.0),
        ),
    )


def _improving(figures: Figures) -> Advice | None:
    trend = figures.trend
    if trend is None or not trend.improving or _insufficient(figures):
        return None
    more = (trend.times - 1) * figures.minutes
    length = f"{more:.0f} minutes" if more >= 2 else f"{max(60 * more, 1):.0f} seconds"
    return Advice(
        f"Train about {length} longer",
        f"The accuracy was still rising at the end. Its curve suggests {trend.gain * 100:.1f} "
        "points more for twice the training time.",
        (_longer(figures, trend.times),),
    )


def _flat(figures: Figures) -> Advice | None:
    trend = figures.trend
    if trend is None or not trend.flat or trend.last >= CEILING or _insufficient(figures):
        return None
    commands = _from_weights(figures)
    if larger := LARGER.get(figures.backbone):
        commands = (_again(figures, {"backbone": larger, **_length(figures, 1.0)}), *commands)
    if not commands:
        return None
    reason = "The accuracy was flat at the end: twice the time is expected to add less than a point"
    return Advice("Try a larger backbone or published weights", f"{reason}.", commands)


def _labels(figures: Figures) -> Advice | None:
    enough = figures.labels >= FEW_LABELS * max(figures.classes, 1)
    if figures.labelled is None or enough or not figures.unlabelled:
        return None
    reason = "Without labels the accuracy is unknown."
    if figures.labels:
        reason = (
            f"The labels of {figures.labels:,} images make wide intervals, and "
            f"{figures.unlabelled:,} images have none."
        )
    count = str(min(TO_LABEL, figures.unlabelled))
    select = _command("select", figures.run, "--count", count, "--out", "labels.csv")
    reason += " This command selects the images whose labels are the most informative."
    return Advice("Label more images" if figures.labels else "Label some images", reason, (select,))


def _insufficient(figures: Figures) -> bool:
    """Whether a baseline is better, or as good; another rule says what to do about it."""
    return figures.outcome not in (None, BETTER) or figures.raw_pixels_outcome in LOSING


def _done(figures: Figures) -> Advice | None:
    if _insufficient(figures) or figures.teacher_outcome in LOSING or figures.undecided:
        return None
    weights = _command("export", figures.run, "--to", "backbone.safetensors")
    vectors = _command("embed", figures.run, "--out", "embeddings.parquet")
    reason = "Write its weights for other programs, and the features of all images."
    return Advice("Use the backbone", reason, (weights, vectors))


# In order of importance.
RULES: tuple[Callable[[Figures], Advice | None], ...] = (
    _leakage, _unevaluated, _undecided, _teacher, _unproven, _worse_than_raw_pixels, _improving,
    _flat, _labels, _done,
)  # fmt: skip


def _longer(figures: Figures, times: float) -> str:
    """Return the command of a run that takes ``times`` as long."""
    return _again(figures, _length(figures, times))


def _length(figures: Figures, times: float) -> dict[str, str]:
    """Return the flags of a length: minutes, or epochs and steps where they limit this run."""
    if figures.specified is not None and figures.processes == 1:
        minutes = math.ceil(times * figures.minutes + figures.overhead)
        return {"minutes": f"{minutes}"} if minutes else {}
    if times <= 1:
        return {}
    length = {"epochs": f"{round(times * figures.epochs)}"}
    if figures.steps is not None:
        length["steps"] = f"{math.ceil(times * figures.steps)}"
    return length


def _from_weights(figures: Figures) -> tuple[str, ...]:
    """Return the command of a run that starts from published weights.

    None for the digits, which have no use for them, and for a run that started from weights.
    """
    if not figures.images or figures.baseline == "start":
        return ()
    words = *figures.images, *_flags(figures.described), "--pretrained"
    return (_command("pretrain", *words, "--out", f"{figures.run}-weights"),)


def _again(figures: Figures, changes: dict[str, str]) -> str:
    """Return the command of a new run with the settings of this one, but for ``changes``."""
    words: tuple[str, ...]
    settings: Mapping[str, str]
    if figures.specified is None:
        words, settings = ("--config", f"{figures.run}/config.yaml"), changes
    else:
        words, settings = figures.images, {**figures.specified, **changes}
    return _command("pretrain", *words, *_flags(settings), f"--out={figures.run}-2")


def _flags(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield the flag of each setting as users type it: ``--lr=1``, ``--pretrained``."""
    for setting, value in settings.items():
        table, dot, entry = setting.partition(".")
        name = f"{table.replace('_', '-')}{dot}{entry}"
        short = {"true": f"--{name}", "false": f"--no-{name}"} if not dot else {}
        yield short.get(value, f"--{name}={value}")


def _command(*words: str) -> str:
    return shlex.join(["byol", *words])
