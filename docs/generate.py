"""Write docs/commands/: a page for every command, from the code: ``python docs/generate.py``."""

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from BYOL.cli.main import COMMANDS, Command
from BYOL.config import PretrainConfig

FOLDER = Path(__file__).parent / "commands"
_NOTE = "<!-- Made by docs/generate.py from the code; change the settings' docstrings instead. -->"


def pages() -> dict[str, str]:
    """File name → text, the overview included."""
    made = {f"{name}.md": page(name, command) for name, command in COMMANDS.items()}
    rows = [f"| [`byol {name}`]({name}.md) | {c.summary} |" for name, c in COMMANDS.items()]
    lines = [
        "# Commands",
        _NOTE,
        "",
        "Every command also takes `--help`, `--config FILE.yaml` (flags override it) and `--json`",
        "(one JSON object on standard output, also of a mistake). Exit codes: 0, 2 after one line",
        "about a mistake, 3 where the collapse alarm has stopped training, 130 after Ctrl-C.",
        "",
        "| command | what it does |",
        "|---|---|",
        *rows,
        "",
    ]
    return {"README.md": "\n".join(lines), **made}


def page(name: str, command: Command) -> str:
    """The page of one command."""
    fields = dataclasses.fields(command.settings)
    required = {f.name for f in fields if f.default is dataclasses.MISSING}
    words = [w.upper() if w in required else f"[{w.upper()}]" for w in command.positional]
    helps = documented(command.settings)
    inherited: set[str] = set()
    if command.settings is not PretrainConfig and issubclass(command.settings, PretrainConfig):
        inherited = {f.name for f in dataclasses.fields(PretrainConfig)}
    own = [f for f in fields if f.name not in inherited or f.name in documented_here(command)]
    rows = [f"| {_flag(f, command)} | {_default(f)} | {helps.get(f.name, '')} |" for f in own]
    lines = [
        f"# byol {name}",
        _NOTE,
        "",
        command.summary[0].upper() + command.summary[1:] + ".",
        "",
        "```",
        " ".join(["byol", name, *words, "[--SETTING VALUE …]"]),
        "```",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
        *rows,
        "",
    ]
    if inherited:
        lines += ["All settings of [`byol pretrain`](pretrain.md) are accepted too.", ""]
    if "preset" in {f.name for f in fields}:
        lines += ["A preset's values go before these defaults: [recipes](../recipes.md).", ""]
    return "\n".join(lines)


def documented(settings: type) -> dict[str, str]:
    """Field → its line under ``Args:``, those of base classes included."""
    found: dict[str, str] = {}
    for cls in reversed(settings.__mro__):
        text = (cls.__doc__ or "").partition("Args:\n")[2]
        for entry in re.split(r"\n(?=        \w+: )", "\n" + text.rstrip()):
            name, colon, meaning = entry.strip().partition(": ")
            if colon:
                found[name] = " ".join(meaning.split()).replace("|", "\\|")
    return found


def documented_here(command: Command) -> set[str]:
    """Fields that the command's own settings say something about, or add."""
    text = (command.settings.__doc__ or "").partition("Args:\n")[2]
    return set(re.findall(r"^        (\w+): ", text, re.MULTILINE))


def _flag(field: "dataclasses.Field[Any]", command: Command) -> str:
    flag = f"`--{field.name.replace('_', '-')}`"
    return f"`{field.name.upper()}` or {flag}" if field.name in command.positional else flag


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "needed" if field.default_factory is dataclasses.MISSING else "…"
    if field.default is None:
        return ""
    if isinstance(field.default, tuple):
        return (
            "`"
            + ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in field.default)
            + "`"
        )
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default}`"


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
