"""Runs that fail, runs of others, several at once, and what becomes of them when the first dies."""

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from BYOL._lock import claimed, locked
from BYOL.cli.main import main
from BYOL.cli.sweep import run as running
from BYOL.cli.sweep.jobs import Share, settle_jobs
from BYOL.config import PretrainConfig
from BYOL.errors import StoppedError, UserError
from tests.cli.test_sweeps import SETTINGS
from tests.conftest import draw_pictures, hold_lock

TWO_CORES = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="this process has one core",
)


@pytest.fixture
def write(tmp_path):
    pictures = draw_pictures(tmp_path / "pictures", each=10)

    def sweep(rows, seeds=(0,), **settings):
        path = tmp_path / "s.yaml"
        parts = {
            "settings": {**SETTINGS, "report": False, "data": str(pictures), **settings},
            "rows": rows,
            "seeds": list(seeds),
        }
        path.write_text(yaml.safe_dump(parts, sort_keys=False))
        return ["sweep", str(path), "--out", str(tmp_path / "out")]

    return sweep


def finished(out: Path) -> set[str]:
    return {str(path.parent.relative_to(out)) for path in out.glob("*/*/results.json")}


def test_a_run_that_fails_ends_no_other(write, tmp_path, capsys, monkeypatch):
    pretrain = running.pretrain

    def full(config, **known):
        if config.seed == 1:
            raise RuntimeError("CUDA out of memory.\nOf the allocated memory …")
        return pretrain(config, **known)

    monkeypatch.setattr(running, "pretrain", full)
    argv = write({"a": {}, "too large": {"batch_size": 512}, "b": {}}, seeds=[0, 1], epochs=1)
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert "too-large/seed-0 failed: --batch-size=512 is larger than" in said
    assert "a/seed-1 failed: RuntimeError: CUDA out of memory.\n" in said
    assert "4 of 6 runs failed" in said.splitlines()[-1]
    assert finished(tmp_path / "out") == {"a/seed-0", "b/seed-0"}
    assert "| b |" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize("flag", ["--resume", "--resume auto"])
def test_a_sweep_that_is_stopped_names_no_flag_that_it_lacks(write, monkeypatch, capsys, flag):
    def stopped(config, **known):
        raise StoppedError(
            f"stopped at step 5 by SIGTERM, saved: the same line with {flag} goes on"
        )

    monkeypatch.setattr(running, "pretrain", stopped)
    assert main(write({"a": {}, "b": {}})) == 75
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "byol: stopped at step 5 by SIGTERM, saved: the same line goes on"


def test_a_mistake_of_all_runs_is_said_once(write, tmp_path, capsys):
    assert main(write({"a": {}, "b": {}}, batch_size=512)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "a/seed-0: --batch-size=512 is larger than" in lines[-1]
    assert not any("b/seed-0" in line for line in lines)
    assert finished(tmp_path / "out") == set()


def test_what_another_process_is_at_is_left_to_it(write, tmp_path, capsys):
    argv = write({"a": {}, "b": {}})
    (tmp_path / "out" / "a").mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    claim = tmp_path / "out" / "a" / ".seed-0.lock"
    other = context.Process(target=hold_lock, args=(claim, ready))
    other.start()
    try:
        assert ready.wait(60)
        assert main(argv) == 0
        assert "a/seed-0 is left to another byol sweep" in capsys.readouterr().err
        assert finished(tmp_path / "out") == {"b/seed-0"}
    finally:
        other.kill()
        other.join()
    assert main(argv) == 0, "the other one died, so its run is free"
    assert finished(tmp_path / "out") == {"a/seed-0", "b/seed-0"}


@TWO_CORES
def test_several_at_once_are_made_by_as_many_processes(write, tmp_path, capsys):
    argv = write({"a": {}, "too large": {"batch_size": 512}, "b": {}}, seeds=[0, 1])
    assert main([*argv, "--jobs", "2"]) == 2
    said = capsys.readouterr().err
    assert "2 of 6 runs failed" in said.splitlines()[-1] and "too-large/seed-1 failed: --b" in said
    out = tmp_path / "out"
    assert finished(out) == {"a/seed-0", "b/seed-0", "a/seed-1", "b/seed-1"}
    makers = {(out / run).with_name(".seed-0.lock").read_text() for run in ("a/s", "b/s")}
    assert len(makers) == 2 and str(os.getpid()) not in makers
    assert "preset small; plain5" in (out / "a" / "seed-1.log").read_text()
    assert not any("preset small" in line for line in said.splitlines())
    rows = {row["name"]: row for row in json.loads((out / "sweep.json").read_text())["rows"]}
    assert rows["a"]["runs"] == rows["b"]["runs"] == 2 and rows["too large"]["runs"] == 0


def gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def wait_until(true, seconds=90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


@TWO_CORES
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_when_the_sweep_is_stopped_or_killed_its_runs_save_and_end(write, tmp_path, how):
    argv = write({"a": {}, "b": {}}, epochs=100_000, evaluate=False)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "BYOL", *argv, "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        runs = [out / name / "seed-0" for name in "ab"]
        wait_until(lambda: all((run / "logs").is_dir() and any((run / "logs").rglob("*.csv"))
                               for run in runs))  # fmt: skip
        workers = [int(run.with_name(".seed-0.lock").read_text()) for run in runs]
        process.send_signal(how)
        if how == signal.SIGTERM:
            said = process.stderr.read().splitlines()
            assert process.wait(60) == 75
            assert said[-1] == "byol: stopped by SIGTERM: the same line goes on"
        wait_until(lambda: all(map(gone, workers)))
    steps = {}
    for run in runs:
        assert not (run / "results.json").exists()
        checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        steps[run] = checkpoint["global_step"]
    assert min(steps.values()) > 0


def test_every_process_has_its_cores_and_its_gpu(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 4, 6, 8}, raising=False)
    here, elsewhere = PretrainConfig(accelerator="cpu"), PretrainConfig(accelerator="gpu")
    assert settle_jobs(None, [here]) == [Share((0, 2, 4, 6, 8))]
    assert settle_jobs(2, [here]) == [Share((0, 2, 4)), Share((6, 8))]
    with pytest.raises(UserError, match=r"--jobs=6 is more than this process has cores: 5"):
        settle_jobs(6, [here])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [share.gpu for share in settle_jobs(None, [elsewhere])] == ["0", "1"]
    assert [share.gpu for share in settle_jobs(3, [elsewhere])] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [share.gpu for share in settle_jobs(None, [elsewhere])] == ["3", "5"]
    assert [share.gpu for share in settle_jobs(2, [here, elsewhere])] == [None, None]


@pytest.mark.parametrize("name", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_processes_of_a_launcher_are_refused(write, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    assert main(write({"a": {}})) == 2
    assert "byol sweep is one process" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_knows_no_locks_is_used_without(tmp_path, monkeypatch):
    def refuse(number):
        def lockf(descriptor, operation):
            raise OSError(number, os.strerror(number))

        return lockf

    monkeypatch.setattr(fcntl, "lockf", refuse(errno.ENOLCK))
    with claimed(tmp_path / "lock") as mine:
        assert mine
    monkeypatch.setattr(fcntl, "lockf", refuse(errno.EAGAIN))
    with claimed(tmp_path / "lock") as mine:
        assert not mine
    monkeypatch.setattr(fcntl, "lockf", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), claimed(tmp_path / "lock"):
        pass


def test_a_folder_that_may_not_be_written_to_is_a_line_and_not_a_traceback(write, tmp_path, capsys):
    for name in ("lock", "out"):
        (tmp_path / name).mkdir()
    refused = pytest.raises(UserError, match="--out=r cannot be written to: Is a directory")
    with refused, locked(tmp_path / "lock", "--out=r"):
        pass
    (tmp_path / "out" / "a").write_text("a file in the way")
    assert main(write({"a": {}})) == 2
    said = capsys.readouterr().err
    assert "out/a cannot be made" in said and "Traceback" not in said
    (tmp_path / "out" / "a").unlink()
    (tmp_path / "out" / "a" / ".seed-0.lock").mkdir(parents=True)
    assert main(write({"a": {}})) == 2
    said = capsys.readouterr().err
    assert "out/a cannot be written to" in said and "Traceback" not in said
