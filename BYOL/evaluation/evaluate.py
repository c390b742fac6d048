"""All measurements side by side: raw pixels, the untrained backbone, the trained one."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES, Measures
from BYOL.data.dataset import Images, why_unlabelled
from BYOL.errors import UserError
from BYOL.evaluation.augmented_batches import crops_and_flips
from BYOL.evaluation.baselines import RawPixels, Reference
from BYOL.evaluation.features import extract_features, pixel_features
from BYOL.evaluation.protocols.cluster import cluster
from BYOL.evaluation.protocols.fewshot import fewshot
from BYOL.evaluation.protocols.finetune import finetune, finetune_steps
from BYOL.evaluation.protocols.knn import knn
from BYOL.evaluation.protocols.linear import linear
from BYOL.evaluation.protocols.linear_sgd import crops_of, linear_sgd
from BYOL.evaluation.protocols.retrieval import retrieval
from BYOL.evaluation.split_summary import groups_of, untaught
from BYOL.evaluation.splits import parted, task_of
from BYOL.evaluation.types import FEATURES_AT_A_TIME, Exam, Outcome, See, Subject
from BYOL.views.config import Sight, ViewConfig


@dataclass(frozen=True)
class Protocol:
    """A way to judge.

    Args:
        judge: does it.
        tasks: kinds of labels that it can be judged by.
        cost: of one that trains on pictures: how many it shows to a backbone, a picture that
            teaches it counted three times; None where features are enough.
    """

    judge: Callable[[Subject], Outcome]
    tasks: tuple[str, ...] = (CLASSES,)
    cost: Callable[[Subject], int] | None = None


def _linear_sgd_cost(subject: Subject) -> int:
    return crops_of(subject.exam, subject.probed[0].shape[1]) * len(subject.exam.learn)


def _finetune_cost(subject: Subject) -> int:
    return 3 * finetune_steps(subject.exam)  # forward, and back to the weights and to the inputs


PROTOCOLS = {
    "fewshot": Protocol(fewshot),
    "knn": Protocol(knn, (CLASSES, TAGS, VALUES)),
    "linear": Protocol(linear, (CLASSES, TAGS, VALUES)),
    "linear-sgd": Protocol(linear_sgd, cost=_linear_sgd_cost),
    "finetune": Protocol(finetune, (CLASSES, TAGS, VALUES), cost=_finetune_cost),
    "cluster": Protocol(cluster, (CLASSES, TAGS, VALUES, NOTHING)),
    "retrieval": Protocol(retrieval),
}
MANY_PIXELS = 1024  # numbers a picture above which linear probes see components of them
PIXEL_COMPONENTS = 256
ANNOUNCED = 60.0  # seconds that a measurement takes, from which on it is said beforehand
Seen = list[tuple[Images, np.ndarray]]  # pictures and their pixels as vectors
DEFAULT = ("fewshot", "knn", "linear")
NOTHING_KNOWN: Mapping[str, Measures] = MappingProxyType({})


def evaluate(
    backbone: nn.Module,
    untrained: nn.Module,
    train: Images,
    test: Images | None,
    sight: Sight,
    *,
    device: torch.device,
    protocols: tuple[str, ...] = DEFAULT,
    view: ViewConfig | None = None,
    references: Sequence[Reference] = (),
    known: Mapping[str, Measures] = NOTHING_KNOWN,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> dict[str, Any]:
    """Measure a backbone beside its references.

    Args:
        backbone: the trained one.
        untrained: the same at its start.
        train: pictures that the measurements learn from, with labels (classes, tags or values:
            see :func:`task_of`); ``cluster`` alone needs none.
        test: pictures that judge; without them a fifth of ``train`` is held out (from the
            measurements; pretraining may have seen it, without its labels), in whole groups where
            it has them.
        sight: how the backbones are shown pictures, as in training.
        device: where the backbones run.
        protocols: of :data:`PROTOCOLS`, or "all"; those that the labels are not for are left out.
        view: crops and flips of the protocols that train on pictures; without it the paper's.
        references: further backbones to compare with, a row each.
        known: rows that were measured before on the same pictures with the same seed: taken as
            they are, by the names of their sources.
        say: gets a line for every measurement: how long it took, and how long it is going to take
            where that is minutes.
        settings: further ones of :class:`Exam`.

    Returns:
        - ``pictures``: ``{learn, judge}``, how many could be read. Where they have groups, see
          :func:`BYOL.evaluation.split_summary.groups_of`.
        - ``classes``: how many (columns of tags or values; 0 without labels); ``task``.
        - ``rows[source][measure]``: ``{accuracy, low, high}``, the ends of a 95 % bootstrap
          interval over the judging pictures or their groups; for n-shot ``{accuracy, spread}``,
          the standard deviation from draw to draw. Measures that are no accuracy (NMI, ARI,
          silhouette, mAP, R@k, F1, R², MAE) have ``value`` instead of ``accuracy``. What a protocol
          chose stands beside it (``C``, ``learning_rate``, ``labels``). Sources: "raw pixels",
          "untrained", "trained", and the references' names; not every source has every measure.
        - ``confusion``: of the linear probe on the trained backbone, a row of counts for every
          true class, a column for every guessed one, and ``class_names`` of both; where there are
          at most 100 classes.
        - ``untaught``: names of classes that judge and have no picture to learn from, if any.
        - ``left_out``: protocols that these labels are not for, where there are any.

    Raises:
        UserError: no labels, fewer than two classes or groups, or an unknown protocol.
    """
    chosen, left_out = _applicable(protocols, train)
    if test is not None and task_of(test) != task_of(train):
        raise UserError(f"{test.name}: its held-out pictures have no labels of the same kind")
    exam = Exam(
        *parted(train, test, settings.get("seed", 0)),
        view=crops_and_flips(view or ViewConfig(sight.size), sight.size),
        device=device,
        **settings,
    )
    exam, seen = _only_readable(exam, sight)
    backbones = [
        ("untrained", untrained, sight),
        *((r.name, r.backbone, r.sight) for r in references),
        ("trained", backbone, sight),
    ]
    rows: dict[str, Measures] = {}
    details: dict[str, Any] = {}
    for subject in _subjects(exam, seen, sight, backbones):
        if subject.name in known:
            rows[subject.name] = known[subject.name]
            continue
        outcomes = _judged(subject, chosen, say)
        rows[subject.name] = {k: v for outcome in outcomes for k, v in outcome.measures.items()}
        if subject.backbone is backbone:
            details = {k: v for outcome in outcomes for k, v in outcome.details.items()}
    return {
        "pictures": {"learn": len(exam.learn), "judge": len(exam.judge)},
        **groups_of(exam, test),
        **untaught(exam),
        "classes": _count(exam),
        "task": exam.task,
        **({"left_out": left_out} if left_out else {}),
        "rows": rows,
        **details,
    }


def _judged(subject: Subject, chosen: list[str], say: Callable[[str], None]) -> list[Outcome]:
    """One protocol after the other, with what each takes said."""
    start = time.monotonic()
    pictures = len(subject.bank) + len(subject.queries)
    a_picture = (time.monotonic() - start) / pictures
    network = any(True for _ in subject.backbone.parameters())
    if network:
        took = _duration(a_picture * pictures)
        say(f"{subject.name}: features of {pictures:,} pictures took {took}")
    outcomes = []
    for name in chosen:
        cost = PROTOCOLS[name].cost
        if cost and network:
            expected = cost(subject) * a_picture
            if expected >= ANNOUNCED:
                say(f"{subject.name}: {name} will take about {_duration(expected)}")
        start = time.monotonic()
        outcomes.append(PROTOCOLS[name].judge(subject))
        say(f"{subject.name}: {name} took {_duration(time.monotonic() - start)}")
    return outcomes


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def check_protocols(protocols: tuple[str, ...]) -> None:
    """Raise a UserError for a protocol that there is not."""
    for name in protocols:
        if name not in (*PROTOCOLS, "all"):
            accepted = ", ".join((*PROTOCOLS, "all"))
            raise UserError(f"--protocol={name} is unknown: choose from {accepted}")
    if not protocols:
        raise UserError(f"--protocol is empty: choose from {', '.join(PROTOCOLS)}")


def _applicable(protocols: tuple[str, ...], images: Images) -> tuple[list[str], list[str]]:
    """Those that the labels are for, and those that they are not for."""
    check_protocols(protocols)
    wanted = list(PROTOCOLS) if "all" in protocols else list(dict.fromkeys(protocols))
    task = task_of(images)
    chosen = [name for name in wanted if task in PROTOCOLS[name].tasks]
    if not chosen:
        can = ", ".join(name for name, protocol in PROTOCOLS.items() if task in protocol.tasks)
        lacks = (
            f"has no labels{why_unlabelled(images)}: put its pictures into a folder for each "
            "class, give --labels,"
            if task == NOTHING
            else f"has labels for {task}:"
        )
        raise UserError(f"{images.name} {lacks} or choose --protocol from {can}")
    return chosen, [name for name in wanted if name not in chosen]


def _only_readable(exam: Exam, sight: Sight) -> tuple[Exam, Seen]:
    """The pixels come first and tell which pictures can be read; no other is looked at again."""
    at_a_time = exam.batch_size or FEATURES_AT_A_TIME
    seen: Seen = []
    for images in dict.fromkeys((exam.learn, exam.judge)):
        ids, pixels = pixel_features(images, sight.size, at_a_time)
        readable = images if len(ids) == len(images) else images.subset(ids)
        seen.append((readable, pixels))
    exam = dataclasses.replace(exam, learn=seen[0][0], judge=seen[-1][0])
    if exam.task == CLASSES and len(np.unique(exam.learn_labels)) < 2:
        raise UserError(f"{exam.learn.name} has pictures of one class only: two are needed")
    return exam, seen


def _subjects(
    exam: Exam, seen: Seen, sight: Sight, backbones: list[tuple[str, nn.Module, Sight]]
) -> Iterator[Subject]:
    """One after the other, so that only one has its features in memory."""

    def pixels(images: Images) -> np.ndarray:
        return next(pixels for known, pixels in seen if known is images)

    components = PIXEL_COMPONENTS if seen[0][1].shape[1] > MANY_PIXELS else None
    yield Subject("raw pixels", RawPixels(sight), sight, exam, pixels, components)
    seen.clear()
    for name, backbone, shown in backbones:
        yield Subject(name, backbone, shown, exam, seen_by(backbone, shown, exam))


def seen_by(backbone: nn.Module, sight: Sight, exam: Exam) -> See:
    """From pictures to what a backbone makes of them, where the exam is held."""

    def see(images: Images) -> np.ndarray:
        at_a_time = exam.batch_size or FEATURES_AT_A_TIME
        settings = {"device": exam.device, "batch_size": at_a_time, "workers": exam.workers}
        return extract_features(backbone, images, sight, **settings)[1]

    return see


def _count(exam: Exam) -> int:
    if exam.task == NOTHING:
        return 0
    labels = exam.learn_labels
    return len(np.unique(labels)) if exam.task == CLASSES else labels.shape[1]
