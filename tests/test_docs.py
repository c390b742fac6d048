"""The documentation says what the code does."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from BYOL.cli.main import COMMANDS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_of_the_commands_are_those_of_the_code(generate: ModuleType) -> None:
    written = {path.name: path.read_text() for path in (DOCS / "commands").glob("*.md")}
    assert written == generate.pages(), "run: python docs/generate.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_of_a_command_is_explained(generate: ModuleType, name: str) -> None:
    import dataclasses

    helps = generate.documented(COMMANDS[name].settings)
    for field in dataclasses.fields(COMMANDS[name].settings):
        assert len(helps.get(field.name, "")) > 5, field.name


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]*)?\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_code_of_the_page_on_python_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("\n## ") >= 5
    scope: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), scope)
    assert scope["step"] == scope["total"] == 3
    assert (tmp_path / "runs" / "from-python" / "backbone.safetensors").exists()


def test_the_diagram_of_the_packages_is_that_of_the_code() -> None:
    command = [sys.executable, str(DOCS / "architecture.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run: python docs/architecture.py"
