"""Fields of settings: accepted values, help text, and further metadata.

All knowledge about a setting is stored on its field, so that no list elsewhere repeats the names of
settings.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from BYOL._console import printable
from BYOL.config.plain_yaml import plain_yaml
from BYOL.errors import SettingsError

_WORDS: dict[Any, str] = {
    str: "text: write it in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[float, float]: "two numbers with a comma between",
    tuple[str, str]: "two names with a comma between",
    tuple[float, ...]: "two numbers, or two for each channel, with commas between",
    list[float]: "numbers with commas between",
    list[int]: "whole numbers with commas between",
    list[str]: "a list of texts",
}


@dataclass(frozen=True)
class Info:
    """The metadata of a setting.

    Args:
        help: what it does, for ``--help`` and docs/commands. The first sentence is a complete short
            description. Details follow in further sentences.
        low: the smallest accepted number, or None.
        high: the largest accepted number, or None.
        on_resume: whether a resumed run may have another value. ``fixed``: never. ``incomplete``:
            only until the run is complete. ``any``: always, because the value does not change the
            trained weights or only extends the run.
        place: ``images`` or ``input`` if the value names what is read, ``output`` if it names what
            is written or stored, ``network`` if it may contact a host. A file from another person
            may not set it (docs/security.md).
        home: whether a leading ``~`` is expanded when the command line is read.
        private: whether it is left out of published files, such as model cards.
        unswept: the reason why a sweep cannot vary it, or None.
        chosen: ``recipe`` if the preset auto may choose it, ``length`` if it also depends on the
            time limit, None if the preset auto never chooses it.
        basic: whether ``--help`` shows it; ``--help-all`` shows every setting.
    """

    help: str
    low: float | None = None
    high: float | None = None
    on_resume: Literal["fixed", "incomplete", "any"] = "any"
    place: Literal["images", "input", "output", "network"] | None = None
    home: bool = False
    private: bool = False
    unswept: str | None = None
    chosen: Literal["recipe", "length"] | None = None
    basic: bool = False

    @property
    def summary(self) -> str:
        """The first sentence of the help text."""
        first, period, _ = self.help.partition(". ")
        return first + period.rstrip()


def setting(
    default: Any = MISSING,
    help: str = "",
    *,
    factory: Callable[[], Any] | None = None,
    **known: Any,
) -> Any:
    """A dataclass field with its :class:`Info`.

    Args:
        default: the default value; without it and ``factory`` the setting is required.
        help: see :class:`Info`.
        factory: returns the default value, for mutable defaults.
        known: further arguments of :class:`Info`.
    """
    metadata = {"info": Info(help, **known)}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Base class of the settings of a command. Every value is checked against its field."""

    def __post_init__(self) -> None:
        check_settings(self)


def fields_of(settings: Any) -> dict[str, "dataclasses.Field[Any]"]:
    """The fields of ``settings``, a dataclass or an instance of one, by name."""
    return {field.name: field for field in dataclasses.fields(settings)}


def info_of(field: "dataclasses.Field[Any]") -> Info:
    """The metadata of ``field``; empty for a field without metadata."""
    return field.metadata.get("info") or Info("")


def names_where(settings: Any, accepts: Callable[[Info], bool]) -> Iterator[str]:
    """The names of the settings whose :class:`Info` ``accepts`` returns true for."""
    return (name for name, field in fields_of(settings).items() if accepts(info_of(field)))


def kinds_of(settings: type) -> dict[str, Any]:
    """The types of the settings of the dataclass ``settings``, by name."""
    return get_type_hints(settings)


def choices_of(kind: Any) -> tuple[str, ...]:
    """The accepted words of a ``Literal``, alone or in a union; empty for other types."""
    if _is_union(kind):
        return tuple(word for part in get_args(kind) for word in choices_of(part))
    return get_args(kind) if get_origin(kind) is Literal else ()


def is_switch(kind: Any) -> bool:
    """Whether a flag of type ``kind`` needs no value."""
    return kind is bool or (_is_union(kind) and bool in get_args(kind))


def check_settings(settings: Any) -> None:
    """Check every value against the type, the range and the choices of its field.

    None is always accepted. Of the type, only the length of pairs is checked here.

    Raises:
        UserError: names the flag, its value and what is accepted.
    """
    kinds = kinds_of(type(settings))
    for name, field in fields_of(settings).items():
        value, info = getattr(settings, name), info_of(field)
        if value is not None and (kind := pair_kind(kinds[name])):
            _check_tuple(name, value, kind)
        if choices := choices_of(kinds[name]):
            if value is not None and not isinstance(value, bool) and value not in choices:
                raise SettingsError(
                    f"--{name}={printable(value)} is unknown: choose one of {', '.join(choices)}"
                )
        elif info.low is not None or info.high is not None:
            low = -math.inf if info.low is None else info.low
            _check_range(name, value, low, math.inf if info.high is None else info.high)


def pair_kind(kind: Any) -> Any:
    """The type of the pair or the pairs that ``kind`` accepts, or None."""
    parts = get_args(kind) if _is_union(kind) else (kind,)
    return next((part for part in parts if get_origin(part) is tuple), None)


def _check_tuple(name: str, value: Any, kind: Any) -> None:
    is_sequence = isinstance(value, tuple | list) and _is_length(kind, len(value))
    texts = get_args(kind)[0] is str
    if not is_sequence or not all(isinstance(v, str if texts else int | float) for v in value):
        wanted = "two names" if texts else "two numbers"
        more = ", or two for each channel" if Ellipsis in get_args(kind) else ""
        raise SettingsError(f"--{name}={value} is no pair: give {wanted}{more}")


def _is_length(kind: Any, length: int) -> bool:
    """Whether a tuple of type ``kind`` may have ``length`` items; pairs may be repeated."""
    if Ellipsis in get_args(kind):
        return length > 0 and length % 2 == 0
    return length == len(get_args(kind))


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    for number in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(number, int | float | None):
            raise SettingsError(f"--{name}={number!r} is out of range: give a number")
        if number is not None and (not low <= number <= high or math.isinf(number)):
            accepted = f"from {low:g} up" if high == math.inf else f"from {low:g} to {high:g}"
            raise SettingsError(f"--{name}={number} is out of range: give a number {accepted}")


def convert_all(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the values of a file or of a command line to the types of their fields.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    kinds = kinds_of(settings)
    return {name: convert(name, kinds[name], value) for name, value in values.items()}


def convert(name: str, kind: Any, value: Any) -> Any:
    """Convert ``value`` to the type ``kind``; text of a command line is parsed as numbers.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    try:
        return _convert(kind, value)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = next((part for part in get_args(kind) if part is not type(None)), kind)
        wanted = wanted if _is_union(kind) else kind
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
        words_of_kind = _WORDS.get(wanted, "a table of names and values")
        raise SettingsError(f"--{name}: {printable(value)} is not {words_of_kind}") from error


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _convert(kind: Any, value: Any) -> Any:
    if _is_union(kind):
        return _convert_union(get_args(kind), value)
    if kind is bool:
        return _as_bool(value)
    if kind in (int, float):
        return _as_number(kind, value)
    if kind is str:
        return _expect(str, value)
    origin = get_origin(kind)
    if origin is Literal:
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
    if get_origin(kind) is tuple and not _is_length(kind, len(items)):
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
