"""Values of a file or of a command line, converted to the types of the settings."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from BYOL._console import printable
from BYOL._plain import plain
from BYOL.config.fields import (
    choices_of,
    is_length,
    is_switch,
    is_union,
    kinds_of,
    words_of_kind,
)
from BYOL.config.plain_yaml import plain_yaml
from BYOL.errors import SettingsError


def convert_all(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the values of a file or of a command line to the types of their fields.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    kinds = kinds_of(settings)
    return {name: convert(name, kinds[name], value) for name, value in values.items()}


def convert(name: str, kind: Any, value: Any) -> Any:
    """Convert ``value`` to the type ``kind``; text of a command line is parsed as numbers.

    Numbers and arrays of other libraries, such as numpy, are accepted like those of Python.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    try:
        return _convert(kind, plain(value))
    except (TypeError, ValueError, OverflowError) as error:
        if value is None:
            raise SettingsError(
                f"--{name}=null is not a value: leave it out for the default"
            ) from error
        if choices := choices_of(kind):
            words = ("true", "false", *choices) if is_switch(kind) else choices
            accepted = ", ".join(words)
            raise SettingsError(
                f"--{name}={printable(value)} is unknown: choose one of {accepted}"
            ) from error
        raise SettingsError(f"--{name}: {printable(value)} is not {words_of_kind(kind)}") from error


def _convert(kind: Any, value: Any) -> Any:
    if is_union(kind):
        return _convert_union(get_args(kind), value)
    if kind is bool:
        return _as_bool(value)
    if kind in (int, float):
        return _as_number(kind, value)
    if kind is str:
        return _expect(str, value)
    origin = get_origin(kind)
    if origin is Literal:
        if isinstance(value, bool) and {"on", "off"} <= set(get_args(kind)):
            return "on" if value else "off"  # YAML reads these words as true and false
        if value not in get_args(kind):
            raise ValueError(value)
        return value
    if origin is tuple or origin is list:
        return _as_sequence(kind, value)
    return _as_table(value)


def _convert_union(parts: tuple[Any, ...], value: Any) -> Any:
    if type(None) in parts and value in (None, "null"):
        return None
    for part in sorted((p for p in parts if p is not type(None)), key=lambda p: p is str):
        try:
            return _convert(part, value)
        except (TypeError, ValueError):
            continue
    raise ValueError(value)


def _expect(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(value)
    return value


def _as_bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return bool(_expect(bool, value))


def _as_number(kind: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    if kind is int and isinstance(value, float):
        raise TypeError(value)
    return kind(value)


def _as_sequence(kind: Any, value: Any) -> Any:
    if isinstance(value, str) and (get_args(kind)[0] is not str or get_origin(kind) is tuple):
        value = [part for part in value.strip("[]() ").split(",") if part.strip()]
    elif isinstance(value, str):
        value = [value]
    items = [_convert(get_args(kind)[0], item) for item in _expect(list | tuple, value)]  # type: ignore[arg-type]
    if get_origin(kind) is tuple and not is_length(kind, len(items)):
        raise ValueError(value)
    return tuple(items) if get_origin(kind) is tuple else items


def _as_table(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        import yaml

        try:
            value = plain_yaml(value)
        except yaml.YAMLError as error:
            raise ValueError(value) from error
    return dict(_expect(dict, value))
