"""From the words of a command line to a settings object, by jsonargparse."""

import contextlib
import dataclasses
import difflib
import json
import os
import re
from collections.abc import Container
from pathlib import Path
from typing import Any, NoReturn, get_args

from jsonargparse import ArgumentParser, ParserError

from BYOL.config import PretrainConfig
from BYOL.config.paths import check_named_places, shown
from BYOL.config.presets import preset_values
from BYOL.config.validation import refuse_nulls, with_pairs
from BYOL.config.yaml_io import read_settings, signed_by_user
from BYOL.errors import UserError

# Fields that name a file or a folder. Data, --data_root and --weights are expanded where they are
# read, and stand in a run's config.yaml as they were given, so that they fit another home, too.
_PLACES = frozenset({"run", "out", "to", "labels", "groups", "reference", "grid", "kept", "sweep"})
_IN_WORDS = {  # kinds of values
    "str": "text: write it in quotes",
    "dict": "a table of names and values",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "two numbers with a comma between",
    "tuple[float, float]": "two numbers with a comma between",
    "list": "values with commas between",
    "list[float]": "numbers with commas between",
}
_WRONG_KINDS = (  # what jsonargparse says of values
    r"Subtypes: \[(?P<kind>.+), NoneType\] Errors: .*Given value: (?P<value>.*)",
    r"Expected an? (?P<kind>\w+)\. Got value: (?P<value>.*)",
)


def parse_settings(
    settings: type,
    argv: list[str],
    name: str = "pretrain",
    summary: str = "-",
    positional: tuple[str, ...] = (),
) -> Any:
    """The settings that the words of a command line ask for; None where only help was wanted.

    Order, later ones win: the preset (for settings of a run), the file of ``--config``, ``argv``.
    What the file names is opened only as :func:`BYOL.config.paths.check_named_places` allows.

    Args:
        settings: the dataclass to fill.
        argv: the words after the command.
        name: the command.
        summary: its line in the help.
        positional: fields that may be given without their flags.

    Raises:
        UserError: an unknown flag, a value of the wrong type or out of range.
    """
    argv, trusted = _without_trust(argv, settings)
    argv = tidy(argv, settings, positional)
    words, values = _with_file(argv, settings, trusted or "--trust=true" in argv)
    return _filled(settings, values, words, name, summary, positional)


def settings_of(values: dict[str, Any]) -> PretrainConfig:
    """The settings of a run from names and values, of which none can become a flag.

    Args:
        values: of a file; names that are no settings are refused.

    Raises:
        UserError: an unknown name, a value of the wrong type or out of range.
    """
    found = file_values(PretrainConfig, values, "--{}")
    config: PretrainConfig = _filled(PretrainConfig, found, [], "pretrain", "-", ())
    return config


def _filled(
    settings: type,
    values: dict[str, Any],
    words: list[str],
    name: str,
    summary: str,
    positional: tuple[str, ...],
) -> Any:
    """The preset, then the values of a file, then the words of the command line."""

    def parsed(preset: str | None) -> Any:
        defaults = preset_values(preset) if preset else {}
        parser = build_parser(name, summary, settings, positional, defaults)
        return parse_arguments(parser, words, settings, values)

    if not issubclass(settings, PretrainConfig):
        return parsed(None)
    # The preset's values lie under the file's and the flags', and which preset it is may be said
    # in either, or follow from the pictures: hence a first reading only to find that out.
    config = parsed("digits")
    if config is None:
        return None
    specified = _specified(words, values)
    preset = config.preset if "preset" in specified else "auto"
    if preset == "auto" and config.data in (None, "digits"):
        preset = "digits"
    recipe = {"specified": sorted(specified - {"recipe", "preset"})}
    config = parsed(None if preset == "auto" else preset)
    return dataclasses.replace(config, preset=preset, recipe=recipe)


def _specified(words: list[str], values: dict[str, Any]) -> set[str]:
    """The settings that a tidied command line and the values of files name.

    A sweep writes all settings into a file, and which ones the user specified.
    """
    names = {word.removeprefix("--").partition("=")[0].split(".")[0] for word in words}
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and "specified" in recipe and "facts" not in recipe:
        return names | {"preset", *map(str, recipe["specified"])}
    return names | set(values)


def build_parser(
    name: str, summary: str, settings: type, positional: tuple[str, ...], defaults: dict[str, Any]
) -> ArgumentParser:
    """A parser for one command.

    Args:
        name: the command.
        summary: its line in the help.
        settings: the dataclass to fill; its docstring is the help of every flag.
        positional: fields that may be given without their flags, in this order; see :func:`tidy`.
        defaults: what differs from the dataclass's own defaults (a preset's values).
    """
    words = [_usage(settings, word) for word in positional]
    parser = ArgumentParser(
        prog=f"byol {name}",
        usage=" ".join(["byol", name, *words, "[--SETTING VALUE …]"]),
        description=summary[0].upper() + summary[1:] + ".",
        exit_on_error=False,
        default_env=False,
        allow_abbrev=False,  # a mistyped flag is an error with a hint, not a guess
    )
    parser.add_argument("--config", help="YAML file of settings; flags override")
    parser.add_class_arguments(settings, as_group=False)
    parser.set_defaults(defaults)
    return parser


def _without_trust(argv: list[str], settings: type) -> tuple[list[str], bool]:
    """The words without ``--trust``, and whether it was there, for settings without that switch.

    Of a run, ``--trust NUMBER`` is LARS's coefficient; the permission has no number after it.
    """
    if any(field.name == "trust" and field.type is bool for field in dataclasses.fields(settings)):
        return argv, False
    follows = [*argv[1:], ""]
    alone = {
        place
        for place, word in enumerate(argv)
        if word == "--trust" and not re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", follows[place])
    }
    return [word for place, word in enumerate(argv) if place not in alone], bool(alone)


def _with_file(argv: list[str], settings: type, trusted: bool) -> tuple[list[str], dict[str, Any]]:
    """The words but ``--config``, and the values of the files that it names, checked.

    Raises:
        UserError: a file that cannot be read, an unknown setting, or a place it may not name.
    """
    words, values = [], dict[str, Any]()
    given = {word.removeprefix("--").partition("=")[0] for word in argv}
    for word in argv:
        if not word.startswith("--config="):
            words.append(word)
            continue
        path = Path(word.partition("=")[2])
        found = file_values(settings, read_settings(path), "--config: setting {!r}")
        if "trust" in found and not issubclass(settings, PretrainConfig):
            raise UserError(f"--config={path}: trust is for the command line alone")
        own = trusted or signed_by_user(path)
        check_named_places(settings, found, f"--config={path}", trusted=own, overridden=given)
        values |= found
    return words, values


def file_values(settings: type, values: dict[str, Any], called: str) -> dict[str, Any]:
    """The values of a file by the names of settings, ``backbone_args.NAME`` among them.

    Args:
        settings: the dataclass that they are for.
        values: by name, as the file has them.
        called: how a message calls an unknown name, as a format.

    Raises:
        UserError: a name that is no setting, or a value of another shape than a table or a list.
    """
    fields = {field.name: field for field in dataclasses.fields(settings)}
    found: dict[str, Any] = {}
    for key, value in values.items():
        name, dot, rest = key.partition(".")
        table = name in fields and str(fields[name].type).startswith("dict")
        if name not in fields or (dot and not (table and rest.isidentifier())):
            near = difflib.get_close_matches(key, fields, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "it is no name of a setting"
            raise UserError(f"{called.format(shown(key))} is unknown: {hint}")
        if dot:
            found[name] = {**found.get(name, {}), rest: value}
        else:
            found[name] = _numbers(fields[name].type, value)
    return found


def _numbers(kind: object, value: Any) -> Any:
    """``0.5,1`` as a list of numbers, for a setting that takes several, as on a command line."""
    several = re.search("list|tuple", str(kind)) and isinstance(value, str)
    if several and re.fullmatch(r"[-+\d.e]+(,[-+\d.e]+)+", value):
        with contextlib.suppress(ValueError):
            whole = re.compile(r"[-+]?\d+")
            return [int(p) if whole.fullmatch(p) else float(p) for p in value.split(",")]
    return value


def parse_arguments(
    parser: ArgumentParser, argv: list[str], settings: type, values: dict[str, Any] | None = None
) -> Any:
    """Parse into ``settings``; None where help was asked for (and printed).

    Args:
        parser: of the command.
        argv: the words after the command, without ``--config``.
        settings: the dataclass to fill.
        values: of a file, by names of settings; ``argv`` goes over them.

    Raises:
        UserError: one line that says what is wrong.
    """
    if "--help" in argv:
        print(parser.format_help(), end="")
        print("  --json                one JSON object on standard output instead of a table")
        print("  --trust               without a number: open what a file of --config names")
        return None
    try:
        parsed = parser.parse_args(argv, namespace=_checked(parser, settings, values)).as_dict()
    except (ParserError, ValueError, OSError, TypeError) as error:
        _refuse(parser, error)
    parsed.pop("config", None)
    refuse_nulls(settings, parsed)
    parsed |= {name: _at_home(parsed[name]) for name in _PLACES & parsed.keys()}
    return settings(**with_pairs(settings, parsed))


def _checked(parser: ArgumentParser, settings: type, values: dict[str, Any] | None) -> Any:
    """The values of a file as jsonargparse's namespace, of the types that the settings have."""
    if not values:
        return None
    fields = dataclasses.fields(settings)
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    absent = {name: _absent(settings, name) for name in missing}
    namespace = parser.parse_object({**values, **absent})
    for name in missing:
        namespace.pop(name)  # the command line is to give it
    return namespace


def _absent(settings: type, name: str) -> Any:
    """A value of the type of a setting that a file leaves to the command line."""
    kind = {field.name: field.type for field in dataclasses.fields(settings)}[name]
    return [] if kind == list[str] else ""


def _at_home(value: Any) -> Any:
    """A path, or several, with the folder that ``~`` means: only a shell knows it otherwise."""
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111


def tidy(argv: list[str], settings: type, positional: tuple[str, ...]) -> list[str]:
    """Let people write flags as they are used to.

    ``photos/`` for ``--data=photos/``; ``--batch-size`` for ``--batch_size``; ``--resume`` for
    ``--resume=true``, ``--resume auto`` for ``--resume=auto`` and ``--no-evaluate`` for
    ``--evaluate=false``; ``--blur 1,0.1`` for ``--blur=[1,0.1]``; ``--label-shares 0.1`` for a
    list of one. The last of ``positional`` takes all further words if it is a list. ``--config``
    comes first, wherever it stood: what is read last overrides what was before.

    Raises:
        UserError: more words without a flag than ``positional`` names, or a flag without its value.
    """
    names = list(positional)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    lists: dict[str, list[str]] = {}
    words = list(argv)
    tidied: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-h":
            tidied.append("--help")
            continue
        if not word.startswith("--"):
            if not names:
                raise UserError(
                    f"{word!r} is one word too many: settings are given as --NAME VALUE"
                )
            if fields[names[0]].type == list[str]:
                lists.setdefault(names[0], []).append(word)
            else:
                tidied.append(f"--{names.pop(0)}={word}")
            continue
        flag, equals, value = word.removeprefix("--").partition("=")
        flag = flag.replace("-", "_")
        if not equals:
            if flag == "help" or not (words or _is_switch(flag, fields)):
                tidied.append(word)
                continue
            flag, value = _with_value(flag, words, fields)
        if flag in fields and fields[flag].type == list[str]:
            lists.setdefault(flag, []).append(value)
            continue
        value = _at_home(value) if flag == "config" else value
        more = "*" if flag in fields and "list" in str(fields[flag].type) else "+"
        if flag in fields and re.fullmatch(rf"[-\d.e]+(,[-\d.e]+){more}", value):
            value = f"[{value}]"
        tidied.append(f"--{flag}={value}")
    gathered = (f"--{name}={json.dumps(values)}" for name, values in lists.items())
    return sorted([*tidied, *gathered], key=lambda word: not word.startswith("--config="))


def _with_value(flag: str, words: list[str], fields: dict[str, Any]) -> tuple[str, str]:
    """A flag that was given without ``=``, and its value: taken from ``words``, or a switch's own.

    Raises:
        UserError: the next word is a flag of its own.
    """
    negated = flag.removeprefix("no_")
    accepted = _switch(fields[flag].type) if flag in fields else ()
    if accepted:
        given = words and words[0].lower() in accepted
        return flag, words.pop(0).lower() if given else "true"
    if negated in fields and _switch(fields[negated].type):
        return negated, "false"
    value = words.pop(0)
    if _is_flag(value, fields) and flag in (*fields, "config"):
        raise UserError(f"--{flag} has no value: {value} after it is a setting of its own")
    return flag, value


def _is_switch(flag: str, fields: dict[str, Any]) -> bool:
    """Whether a flag, or one that begins with ``no_``, needs no value."""
    return any(
        name in fields and _switch(fields[name].type) for name in (flag, flag.removeprefix("no_"))
    )


def _is_flag(word: str, names: Container[str]) -> bool:
    if not word.startswith("--"):
        return False
    flag = word.removeprefix("--").partition("=")[0].replace("-", "_")
    return flag in ("config", "json", "help") or flag in names or flag.removeprefix("no_") in names


def _switch(kind: object) -> tuple[str, ...]:
    """What may follow a flag that is a switch: true and false, and its further words if any."""
    if kind is bool:
        return ("true", "false")
    further = [word for part in get_args(kind) for word in get_args(part)]
    return ("true", "false", *further) if bool in get_args(kind) else ()


def _refuse(parser: ArgumentParser, error: Exception) -> NoReturn:
    text = " ".join(str(error).split())
    flags = [flag for action in parser._actions for flag in action.option_strings]
    if unknown := re.search(r"[Uu]nrecognized arguments?: (--[\w-]+)", text):
        raise UserError(
            f"{unknown[1]} is unknown: {_nearest(unknown[1], flags, parser)}"
        ) from error
    if unknown := re.search(r"Option '([\w.-]+)' is not accepted", text):
        names = [flag.removeprefix("--").replace("-", "_") for flag in flags]
        hint = _nearest(unknown[1], names, parser)
        raise UserError(f"--config: setting {unknown[1]!r} is unknown: {hint}") from error
    bad = re.search(r'[Pp]arser key "([\w.]+)":?\s*(.*)', text)
    if bad:
        reason = re.sub(r"<class '(\w+)'>", r"\1", bad[2])
        for pattern in _WRONG_KINDS:
            if found := re.search(pattern, reason):
                kind, value = found["kind"], found["value"]
                reason = f"{value} is not {_IN_WORDS.get(kind, kind)}"
        raise UserError(f"--{bad[1]}: {reason[:300]}") from error
    raise UserError(text[:400]) from error


def _nearest(given: str, known: list[str], parser: ArgumentParser) -> str:
    near = difflib.get_close_matches(given, known, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"see {parser.prog} --help"


def _usage(settings: type, name: str) -> str:
    """A positional word in the usage line: RUN, [DATA], or RUN [RUN …]."""
    field = {f.name: f for f in dataclasses.fields(settings)}[name]
    if field.type == list[str]:
        return f"{name.upper()} [{name.upper()} …]"
    return name.upper() if field.default is dataclasses.MISSING else f"[{name.upper()}]"
