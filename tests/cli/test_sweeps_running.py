"""Sweeps with failed runs, with runs of other processes, and with several processes."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
import yaml

from BYOL.cli.main import main
from BYOL.cli.sweep import run as running
from BYOL.errors import StoppedError, UserError
from BYOL.runs.lock import claimed, locked
from tests.cli.test_sweeps import SETTINGS
from tests.conftest import draw_images, hold_lock
from tests.forked import FORKSERVER


@pytest.fixture
def write(tmp_path):
    pictures = draw_images(tmp_path / "pictures", each=10)

    def sweep(rows, seeds=(0,), **settings):
        path = tmp_path / "s.yaml"
        parts = {
            "settings": {**SETTINGS, "report": False, "data": str(pictures), **settings},
            "rows": rows,
            "seeds": list(seeds),
        }
        path.write_text(yaml.safe_dump(parts, sort_keys=False))
        return ["sweep", str(path), "--trust", "--out", str(tmp_path / "out")]

    return sweep


def finished(out: Path) -> set[str]:
    return {str(path.parent.relative_to(out)) for path in out.glob("*/*/results.json")}


def test_a_failed_run_does_not_stop_the_others(write, tmp_path, capsys, monkeypatch):
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
def test_the_message_of_a_stopped_sweep_names_no_flag_of_pretrain(write, monkeypatch, capsys, flag):
    def stopped(config, **known):
        raise StoppedError(
            f"stopped at step 5 by SIGTERM, saved: the same command with {flag} resumes it"
        )

    monkeypatch.setattr(running, "pretrain", stopped)
    assert main(write({"a": {}, "b": {}})) == 75
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "byol: stopped at step 5 by SIGTERM, saved: the same command resumes it"


def test_a_mistake_of_all_runs_is_reported_once(write, tmp_path, capsys):
    assert main(write({"a": {}, "b": {}}, batch_size=512)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "a/seed-0: --batch-size=512 is larger than" in lines[-1]
    assert not any("b/seed-0" in line for line in lines)
    assert finished(tmp_path / "out") == set()


def test_a_run_of_another_process_is_skipped(write, tmp_path, capsys):
    argv = write({"a": {}, "b": {}})
    (tmp_path / "out" / "a").mkdir(parents=True)
    ready = FORKSERVER.Event()
    claim = tmp_path / "out" / "a" / ".seed-0.lock"
    other = FORKSERVER.Process(target=hold_lock, args=(claim, ready))
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


@pytest.mark.parametrize("name", ["TORCHELASTIC_RUN_ID", "LOCAL_RANK"])
def test_processes_of_one_run_are_refused(write, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, "1")
    assert main(write({"a": {}})) == 2
    assert "byol sweep is one process" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_tasks_of_srun_share_the_runs(write, tmp_path, monkeypatch, rank):
    for name, value in {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": rank, "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(write({"a": {}})) == 0
    assert finished(tmp_path / "out") == {"a/seed-0"}


def test_a_folder_without_lock_support_is_used_without_locks(tmp_path, monkeypatch):
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


def test_a_folder_without_write_permission_is_reported_in_one_line(write, tmp_path, capsys):
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
