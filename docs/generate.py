"""Write docs/commands/ from the code: ``python docs/generate.py``.

A page for every command, a page on sweep files, and the JSON schema of a sweep file.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from BYOL.cli.help import default_text, setting_groups, usage_word
from BYOL.cli.parser import COMMON
from BYOL.cli.program import COMMANDS, Command
from BYOL.config import PretrainConfig
from BYOL.config.fields import Info, choices_of, fields_of, info_of, is_switch, kinds_of
from BYOL.config.sweep import SweepFile

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
    schema = json.dumps(sweep_schema().json_schema(), indent=1, ensure_ascii=False)
    made |= {"sweep-file.md": sweep_page(), "sweep.schema.json": schema + "\n"}
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
    rows = []
    for name in names:
        field, info = fields[name], info_of(fields[name])
        cells = _flag(field, command), _default(field), accepted(info, kinds[name])
        rows.append(f"| {' | '.join(cells)} | {_escape(info.help)} |")
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


def sweep_schema() -> "TypeAdapter[Any]":
    """The schema of a sweep file: its parts, and the settings that a sweep may vary."""
    fields, kinds = fields_of(PretrainConfig), kinds_of(PretrainConfig)
    plain = {
        name: kinds[name] | str if "tuple[" in str(kinds[name]) else kinds[name]  # also "0.5,1"
        for name in fields
        if not info_of(fields[name]).unswept
    }
    documented = {
        name: Annotated[kind, _documented(info_of(fields[name]), kind)]
        for name, kind in plain.items()
    }
    settings = _table_type("Settings", documented)
    lists = {name: Annotated[list[kind], Field(min_length=1)] for name, kind in plain.items()}
    grid = _table_type("Grid", lists)
    types = {"settings": settings, "rows": dict[str, settings], "grid": grid}
    seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    parts = {
        name: Annotated[{**types, "seeds": seeds}[name], Field(description=info_of(field).help)]
        for name, field in fields_of(SweepFile).items()
    }
    return TypeAdapter(_table_type("SweepFile", parts))


def _table_type(name: str, kinds: dict[str, Any]) -> Any:
    """A table of optional entries of these types, and of the arguments of the backbone."""
    table = TypedDict(name, kinds, total=False)
    entries = {} if name == "SweepFile" else {"patternProperties": {r"^backbone_args\.": {}}}
    table.__pydantic_config__ = ConfigDict(extra="forbid", json_schema_extra=entries)
    return table


def _documented(info: Info, kind: Any) -> Any:
    """The help of a setting and, for a single number, its range."""
    is_number = not choices_of(kind) and any(part in str(kind) for part in ("int", "float"))
    if not is_number or "[float" in str(kind) or "[int" in str(kind):
        return Field(description=info.help)
    return Field(description=info.help, ge=info.low, le=info.high)


def sweep_page() -> str:
    """The page on sweep files."""
    rows = [
        f"| `{name}` | {_escape(info_of(field).help)} |"
        for name, field in fields_of(SweepFile).items()
    ]
    unswept = [
        f"| `{name}` | {_escape(reason)} |"
        for name, field in fields_of(PretrainConfig).items()
        if (reason := info_of(field).unswept)
    ]
    head = [_SWEEP_START, "| part | meaning |", "|---|---|", *rows, "", _SWEEP_VALUES]
    return "\n".join([*head, "| not for a sweep | reason |", "|---|---|", *unswept, ""])


_SWEEP_START = f"""# Sweep files
{_NOTE}

A sweep file is YAML. [`byol sweep`](sweep.md) runs every variant with every seed, each in a folder
of its own:
```yaml
# yaml-language-server: $schema=sweep.schema.json
settings: {{preset: digits, epochs: 20}}
rows:
  mlp: {{}}
  no predictor: {{predictor: none}}
grid: {{tau: [0.9, 0.99]}}
seeds: [0, 1, 2]
```
This file has four variants (two rows, two values of τ) and twelve runs. All parts are optional.
"""
_SWEEP_VALUES = """Values are text, numbers, true, false, null, or lists of these. A pair such as
`crop_scale` is a list of two numbers, or text: `0.5,1`. An argument of the backbone is
`backbone_args.NAME`. Without `--trust`, a file may name only built-in images and networks:
[files from somebody else](../security.md).

[`sweep.schema.json`](sweep.schema.json) is the JSON schema of such a file. It has every setting
with its help, its choices and its range, so that an editor completes names and marks mistakes. The
first line of the example names the schema for editors with a YAML language server. `byol sweep`
checks the same rules and names a mistake in one line before any run starts.
"""


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
    for old in FOLDER.iterdir():
        old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
