"""Folders and files that the user may not read or write: one line for every command."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from BYOL.cli.program import COMMANDS
from tests.conftest import TINY, draw_images, make_run
from tests.forked import Answer, run_commands

pytestmark = [
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or (os.geteuid() == 0 and not shutil.which("setpriv")),
        reason="root may read everything, and there is no setpriv to change that",
    ),
    pytest.mark.timeout(300),
]
# The words of each command, before its output: DATA and RUN are replaced.
ON_DATA = {
    "pretrain": ["DATA", *TINY, "--epochs=1", "--no-evaluate", "--no-report", "--out=new/run"],
    "embed": ["RUN", "DATA", "--out=new/e.npy"],
    "evaluate": ["RUN", "DATA", "--protocol=knn"],
    "duplicates": ["RUN", "DATA", "--out=new/d.csv"],
    "outliers": ["RUN", "DATA", "--out=new/o.csv"],
    "search": ["RUN", "DATA", "--like=images/a/00.png", "--out=new/s.csv"],
    "select": ["RUN", "DATA", "--out=new/l.csv", "--count=3"],
    "predict": ["RUN", "DATA", "--labels=labels.csv", "--out=new/p.csv"],
    "export": ["RUN", "DATA", "--classifier=linear", "--to=new/c.safetensors"],
    "views": ["DATA", "--out=new/v.png"],
    "shard": ["DATA", "--out=new/shards"],
    "tile": ["DATA", "--size=10", "--out=new/tiles"],
    "benchmark": ["DATA", *TINY, "--seconds=0.1"],
}
ON_RUN = {
    **{name: words for name, words in ON_DATA.items() if "RUN" in words},
    "report": ["RUN", "--out=new/r.html"],
}
ELSEWHERE = {"runs", "sweep"}


def test_every_command_is_tried() -> None:
    assert set(ON_DATA) | set(ON_RUN) | ELSEWHERE == set(COMMANDS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with images and a run, and with copies that may not be read."""
    root = tmp_path_factory.mktemp("permission")
    images = draw_images(root / "images", each=6)
    make_run(root / "run", images, backbone="plain5", image_size=16)
    rows = [f"{p.relative_to(images)},{p.parent.name}\n" for p in sorted(images.rglob("*.png"))]
    (root / "labels.csv").write_text("file,label\n" + "".join(rows))
    shutil.copytree(images, root / "closed")
    shutil.copytree(root / "run", root / "closed-run")
    shutil.copy(root / "labels.csv", root / "closed.csv")
    (root / "settings.yaml").write_text("epochs: 1\n")
    (root / "sweep.yaml").write_text("rows: {a: {}}\n")
    shutil.copytree(images, root / "partly")
    for name in ("closed.txt", "closed.npz", "closed.tar"):
        (root / name).write_text("images/a/00.png\n")
    files = ("closed.csv", "closed.txt", "closed.npz", "closed.tar", "settings.yaml", "sweep.yaml")
    closed = ("closed", "closed-run", "partly/b", *files)
    for name in closed:
        (root / name).chmod(0)
    (root / "partly" / "a" / "00.png").chmod(0)
    (root / "new").mkdir()
    yield root
    for name in (*closed, "new", "run"):
        (root / name).chmod(0o755)


def answers_of(place: Path, commands: list[list[str]], *, writable: bool) -> list[Answer]:
    """The answers of a user who may or may not write to ``new``."""
    (place / "new").chmod(0o755 if writable else 0o555)
    return run_commands(commands, place)


def filled(words: dict[str, list[str]], **places: str) -> list[list[str]]:
    return [[name, *(places.get(word, word) for word in rest)] for name, rest in words.items()]


def check(commands: list[list[str]], answers: list[Answer], named: str) -> None:
    wrong = [
        (words[0], answer)
        for words, answer in zip(commands, answers, strict=True)
        if not answer.is_one_line or named not in answer.lines[0]
    ]
    assert not wrong


def left(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "new").iterdir())


def test_images_that_may_not_be_read(place: Path) -> None:
    commands = filled(ON_DATA, DATA="closed", RUN="run")
    check(commands, answers_of(place, commands, writable=True), "closed")
    assert left(place) == []


def test_a_run_that_may_not_be_read(place: Path) -> None:
    commands = filled(ON_RUN, DATA="images", RUN="closed-run")
    commands += [["runs", "closed-run"]]
    commands += [["pretrain", "images", *TINY, "--out=closed-run", "--resume"]]
    commands += [["pretrain", "images", *TINY, "--out=new/run", "--weights=closed-run"]]
    check(commands, answers_of(place, commands, writable=True), "closed-run")
    assert left(place) == []


def test_a_folder_that_may_not_be_written_to(place: Path) -> None:
    commands = filled(ON_RUN | ON_DATA, DATA="images", RUN="run")
    commands = [words for words in commands if words[0] not in ("evaluate", "benchmark")]
    check(commands, answers_of(place, commands, writable=False), "new")
    assert left(place) == []


def test_files_that_may_not_be_read(place: Path) -> None:
    commands = [
        ["predict", "run", "images", "--labels=closed.csv", "--out=new/p.csv"],
        ["evaluate", "run", "images", "--labels=closed.csv"],
        ["evaluate", "run", "images", "--groups=closed.csv"],
        ["select", "run", "images", "--labels=closed.csv", "--out=new/l.csv"],
        ["pretrain", "closed.txt", "--out=new/run"],
        ["embed", "run", "closed.npz", "--out=new/e.npy"],
        ["duplicates", "run", "closed.tar", "--out=new/d.csv"],
        ["search", "run", "images", "--like=closed/a/00.png", "--out=new/s.csv"],
        ["embed", "run", "closed/a/00.png", "--out=new/e.npy"],
        ["views", "closed/a/00.png", "--out=new/v.png"],
    ]
    check(commands, answers_of(place, commands, writable=True), "closed")
    commands = [
        ["pretrain", "images", "--config=settings.yaml", "--out=new/run"],
        ["sweep", "sweep.yaml", "--out=new/sweep"],
    ]
    check(commands, answers_of(place, commands, writable=True), ".yaml")
    assert left(place) == []


def test_what_may_be_read_is_used_and_the_rest_is_named(place: Path) -> None:
    names = ("embed", "duplicates", "outliers", "shard", "tile")
    commands = filled({name: ON_DATA[name] for name in names}, DATA="partly", RUN="run")
    answers = answers_of(place, commands, writable=True)
    for words, answer in zip(commands, answers, strict=True):
        assert answer.code == 0, (words, answer)
        assert "Traceback" not in answer.shown
        assert "1 folder that cannot be accessed" in answer.shown, (words, answer)
    for path in (place / "new").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_run_that_may_be_read_only(place: Path) -> None:
    """Its results are printed, and a file is asked for where only a file is the result."""
    (place / "run").chmod(0o555)
    commands = [["evaluate", "run", "images", "--protocol=knn"], ["report", "run"]]
    commands += [["pretrain", "images", "--out=run", "--resume=auto"]]
    evaluated, reported, resumed = answers_of(place, commands, writable=True)
    assert evaluated.code == 0 and "evaluation.json" in evaluated.shown
    assert reported.is_one_line and "run" in reported.lines[0]
    assert resumed.is_one_line
    assert not (place / "run" / "evaluation.json").exists()
