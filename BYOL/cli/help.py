"""The help of a command: grouped settings with the defaults that would apply."""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from BYOL.cli.parser import COMMON, Arguments
from BYOL.config.fields import Info, choices_of, fields_of, info_of, is_switch, kinds_of
from BYOL.config.presets import preset_values
from BYOL.config.pretrain import PretrainConfig

_AUTO = "fits the images"  # shown as the default of settings that the preset auto chooses


class _Formatter(argparse.HelpFormatter):
    """Formats one spelling of every flag, on 100 columns."""

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
    """The help of the command ``name``.

    Args:
        settings: the dataclass whose fields are the flags.
        name: the command.
        summary: its line in the overview.
        positional: settings that may be specified without their flags.
        arguments: the parsed command line. Its data and preset decide the defaults that are shown.
            ``arguments.help`` decides whether all settings are explained in full, or the basic
            ones in one sentence each.
    """
    words = [usage_word(settings, word) for word in positional]
    everything, defaults = arguments.help == "all", used_defaults(settings, arguments)
    parser = argparse.ArgumentParser(
        prog=f"byol {name}", formatter_class=_Formatter, add_help=False,
        usage=" ".join(["byol", name, *words, "[--SETTING VALUE …]"]),
        description=f"{summary}.",
    )  # fmt: skip
    for title, names in setting_groups(settings):
        shown = [n for n in names if everything or info_of(fields_of(settings)[n]).basic]
        group = parser.add_argument_group(title)
        for field in shown:
            _add_help(group, settings, field, defaults, everything)
    group = parser.add_argument_group("every command")
    for flag, text in COMMON.items():
        if flag == "config":
            group.add_argument(f"--{flag}", help=text, metavar="PATH")
        else:
            group.add_argument(f"--{flag}", help=text, action="store_true")
    return parser.format_help()


def used_defaults(settings: type, arguments: Arguments) -> dict[str, str]:
    """The defaults of a run by name, with the preset and the data of this command line."""
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


def _add_help(
    group: Any, settings: type, name: str, defaults: Mapping[str, str], everything: bool
) -> None:
    field, kind = fields_of(settings)[name], kinds_of(settings)[name]
    info, choices = info_of(field), choices_of(kind)
    text = info.help if everything else info.summary
    if choices and not is_switch(kind):
        text += f" One of {', '.join(choices)}."
    default = defaults.get(name, default_text(field))
    if default:
        text += f" [{default}]"
    options: dict[str, Any] = {"metavar": _metavar(kind, info)}
    if is_switch(kind) and not choices:
        options = {"action": "store_true"}
    no = "[no-]" if kind is bool and field.default is True else ""
    flag = f"--{no}{name.replace('_', '-')}"
    group.add_argument(flag, help=text.replace("%", "%%"), **options)


def _metavar(kind: Any, info: Info) -> str:
    """How the value of a setting is named after its flag."""
    if is_switch(kind):
        return f"[{'|'.join(choices_of(kind))}]"
    text = str(kind)
    if "..." in text:
        return "A,B,…"
    if "tuple" in text:
        return "A,B"
    if "list[float]" in text or "list[int]" in text:
        return "A,B,…"
    if "int" in text or "float" in text:
        return "N"
    return "PATH" if info.place in ("images", "input", "output") else "NAME"


def default_text(field: "dataclasses.Field[Any]") -> str:
    """The default of ``field`` as it is written on a command line; empty if there is none."""
    if field.default is dataclasses.MISSING:
        factory = field.default_factory
        return "" if factory is dataclasses.MISSING else value_text(factory() or None)
    return value_text(field.default)


def value_text(value: Any) -> str:
    """``value`` as it is written on a command line; empty for None and False."""
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    if isinstance(value, tuple | list):
        return ",".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_groups(settings: type) -> Iterator[tuple[str, list[str]]]:
    """Title and names of the settings of every group: of the class itself, then of its bases.

    ``trust`` is left out, because it is a flag of every command.
    """
    names, seen = fields_of(settings).keys() - {"trust"}, set[str]()
    groups = []
    for cls in reversed(settings.__mro__):
        own = [n for n in vars(cls).get("__annotations__", {}) if n in names - seen]
        seen |= set(own)
        if own and dataclasses.is_dataclass(cls):
            groups.append((cls, vars(cls).get("title", "settings"), own))
    groups.sort(key=lambda group: group[0] is not settings)
    yield from ((title, own) for _, title, own in groups)


def usage_word(settings: type, name: str) -> str:
    """The positional setting ``name`` in the usage line: RUN, [DATA], or RUN [RUN …]."""
    field = fields_of(settings)[name]
    if kinds_of(settings)[name] == list[str]:
        return f"{name.upper()} [{name.upper()} …]"
    return name.upper() if field.default is dataclasses.MISSING else f"[{name.upper()}]"
