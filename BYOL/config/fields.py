"""Fields of settings: what each accepts, its help text, and what it means for a resumed run.

Everything that the program knows about a setting is stored on its field, so that no list elsewhere
repeats names of settings.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from BYOL.errors import UserError

_WORDS: dict[Any, str] = {
    str: "text: write it in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[float, float]: "two numbers with a comma between",
    list[float]: "numbers with commas between",
    list[int]: "whole numbers with commas between",
    list[str]: "a list of texts",
}


@dataclass(frozen=True)
class Info:
    """What is known about a setting.

    Args:
        help: what it does, for ``--help`` and docs/commands.
        low: the smallest accepted number, or None.
        high: the largest accepted number, or None.
        on_resume: whether a resumed run may have another value: ``fixed``, never; ``incomplete``,
            only until the run is complete; ``any``, always, because it does not change what the
            run learns or says how much is wanted.
        place: ``images`` or ``input`` where the value names what is read, ``output`` where it names
            what is written or kept, ``network`` where it may contact a host. A file from somebody
            else may not set it (docs/security.md).
        home: whether ``~`` at its beginning is expanded when the command line is read.
        private: whether it stays out of files that are published, such as model cards.
        unswept: why a sweep cannot vary it, or None.
        chosen: ``recipe`` where the preset auto may choose it, ``length`` where the time also
            decides; None where it never does.
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


def setting(
    default: Any = MISSING,
    help: str = "",
    *,
    factory: Callable[[], Any] | None = None,
    **known: Any,
) -> Any:
    """A dataclass field with its :class:`Info`.

    Args:
        default: its value where nothing is configured; without it the setting is required.
        help: see :class:`Info`.
        factory: makes the default, in place of ``default``.
        known: further arguments of :class:`Info`.
    """
    metadata = {"info": Info(help, **known)}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Base class of the settings of a command: every value is checked against its field."""

    def __post_init__(self) -> None:
        check_settings(self)


def fields_of(settings: Any) -> dict[str, "dataclasses.Field[Any]"]:
    """Name → field of a dataclass of settings, or of an object of one."""
    return {field.name: field for field in dataclasses.fields(settings)}


def info_of(field: "dataclasses.Field[Any]") -> Info:
    """What is known about a field."""
    return field.metadata.get("info") or Info("")


def names_where(settings: Any, accepts: Callable[[Info], bool]) -> Iterator[str]:
    """The names of the settings whose :class:`Info` ``accepts`` returns true for."""
    return (name for name, field in fields_of(settings).items() if accepts(info_of(field)))


def kinds_of(settings: type) -> dict[str, Any]:
    """Name → type of a setting."""
    return get_type_hints(settings)


def choices_of(kind: Any) -> tuple[str, ...]:
    """The accepted words of a ``Literal``, alone or in a union; empty for other types."""
    found = get_args(kind) if get_origin(kind) is Literal else ()
    if _is_union(kind):
        found = tuple(word for part in get_args(kind) for word in choices_of(part))
    return found


def is_switch(kind: Any) -> bool:
    """Whether a flag of this type needs no value."""
    return kind is bool or (_is_union(kind) and bool in get_args(kind))


def check_settings(settings: Any) -> None:
    """Check every value against the range and the choices of its field; None is accepted.

    Raises:
        UserError: names the flag, its value and what is accepted.
    """
    kinds = kinds_of(type(settings))
    for name, field in fields_of(settings).items():
        value, info = getattr(settings, name), info_of(field)
        if choices := choices_of(kinds[name]):
            if value is not None and not isinstance(value, bool) and value not in choices:
                raise UserError(f"--{name}={value} is unknown: choose one of {', '.join(choices)}")
        elif info.low is not None or info.high is not None:
            low = -math.inf if info.low is None else info.low
            _check_range(name, value, low, math.inf if info.high is None else info.high)


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    for number in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(number, int | float | None):
            raise UserError(f"--{name}={number!r} is out of range: give a number")
        if number is not None and not low <= number <= high:
            accepted = f"from {low:g} up" if high == math.inf else f"from {low:g} to {high:g}"
            raise UserError(f"--{name}={number} is out of range: give a number {accepted}")


def convert_all(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file or of a command line as the types of their fields.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    kinds = kinds_of(settings)
    return {name: convert(name, kinds[name], value) for name, value in values.items()}


def convert(name: str, kind: Any, value: Any) -> Any:
    """One value as the type ``kind``; texts of a command line are read as numbers where needed.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    try:
        return _convert(kind, value)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = next((part for part in get_args(kind) if part is not type(None)), kind)
        wanted = wanted if _is_union(kind) else kind
        if choices := choices_of(kind):
            words = ("true", "false", *choices) if is_switch(kind) else choices
            accepted = ", ".join(words)
            raise UserError(f"--{name}={value} is unknown: choose one of {accepted}") from error
        if value is None:
            raise UserError(
                f"--{name}=null is not a value: leave it out for the default"
            ) from error
        words_of_kind = _WORDS.get(wanted, "a table of names and values")
        raise UserError(f"--{name}: {value} is not {words_of_kind}") from error


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
    if isinstance(value, str) and get_args(kind)[0] is not str:
        value = [part for part in value.strip("[]() ").split(",") if part.strip()]
    elif isinstance(value, str):
        value = [value]
    items = [_convert(get_args(kind)[0], item) for item in _expect(list | tuple, value)]  # type: ignore[arg-type]
    if get_origin(kind) is tuple and len(items) != len(get_args(kind)):
        raise ValueError(value)
    return tuple(items) if get_origin(kind) is tuple else items


def _as_table(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        import yaml

        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(value) from error
    return dict(_expect(dict, value))
