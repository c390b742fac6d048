"""The evaluations of a run: their order, labels and features, and which can be compared."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL.config.data_names import data_name
from BYOL.config.data_settings import DataSettings
from BYOL.runs.schema import read_evaluation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedEvaluation:
    """An evaluation in the folder of a run.

    Args:
        content: the evaluation, see :mod:`BYOL.runs.evaluation_schema`.
        command: whether ``byol evaluate`` made it, and not the run at its end.
        data: its images.
        labels: its file of labels; None if the labels came with the images.
        column: the columns of that file; None if they were not named.
    """

    content: dict[str, Any]
    command: bool
    data: str
    labels: str | None = None
    column: str | None = None

    @property
    def title(self) -> str:
        """What was evaluated, with the paths as the user gave them."""
        what = f"byol evaluate, {self.data}" if self.command else "at the end of the run"
        parts = (what, self.label_source if self.labels else "", self.features)
        return ", ".join(filter(None, parts))

    @property
    def features(self) -> str:
        """Which features were evaluated, if not the output: see :func:`evaluated_features`."""
        return evaluated_features(self.content)

    @property
    def label_source(self) -> str:
        """Where the labels are from."""
        return label_source(self.labels, self.column, self.data)

    @property
    def names(self) -> tuple[str, str | None]:
        """The names of the images and of the file of labels, without folders."""
        return Path(self.data).name, self.labels and Path(self.labels).name


def recorded_evaluations(
    config: DataSettings, results: Mapping[str, Any], evaluation: Mapping[str, Any] | None
) -> list[RecordedEvaluation]:
    """Return the evaluations of a run: the one at its end, then the latest ``byol evaluate``.

    Everything that shows the evaluations of a run shows them in this order. An evaluation of other
    features than the output of the backbone says nothing about the backbone as it is used, so it is
    shown under its title, and nothing is concluded from it.

    Args:
        config: the settings of the run.
        results: the content of ``results.json``; empty if the run is not finished.
        evaluation: the content of ``evaluation.json``, or None.
    """
    data, found = data_name(config.data), []
    if at_end := results.get("evaluation"):
        found.append(RecordedEvaluation(at_end, False, data, config.labels, config.label_column))
    if evaluation:
        labels, column = evaluation.get("labels"), evaluation.get("label_column")
        other = data_name(evaluation.get("data"))
        found.append(RecordedEvaluation(dict(evaluation), True, other, labels, column))
    return found


def read_current_evaluation(path: Path, weights: str | None) -> dict[str, Any] | None:
    """Return the content of ``evaluation.json``; None if there is none of the present weights.

    A line is logged if it is of other weights: those before a run was resumed and trained further.

    Args:
        path: the file.
        weights: the digest of the present weights; None if it is unknown.

    Raises:
        DataError: the file is damaged.
    """
    found: dict[str, Any] | None = read_evaluation(path)
    if found is None or not is_of_other_weights(found, weights):
        return found
    log.info(f"{path} is of earlier weights of this run and is left out: evaluate it again")
    return None


def current_results(results: dict[str, Any], weights: str | None) -> dict[str, Any]:
    """Return the content of ``results.json``, without an evaluation of other weights.

    A resumed run that has stopped before its end has the file of the run before it.

    Args:
        results: the content.
        weights: the digest of the present weights; None if it is unknown.
    """
    return {**results, "evaluation": None} if is_of_other_weights(results, weights) else results


def is_of_other_weights(content: Mapping[str, Any], weights: str | None) -> bool:
    """Return whether ``content`` describes other weights than those with the digest ``weights``.

    False if one of the digests is unknown, as in files of older versions.
    """
    recorded = content.get("weights")
    return None not in (recorded, weights) and recorded != weights


def evaluated_features(evaluation: Mapping[str, Any]) -> str:
    """Return which features were evaluated: ``features of layer4, pool max``; "" for the output."""
    layer, pool = evaluation.get("layer"), evaluation.get("pool")
    if not layer and not pool:
        return ""
    pooling = f", pool {pool}" if pool else ""
    return f"features of {layer or 'the last layer with positions'}{pooling}"


def label_source(labels: str | None, column: str | None, data: str | None) -> str:
    """Return where labels are from: ``labels of cls.csv, column kind``, or ``labels of DATA``."""
    columns = f", column {column}" if labels and column else ""
    return f"labels of {labels or data_name(data)}{columns}"


_TASK = "task"
_COMPARED = {
    _TASK: "the kind of the labels",
    "metric": "the metric",
    "classes": "the number of classes or columns",
}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return in what two evaluations differ that must be equal to compare them.

    What an evaluation of an older version does not contain is no difference.

    Returns:
        Phrases such as "the metric (accuracy, r2)"; empty if the two can be compared.
    """
    found = []
    for key, what in _COMPARED.items():
        values = first.get(key), second.get(key)
        if None not in values and values[0] != values[1]:
            found.append(f"{what} ({values[0]}, {values[1]})")
            if key == _TASK:  # then the metrics differ too
                break
    counts = [(e.get("pictures") or {}).get("judge") for e in (first, second)]
    digests = first.get("test_digest"), second.get("test_digest")
    if None not in counts and counts[0] != counts[1]:
        found.append(f"the test images ({counts[0]:,}, {counts[1]:,})")
    elif None not in digests and digests[0] != digests[1]:
        found.append("the test images or their labels")
    return found


def comparison_key(evaluation: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a key that is equal for evaluations without :func:`differences`."""
    counts = evaluation.get("pictures") or {}
    return (*map(evaluation.get, (*_COMPARED, "test_digest")), counts.get("judge"))
