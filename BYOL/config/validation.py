"""Checks that concern several settings, or limits that a field's metadata cannot express."""

from typing import Any

from BYOL._console import printable
from BYOL.errors import SettingsError


def check_task(task: str, labels: str | None) -> None:
    """Make sure that ``task`` is specified only together with ``labels``.

    Raises:
        UserError: ``task`` is specified without ``labels``.
    """
    if task != "auto" and labels is None:
        raise SettingsError(f"--task={task} needs --labels: class folders are classification")


def check_recipe(recipe: dict[str, Any]) -> None:
    """Make sure that ``recipe`` has the form in which a run records its choices.

    Raises:
        UserError: names the entry.
    """
    for name, kind in (("specified", list), ("reasons", list), ("facts", dict)):
        value = recipe.get(name, kind())
        texts = value if isinstance(value, list) else []
        if not isinstance(value, kind) or not all(isinstance(text, str) for text in texts):
            accepted = "a list of texts" if kind is list else "a table of names and values"
            raise SettingsError(f"--recipe: {name}={printable(value)} is not {accepted}")


def check_numbers(name: str, values: Any, between: tuple[float, float]) -> None:
    """Make sure that the list ``values`` holds numbers strictly between two limits, or is None.

    Raises:
        UserError: names the flag ``name``, its value and what is accepted.
    """
    low, high = between
    for number in values or ():
        if not isinstance(number, int | float) or not low < number < high:
            accepted = f"numbers between {low:g} and {high:g}"
            raise SettingsError(f"--{name}={values} is out of range: give {accepted}")
