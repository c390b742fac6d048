"""The words of a command line as settings: argparse, built from the fields of the settings."""

import argparse
import dataclasses
import difflib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from BYOL.config.fields import choices_of, fields_of, info_of, is_switch, kinds_of
from BYOL.config.from_values import build_settings, specified_names, values_of_file
from BYOL.config.paths import check_named_places
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.yaml_io import read_settings, signed_by_user
from BYOL.errors import UserError

_NEGATIVE = re.compile(r"^-[\d.][-\d.,e+]*$")  # a number, or several: -1000,400
_NUMBER = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")
COMMON = {  # flags of every command
    "config": "a YAML file of settings; flags override it",
    "json": "print one JSON object on standard output in place of text",
    "trust": "open what a file of somebody else names: images, labels, hosts",
    "help": "show the settings that most people need",
    "help-all": "show every setting",
}

log = logging.getLogger(__name__)


def parse_settings(
    settings: type,
    argv: list[str],
    name: str = "pretrain",
    summary: str = "-",
    positional: tuple[str, ...] = (),
) -> Any:
    """The settings that the words of a command line ask for; None if only help was wanted.

    Order, later ones win: the preset (for settings of a run), the files of ``--config``, ``argv``.
    What a file names is opened only as :func:`BYOL.config.paths.check_named_places` allows.

    Args:
        settings: the dataclass to fill.
        argv: the words after the command.
        name: the command.
        summary: its line in the help.
        positional: settings that may be specified without their flags.

    Raises:
        UserError: an unknown flag, a value of the wrong type or out of range.
    """
    arguments = parse_arguments(settings, argv, name, positional)
    if arguments.help:
        from BYOL.cli.help import help_text

        print(help_text(settings, name, summary, positional, arguments), end="")
        return None
    found = _file_values(settings, arguments)
    words = at_home(settings, arguments.values)
    if arguments.trust and "trust" in fields_of(settings):
        words["trust"] = True
    values = {**at_home(settings, found), **words}
    for table, entries in words.items():  # entries of a table are added to those of a file
        if isinstance(entries, dict) and isinstance(found.get(table), dict):
            values[table] = {**found[table], **entries}
    return build_settings(settings, values, specified_names(words, found))


def _file_values(settings: type, arguments: "Arguments") -> dict[str, Any]:
    """The values of the files of ``--config``, checked.

    Raises:
        UserError: a file that cannot be read, an unknown setting, or a place it may not name.
    """
    values: dict[str, Any] = {}
    for file in arguments.files:
        path = Path(os.path.expanduser(file))  # noqa: PTH111
        content = read_settings(path)
        if content.get("trust") in (True, False):
            raise UserError(f"--config={path}: trust is for the command line alone")
        found = values_of_file(settings, content, "--config: setting {!r}")
        check_named_places(
            settings, found, f"--config={path}",
            trusted=arguments.trust or signed_by_user(path), overridden=arguments.values,
        )  # fmt: skip
        values |= found
    return values


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A parsed command line.

    Args:
        values: name of a setting → its text, or a list of texts for a setting that takes several.
        files: of ``--config``, in order.
        trust: whether ``--trust`` was there.
        help: "" or "basic" or "all": which help was asked for.
    """

    values: dict[str, Any]
    files: list[str]
    trust: bool
    help: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise in place of printing the usage and ending the process."""
        lacking = re.match(r"argument (--[\w.-]+).*expected", message)
        raise UserError(f"{lacking[1]} has no value" if lacking else message)


def parse_arguments(
    settings: type, argv: list[str], name: str, positional: tuple[str, ...] = ()
) -> Arguments:
    """Read the words of a command line, without converting values.

    Args:
        settings: the dataclass whose fields are the flags.
        argv: the words after the command.
        name: the command.
        positional: settings that may be specified without their flags, in this order; the last one
            takes all further words if it is a list.

    Raises:
        UserError: an unknown flag, a flag without its value, or one word too many.
    """
    argv = _with_present_names(settings, argv)
    parser = _parser(settings, argv, name)
    try:
        words = _with_switch_values(settings, argv)
        found, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        parser.error(str(error))
    values = vars(found)
    words = values.pop("words")
    if unknown:
        flag = unknown[0].partition("=")[0]
        raise UserError(f"{flag} is unknown: {_hint(flag, settings, name)}")
    shown = "all" if values.pop("help_all", None) else "basic" if values.pop("help", None) else ""
    files, trust = values.pop("config", []), bool(values.pop("trust_files", False))
    values.pop("json", None)
    values |= _positional(settings, words, positional)
    return Arguments(_with_tables(values), files, trust, shown)


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
    """``--trust NUMBER`` was LARS's coefficient in earlier versions; accepted for one version."""
    if not issubclass(settings, PretrainConfig):
        return argv
    words = list(argv)
    for place, (word, after) in enumerate(zip(argv, [*argv[1:], ""], strict=True)):
        flag, equals, value = word.partition("=")
        if flag == "--trust" and _NUMBER.fullmatch(value if equals else after):
            words[place] = f"--trust-coefficient{equals}{value}"
            log.warning("--trust NUMBER is called --trust-coefficient now")
    return words


def _flags(name: str) -> list[str]:
    """``--batch-size`` and, as it was in earlier versions and is in YAML, ``--batch_size``."""
    return list(dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")))


def _with_switch_values(settings: type, argv: list[str]) -> list[str]:
    """``--resume`` as ``--resume=true``, unless a word of its own follows, such as ``auto``.

    argparse would take any next word, of a folder for example, as the value.
    """
    accepted = {
        flag: ("true", "false", *choices_of(kind))
        for name, kind in kinds_of(settings).items()
        if is_switch(kind) and name != "trust"
        for flag in _flags(name)
    }
    following = [*argv[1:], ""]
    return [
        f"{word}=true" if word in accepted and after.lower() not in accepted[word] else word
        for word, after in zip(argv, following, strict=True)
    ]


def _positional(settings: type, words: list[str], positional: tuple[str, ...]) -> dict[str, Any]:
    kinds, found = kinds_of(settings), dict[str, Any]()
    for number, word in enumerate(words):
        if number >= len(positional) and not (positional and kinds[positional[-1]] == list[str]):
            raise UserError(f"{word!r} is one word too many: settings are given as --NAME VALUE")
        name = positional[min(number, len(positional) - 1)]
        if kinds[name] == list[str]:
            found.setdefault(name, []).append(word)
        else:
            found[name] = word
    return found


def _with_tables(values: dict[str, Any]) -> dict[str, Any]:
    """``backbone_args.depth`` as an entry of ``backbone_args``; its value is read as YAML."""
    import yaml

    found: dict[str, Any] = {}
    for name, value in values.items():
        table, dot, entry = name.partition(".")
        if dot:
            found[table] = {**found.get(table, {}), entry: yaml.safe_load(value)}
        else:
            found[name] = value
    return found


def _hint(word: str, settings: type, name: str) -> str:
    flags = [f"--{field.replace('_', '-')}" for field in (*fields_of(settings), *COMMON)]
    near = difflib.get_close_matches(word.partition("=")[0].replace("_", "-"), flags, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"see byol {name} --help"


def at_home(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with ``~`` expanded where a setting names a file."""

    def expanded(value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(item) for item in value]
        return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111

    home = {name for name, field in fields_of(settings).items() if info_of(field).home}
    return {k: expanded(v) if k in home else v for k, v in values.items()}
