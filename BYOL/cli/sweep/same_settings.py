"""Comparison of a run of a sweep with the run that its folder holds."""

from pathlib import Path
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.config.fields import names_where
from BYOL.config.paths import with_absolute_paths
from BYOL.config.recipe import CHOSEN
from BYOL.errors import UserError
from BYOL.training.teacher.resolve import stored_name

_OWN = {"out", "resume", "recipe", "preset", "minutes"}  # not compared, or compared in another way
_LEFT_OPEN = (None, "auto")
# settings that a time limit decides
_LENGTH = set(names_where(PretrainConfig, lambda info: info.chosen == "length"))


def check_same_settings(run: PretrainConfig, recorded: PretrainConfig, folder: Path) -> None:
    """Check that the run in ``folder`` was made with the settings that a sweep specifies.

    Settings that the sweep leaves open are not compared, because the run has resolved them: from
    its preset, its images, the memory, the time limit or the teacher.

    Args:
        run: the settings of the sweep.
        recorded: the resolved settings in the folder.
        folder: the folder, for the message.

    Raises:
        UserError: names the first setting that differs.
    """
    if recorded.preset != run.preset:
        raise _differs(folder, "preset", recorded.preset, f"not {run.preset}")
    resolved = _resolved_names(run)
    for name, value in vars(with_absolute_paths(run)).items():
        other, specified = getattr(recorded, name), name in run.specified
        if name in _OWN:
            continue
        if value in _LEFT_OPEN or (name in resolved and not specified):
            if name in recorded.specified and not specified and other not in _LEFT_OPEN:
                raise _differs(folder, name, other, "which the sweep leaves open")
        elif other != value and not _is_adapted(name, run, other):
            raise _differs(folder, name, other, f"not {value}")
    minutes = _minutes(recorded, run.minutes)
    if minutes != run.minutes:
        raise _differs(folder, "minutes", minutes, f"not {run.minutes}")


def _differs(folder: Path, name: str, other: Any, how: str) -> UserError:
    return UserError(f"{folder} holds a run with {name}={other}, {how}: give another --out")


def _resolved_names(run: PretrainConfig) -> set[str]:
    """The settings that a run resolves, if they are not specified, although they have a value."""
    names = {"accumulate"}  # it depends on the memory
    if run.undecided:
        names |= set(CHOSEN)
    if run.minutes is not None:
        names |= _LENGTH
    if run.teacher is not None:
        names |= {"target", "predictor", "output_size"}
    return names


def _is_adapted(name: str, run: PretrainConfig, other: Any) -> bool:
    """Whether ``other`` is what a run makes of the specified value of the setting ``name``."""
    value = getattr(run, name)
    if name == "accumulate":
        return bool(other > value)
    if name in ("epochs", "steps"):  # the time limit may be shorter
        return run.minutes is not None and other is not None and other < value
    if name == "output_size":  # few images have fewer components
        return run.teacher is not None and bool(other < value)
    return name == "teacher" and bool(other == stored_name(value))


def _minutes(recorded: PretrainConfig, limit: float | None) -> Any:
    """The time limit that was specified for a run; ``limit`` if a resumed run does not know it."""
    if "minutes" not in recorded.specified:
        return recorded.minutes
    return recorded.minutes or recorded.recipe.get("minutes", limit or "unknown")
