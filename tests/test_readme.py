"""Every command of the README, literally, on a folder of a few photographs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BYOL.cli.main import main
from BYOL.cli.program import COMMANDS

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
pytestmark = pytest.mark.trains
# What the README's placeholders stand for in the test's folder.
PLACEHOLDERS = {
    "[RUN …]": "",
    "[DATA]": "photos/",
    "[FOLDER]": "runs/",
    "DATA": "photos/",
    "RUN": "runs/photos",
    "IMAGE": "photos/cat/0.jpg",
    "FILE.yaml": "sweep.yaml",
    "--to F": "--to F.pth",
    "byol benchmark photos/": "byol benchmark photos/ --seconds 0.1",  # of each part, not 2
}


def blocks() -> list[str]:
    """The commands of the section on the user's own images that stand in a block of code."""
    section = README.partition("## Your own images")[2].partition("\n## ")[0]
    return re.findall(
        r"^byol .*$", "\n".join(re.findall(r"```\n(.*?)```", section, re.DOTALL)), re.M
    )


def rows() -> list[str]:
    """The commands of the table, with their placeholders filled in."""
    commands = re.findall(r"^\| `(byol [^`]*)` \|", README, re.MULTILINE)
    for placeholder, value in PLACEHOLDERS.items():
        commands = [command.replace(placeholder, value) for command in commands]
    return commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photographs of two classes, a file of labels and a file of a sweep."""
    root = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(4)]
    for name in names:
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC).save(path)
    lines = [f"{name},{name[:3]}" for name in names]
    (root / "known.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    (root / "sweep.yaml").write_text(
        "settings: {epochs: 1, evaluate: false, report: false}\nseeds: [0]\n"
    )
    return root


def run(command: str) -> None:
    """Run a command line of the README in this process."""
    arguments = shlex.split(command)
    assert arguments.pop(0) == "byol"
    assert main(arguments) == 0, command


def test_the_commands_of_the_readme_run_on_a_folder_of_photographs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("BYOL.config.recipe.CPU_MINUTES", 0.1)  # of the run without a time limit
    first = blocks()
    assert [shlex.split(command)[1] for command in first] == ["pretrain", "embed"]
    for command in first:
        run(command)
    assert (folder / "runs/photos/report.html").exists()
    assert (folder / "embeddings.parquet").exists()
    assert {shlex.split(command)[1] for command in rows()} == set(COMMANDS)
    for command in rows():
        name = shlex.split(command)[1]
        if name == "predict":  # the table's F.csv: the labels of some images
            (folder / "F.csv").write_text((folder / "known.csv").read_text())
        if name != "pretrain":  # it has run above
            run(command)
