"""What a resumed run takes from its own config.yaml: its images, and all that nobody specified."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from BYOL._console import printable
from BYOL.config.fields import names_where
from BYOL.config.paths import check_named_places, values_naming_places, with_moved_paths
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.recipe import CHOSEN
from BYOL.config.run_settings import RunSettings
from BYOL.config.yaml_io import read_run_config

log = logging.getLogger(__name__)

# The settings of labels and groups: they belong to certain images.
ANNOTATIONS = ("labels", "label_column", "groups", "group_column", "file_column", "task")
_LENGTH = {"epochs", "steps", "warmup_epochs", "length_changes"}
# Settings that do not depend on the machine and the folder. Weights and teacher belong to the run.
_ALL = set(
    names_where(PretrainConfig, lambda info: not info.private or info.place == "input")
).difference((*ANNOTATIONS, "preset", "recipe", "minutes"))
# Settings that the program may choose, and those that a run must share with its checkpoint.
_KEPT = {*CHOSEN, *names_where(PretrainConfig, lambda info: info.on_resume != "any")}.difference(
    ANNOTATIONS
)


def with_recorded_images(values: Mapping[str, Any], *, trusted: bool = False) -> dict[str, Any]:
    """``values`` of a run, with the recorded images of a run that is resumed without DATA.

    Labels and groups of the run come with its images.

    Args:
        values: the settings that the user specified, by name.
        trusted: whether the user passed ``--trust``.

    Raises:
        UserError: the settings of the run cannot be read, or it is from elsewhere and names places.
    """
    out = values.get("out") if values.get("resume") and values.get("data") is None else None
    file = Path(out or "").expanduser() / "config.yaml"
    if out is None or not file.is_file():
        return dict(values)
    recorded, signed = read_run_config(file)
    places = {name: getattr(recorded, name) for name in ("data", *ANNOTATIONS)}
    check_named_places(
        PretrainConfig, places, str(file), trusted=trusted or signed, overridden=values
    )
    recorded = with_moved_paths(recorded, file.parent)
    found = {name: getattr(recorded, name) for name in places}
    if found["data"] is not None:
        log.info(f"resumes on the images of the run: {printable(found['data'])}")
    return {**{name: value for name, value in found.items() if value is not None}, **values}


def recorded_settings(config: PretrainConfig, file: Path) -> dict[str, Any]:
    """The settings that a resumed run takes from its own ``file``, and not from the program.

    Whatever the program has chosen remains as it was recorded: the speed is not measured again, and
    neither the images, the machine nor a later version of a preset decide a second time. Settings
    that the user specifies now are not among them.

    Args:
        config: settings of the resumed run.
        file: path of its config.yaml, which need not exist.

    Returns:
        Values by name; empty for a new run.
    """
    if "specified" not in config.recipe or not file.is_file():
        return {}
    recorded, signed = read_run_config(file)
    names = _recorded_names(config, recorded) - config.specified
    if "epochs" in config.specified:  # another length: the recorded number of steps is not for it
        names -= {"steps", "length_changes"}
    found = {name: getattr(recorded, name) for name in names}
    if not signed:  # a file from another person may not name a place
        for name in values_naming_places(PretrainConfig, found):
            del found[name]
    if config.preset in ("auto", recorded.preset):  # not another recipe: its record remains
        found |= {"preset": recorded.preset, "recipe": _record(config, recorded, names)}
    if config.minutes not in (None, recorded.recipe.get("minutes")):
        log.warning(
            f"--minutes={config.minutes:g} changes nothing: a resumed run keeps its length "
            "(--epochs sets another)"
        )
    return {**found, "minutes": None}


def _record(config: RunSettings, recorded: RunSettings, names: Collection[str]) -> dict[str, Any]:
    """The recipe of a resumed run: facts, reasons and time limit as recorded, and all flags.

    Args:
        config: settings of the resumed run.
        recorded: those of its config.yaml.
        names: the settings that it takes from there.
    """
    specified = set(config.specified)
    decided = "facts" in recorded.recipe or recorded.preset != "auto"
    if config.undecided and not decided:  # nothing is chosen a second time
        specified |= set(names)
    if config.resume is True:  # it is the same run: flags that are left out now are its own
        specified |= recorded.specified & vars(recorded).keys()
    return {**recorded.recipe, "specified": sorted(specified)}


def _recorded_names(config: PretrainConfig, recorded: RunSettings) -> set[str]:
    """The names of the settings that ``recorded`` decides unless the user specifies them."""
    length = _LENGTH if config.minutes is not None else set()
    if config.preset not in ("auto", recorded.preset):  # the user asks for another recipe
        return {"accumulate"} | length
    if config.resume is True:  # it is the same run: also flags that are left out now are its own
        return _ALL
    # It may be a new run: a flag that was specified then and is left out now has its default.
    removed = set(recorded.specified).difference(CHOSEN if config.undecided else ())
    return _KEPT - removed | length
