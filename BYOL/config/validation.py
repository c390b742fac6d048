"""What values are accepted, and the one line for those that are not."""

import dataclasses
import math
from typing import Any, get_args

from BYOL.errors import UserError
from BYOL.views.config import Pair


def refuse_nulls(settings: type, values: dict[str, Any]) -> None:
    """Make sure that no setting that must have a value is null (None).

    Raises:
        UserError: names the first.
    """
    for field in dataclasses.fields(settings):
        needed = type(None) not in get_args(field.type)
        if needed and field.name in values and values[field.name] is None:
            raise UserError(f"--{field.name}=null is not a value: leave it out for the default")


def check_task(task: str, labels: str | None) -> None:
    """Make sure that a task is given with labels alone.

    Raises:
        UserError: it is given without.
    """
    if task != "auto" and labels is None:
        raise UserError(f"--task={task} needs --labels: class folders are classification")


def check_pairs(settings: Any) -> None:
    """Make sure that every pair which is given is two numbers.

    Raises:
        UserError: names the first that is not.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.type not in (Pair, Pair | None) or value is None:
            continue
        if len(value) != 2 or not all(isinstance(number, int | float) for number in value):
            raise UserError(f"--{field.name}={value} is no pair: give two numbers")


def check_numbers(name: str, values: Any, between: tuple[float, float]) -> None:
    """Make sure that a list holds numbers between two limits, without these; None is let through.

    Raises:
        UserError: names the flag, its value and what is accepted.
    """
    low, high = between
    for number in values or ():
        if not isinstance(number, int | float) or not low < number < high:
            accepted = "numbers" if low == -math.inf else f"numbers above {low:g}"
            raise UserError(f"--{name}={values} is out of range: give {accepted}")


def with_pairs(settings: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values, lists being tuples where ``settings`` has a pair: YAML knows only lists."""
    pairs = {f.name for f in dataclasses.fields(settings) if f.type in (Pair, Pair | None)}
    return {k: v if v is None or k not in pairs else tuple(v) for k, v in values.items()}
