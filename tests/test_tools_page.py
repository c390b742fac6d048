"""The examples of docs/tools.md run as they stand, where their library is installed."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from BYOL.cli.main import main
from tests.conftest import TINY, draw_images

pytestmark = pytest.mark.trains
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "tools.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
# FiftyOne starts a database server, which it downloads: its example is not run.
NOT_RUN = {"FiftyOne"}


def missing_libraries(code: str) -> list[str]:
    """Names of the imported packages that are not installed."""
    names = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))
    return sorted(name for name in names if importlib.util.find_spec(name) is None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A folder with the images, the runs and the tables that the page starts from."""
    root = tmp_path_factory.mktemp("tools")
    draw_images(root / "photos")
    (root / "runs").mkdir()
    shutil.copytree(finished_run, root / "runs" / "photos")
    names = sorted(str(path.relative_to(root / "photos")) for path in root.rglob("photos/*/*.png"))
    rows = [f"{name},{name[0]}" for name in names]
    (root / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    photos, trained = str(root / "photos"), str(root / "runs" / "photos")
    known = ["--labels", str(root / "labels.csv"), "--out", str(root / "predictions.csv")]
    assert main(["predict", trained, photos, *known]) == 0
    assert main(["embed", trained, photos, "--out", str(root / "embeddings.parquet")]) == 0
    quick = ["--backbone=resnet18", "--epochs=1", "--no-evaluate", "--no-report", "--compile=off"]
    quick.append("--stem=imagenet")
    out = str(root / "runs" / "resnet18")
    assert main(["pretrain", photos, *TINY, *quick, "--out", out]) == 0
    return root


@pytest.mark.parametrize("title", sorted(SECTIONS.keys() - NOT_RUN))
def test_the_example_runs(title: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = SECTIONS[title]
    if missing := missing_libraries(code):
        pytest.skip(f"not installed: {', '.join(missing)}")
    monkeypatch.chdir(place)
    exec(compile(code, f"tools.md, {title}", "exec"), {"__name__": "example"})


def test_the_page_has_an_example_for_every_tool() -> None:
    assert len(SECTIONS) == PAGE.count("\n## ") - 1 == 8  # the last section has no example
