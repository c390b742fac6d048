"""Weights & Biases, without its server: offline files, and what happens where it cannot be had."""

import csv
import json
import os
import subprocess
import sys

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from BYOL.cli.main import main
from tests.conftest import TINY, draw_images

BLOCK = 1 << 15


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=20)


def records(path):
    """What is in an offline file: a header of 7 bytes, then parts as in a LevelDB log."""
    data, at, text = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        text += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # the whole record, or its last part
            yield Record.FromString(text)
            text = b""


def values(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_settings_curves_and_results_are_sent_and_a_resumed_run_is_the_same_run(images, tmp_path):
    run = tmp_path / "run"
    argv = [sys.executable, "-m", "BYOL", "pretrain", str(images), *TINY, "--wandb=faces"]
    argv += ["--no-report", f"--out={run}", "--resume=auto"]
    environment = {**os.environ, "WANDB_MODE": "offline"}
    subprocess.run(argv, check=True, env=environment)
    subprocess.run([*argv, "--epochs=3", "--no-evaluate"], check=True, env=environment)
    files = sorted((run / "logs").glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime)
    name = (run / "logs" / "wandb-id").read_text()
    assert [path.name for path in files] == [f"run-{name}.wandb"] * 2
    found = list(records(files[0]))
    (begun,) = [record.run for record in found if record.WhichOneof("record_type") == "run"][:1]
    assert begun.project == "faces" and values(begun.config.update)["backbone"] == "plain5"
    history = [values(record.history.item) for path in files for record in records(path)]
    logged = {row["trainer/global_step"]: row["loss"] for row in history if row and "loss" in row}
    with (run / "logs" / "metrics.csv").open(newline="") as file:
        written = {int(r["step"]): float(r["loss"]) for r in csv.DictReader(file) if r["loss"]}
    assert logged == pytest.approx(written) and max(written) == 15
    summary = {k: v for record in found for k, v in values(record.summary.update).items()}
    assert "untrained/linear" in summary and 0 <= summary["trained/knn20"] <= 1


def test_without_a_login_nothing_is_written(images, tmp_path, monkeypatch, capsys):
    def refuse(**settings):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", refuse)
    argv = ["pretrain", str(images), *TINY, "--wandb=faces", f"--out={tmp_path / 'run'}"]
    assert main(argv) == 2
    assert "--wandb=faces needs a login: wandb login" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(argv) == 2
    assert "pip install 'BYOL[wandb]'" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_server_that_does_not_answer_costs_no_run(images, tmp_path, monkeypatch, capsys):
    def silent(**settings):
        raise wandb.errors.CommError("no answer\nin 90 seconds")

    monkeypatch.setattr(wandb, "login", lambda: True)
    monkeypatch.setattr(wandb, "init", silent)
    argv = ["pretrain", str(images), *TINY, "--wandb=faces", "--no-evaluate", "--no-report"]
    assert main([*argv, f"--out={tmp_path / 'run'}"]) == 0
    assert "warning: Weights & Biases does not answer (no answer)" in capsys.readouterr().err
    assert (tmp_path / "run" / "results.json").exists()
