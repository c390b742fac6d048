"""The content of the files of a run folder: one schema per file, checked when it is read.

A run folder may have been copied incompletely, edited, or written by another person. All code that
reads ``results.json``, ``evaluation.json`` or the metadata of a checkpoint does it through this
module. ``logs/metrics.csv`` is checked in :mod:`BYOL.runs.curves`, ``config.yaml`` in
:class:`BYOL.config.PretrainConfig`, and ``index.parquet`` in :mod:`BYOL.data.shards.build_index`.
"""

from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import AfterValidator, ConfigDict, Field
from torch import Tensor
from typing_extensions import TypedDict

from BYOL.config.schema import LENIENT, Count, Flag, Number, Text, read_json, validated
from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES
from BYOL.errors import DataError, WeightsError


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


Name = Annotated[str, Field(strict=True, max_length=500), AfterValidator(_name)]
Positive = Annotated[int, Field(strict=True, ge=1, le=2**20)]
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


class Majority(TypedDict):
    """The most frequent class and the accuracy of always predicting it."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    accuracy: Number


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
    size: NotRequired[Count]
    images: NotRequired[Count]
    seconds: NotRequired[Number | None]


class Evaluation(TypedDict):
    """The result of :func:`BYOL.evaluation.evaluate.evaluate`, and ``evaluation.json``."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    rows: dict[Name, Row]
    pictures: NotRequired[Splits]
    classes: NotRequired[Count]
    task: NotRequired[Literal["classification", "multilabel", "regression", "none"]]
    groups: NotRequired[Groups]
    held_out_by: NotRequired[Text]
    metric: NotRequired[Text | None]
    comparisons: NotRequired[dict[Text, list[Comparison]]]
    test_digest: NotRequired[Text]
    majority: NotRequired[Majority | None]
    unequal: NotRequired[Flag]
    positive: NotRequired[Text]
    constant: NotRequired[list[Text]]
    confusion: NotRequired[Matrix | dict[Text, Matrix] | None]
    class_names: NotRequired[list[Text] | None]
    recall: NotRequired[dict[Text, Recall]]
    leakage: NotRequired[Leakage]
    teacher: NotRequired[Teacher]
    untaught: NotRequired[list[Text]]
    left_out: NotRequired[list[Text]]
    data: NotRequired[Text | None]
    run: NotRequired[Text]
    labels: NotRequired[Text | None]
    groups_file: NotRequired[Text | None]
    pictures_without_labels: NotRequired[Count]
    feature_gauges: NotRequired[dict[Text, Numbers]]


assert {CLASSES, TAGS, VALUES, NOTHING} == {"classification", "multilabel", "regression", "none"}


class Results(TypedDict):
    """The content of ``results.json``. A field is missing where an earlier version lacked it."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    evaluation: Evaluation | None
    epochs: NotRequired[Count]
    epochs_seen: NotRequired[Number]
    steps: NotRequired[Count]
    run: NotRequired[Text]
    pictures: NotRequired[Count]
    pictures_left_out: NotRequired[list[Text]]
    train_seconds: NotRequired[Number]
    images_per_second: NotRequired[Number | None]
    peak_memory: NotRequired[Count | None]
    steps_skipped: NotRequired[Count]
    gauges: NotRequired[Numbers | None]
    feature_gauges: NotRequired[dict[Text, Numbers]]
    teacher: NotRequired[Teacher]
    alarm: NotRequired[Text | None]
    stopped: NotRequired[Flag]
    online_knn: NotRequired[list[list[Number | None]]]
    online_probe: NotRequired[list[list[Number | None]]]
    machine: NotRequired[dict[Text, Text | Number | Flag | None]]
    versions: NotRequired[dict[Text, Text]]


class Progress(TypedDict):
    """The epochs in a checkpoint of Lightning."""

    processed: Count


class EpochProgress(TypedDict):
    """The progress of a loop in a checkpoint of Lightning."""

    current: Progress


class FitLoop(TypedDict):
    """The training loop in a checkpoint of Lightning."""

    epoch_progress: EpochProgress


class Loops(TypedDict):
    """The loops in a checkpoint of Lightning."""

    fit_loop: FitLoop


class StreamCounts(TypedDict):
    """The streams of :class:`BYOL.data.shards.order.Streams`."""

    groups: Positive
    lanes: Positive
    parts: Positive


class Facts(TypedDict):
    """The part of the facts of :func:`BYOL.training.resume.fixed_facts` with a type of its own."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    pictures: NotRequired[Count]
    digest: NotRequired[Text]
    streams: NotRequired[StreamCounts]


class RecordedConfig(TypedDict):
    """The settings in a checkpoint that are used when it is opened."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    epochs: NotRequired[Count]
    compile: NotRequired[Text]


class Checkpoint(TypedDict):
    """A checkpoint of a run: the part that this package reads itself."""

    __pydantic_config__ = ConfigDict(extra="allow", arbitrary_types_allowed=True)  # type: ignore[misc]
    byol_version: Text
    byol_config: RecordedConfig
    byol_facts: NotRequired[Facts | None]
    global_step: Count
    state_dict: dict[Text, Tensor]
    loops: NotRequired[Loops]


def read_results(path: Path) -> Any:
    """Return the content of a ``results.json``; None if there is no file.

    Raises:
        DataError: it is damaged; the message names the file and the field.
    """
    return read_json(path, Results)


def read_evaluation(path: Path) -> Any:
    """Return the content of an ``evaluation.json``; None if there is no file.

    Raises:
        DataError: it is damaged; the message names the file and the field.
    """
    return read_json(path, Evaluation)


def check_checkpoint(values: Any, path: Path) -> None:
    """Check the metadata of the checkpoint at ``path``.

    Raises:
        WeightsError: it is not a checkpoint of this package, or a field is of another type.
    """
    if not isinstance(values, dict) or "byol_version" not in values:
        raise WeightsError(f"checkpoint {path} is not one of a BYOL run")
    try:
        validated(Checkpoint, values, path)
    except DataError as error:
        raise WeightsError(f"checkpoint {error}") from error
