"""The notebooks run from the first cell to the last, and reach what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from BYOL.cli.main import main

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def execute(name: str, **environment: str) -> str:
    """The output of all cells of a notebook."""
    done = subprocess.run(
        [sys.executable, NOTEBOOKS / name],
        env={**os.environ, "MPLBACKEND": "Agg", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_fifty_labels_make_a_classifier() -> None:
    output = execute("folder_to_classifier.py")
    accuracy = re.search(r"^(0\.\d+) of the \d+ images without a label are right", output, re.M)
    assert accuracy and float(accuracy[1]) > 0.6, output


def test_a_published_backbone_is_compared(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), "--to", f"{tmp_path / 'published'}/"]) == 0
    output = execute("published_backbone.py", PUBLISHED=f"local-dir:{tmp_path / 'published'}")
    assert re.search(r"^own +trained ", output, re.M), output
    assert re.search(r"^published +\w", output, re.M), output


def test_switching_parts_off_shows_what_they_are_worth() -> None:
    output = execute("byol_questions.py")
    linear = {line[:34].strip(): float(line.split()[-1]) for line in output.splitlines()[1:8]}
    assert linear["BYOL"] > linear["no predictor"], output
