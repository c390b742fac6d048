"""Write docs/commands/, a page for every command, from the code: ``python docs/generate.py``."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from BYOL.cli.help import default_text, setting_groups, usage_word
from BYOL.cli.main import COMMANDS, Command
from BYOL.cli.parser import COMMON
from BYOL.config import PretrainConfig
from BYOL.config.fields import Info, choices_of, fields_of, info_of, is_switch, kinds_of

FOLDER = Path(__file__).parent / "commands"
_NOTE = "<!-- Made by docs/generate.py from the code: change the settings' help texts instead. -->"


def pages() -> dict[str, str]:
    """The text of every page, the overview included, by file name."""
    made = {f"{name}.md": page(name, command) for name, command in COMMANDS.items()}
    rows = [f"| [`byol {name}`]({name}.md) | {c.summary} |" for name, c in COMMANDS.items()]
    lines = [
        "# Commands",
        _NOTE,
        "",
        "| command | description |",
        "|---|---|",
        *rows,
        "",
        "Every command has these flags:",
        "",
        "| flag | description |",
        "|---|---|",
        *(f"| `--{flag}` | {text} |" for flag, text in COMMON.items()),
        "",
        "With `--json`, a mistake is one JSON object on standard output too. Exit codes: 0 for",
        "success, 2 after one line about a mistake, 3 if the collapse alarm stopped training, 75",
        "if a run stopped early and can be resumed, 130 after Ctrl-C.",
        "",
    ]
    return {"README.md": "\n".join(lines), **made}


def page(name: str, command: Command) -> str:
    """The page of the command ``name``."""
    settings = command.settings
    words = [usage_word(settings, word) for word in command.positional]
    inherits = settings is not PretrainConfig and issubclass(settings, PretrainConfig)
    lines = [
        f"# byol {name}",
        _NOTE,
        "",
        f"{command.summary}.",
        "",
        "```",
        " ".join(["byol", name, *words, "[--SETTING VALUE …]"]),
        "```",
        "",
    ]
    groups = [
        (title, [n for n in names if not inherits or n in vars(settings)["__annotations__"]])
        for title, names in setting_groups(settings)
    ]
    for title, names in groups:
        if names:
            lines += [f"## {title[0].upper()}{title[1:]}", "", *_table(command, names), ""]
    if inherits:
        lines += ["All settings of [`byol pretrain`](pretrain.md) are accepted too.", ""]
    if issubclass(settings, PretrainConfig):
        lines += ["A preset replaces these defaults: see [recipes](../recipes.md).", ""]
    lines += ["The flags of every command are listed in the [overview](README.md).", ""]
    return "\n".join(lines)


def _table(command: Command, names: list[str]) -> list[str]:
    fields, kinds = fields_of(command.settings), kinds_of(command.settings)
    rows = [
        f"| {_flag(fields[n], command)} | {_default(fields[n])} "
        f"| {accepted(info_of(fields[n]), kinds[n])} | {_escape(info_of(fields[n]).help)} |"
        for n in names
    ]
    return ["| setting | default | accepted | meaning |", "|---|---|---|---|", *rows]


def accepted(info: Info, kind: Any) -> str:
    """The accepted values of a setting: its choices or its range; empty where any value is."""
    if choices := choices_of(kind):
        switch = ("on", "off") if is_switch(kind) else ()
        return ", ".join(f"`{word}`" for word in (*switch, *choices))
    if is_switch(kind):
        return "on, off"
    if info.low is None:
        return ""
    number = _number(info.low)
    if info.high is None or info.high > 1e9:
        return f"from {number}"
    return f"{number} to {_number(info.high)}"


def _number(value: float) -> str:
    return f"{value:g}"


def _flag(field: "dataclasses.Field[Any]", command: Command) -> str:
    flag = f"`--{field.name.replace('_', '-')}`"
    return f"`{field.name.upper()}` or {flag}" if field.name in command.positional else flag


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is field.default_factory is dataclasses.MISSING:
        return "required"
    if isinstance(field.default, bool):
        return "on" if field.default else "off"
    text = default_text(field)
    return f"`{text}`" if text else ""


def _escape(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the pages, or with ``--check`` name those that are not current."""
    made = pages()
    if "--check" in sys.argv[1:]:
        stale = [
            name
            for name, text in made.items()
            if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text
        ]
        if stale:
            print(f"docs/commands is not current, run python docs/generate.py: {', '.join(stale)}")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
