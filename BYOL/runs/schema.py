"""The content of the files of a run folder: one schema per file, checked when it is read.

A run folder may have been copied incompletely, edited, or written by another person. All code that
reads ``results.json``, ``evaluation.json`` or the metadata of a checkpoint does it through this
module. The schema of an evaluation is in :mod:`BYOL.runs.evaluation_schema`.
``logs/metrics.csv`` is checked in :mod:`BYOL.runs.curves`, ``config.yaml`` in
:class:`BYOL.config.PretrainConfig`, and ``index.parquet`` in :mod:`BYOL.data.shards.build_index`.
"""

from pathlib import Path
from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import ConfigDict, Field
from torch import Tensor
from typing_extensions import TypedDict

from BYOL.config.schema import LENIENT, Count, Flag, Number, Text, read_json, validated
from BYOL.errors import DataError, WeightsError
from BYOL.runs.evaluation_schema import Evaluation, Numbers, Teacher

Positive = Annotated[int, Field(strict=True, ge=1, le=2**20)]


class Results(TypedDict):
    """The content of ``results.json``. A field is missing where an earlier version lacked it."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    evaluation: Evaluation | None
    epochs: NotRequired[Count]
    epochs_seen: NotRequired[Number]
    steps: NotRequired[Count]
    run: NotRequired[Text]
    weights: NotRequired[Text | None]
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
