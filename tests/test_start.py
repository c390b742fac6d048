"""Every block of code of Start and of the tutorial runs as it stands, in an empty folder.

The notebooks among the tutorials are in test_notebooks.py.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import draw_images
from tests.test_docs import DOCS

ROOT = DOCS.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# What installs this package or PyTorch is not run: CI does it in a fresh environment.
INSTALLS = ("python -m venv", "python -m pip")
# The tests have less time than a reader: what is replaced in the commands.
SHORTER = {"--minutes 20": "--minutes 0.3", "--minutes 2 ": "--minutes 0.5 "}


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of every block of code of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def masked(text: str) -> str:
    """Text without what differs between two runs: numbers, and how wide a table is."""
    text = re.sub(r"\d[\d,.e+-]*", "#", re.sub(r"p [<=] ", "p ", text))
    return re.sub(r"[\s━─]+", " ", re.sub(r"[+-]#", "#", text)).strip()


def beginning(line: str) -> str:
    """What every run prints of a line of output; empty for omitted lines."""
    return masked(line)[:25].strip(" …")


class Shell:
    """Runs command lines in a folder where ``byol`` and ``python`` are those of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / ".programs"
        programs.mkdir()
        for name, command in {"byol": "-m BYOL", "python": ""}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (programs / name).chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def run(self, command: str) -> str:
        """The output of a command line, which must succeed."""
        for long, short in SHORTER.items():
            command = command.replace(long, short)
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}"
        return done.stdout


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(900)
def test_the_commands_of_start_run(tmp_path: Path) -> None:
    draw_images(tmp_path / "photos")
    shell = Shell(tmp_path)
    lines = [line for _, block in blocks("index.md") for line in block.splitlines()]
    commands = [line for line in lines if not line.startswith(INSTALLS)]
    assert commands[0] == "byol pretrain" and len(commands) == 2
    for command in commands:
        shell.run(command)
    assert (tmp_path / "runs" / "photos" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(1200)
def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    commands = 0
    for language, block in blocks("guide.md"):
        if language == "python":  # its first line names the file
            (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            printed = masked(shell.run(command))
            commands += 1
            rows = shown.splitlines()[: 1 if command.startswith("head") else None]
            for line in filter(None, map(beginning, rows)):
                assert line in printed, f"{command}: {line}\n{printed}"
    assert commands > 20


@pytest.mark.parametrize("page", ["docs/index.md", "README.md"])
def test_start_and_the_readme_explain_every_extra(page: str) -> None:
    table = (ROOT / page).read_text().partition("| extra |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row[:40])}
    assert named == EXTRAS.keys()


def test_every_term_of_the_glossary_has_a_source_and_its_place_in_the_alphabet() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", (DOCS / "glossary.md").read_text(), re.M)
    terms = [term for term, _, _ in rows[2:]]
    assert len(terms) > 40 and terms == sorted(terms, key=str.casefold)
    for term, meaning, source in rows[2:]:
        assert meaning.endswith(".") and re.search(r"\d{4}|\]\(", source), term
