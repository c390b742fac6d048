"""The documentation matches the code."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from BYOL.cli.parser import COMMON
from BYOL.cli.program import COMMANDS, parse
from BYOL.cli.sweep.spec import read_sweep
from BYOL.config.fields import fields_of, info_of
from BYOL.errors import UserError
from BYOL.runs.schema import Evaluation, Results

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
SWEEPS = sorted((DOCS.parent / "benchmarks" / "sweeps").glob("*.yaml"))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_of_the_commands_are_those_of_the_code(generate: ModuleType) -> None:
    written = {path.name: path.read_text() for path in (DOCS / "commands").iterdir()}
    assert written == generate.pages(), "run: python docs/generate.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_has_a_help_text_that_starts_with_a_short_sentence(name: str) -> None:
    for field_name, field in fields_of(COMMANDS[name].settings).items():
        info = info_of(field)
        assert len(info.help) > 5 and info.help.endswith("."), field_name
        assert info.summary[0].isupper() and info.summary.endswith("."), field_name
        assert len(info.summary) <= 120, field_name


def test_a_page_has_defaults_ranges_and_choices(generate: ModuleType) -> None:
    text = generate.page("pretrain", COMMANDS["pretrain"])
    assert "| `--tau` | `0.996` | 0 to 1 | " in text
    assert "| `--on-collapse` | `warn` | `warn`, `stop` | " in text
    assert "| `--epochs` | `300` | from 1 | " in text
    assert "| `--evaluate` | on | on, off | " in text
    assert "| `DATA` or `--data` |  |  | " in text
    assert text.index("## Images") < text.index("## Networks") < text.index("## Evaluation")


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    texts = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[\s-]+", "-", text) for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_have_targets(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]*))?\)", page.read_text()):
        if "://" not in link:
            target = page.parent / link if link else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


# The tests have less time than a reader: images of a quarter of the side.
SMALLER = {"3, 32, 32)": "3, 8, 8)", "(32, mean": "(8, mean", "size=32, mean=m": "size=8, mean=m"}


def test_the_code_of_the_page_on_python_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "python.md").read_text()
    for shown, smaller in SMALLER.items():
        assert shown in page
        page = page.replace(shown, smaller)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > page.count("\n## ") >= 5  # every section has code
    scope: dict[str, Any] = {"__name__": "__main__"}  # a network is registered by its module
    for block in blocks:
        exec(compile(block, "python.md", "exec"), scope)
    assert scope["step"] == scope["total"] == 3
    assert (tmp_path / "runs" / "from-python" / "backbone.safetensors").exists()
    # the features of the commands are those of the loop
    assert np.abs(np.load("features.npy") - scope["features"]).max() < 1e-3
    with torch.no_grad():
        expected = scope["five"].eval().onlineNet.backend(scope["eval_t5"](scope["batch"]))
    assert np.abs(np.load("bands-features.npy") - expected.mean((2, 3)).numpy()).max() < 2e-2
    assert "trained" in scope["results"]["rows"]


def test_the_diagram_of_the_packages_is_that_of_the_code() -> None:
    command = [sys.executable, str(DOCS / "architecture.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run: python docs/architecture.py"


def commands_in(page: Path) -> list[list[str]]:
    """The arguments of every ``byol`` line in the blocks of code of a page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    text = "\n".join(blocks).replace("\\\n", " ")
    lines = re.findall(r"(?:^|&& |srun |\$ )byol ([^&|\n]*)", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines if not set(line) & set("[…<")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_accepts_every_command_of_the_docs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for argv in commands_in(page):
        if argv and argv[0] in COMMANDS and "--config" not in " ".join(argv):
            parse(argv[0], argv[1:])


@pytest.mark.parametrize("file", SWEEPS, ids=lambda path: path.stem)
def test_the_schema_of_sweep_files_accepts_the_sweeps_of_the_benchmarks(
    file: Path, generate: ModuleType
) -> None:
    generate.sweep_schema().validate_python(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("runs: 3", "runs"),
        ("settings: {bakbone: plain6}", "bakbone"),
        ("settings: {seed: 1}", "seed"),
        ("rows: {mlp: {tau: 2}}", "tau"),
        ("grid: {predictor: [mlp, quadratic]}", "predictor"),
        ("grid: {tau: []}", "tau"),
        ("seeds: []", "seeds"),
    ],
)
def test_the_schema_of_sweep_files_rejects_what_byol_sweep_rejects(
    text: str, place: str, tmp_path: Path, generate: ModuleType
) -> None:
    with pytest.raises(ValidationError) as caught:
        generate.sweep_schema().validate_python(yaml.safe_load(text))
    assert place in caught.value.errors()[0]["loc"]
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(UserError, match=place):
        read_sweep(tmp_path / "sweep.yaml", tmp_path / "out")


FLAGS = {
    name.replace("_", "-")
    for command in COMMANDS.values()
    for name in (*fields_of(command.settings), *COMMON)
}
PROGRAMS = {"torch-backend", "bakbone"}  # of uv, and a mistake that is quoted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_in_the_text_of_the_docs_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    inline = [code for code in re.findall(r"`([^`]*)`", text) if code.startswith(("byol", "--"))]
    flags = set(re.findall(r"(?<!\w)--(?:no-)?([a-z][a-z-]+)", " ".join(inline)))
    if page.name not in ("performance.md", "scale.md", "design.md"):  # flags of benchmarks
        assert flags <= FLAGS | PROGRAMS


@pytest.mark.parametrize("schema", [Results, Evaluation], ids=("results", "evaluation"))
def test_the_documented_keys_of_result_files_are_those_of_the_schema(schema: Any) -> None:
    name = f"### {schema.__name__.lower()}.json"
    section = (DOCS / "files.md").read_text().partition(name)[2].partition("\n#")[0]
    first_cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    keys = {key for cell in first_cells for key in re.findall(r"`(\w+)`", cell)}
    assert len(keys) > 10 and keys <= schema.__annotations__.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lists_and_tables_start_after_an_empty_line(page: Path) -> None:
    """Without it, the site shows them as running text, unlike GitHub."""
    text = re.sub(r"^```.*?^```", "code", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    previous, is_list = "", False
    for line in text.splitlines():
        is_item = re.match(r" *(?:[-*]|\d+\.) ", line) is not None
        assert is_list or not is_item or previous[:1] in ("", "#"), line
        assert not line.startswith("|") or previous[:1] in ("", "#", "|"), line
        is_list = bool(line.strip()) and (is_list or is_item)
        previous = line.strip()


def test_names_of_the_package_in_docstrings_exist() -> None:
    root = DOCS.parent / "BYOL"
    texts = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    missing = []
    for text in texts.values():
        for name in re.findall(r":(?:func|class|meth|data|mod):`~?BYOL\.([\w.]+)`", text):
            *places, last = name.split(".")
            module = root.joinpath(*places)
            known = (module / last).with_suffix(".py") in texts or (module / last).is_dir()
            homes = (
                module.with_suffix(".py"),
                module / "__init__.py",
                module.parent.with_suffix(".py"),
            )
            words = " ".join(texts.get(home, "") for home in homes)
            if not known and not re.search(rf"\b{last}\b", words):
                missing.append(name)
    assert not missing
