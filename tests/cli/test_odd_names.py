"""Names of 250 bytes, not in UTF-8, with line breaks or with markup: files, classes and runs."""

import csv
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, make_run
from tests.forked import Answer, run_commands

pytestmark = pytest.mark.slow

NAMES = [
    b"x" * 250, b"caf\xe9 \xff", b"line\nbreak\r", b"<b onload=x>&*_`[a](b)|{{c}}", b"-rf",
    b"$(touch owned)", b"\x1b[31mred", b"'; \", a", "ü\u202e\u200b".encode(), b"a b",
    b"train.csv", b"%s %d \\",
]  # fmt: skip


def draw(root: Path) -> Path:
    """A class with each of the names, with two images that have such names as well."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        folder = os.path.join(os.fsencode(root), name)  # noqa: PTH118
        os.makedirs(folder)  # noqa: PTH103
        for other in (name[:240], NAMES[number - 1][:240]):
            pixels = rng.integers(0, 100, (20, 20, 3)) + 10 * number
            with open(os.path.join(folder, other + b".png"), "wb") as file:  # noqa: PTH118, PTH123
                Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    draw(root / "images")
    make_run(root / "run", root / "images", backbone="plain5", image_size=16)
    return root


def check(commands: list[list[str]], answers: list[Answer]) -> None:
    wrong = [
        (words, answer)
        for words, answer in zip(commands, answers, strict=True)
        if answer.code != 0 or "Traceback" in answer.shown or "\x1b" in answer.shown
    ]
    assert not wrong


@pytest.mark.timeout(300)
def test_names_of_files_and_classes_pass_through_every_command(place: Path) -> None:
    commands = [
        ["embed", "run", "images", "--out=e.parquet"],
        ["embed", "run", "images", "--out=e.npz"],
        ["embed", "run", "images", "--out=e.npy"],
        ["evaluate", "run", "images"],
        ["duplicates", "run", "images", "--grid=d.png"],
        ["outliers", "run", "images", "--grid=o.png"],
        ["search", "run", "images", "--like=images/-rf/-rf.png", "--grid=s.png"],
        ["select", "run", "images", "--count=9"],
        ["predict", "run", "images"],
        [
            "predict", "run", "images", "--labels=predictions.csv", "--task=classification",
            "--label-column=prediction", "--out=p.csv",
        ],
        ["export", "run", "images", "--classifier=linear", "--to=c.safetensors"],
        ["export", "run", "images", "--classifier=linear", "--to=hub/"],
        ["export", "run", "--to=hub2/"],
        ["embed", "hub/", "images", "--out=h.npy"],
        ["report", "run"],
        ["views", "images", "--out=v.png"],
        ["shard", "images", "--out=tar"],
        ["shard", "images", "--format=parquet", "--out=parquet"],
        ["embed", "run", "tar", "--out=t.parquet"],
        ["embed", "run", "parquet", "--out=q.parquet"],
        ["tile", "images", "--size=10", "--out=tiles"],
        ["pretrain", "images", *TINY, "--epochs=1", "--out=trained"],
        ["pretrain", "tar", *TINY, "--epochs=1", "--out=trained-tar"],
        ["runs", "."],
    ]  # fmt: skip
    check(commands, run_commands(commands, place))
    assert not (place / "owned").exists()
    with (place / "predictions.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 2 * len(NAMES)
    for page in ("run/report.html", "trained/report.html"):
        text = (place / page).read_text()
        assert "<b onload" not in text and "\x1b" not in text, page
    card = (place / "hub" / "README.md").read_text()
    assert "\nbreak" not in card, "a name begins no line"
    assert "\x1b" not in card
    code = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
    assert "``<b onload" in card and "<b onload" not in code.sub("", card), "names are code"


@pytest.mark.timeout(300)
def test_a_run_may_have_any_name(place: Path) -> None:
    runs = place / "runs"
    runs.mkdir()
    commands = []
    for number, name in enumerate(NAMES):
        path = os.fsdecode(os.path.join(os.fsencode(runs), name))  # noqa: PTH118
        shutil.copytree(place / "run", path)
        commands += [
            ["embed", path, "images", f"--out=r{number}.parquet"],
            ["report", path, "--trust"],
            ["export", path, f"--to=card{number}/"],
        ]
    paths = [words[1] for words in commands[::3]]
    commands += [["runs", "runs"], ["report", *paths[:8], "--out=compared.html"]]
    check(commands, run_commands(commands, place))
    for number in range(len(NAMES)):
        card = (place / f"card{number}" / "README.md").read_text()
        assert "<b onload" not in card and "\nbreak" not in card and "\x1b" not in card
    text = (place / "compared.html").read_text()
    assert "<b onload" not in text and "\x1b" not in text


@pytest.mark.timeout(300)
def test_a_new_run_may_have_any_name(place: Path) -> None:
    commands = []
    for name in NAMES[:5]:
        out = "new/" + os.fsdecode(name)
        commands.append(["pretrain", "images", *TINY, "--epochs=1", "--no-evaluate", "--out", out])
        commands.append(["pretrain", f"--out={out}", "--resume", "--epochs=2", "--no-evaluate"])
    check(commands, run_commands(commands, place))
