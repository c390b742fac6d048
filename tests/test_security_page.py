"""docs/security.md names a test for every promise, and the oldest versions are those allowed."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_promise_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 15
    for row in rows:
        found = re.fullmatch(r"\| .+ \| `(tests/[\w/]+\.py)::(test_\w+)` \|", row)
        assert found, f"names no test: {row}"
        assert f"def {found[2]}(" in (ROOT / found[1]).read_text(), row


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in project["dependencies"]:
        name, bound = requirement.split(">=")
        name = name.split("[")[0]
        assert re.fullmatch(rf"{re.escape(bound)}(\.0)*", oldest[name]), requirement
