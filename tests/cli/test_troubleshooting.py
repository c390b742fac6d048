"""The table of faults in the documentation quotes messages of the code."""

import ast
import re
from pathlib import Path

import BYOL
from tests.test_docs import DOCS


def strings_of_the_code() -> list[str]:
    """Every string in the package; what an f-string fills in is "…"."""
    found = []
    for path in Path(BYOL.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def quoted() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    table = page.split("## Faults and how a run handles them")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [cells[1].strip("`") for cells in rows if cells[1] != "none"]


def test_every_message_in_the_table_of_faults_is_in_the_code():
    code = strings_of_the_code()
    messages = quoted()
    assert len(messages) > 15
    for message in messages:
        pieces = [piece.strip(" ,;:") for piece in message.split("…")]
        pieces = [piece for piece in pieces if len(re.sub(r"\W", "", piece)) > 4]
        assert pieces, message
        for piece in pieces:
            assert any(piece in text for text in code), f"{message}: nothing says {piece!r}"
