"""The help of a command: grouped settings with the defaults that would really be used."""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from BYOL.cli.parser import COMMON, Arguments
from BYOL.config.fields import Info, choices_of, fields_of, info_of, is_switch, kinds_of
from BYOL.config.presets import preset_values
from BYOL.config.pretrain import PretrainConfig

_AUTO = "fits the images"  # the default of what the preset auto chooses


class _Formatter(argparse.HelpFormatter):
    """One spelling of every flag, on 100 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        value = f" {action.metavar}" if action.metavar else ""
        return f"{(action.option_strings or [''])[0]}{value}"


def help_text(
    settings: type,
    name: str,
    summary: str,
    positional: tuple[str, ...],
    arguments: Arguments,
) -> str:
    """The help of a command.

    Args:
        settings: the dataclass whose fields are the flags.
        name: the command.
        summary: its line in the overview.
        positional: settings that may be specified without their flags.
        arguments: of the command line, whose data and preset decide the defaults that are shown,
            and which help is wanted: every setting, or those that most people need.
    """
    words = [usage_word(settings, word) for word in positional]
    everything, defaults = arguments.help == "all", used_defaults(settings, arguments)
    parser = argparse.ArgumentParser(
        prog=f"byol {name}", formatter_class=_Formatter, add_help=False,
        usage=" ".join(["byol", name, *words, "[--SETTING VALUE …]"]),
        description=summary[0].upper() + summary[1:] + ".",
    )  # fmt: skip
    for title, names in group_counts(settings):
        shown = [n for n in names if everything or info_of(fields_of(settings)[n]).basic]
        group = parser.add_argument_group(title)
        for field in shown:
            _add_help(group, settings, field, defaults)
    group = parser.add_argument_group("every command")
    for flag, text in COMMON.items():
        if flag == "config":
            group.add_argument(f"--{flag}", help=text, metavar="F")
        else:
            group.add_argument(f"--{flag}", help=text, action="store_true")
    return parser.format_help()


def used_defaults(settings: type, arguments: Arguments) -> dict[str, str]:
    """Name → the default of a run's setting with the preset and the data of this command line."""
    if not issubclass(settings, PretrainConfig):
        return {}
    preset = arguments.values.get("preset", "auto")
    if preset == "auto" and arguments.values.get("data") == "digits":
        preset = "digits"
    if preset != "auto":
        values = preset_values(preset)
        fields = fields_of(settings)
        return {name: value_text(value) for name, value in values.items() if name in fields}
    return {name: _AUTO for name, field in fields_of(settings).items() if info_of(field).chosen}


def _add_help(group: Any, settings: type, name: str, defaults: Mapping[str, str]) -> None:
    field, kind = fields_of(settings)[name], kinds_of(settings)[name]
    info: Info = info_of(field)
    choices = choices_of(kind)
    text = info.help
    if choices:
        text += f" One of {', '.join(choices)}."
    default = defaults.get(name, default_text(field))
    if default:
        text += f" [{default}]"
    how: dict[str, Any] = (
        {"action": "store_true"} if is_switch(kind) else {"metavar": _metavar(kind)}
    )
    flag = f"--{name.replace('_', '-')}"
    if kind is bool and field.default is True:
        flag = f"--[no-]{name.replace('_', '-')}"
    group.add_argument(flag, help=text.replace("%", "%%"), **how)


def _metavar(kind: Any) -> str:
    text = str(kind)
    if "tuple" in text:
        return "A,B"
    if "list[float]" in text or "list[int]" in text:
        return "A,B,…"
    return "N" if "int" in text or "float" in text else "X"


def default_text(field: "dataclasses.Field[Any]") -> str:
    """A default as it is written on a command line; empty where there is none."""
    if field.default is dataclasses.MISSING:
        made = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        return value_text(made or None)
    return value_text(field.default)


def value_text(value: Any) -> str:
    """A value as it is written on a command line; empty for None and False."""
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    if isinstance(value, tuple | list):
        return ",".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def group_counts(settings: type) -> Iterator[tuple[str, list[str]]]:
    """Title and names of the settings of every group: of each base class, then of the class."""
    names = fields_of(settings).keys() - {"trust"}  # which is a flag of every command
    seen: set[str] = set()
    for cls in reversed(settings.__mro__):
        own = [n for n in vars(cls).get("__annotations__", {}) if n in names - seen]
        seen |= set(own)
        if own and dataclasses.is_dataclass(cls):
            yield vars(cls).get("title", "settings"), own


def usage_word(settings: type, name: str) -> str:
    """A positional setting in the usage line: RUN, [DATA], or RUN [RUN …]."""
    field = fields_of(settings)[name]
    if kinds_of(settings)[name] == list[str]:
        return f"{name.upper()} [{name.upper()} …]"
    return name.upper() if field.default is dataclasses.MISSING else f"[{name.upper()}]"
