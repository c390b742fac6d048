"""Parses a command line into settings, with argparse built from the fields of the settings."""

import argparse
import dataclasses
import difflib
import logging
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from BYOL._console import printable
from BYOL.cli.pairs import join_pairs
from BYOL.config.fields import choices_of, fields_of, is_switch, kinds_of
from BYOL.config.from_values import (
    build_settings,
    present_name,
    specified_names,
    values_of_file,
)
from BYOL.config.paths import check_named_places, expand_home
from BYOL.config.plain_yaml import plain_yaml
from BYOL.config.yaml_io import read_settings, signed_by_user
from BYOL.errors import UserError, first_line

_NEGATIVE = re.compile(r"^-[\d.][-\d.,e+]*$")  # one or several numbers: -1000,400
_NUMBER = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")
COMMON = {  # flags of every command
    "config": "YAML file of settings. Flags override it.",
    "json": "Print one JSON object on standard output instead of text.",
    "trust": "Open the images, labels and hosts that a file from another person names.",
    "help": "Show the most common settings.",
    "help-all": "Show all settings with full explanations.",
}

log = logging.getLogger(__name__)


def parse_settings(
    settings: type,
    argv: list[str],
    name: str = "pretrain",
    summary: str = "-",
    positional: tuple[str, ...] = (),
) -> Any:
    """Parse a command line into settings, or return the help as text.

    Later values override earlier ones: the preset (for settings of a run), the files of
    ``--config``, then ``argv``. ``check_named_places`` checks the places that a file names.

    Args:
        settings: the dataclass to fill.
        argv: the words after the command.
        name: the command.
        summary: its line in the overview.
        positional: settings that may be specified without their flags.

    Raises:
        UserError: an unknown flag, a value of the wrong type or out of range.
    """
    arguments = parse_arguments(settings, argv, name, positional)
    if arguments.help:
        from BYOL.cli.help import help_text

        return help_text(settings, name, summary, positional, arguments).rstrip("\n")
    from_files = _file_values(settings, arguments)
    from_flags = expand_home(settings, arguments.values)
    if arguments.trust and "trust" in fields_of(settings):
        from_flags["trust"] = True
    values = {**expand_home(settings, from_files), **from_flags}
    for table, entries in from_flags.items():  # entries of a table are added to those of a file
        if isinstance(entries, dict) and isinstance(from_files.get(table), dict):
            values[table] = {**from_files[table], **entries}
    names = specified_names(from_flags, from_files)
    return build_settings(settings, values, names, trusted=arguments.trust)


def _file_values(settings: type, arguments: "Arguments") -> dict[str, Any]:
    """The checked values of the files of ``--config``.

    Raises:
        UserError: a file that cannot be read, an unknown setting, or a place it may not name.
    """
    values: dict[str, Any] = {}
    for file in arguments.files:
        if not file:
            raise UserError("--config is empty: give a file of settings, or leave it out")
        path = Path(os.path.expanduser(file))  # noqa: PTH111
        content = read_settings(path)
        # for pretrain, a number is the old name of another setting
        if "trust" in content.keys() & fields_of(settings) or content.get("trust") in (True, False):
            raise UserError(f"--config={path}: trust is accepted on the command line only")
        of_file = values_of_file(settings, content, "--config: setting {!r}")
        check_named_places(
            settings, of_file, f"--config={path}",
            trusted=arguments.trust or signed_by_user(path), overridden=arguments.values,
        )  # fmt: skip
        values |= of_file
    return values


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A parsed command line.

    Args:
        values: texts by name of the setting; a list of texts for a setting that takes several.
        files: the files of ``--config``, in order.
        trust: whether ``--trust`` was passed.
        help: the requested help: "basic", "all", or "" for none.
    """

    values: dict[str, Any]
    files: list[str]
    trust: bool
    help: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise an error instead of printing the usage and ending the process.

        Raises:
            UserError: always.
        """
        raise UserError(message)


def parse_arguments(
    settings: type, argv: list[str], name: str, positional: tuple[str, ...] = ()
) -> Arguments:
    """Parse a command line without converting values.

    Args:
        settings: the dataclass whose fields are the flags.
        argv: the words after the command.
        name: the command.
        positional: settings that may be specified without their flags, in this order. The last one
            takes all further words if it is a list.

    Raises:
        UserError: an unknown flag, a flag without its value, or a surplus word.
    """
    argv = join_pairs(settings, _with_present_names(settings, argv))
    parser = _parser(settings, argv, name)
    words = _with_switch_values(settings, argv)
    try:
        namespace, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise UserError(_parse_error(str(error), words)) from error
    values = vars(namespace)
    words = values.pop("words")
    if unknown:
        flag = unknown[0].partition("=")[0]
        raise UserError(f"{flag} is unknown: {_hint(flag, settings, name)}")
    shown = "all" if values.pop("help_all", None) else "basic" if values.pop("help", None) else ""
    files, trust = values.pop("config", []), bool(values.pop("trust_files", False))
    values.pop("json", None)
    unflagged = _positional(settings, words, positional)
    for twice in unflagged.keys() & values.keys():
        raise UserError(
            f"{twice.upper()} is given twice, with and without --{twice}: leave one of them out"
        )
    values |= unflagged
    return Arguments(_with_tables(values), files, trust, shown)


def _parse_error(message: str, words: list[str]) -> str:
    """A message of argparse in the words of this program.

    Args:
        message: what argparse says.
        words: of the command line.
    """
    without_value = re.match(r"argument (--[^:]+): expected", message)
    if without_value is None:
        return message
    spellings = without_value[1].split("/")
    flag = spellings[0]
    for word, following in _with_following(words):
        if word in spellings and following.startswith("--"):
            following = following.partition("=")[0]
            return f"{flag} has no value: {following} after it is a setting of its own"
    return f"{flag} has no value"


def _with_following(words: list[str]) -> list[tuple[str, str]]:
    """Every word with the word after it; the last one with an empty text."""
    return list(zip(words, [*words[1:], ""], strict=False))


def _parser(settings: type, argv: list[str], name: str) -> _Parser:
    parser = _Parser(
        prog=f"byol {name}", add_help=False, allow_abbrev=False, exit_on_error=False,
        argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser._negative_number_matcher = _NEGATIVE
    parser.add_argument("words", nargs="*", default=[])
    parser.add_argument("--config", action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trust", action="store_true", dest="trust_files")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--help-all", action="store_true")
    for field, kind in kinds_of(settings).items():
        if field == "trust":  # on every command line
            continue
        several = {"action": "append"} if kind == list[str] else {}
        parser.add_argument(*_flags(field), dest=field, **several)  # type: ignore[arg-type]
        if is_switch(kind):
            no = [f"--no-{flag.removeprefix('--')}" for flag in _flags(field)]
            parser.add_argument(*no, dest=field, action="store_const", const="false")
        if kind == dict[str, Any]:
            heads = tuple(f"{flag}." for flag in _flags(field))
            for entry in sorted({w.partition("=")[0] for w in argv if w.startswith(heads)}):
                parser.add_argument(entry, dest=f"{field}.{entry.partition('.')[2]}")
    return parser


def _with_present_names(settings: type, argv: list[str]) -> list[str]:
    """Replace the old names of settings, which are accepted for one version with a warning.

    ``--trust`` is also a flag of every command, so it is the old name only before a number.
    """
    words = list(argv)
    for position, (word, following) in enumerate(_with_following(argv)):
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            continue
        old = flag.removeprefix("--").replace("-", "_")
        is_common = old in COMMON and not _NUMBER.fullmatch(value if equals else following)
        if not is_common and (new := present_name(old, fields_of(settings))) != old:
            words[position] = f"--{new.replace('_', '-')}{equals}{value}"
    return words


def _flags(name: str) -> list[str]:
    """The two spellings of a flag: ``--batch-size``, and ``--batch_size`` as in YAML."""
    return list(dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")))


def _with_switch_values(settings: type, argv: list[str]) -> list[str]:
    """Replace a switch by ``--resume=true``, unless one of its values follows, such as ``auto``.

    argparse would take any following word as the value, such as the name of a folder. Other words
    for true and false are values as well, which the conversion refuses.
    """
    accepted = {
        flag: ("true", "false", "yes", "no", "on", "off", *choices_of(kind))
        for name, kind in kinds_of(settings).items()
        if is_switch(kind) and name != "trust"
        for flag in _flags(name)
    }
    return [
        f"{word}=true" if word in accepted and value.lower() not in accepted[word] else word
        for word, value in _with_following(argv)
    ]


def _positional(settings: type, words: list[str], positional: tuple[str, ...]) -> dict[str, Any]:
    """The values of the words without flags, by name of the setting."""
    kinds, values = kinds_of(settings), dict[str, Any]()
    for number, word in enumerate(words):
        if number >= len(positional) and not (positional and kinds[positional[-1]] == list[str]):
            raise UserError(f"{word!r} is surplus: settings are written as --NAME VALUE")
        name = positional[min(number, len(positional) - 1)]
        if kinds[name] == list[str]:
            values.setdefault(name, []).append(word)
        else:
            values[name] = word
    return values


def _with_tables(values: dict[str, Any]) -> dict[str, Any]:
    """Make ``backbone_args.depth`` an entry of ``backbone_args``; its value is parsed as YAML."""
    import yaml

    merged: dict[str, Any] = {}
    for name, value in values.items():
        table, dot, entry = name.partition(".")
        if dot:
            try:
                parsed = plain_yaml(value)
            except (ValueError, yaml.YAMLError) as error:
                reason = f"{printable(value)} is not a value: {first_line(error)}"
                raise UserError(f"--{name}={reason}") from error
            merged[table] = {**merged.get(table, {}), entry: parsed}
        else:
            merged[name] = value
    return merged


def _hint(word: str, settings: type, name: str) -> str:
    flags = {f"--{field.replace('_', '-')}" for field in (*fields_of(settings), *COMMON)}
    near = difflib.get_close_matches(word.partition("=")[0].replace("_", "-"), flags, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"see byol {name} --help"
