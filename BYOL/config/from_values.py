"""Settings from names and values: of a file, of a command line, of a call in Python."""

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from typing import Any

from BYOL.config.fields import convert_all, fields_of, kinds_of
from BYOL.config.paths import shown
from BYOL.config.presets import preset_values
from BYOL.config.pretrain import PretrainConfig
from BYOL.errors import UserError

# Names of earlier versions, which are accepted for one version.
RENAMED = {"trust": "trust_coefficient"}


def build_settings(settings: type, values: Mapping[str, Any], specified: Collection[str]) -> Any:
    """The settings of a command, from values of any kind that :func:`convert_all` accepts.

    Args:
        settings: the dataclass to fill. For the settings of a run, a preset replaces defaults.
        values: by name.
        specified: the names among them that the user has specified; the preset auto never changes
            these.

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
            raise UserError(f"--{missing[0]} is missing: it has no default")
        return settings(**converted)
    preset = converted.get("preset", "auto") if "preset" in specified else "auto"
    if preset == "auto" and converted.get("data") in (None, "digits"):
        preset = "digits"
    defaults = {} if preset == "auto" else preset_values(preset)
    record = {"specified": sorted(set(specified) - {"recipe", "preset"})}
    return settings(**{**defaults, **converted, "preset": preset, "recipe": record})


def values_of_file(settings: type, values: Mapping[str, Any], called: str) -> dict[str, Any]:
    """The values of a file by the names of settings, ``backbone_args.NAME`` among them.

    Args:
        settings: the dataclass that they are for.
        values: by name, as the file has them.
        called: how a message names an unknown name, as a format.

    Raises:
        UserError: a name that is not the name of a setting.
    """
    fields, kinds = fields_of(settings), kinds_of(settings)
    found: dict[str, Any] = {}
    for key, value in values.items():
        name, dot, entry = key.partition(".")
        name = RENAMED.get(name, name) if name not in fields or name in RENAMED else name
        is_table = kinds.get(name) == dict[str, Any]
        if name not in fields or (dot and not (is_table and entry.isidentifier())):
            near = difflib.get_close_matches(key, fields, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "it is no name of a setting"
            raise UserError(f"{called.format(shown(key))} is unknown: {hint}")
        found[name] = {**found.get(name, {}), entry: value} if dot else value
    return found


def specified_names(names: Collection[str], values: Mapping[str, Any]) -> set[str]:
    """The settings that the user specified: on the command line and in files.

    A sweep writes all settings into a file, and which of them the user specified.
    """
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and "specified" in recipe and "facts" not in recipe:
        return {*names, "preset", *map(str, recipe["specified"])}
    return {*names, *values}


def run_settings(values: Mapping[str, Any], called: str = "--{}") -> PretrainConfig:
    """The settings of a run from names and values, of which none can become a flag.

    Raises:
        UserError: an unknown name, a value of the wrong type or out of range.
    """
    found = values_of_file(PretrainConfig, values, called)
    config: PretrainConfig = build_settings(PretrainConfig, found, specified_names((), found))
    return config
