"""Settings from names and values: of a file, of a command line, or of a call in Python."""

import dataclasses
import difflib
import functools
import logging
from collections.abc import Collection, Mapping
from typing import Any

from BYOL._console import printable
from BYOL.config.conversion import convert_all
from BYOL.config.data_names import is_digits
from BYOL.config.fields import fields_of, kinds_of
from BYOL.config.presets import preset_values
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.validation import check_recipe
from BYOL.errors import SettingsError

log = logging.getLogger(__name__)

# Old name → new name of settings. The old names are accepted for one version, with a warning.
RENAMED = {"trust": "trust_coefficient"}


def build_settings(
    settings: type,
    values: Mapping[str, Any],
    specified: Collection[str],
    *,
    trusted: bool = False,
) -> Any:
    """Build the settings of a command from values of any type that :func:`convert_all` accepts.

    Args:
        settings: the dataclass to fill. For the settings of a run, a preset replaces defaults.
        values: values by name of the setting.
        specified: the names of the settings that the user has specified. The preset auto never
            changes these.
        trusted: whether the user passed ``--trust``.

    Raises:
        UserError: a required setting is missing, or a value is of the wrong type or out of range.
    """
    converted = convert_all(settings, values)
    if not issubclass(settings, PretrainConfig):
        missing = [
            name
            for name, field in fields_of(settings).items()
            if field.default is field.default_factory is dataclasses.MISSING and name not in values
        ]
        if missing:
            raise SettingsError(f"--{missing[0]} is missing: it has no default")
        return settings(**converted)
    from BYOL.config.resumed import with_recorded_images  # it imports what imports this module

    converted = with_recorded_images(converted, trusted=trusted)
    preset = converted.get("preset", "auto") if "preset" in specified else "auto"
    if preset == "auto" and is_digits(converted.get("data")):
        preset = "digits"
    defaults = {} if preset == "auto" else preset_values(preset)
    record = {"specified": sorted(set(specified) - {"recipe", "preset"})}
    return settings(**{**defaults, **converted, "preset": preset, "recipe": record})


def without_former_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``wandb: PROJECT``, of former versions, as ``logger`` and ``project``."""
    present = {name: value for name, value in values.items() if name != "wandb"}
    if values.get("wandb") is None:
        return present
    return {"logger": "csv,tensorboard,wandb", "project": values["wandb"], **present}


def values_of_file(settings: type, values: Mapping[str, Any], called: str) -> dict[str, Any]:
    """The values of a file by name of the setting; ``backbone_args.NAME`` becomes an entry.

    An old name of a setting is replaced by the new one, with a warning.

    Args:
        settings: the dataclass that the values are for.
        values: values by name, as they are in the file.
        called: format of an unknown name in a message.

    Raises:
        UserError: a name that is not the name of a setting.
    """
    fields, kinds = fields_of(settings), kinds_of(settings)
    by_name: dict[str, Any] = {}
    if "wandb" in values and "logger" in fields:
        values = without_former_settings(values)
    for key, value in values.items():
        name, dot, entry = key.partition(".")
        name = present_name(name, fields)
        is_table = kinds.get(name) == dict[str, Any]
        if name not in fields or (dot and not (is_table and entry.isidentifier())):
            near = difflib.get_close_matches(key, fields, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "no setting has this name"
            raise SettingsError(f"{called.format(printable(key))} is unknown: {hint}")
        by_name[name] = {**by_name.get(name, {}), entry: value} if dot else value
    return by_name


def present_name(name: str, fields: Collection[str], *, warn: bool = True) -> str:
    """The present name of a setting, which may have been renamed.

    Args:
        name: the present or an old name.
        fields: names of all settings of a command.
        warn: whether an old name leads to a warning, once per process.
    """
    new = RENAMED.get(name)
    if name in fields or new not in fields or new is None:
        return name
    if warn:
        _warn_renamed(name, new)
    return new


@functools.cache
def _warn_renamed(old: str, new: str) -> None:
    log.warning(f"the setting {old} is now called {new}; {old} will not be accepted later")


def specified_names(names: Collection[str], values: Mapping[str, Any]) -> set[str]:
    """The names of the settings that the user specified, on the command line and in files.

    A sweep writes all settings into a file. The entry ``recipe`` then lists the specified ones.

    Args:
        names: settings on the command line.
        values: values of files.
    """
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and "specified" in recipe and "facts" not in recipe:
        check_recipe(recipe)
        return {*names, "preset", *recipe["specified"]}
    return {*names, *values}


def run_settings(values: Mapping[str, Any], called: str = "--{}") -> PretrainConfig:
    """Build the settings of a run from names and values.

    Args:
        values: values by name of the setting.
        called: format of an unknown name in a message.

    Raises:
        UserError: an unknown name, a value of the wrong type or out of range.
    """
    by_name = values_of_file(PretrainConfig, values, called)
    config: PretrainConfig = build_settings(PretrainConfig, by_name, specified_names((), by_name))
    return config
