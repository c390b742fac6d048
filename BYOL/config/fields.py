"""Fields of settings: accepted values, help text, and further metadata.

All knowledge about a setting is stored on its field, so that no list elsewhere repeats the names of
settings.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from BYOL._console import printable
from BYOL._plain import plain
from BYOL.errors import SettingsError

# The largest whole number of a setting without a limit of its own: products with it, such as the
# steps of a run, still fit into the 64 bits of other libraries and the 53 bits of JSON readers.
LARGEST_WHOLE = 10**9
# Kinds of places that have a path, and what is accepted for them.
_PLACES: dict[str | None, str] = {
    "images": "a folder or a file of images",
    "input": "a file or a folder",
    "output": "the name of a file or a folder",
}
# Settings that are usually typed without their flag.
_UNFLAGGED = ("data", "folder", "run", "sweep")

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
        high: the largest accepted number. None: for whole numbers :data:`LARGEST_WHOLE`.
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


def fields_of(settings: type) -> dict[str, "dataclasses.Field[Any]"]:
    """The fields of the dataclass ``settings``, by name."""
    return {field.name: field for field in dataclasses.fields(settings)}


def info_of(field: "dataclasses.Field[Any]") -> Info:
    """The metadata of ``field``; empty for a field without metadata."""
    return field.metadata.get("info") or Info("")


def names_where(settings: type, accepts: Callable[[Info], bool]) -> Iterator[str]:
    """The names of the settings whose :class:`Info` ``accepts`` returns true for."""
    return (name for name, field in fields_of(settings).items() if accepts(info_of(field)))


def kinds_of(settings: type) -> dict[str, Any]:
    """The types of the settings of the dataclass ``settings``, by name."""
    return get_type_hints(settings)


def choices_of(kind: Any) -> tuple[str, ...]:
    """The accepted words of a ``Literal``, alone or in a union; empty for other types."""
    if is_union(kind):
        return tuple(word for part in get_args(kind) for word in choices_of(part))
    return get_args(kind) if get_origin(kind) is Literal else ()


def is_switch(kind: Any) -> bool:
    """Whether a flag of type ``kind`` needs no value."""
    return kind is bool or (is_union(kind) and bool in get_args(kind))


def check_settings(settings: Any) -> None:
    """Check every value against the type, the range and the choices of its field.

    A value of another library, such as a number of numpy, is replaced by the plain value. An empty
    name of a place is a variable of a shell that is not set, and would be the present folder.

    Raises:
        UserError: names the flag, its value and what is accepted.
    """
    kinds = kinds_of(type(settings))
    for name, field in fields_of(type(settings)).items():
        value, info, kind = plain(getattr(settings, name)), info_of(field), kinds[name]
        if value is None:
            if not _fits(kind, None):
                raise SettingsError(f"--{name}=None is not a value: leave it out for the default")
            continue
        if info.place in _PLACES and (value == "" or (isinstance(value, list) and "" in value)):
            raise _empty_place(field)
        object.__setattr__(settings, name, value)  # the dataclass is frozen
        if pair := pair_kind(kind):
            _check_tuple(name, value, pair)
        if choices := choices_of(kind):
            if not isinstance(value, bool) and value not in choices:
                raise SettingsError(
                    f"--{name}={printable(value)} is unknown: choose one of {', '.join(choices)}"
                )
        elif info.low is not None or info.high is not None:
            low = -math.inf if info.low is None else info.low
            high = LARGEST_WHOLE if _is_whole(kind) else math.inf
            _check_range(name, value, low, high if info.high is None else info.high)
        if not _fits(kind, value):
            raise SettingsError(f"--{name}: {printable(value)} is not {words_of_kind(kind)}")


def words_of_kind(kind: Any) -> str:
    """What a value of type ``kind`` is, for messages."""
    first = next((part for part in get_args(kind) if part is not type(None)), kind)
    return _WORDS.get(first if is_union(kind) else kind, "a table of names and values")


def _fits(kind: Any, value: Any) -> bool:
    """Whether a plain ``value`` is of the type ``kind``; lists and tuples count as the same."""
    if is_union(kind):
        return any(_fits(part, value) for part in get_args(kind))
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(_fits(parts[0], item) for item in value)
    if kind in (int, float):
        accepted = int if kind is int else (int, float)
        return isinstance(value, accepted) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def _empty_place(field: "dataclasses.Field[Any]") -> SettingsError:
    called = field.name.upper() if field.name in _UNFLAGGED else f"--{field.name}"
    required = field.default is field.default_factory is MISSING
    more = "" if required else ", or leave it out"
    return SettingsError(f"{called} is empty: give {_PLACES[info_of(field).place]}{more}")


def is_union(kind: Any) -> bool:
    """Whether ``kind`` is a union of types."""
    return get_origin(kind) in (Union, types.UnionType)


def _is_whole(kind: Any) -> bool:
    """Whether values of type ``kind`` are whole numbers, or lists of them."""
    return any(part in (int, list[int]) for part in (get_args(kind) if is_union(kind) else (kind,)))


def pair_kind(kind: Any) -> Any:
    """The type of the pair or the pairs that ``kind`` accepts, or None."""
    parts = get_args(kind) if is_union(kind) else (kind,)
    return next((part for part in parts if get_origin(part) is tuple), None)


def _check_tuple(name: str, value: Any, kind: Any) -> None:
    is_sequence = isinstance(value, tuple | list) and is_length(kind, len(value))
    texts = get_args(kind)[0] is str
    if not is_sequence or not all(isinstance(v, str if texts else int | float) for v in value):
        wanted = "two names" if texts else "two numbers"
        more = ", or two for each channel" if Ellipsis in get_args(kind) else ""
        raise SettingsError(f"--{name}={value} is no pair: give {wanted}{more}")


def is_length(kind: Any, length: int) -> bool:
    """Whether a tuple of type ``kind`` may have ``length`` items; pairs may be repeated."""
    if Ellipsis in get_args(kind):
        return length > 0 and length % 2 == 0
    return length == len(get_args(kind))


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float | None):
            raise SettingsError(f"--{name}={number!r} is out of range: give a number")
        if number is not None and (not low <= number <= high or math.isinf(number)):
            accepted = f"from {low:g} up" if high == math.inf else f"from {low:g} to {high:g}"
            raise SettingsError(f"--{name}={number} is out of range: give a number {accepted}")
