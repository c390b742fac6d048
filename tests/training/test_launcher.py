"""What a run needs decides its processes; variables of the environment are compared with it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.utilities import rank_zero_only

from BYOL import _distributed
from BYOL._distributed import first_process, process_count
from BYOL.cli.main import main
from BYOL.config import PretrainConfig
from BYOL.config.presets import preset_config
from BYOL.errors import MachineError, SettingsError
from BYOL.runs.folder import default_folder
from BYOL.training.launcher import (
    Launcher,
    cluster_environment,
    find_launcher,
    independent_task,
    resolve_processes,
)
from tests.conftest import TINY, draw_images
from tests.forked import FORKSERVER

BATCH = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
STEP = {**BATCH, "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "3",
    "LOCAL_RANK": "1", "GROUP_RANK": "1",
}  # fmt: skip
LEFT_OVER = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "gone", "MASTER_PORT": "1"}
NAMES = ("SLURM", "RANK", "WORLD", "LOCAL", "NODE_RANK", "GROUP", "MASTER", "TORCHELASTIC", "OMPI")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(NAMES):
            monkeypatch.delenv(name)
    monkeypatch.setattr(_distributed, "_process", (0, 1))


def within(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def config(devices: int = 1, nodes: int = 1, **more: Any) -> PretrainConfig:
    return preset_config("small", batch_size=64, devices=devices, nodes=nodes, **more)


@pytest.mark.parametrize(
    ("variables", "launcher"),
    [
        ({}, Launcher()),
        (BATCH, Launcher()),
        (STEP, Launcher("srun", 4, 3)),
        ({**STEP, "SLURM_JOB_NAME": "bash"}, Launcher()),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, Launcher("srun", 2, 1)),
        (TORCHRUN, Launcher("torchrun", 4, 3)),
        ({**STEP, **TORCHRUN}, Launcher("torchrun", 4, 3)),
        (LEFT_OVER, Launcher()),
        ({**LEFT_OVER, "LOCAL_RANK": "1"}, Launcher("Lightning", 4, 1)),
        ({"RANK": "x", "WORLD_SIZE": "", "SLURM_PROCID": "-1"}, Launcher()),
    ],
)
def test_a_launcher_is_found_by_its_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], launcher: Launcher
) -> None:
    within(monkeypatch, variables)
    assert find_launcher(devices=2) == launcher


@pytest.mark.parametrize("variables", [BATCH, STEP, TORCHRUN, LEFT_OVER, {**STEP, **LEFT_OVER}])
def test_a_run_of_one_device_is_a_run_of_its_own(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], lines: Any
) -> None:
    within(monkeypatch, variables)
    monkeypatch.setattr(rank_zero_only, "rank", 3)
    alone = preset_config("auto", devices=1, nodes=1)  # specified, which torchrun respects
    assert resolve_processes(1, 1, alone.specified) == (1, 1)
    assert first_process() and process_count() == 1
    assert cluster_environment(1, 1).world_size() == 1
    assert not cluster_environment(1, 1).creates_processes_externally
    assert rank_zero_only.rank == 0
    several = find_launcher(1).tasks > 1
    assert len([line for line in lines() if "each process is a run of its own" in line]) == several
    assert independent_task(1, 1) == (3 if several else None)


def test_tasks_have_default_folders_of_their_own() -> None:
    first, second = (default_folder("photos", stamped=False, task=task) for task in (0, 1))
    assert first != second and default_folder("photos", stamped=False) == Path("runs/photos")


def test_as_many_tasks_as_processes_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    within(monkeypatch, STEP)
    environment = cluster_environment(*resolve_processes(2, 2, config(2, 2).specified))
    assert not first_process() and process_count() == 4
    assert environment.world_size() == 4 and environment.global_rank() == 3
    environment.validate_settings(num_devices=2, num_nodes=2)


def test_torchrun_decides_the_devices_that_are_not_specified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    within(monkeypatch, TORCHRUN)
    assert resolve_processes(1, 1, frozenset({"batch_size"})) == (2, 2)
    assert process_count() == 4 and not first_process()


@pytest.mark.parametrize("variables", [BATCH, LEFT_OVER, {}])
def test_lightning_starts_the_processes_of_one_machine(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    within(monkeypatch, variables)
    within(monkeypatch, {"NODE_RANK": "3"})
    resolve_processes(2, 1, frozenset({"devices"}))
    assert first_process() and process_count() == 2
    environment = cluster_environment(2, 1)
    assert not environment.creates_processes_externally
    assert (environment.main_address, environment.node_rank()) == ("127.0.0.1", 0)
    assert environment.main_port == environment.main_port != 1
    present = dict(os.environ)
    os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": "2", "NODE_RANK": "0"}  # as Lightning does
    environment.teardown()
    assert dict(os.environ) == present


@pytest.mark.parametrize(
    ("variables", "devices", "nodes"), [(STEP, 2, 1), (STEP, 4, 2), ({}, 1, 2), (BATCH, 1, 4)]
)
def test_another_number_of_tasks_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], devices: int, nodes: int
) -> None:
    within(monkeypatch, variables)
    with pytest.raises(SettingsError, match=r"--devices=. and --nodes=. are . processes, and"):
        resolve_processes(devices, nodes, frozenset({"devices", "nodes"}))


FLAGS = (*TINY, "--epochs=1", "--no-evaluate", "--no-report", "--knn-every=0", "--workers=0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("data") / "images", each=8)


@pytest.mark.parametrize("variables", [BATCH, STEP, LEFT_OVER], ids=["batch", "step", "left over"])
def test_a_run_within_other_programs_variables_is_complete(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    within(monkeypatch, variables)
    assert main(["pretrain", str(images), *FLAGS, "--out", str(tmp_path / "run")]) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"backbone.safetensors", "results.json", "config.yaml"} <= names
    assert (tmp_path / "run" / "logs" / "metrics.csv").exists()


def test_a_wrong_number_of_tasks_writes_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    within(monkeypatch, STEP)
    argv = ["pretrain", str(images), *FLAGS, "--devices=2", "--out", str(tmp_path / "run")]
    assert main(argv) == 2
    assert len([x for x in capsys.readouterr().err.splitlines() if x.startswith("byol: ")]) == 1
    assert not (tmp_path / "run").exists()


def test_a_time_limit_for_several_processes_is_refused_before_any_work(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("BYOL.training.pretrain.prepare", lambda _: pytest.fail("it has begun"))
    argv = ["pretrain", str(images), *FLAGS, "--devices=2", "--minutes=1"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "byol: --minutes=1 is for one process: specify --epochs for several"


def _task(argv: list[str], rank: int, barrier: Any, codes: Any) -> None:
    os.environ |= {**STEP, "SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": "2"}
    barrier.wait(200)
    codes[rank] = main([*argv, f"--seed={rank}"])


def test_of_two_tasks_with_one_folder_one_is_refused(images: Path, tmp_path: Path) -> None:
    argv = ["pretrain", str(images), *FLAGS, "--out", str(tmp_path / "run")]
    barrier, codes = FORKSERVER.Barrier(2), FORKSERVER.Array("i", [9, 9])
    tasks = [FORKSERVER.Process(target=_task, args=(argv, r, barrier, codes)) for r in (0, 1)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(200)
    assert sorted(codes) == [0, 2]
    assert (tmp_path / "run" / "results.json").exists()


def test_a_full_disk_at_the_start_leaves_no_folder(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MachineError("cannot write config.yaml: no space left on the device")

    monkeypatch.setattr("BYOL.training.pretrain.save_config", full)
    assert main(["pretrain", str(images), *FLAGS, "--out", str(tmp_path / "run")]) == 2
    assert not list(tmp_path.iterdir())


def _watch_a_process_that_fails() -> None:
    from lightning_fabric.strategies.launchers import subprocess_script

    cluster_environment(2, 1)
    failed = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(1)"])
    subprocess_script._ChildProcessObserver(os.getpid(), [failed], sleep_period=0).start()
    failed.wait()
    time.sleep(0.3)
    os._exit(75)


def test_a_process_has_time_to_report_that_another_one_has_died() -> None:
    process = FORKSERVER.Process(target=_watch_a_process_that_fails)
    process.start()
    process.join(60)
    assert process.exitcode == 75
