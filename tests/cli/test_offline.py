"""What names the Hugging Face hub is one line without a network, and comes within seconds."""

import time
from pathlib import Path

import pytest

from tests.conftest import TINY, draw_images, make_run
from tests.forked import run_commands

# A port at which nobody listens, and a host that does not exist.
ENDPOINTS = (
    "http://127.0.0.1:9",
    pytest.param("http://hub.invalid", marks=pytest.mark.slow),
)
MODEL = "hf-hub:nobody/nothing"
SHARDS = ("hf://datasets/nobody/nothing/a.tar", "hf://datasets/nobody/nothing/{0..2}.tar",
          "hf://datasets/nobody/nothing/*.tar", "hf://datasets/nobody/nothing")  # fmt: skip
SECONDS = 15.0  # of a command
ON_RUN = {
    "embed": ["--out=e.npy"],
    "evaluate": ["--protocol=knn"],
    "duplicates": [],
    "outliers": [],
    "search": ["--like=images/a/00.png"],
    "select": ["--count=3"],
    "predict": ["--labels=labels.csv"],
    "export": ["--to=b.safetensors"],
}


def commands() -> list[list[str]]:
    on_model = [
        [name, MODEL, *([] if name == "export" else ["images"]), *words]
        for name, words in ON_RUN.items()
    ]
    on_shards = [
        [name, "run", SHARDS[k % 4], *words]
        for k, (name, words) in enumerate(ON_RUN.items())
        if name != "export"
    ]
    new = ["pretrain", "images", *TINY, "--out=new"]
    return [
        *on_model,
        *on_shards,
        ["report", MODEL],
        [*new, f"--backbone={MODEL}"],
        [*new, f"--backbone={MODEL}", "--pretrained"],
        [*new, f"--weights={MODEL}"],
        *(["pretrain", shards, *TINY, "--out=new"] for shards in SHARDS),
        ["evaluate", "run", "images", f"--reference={MODEL}"],
        ["views", SHARDS[0], "--out=v.png"],
        ["shard", SHARDS[0], "--out=shards"],
        ["tile", SHARDS[0], "--size=10", "--out=tiles"],
        ["benchmark", SHARDS[0], *TINY],
        ["benchmark", "images", f"--backbone={MODEL}"],
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_place_that_accepts_a_name_of_the_hub(tmp_path: Path, endpoint: str) -> None:
    images = draw_images(tmp_path / "images", each=6)
    make_run(tmp_path / "run", images, backbone="plain5", image_size=16)
    (tmp_path / "labels.csv").write_text("file,label\na/00.png,a\nb/00.png,b\n")
    before = {path.name for path in tmp_path.iterdir()}
    tried = commands()
    began = time.monotonic()
    answers = run_commands(
        tried, tmp_path, HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "hub"), HF_HUB_OFFLINE="0"
    )
    seconds = time.monotonic() - began
    wrong = [
        (words, answer)
        for words, answer in zip(tried, answers, strict=True)
        if not answer.is_one_line or "nobody/nothing" not in answer.lines[0]
    ]
    assert not wrong
    assert seconds < SECONDS * len(tried)
    assert {path.name for path in tmp_path.iterdir()} - {"hub"} == before
