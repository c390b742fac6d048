"""Checks that concern several settings, or limits that a field's metadata cannot express."""

from typing import Any

from BYOL._console import printable
from BYOL.config.model_settings import ModelSettings
from BYOL.errors import SettingsError


def check_annotations(config: Any) -> None:
    """Make sure that settings of a labels or groups file are specified only together with it.

    Args:
        config: settings with ``labels``, and perhaps ``task``, ``groups`` and columns of both.

    Raises:
        UserError: names a setting whose file is not specified.
    """
    task = getattr(config, "task", "auto")
    if task != "auto" and config.labels is None:
        raise SettingsError(f"--task={task} needs --labels: class folders are classification")
    groups = getattr(config, "groups", None)
    for name, file, present in (
        ("label_column", "--labels", config.labels),
        ("group_column", "--groups", groups),
        ("file_column", "--labels or --groups", config.labels or groups),
    ):
        value = getattr(config, name, None)
        if value is not None and present is None:
            raise SettingsError(f"--{name.replace('_', '-')}={value} needs {file}")


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


LOGGERS = ("csv", "tensorboard", "wandb", "mlflow")


def logger_names(value: str) -> list[str]:
    """The names in ``value``, which are separated by commas."""
    return [name.strip() for name in value.split(",") if name.strip()]


def check_loggers(value: str) -> None:
    """Make sure that ``value`` names loggers, separated by commas.

    Raises:
        UserError: names the first one that is unknown.
    """
    unknown = next((name for name in logger_names(value) if name not in LOGGERS), None)
    if unknown is not None or not logger_names(value):
        raise SettingsError(
            f"--logger={printable(value)}: {printable(unknown or 'nothing')} is unknown: choose "
            f"from {', '.join(LOGGERS)}, separated by commas"
        )


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


def check_teacher(config: ModelSettings) -> None:
    """Make sure that the settings of a teacher fit each other and the rest of the model.

    Raises:
        UserError: names the setting that does not fit.
    """
    if config.teacher is None:
        for name in ("teacher_size", "teacher_bands"):
            if getattr(config, name) is not None:
                raise SettingsError(f"--{name}={getattr(config, name)} needs --teacher")
        if config.target == "teacher":
            raise SettingsError("--target=teacher needs --teacher, which names the network")
        return
    if config.target not in ("ema", "teacher"):
        raise SettingsError(
            f"--target={config.target} and --teacher exclude each other: the teacher is the target"
        )
    if config.predictor not in ("none", "linear", "mlp"):
        raise SettingsError(
            f"--predictor={config.predictor} and --teacher exclude each other: choose one of none, "
            "linear, mlp"
        )
