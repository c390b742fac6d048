"""Checks that concern several settings, or limits that a field's metadata cannot express."""

import math
from typing import Any

from BYOL.errors import SettingsError


def check_task(task: str, labels: str | None) -> None:
    """Make sure that ``task`` is specified only together with ``labels``.

    Raises:
        UserError: ``task`` is specified without ``labels``.
    """
    if task != "auto" and labels is None:
        raise SettingsError(f"--task={task} needs --labels: class folders are classification")


def check_numbers(name: str, values: Any, between: tuple[float, float]) -> None:
    """Make sure that the list ``values`` holds numbers strictly between two limits, or is None.

    Raises:
        UserError: names the flag ``name``, its value and what is accepted.
    """
    low, high = between
    for number in values or ():
        if not isinstance(number, int | float) or not low < number < high:
            accepted = "numbers" if low == -math.inf else f"numbers above {low:g}"
            raise SettingsError(f"--{name}={values} is out of range: give {accepted}")
