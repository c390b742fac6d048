"""The schema of an evaluation: ``evaluation.json``, and a field of ``results.json``.

Code outside of :mod:`BYOL.runs.schema`, which reads these files, does not need it.
"""

from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from BYOL.config.metrics import METRICS
from BYOL.config.schema import LENIENT, Count, Flag, Number, Text
from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES


def _known(values: dict[str, float | None]) -> dict[str, float]:
    """Leave out unknown numbers: JSON has no NaN, so a run writes null."""
    return {name: value for name, value in values.items() if value is not None}


def _measure(values: dict[str, Any]) -> dict[str, Any]:
    """Check the accuracy, and leave out unknown numbers."""
    if not 0 <= (values.get("accuracy") or 0) <= 1:
        raise ValueError("an accuracy is from 0 to 1")
    return {name: value for name, value in values.items() if value is not None}


def _measures(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out measures whose value is unknown."""
    return {name: m for name, m in values.items() if "accuracy" in m or "value" in m}


def _name(text: str) -> str:
    if not text or text != " ".join(text.split()):
        raise ValueError("the name must consist of words")
    return text


def _square(matrix: list[list[int]]) -> list[list[int]]:
    if any(len(row) != len(matrix) for row in matrix):
        raise ValueError("the matrix must be square")
    return matrix


def _metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"the metric must be one of {', '.join(METRICS)}")
    return name


def _counts(comparison: dict[str, Any]) -> dict[str, Any]:
    if ("only_first" in comparison) != ("only_second" in comparison):
        raise ValueError("only_first and only_second belong together")
    return comparison


def _differing(comparisons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out comparisons whose difference is unknown."""
    return [comparison for comparison in comparisons if comparison["difference"] is not None]


def _leaked(leakage: dict[str, Any]) -> dict[str, Any]:
    """Check the counts. Without any field, the search was impossible."""
    if leakage and not {"checked", "leaked"} <= leakage.keys():
        raise ValueError("checked and leaked belong together")
    if leakage and leakage["leaked"] > leakage["checked"]:
        raise ValueError("leaked is at most checked")
    return leakage


Name = Annotated[str, Field(strict=True, max_length=500), AfterValidator(_name)]
MetricKey = Annotated[str, Field(strict=True), AfterValidator(_metric)]
Numbers = Annotated[dict[Text, Number | None], AfterValidator(_known)]
# The outcomes of a measure are text: see BYOL.evaluation.outcomes. "centred" is true or false.
Outcomes = Annotated[str, Field(strict=True, pattern=r"^(bits|values):\d{1,9}:[A-Za-z0-9+/=]*$")]


class Measure(TypedDict):
    """One result of an evaluation. Further fields are settings that a protocol chose."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    accuracy: NotRequired[Number | None]
    value: NotRequired[Number | None]
    low: NotRequired[Number | None]
    high: NotRequired[Number | None]
    spread: NotRequired[Number | None]
    units: NotRequired[Count]
    C: NotRequired[Number | None]
    components: NotRequired[Number | None]
    learnt_from: NotRequired[Number | None]
    epochs: NotRequired[Number | None]
    crops: NotRequired[Number | None]
    outcomes: NotRequired[Outcomes]
    centred: NotRequired[Flag]


Measured = Annotated[Measure, AfterValidator(_measure)]
Row = Annotated[dict[Name, Measured], AfterValidator(_measures)]
Pair = Annotated[list[Text], Field(min_length=2, max_length=2)]
Matrix = Annotated[list[list[Count]], Field(max_length=1000), AfterValidator(_square)]


class Splits(TypedDict):
    """Numbers of images or groups in the splits of an evaluation."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    learn: Count
    judge: Count
    both: NotRequired[Count]


class Groups(Splits):
    """Numbers of groups."""

    both: Count  # type: ignore[misc]


class Comparison(TypedDict):
    """A comparison of the trained backbone with another row, in one measure."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    measure: Text
    difference: Number | None
    better: NotRequired[Annotated[int, Field(strict=True, ge=-1, le=1)]]
    decides: NotRequired[Text]
    p_holm: NotRequired[Number | None]
    only_first: NotRequired[Count]
    only_second: NotRequired[Count]


Comparisons = Annotated[
    list[Annotated[Comparison, AfterValidator(_counts)]], AfterValidator(_differing)
]
# The most frequent class and the accuracy of always predicting it. "class" is a word of Python.
Majority = TypedDict("Majority", {"class": Text, "accuracy": Number})
Majority.__pydantic_config__ = LENIENT  # type: ignore[attr-defined]


class Recall(TypedDict):
    """The recall of a class, its interval, and the number of test images."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    recall: Number
    low: Number
    high: Number
    images: Count


class Leakage(TypedDict):
    """Test images with a near-copy among the training images."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    checked: NotRequired[Count]
    leaked: NotRequired[Count]
    pairs: NotRequired[list[Pair]]


class Teacher(TypedDict):
    """The teacher of a run, and what its features cost."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    name: Text
    trained_on: Text
    licence: Text
    command_name: NotRequired[Text]
    size: NotRequired[Count]
    images: NotRequired[Count]
    seconds: NotRequired[Number | None]
    reused: NotRequired[Flag]
    agreement: NotRequired[Number | None]
    agreement_images: NotRequired[Count]
    agreement_on: NotRequired[Text]


class Evaluation(TypedDict):
    """The result of :func:`BYOL.evaluation.evaluate.evaluate`, and ``evaluation.json``."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    rows: dict[Name, Row]
    pictures: NotRequired[Splits]
    classes: NotRequired[Count]
    task: NotRequired[Literal["classification", "multilabel", "regression", "none"]]
    groups: NotRequired[Groups]
    held_out_by: NotRequired[Text]
    metric: NotRequired[MetricKey | None]
    comparisons: NotRequired[dict[Text, Comparisons]]
    test_digest: NotRequired[Text]
    majority: NotRequired[Majority | None]
    unequal: NotRequired[Flag]
    positive: NotRequired[Text]
    constant: NotRequired[list[Text]]
    confusion: NotRequired[Matrix | dict[Text, Matrix] | None]
    class_names: NotRequired[list[Text] | None]
    recall: NotRequired[dict[Text, Recall]]
    leakage: NotRequired[Annotated[Leakage, AfterValidator(_leaked)]]
    teacher: NotRequired[Teacher]
    untaught: NotRequired[list[Text]]
    left_out: NotRequired[list[Text]]
    data: NotRequired[Text | None]
    run: NotRequired[Text]
    layer: NotRequired[Text | None]
    pool: NotRequired[Text | None]
    weights: NotRequired[Text | None]
    labels: NotRequired[Text | None]
    label_column: NotRequired[Text | None]
    groups_file: NotRequired[Text | None]
    pictures_without_labels: NotRequired[Count]
    feature_gauges: NotRequired[dict[Text, Numbers]]


assert {CLASSES, TAGS, VALUES, NOTHING} == {"classification", "multilabel", "regression", "none"}
