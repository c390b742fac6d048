"""Weights & Biases and MLflow without a server: what they receive, also from a resumed run."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytorch_lightning.loggers import Logger

from BYOL.cli.main import main
from BYOL.cli.program import parse
from BYOL.config import load_config
from BYOL.config.pretrain import PretrainConfig
from BYOL.runs.folder import RunFolder
from BYOL.training import tracking
from BYOL.training.tracking import SERVICES, Service, check_services, open_trackers
from tests.conftest import TINY, draw_images, tiny

BLOCK = 1 << 15
ENVIRONMENT = {**os.environ, "WANDB_MODE": "offline"}
STEPS = 5  # of an epoch of 40 images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("data") / "images", each=20)


def command(images: Path, run: Path, service: str) -> list[str]:
    argv = [sys.executable, "-m", "BYOL", "pretrain", str(images), *TINY, "--no-report"]
    return [*argv, f"--logger=csv,{service}", "--project=faces", f"--out={run}", "--resume=auto"]


def written(run: Path) -> dict[int, float]:
    """The loss of metrics.csv, by step."""
    with (run / "logs" / "metrics.csv").open(newline="") as file:
        return {int(r["step"]): float(r["loss"]) for r in csv.DictReader(file) if r["loss"]}


def records(path: Path):
    """What is in an offline file: a header of 7 bytes, then parts as in a LevelDB log."""
    from wandb.proto.wandb_internal_pb2 import Record

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


class Wandb:
    """The content of the offline files of a run."""

    def __init__(self, run: Path):
        files = sorted((run / "logs").glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime)
        self.runs = {path.name for path in files}
        found = [record for path in files for record in records(path)]
        started = [record.run for record in found if record.WhichOneof("record_type") == "run"]
        self.projects = {run.project for run in started}
        self.settings = {k: v for r in found for k, v in values(r.config.update).items()}
        rows = [values(record.history.item) for record in found]
        self.loss = [(r["trainer/global_step"], r["loss"]) for r in rows if "loss" in r]
        self.results = {name: value for row in rows for name, value in row.items()}


class MLflow:
    """The content of the database of a run."""

    def __init__(self, run: Path):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(f"sqlite:///{run}/logs/mlflow.db")
        experiments = client.search_experiments(filter_string="name != 'Default'")
        self.projects = {experiment.name for experiment in experiments}
        found = client.search_runs([e.experiment_id for e in experiments])
        self.runs = {one.info.run_id for one in found}
        self.status = found[0].info.status
        self.settings = found[0].data.params
        history = client.get_metric_history(found[0].info.run_id, "loss")
        self.loss = [(point.step, point.value) for point in history]
        self.results = found[0].data.metrics


READERS = {"wandb": Wandb, "mlflow": MLflow}


@pytest.fixture(params=READERS)
def service(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_settings_curves_and_results_arrive_once_although_the_run_is_killed(
    images: Path, tmp_path: Path, service: str
) -> None:
    run, argv = tmp_path / "run", command(images, tmp_path / "run", service)
    argv += ["--checkpoint-steps=3", "--epochs=400"]
    process = subprocess.Popen(argv, env=ENVIRONMENT)
    sent = run / "logs" / f"{service}.json"
    while process.poll() is None and "loss" not in (sent.read_text() if sent.exists() else ""):
        time.sleep(0.01)
    time.sleep(0.5)  # in the middle of an epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = json.loads(sent.read_text())["steps"]["loss"]
    epochs = resumed // STEPS + 3
    subprocess.run([*argv, f"--epochs={epochs}"], check=True, env=ENVIRONMENT)
    found = READERS[service](run)
    assert len(found.runs) == 1 and found.projects == {"faces"}
    assert found.settings["backbone"] == "plain5"
    steps = [step for step, _ in found.loss]
    assert steps == sorted(set(steps)), "no point twice"
    expected = written(run)
    assert max(steps) == max(expected) == epochs * STEPS
    # Points of the moment of the kill may be missing: what a service had not stored yet.
    missing = set(expected) - set(steps)
    assert set(steps) <= set(expected) and all(step <= resumed + 1 for step in missing)
    assert service == "wandb" or len(missing) <= 2
    last = max(steps)
    assert dict(found.loss)[last] == pytest.approx(expected[last])
    assert "untrained/linear" in found.results and 0 <= found.results["trained/knn20"] <= 1
    if service == "mlflow":
        assert found.status == "FINISHED"


@pytest.mark.slow
def test_two_processes_log_once(images: Path, tmp_path: Path, service: str) -> None:
    run, argv = tmp_path / "run", command(images, tmp_path / "run", service)
    argv += ["--devices=2", "--accelerator=cpu", "--no-evaluate", "--epochs=1"]
    subprocess.run(argv, check=True, env=ENVIRONMENT)
    found = READERS[service](run)
    assert len(found.runs) == 1
    assert found.loss == [(step, pytest.approx(loss)) for step, loss in written(run).items()]


def test_a_missing_library_is_one_line(images, tmp_path, monkeypatch, capsys):
    for name, title in (("wandb", "Weights & Biases"), ("mlflow", "MLflow")):
        monkeypatch.setitem(sys.modules, name, None)
        out = tmp_path / name
        assert main(["pretrain", str(images), *TINY, f"--logger={name}", f"--out={out}"]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line == f"byol: --logger={name} needs {title}: pip install 'BYOL[{name}]'"
        assert not out.exists()


def test_without_a_login_nothing_is_written(images, tmp_path, monkeypatch, capsys):
    wandb = pytest.importorskip("wandb")

    def refuse(**settings):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", refuse)
    out = tmp_path / "run"
    assert main(["pretrain", str(images), *TINY, "--logger=wandb", f"--out={out}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--logger=wandb needs a login: wandb login, or WANDB_MODE=offline" in line
    assert not out.exists()


class Recorder(Logger):
    """A logger that fails when it is asked to."""

    name = version = ""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, dict[str, float]]] = []
        self.status, self.fails = "", False

    def log_metrics(self, metrics, step=None):
        if self.fails:
            raise ConnectionError("no answer\nin 20 seconds")
        self.points.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        assert params["backbone"] == "plain5"

    def finalize(self, status):
        self.status = status


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    logger = Recorder()

    def connect(config: PretrainConfig, folder: RunFolder, identity: str | None):
        return logger, identity or "abc"

    monkeypatch.setitem(SERVICES, "mlflow", Service("MLflow", "json", connect))
    return logger


def test_a_resumed_run_repeats_no_point(tmp_path: Path, recorder: Recorder) -> None:
    config, folder = tiny(tmp_path, tmp_path, logger="mlflow"), RunFolder(tmp_path)
    with open_trackers(config, folder, {"backbone": "plain5"}) as (tracker,):
        tracker.log_metrics({"loss": 1.0}, 1)
        tracker.log_metrics({"loss": 2.0}, 2)
    assert recorder.status == "success"

    def resume_and_fail() -> None:
        with open_trackers(config, folder, {"backbone": "plain5"}) as (tracker,):
            tracker.log_metrics({"loss": 2.0}, 2)
            tracker.log_metrics({"knn": 0.5}, 2)
            tracker.log_metrics({"loss": 3.0, "knn": 0.5}, 3)
            raise KeyError

    with pytest.raises(KeyError):
        resume_and_fail()
    assert recorder.status == "failed"
    assert recorder.points == [
        (1, {"loss": 1.0}), (2, {"loss": 2.0}), (2, {"knn": 0.5}), (3, {"loss": 3.0, "knn": 0.5}),
    ]  # fmt: skip
    folder.tracking("mlflow").write_text('{"id": "../x"')  # damaged: all is sent again
    with open_trackers(config, folder, {"backbone": "plain5"}) as (tracker,):
        tracker.log_metrics({"loss": 1.0}, 1)
    assert recorder.points[-1] == (1, {"loss": 1.0})


def test_a_service_that_fails_costs_one_warning(tmp_path, recorder, lines):
    config, folder = tiny(tmp_path, tmp_path, logger="csv,mlflow"), RunFolder(tmp_path)
    with open_trackers(config, folder, {"backbone": "plain5"}) as (tracker,):
        tracker.log_metrics({"loss": 1.0}, 1)
        recorder.fails = True
        for step in (2, 3):
            tracker.log_metrics({"loss": 1.0}, step)
    line = "warning: MLflow does not answer (no answer); logs/ has everything; nothing more is sent"
    assert lines() == [line]


def test_a_server_that_does_not_answer_costs_no_run(images, tmp_path, monkeypatch, capsys):
    wandb = pytest.importorskip("wandb")

    def silent(**settings):
        raise wandb.errors.CommError("no answer\nin 90 seconds")

    monkeypatch.setattr(wandb, "login", lambda: True)
    monkeypatch.setattr(wandb, "init", silent)
    argv = ["pretrain", str(images), *TINY, "--logger=csv,wandb", "--no-evaluate", "--no-report"]
    assert main([*argv, f"--out={tmp_path / 'run'}"]) == 0
    assert "warning: Weights & Biases does not answer (no answer)" in capsys.readouterr().err
    assert (tmp_path / "run" / "results.json").exists()


def test_another_process_than_the_first_opens_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "first_process", lambda: False)
    config = tiny(tmp_path, tmp_path, logger="wandb,mlflow")
    check_services(config)
    with open_trackers(config, RunFolder(tmp_path), {"backbone": "plain5"}) as trackers:
        assert trackers == []


def test_a_folder_that_no_database_can_have_is_named(tmp_path, lines):
    pytest.importorskip("mlflow")
    folder = RunFolder(tmp_path / "100%")
    folder.path.mkdir()
    config = tiny(tmp_path, tmp_path, logger="mlflow")
    with open_trackers(config, folder, {"backbone": "plain5"}) as trackers:
        assert trackers == []
    assert "the folder of the run has a ?, # or %: set MLFLOW_TRACKING_URI" in lines()[0]


@pytest.mark.parametrize("value", ["comet", "csv,comet", "csv;wandb"])
def test_an_unknown_logger_is_named(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--logger", value]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is unknown: choose from csv, tensorboard, wandb, mlflow, separated by commas" in said


def test_the_project_of_a_former_version_is_read(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text("wandb: faces\nepochs: 3\n")
    config = load_config(file)
    assert (config.logger, config.project) == ("csv,tensorboard,wandb", "faces")
    assert parse("pretrain", ["--config", str(file), "--trust"]).project == "faces"
    assert main(["pretrain", "--config", str(file)]) == 2
    assert "a file opens no place by itself" in capsys.readouterr().err
    file.write_text("wandb: null\nlogger: csv\n")
    assert parse("pretrain", ["--config", str(file)]).logger == "csv"


def test_only_the_chosen_files_are_written(images, tmp_path):
    out = tmp_path / "run"
    argv = ["pretrain", str(images), *TINY, "--epochs=1", "--logger=tensorboard", f"--out={out}"]
    assert main(argv) == 0
    names = {path.name.partition(".")[0] for path in (out / "logs").iterdir()}
    assert names == {"events", "spectrum"}
