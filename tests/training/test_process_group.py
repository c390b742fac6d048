"""The process group of a run is closed at its end, unless the program or a launcher opened it."""

import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from BYOL import pretrain
from BYOL._distributed import group_is_open, rank_and_world
from BYOL.errors import SettingsError
from BYOL.export import load_weights
from BYOL.training import launch
from BYOL.training.launch import process_group
from tests.conftest import draw_images
from tests.training.test_launch import CLEAN

SEVERAL, ONE = (2, 1), (1, 1)  # devices and nodes


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(launch, "_trained_before", False)
    for name in (*CLEAN, "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    if group_is_open():
        dist.destroy_process_group()


def open_group(folder):
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_group_that_a_run_opened_is_closed(tmp_path, error):
    def run():
        with process_group(*SEVERAL):
            open_group(tmp_path)
            if error:
                raise error

    if error:
        with pytest.raises(error):
            run()
    else:
        run()
    assert not group_is_open()
    with pytest.raises(SettingsError, match=r"--devices=2: this program has trained on several"):
        run()
    with process_group(*ONE):
        pass


def test_a_failure_before_training_is_no_earlier_run():
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"^no images$"), process_group(*SEVERAL):
            raise SettingsError("no images")


@pytest.mark.parametrize("config", [ONE, SEVERAL], ids=("one", "several"))
def test_the_group_of_the_program_stays_open(tmp_path, config, monkeypatch):
    open_group(tmp_path)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    with process_group(*config):
        assert rank_and_world() == ((0, 1) if config is ONE else (1, 2))
    assert group_is_open() and rank_and_world() == (1, 2)


def test_the_group_of_torchrun_stays_open_for_the_next_run(tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for number in range(2):
        with process_group(*SEVERAL):
            if number == 0:
                open_group(tmp_path)
            assert group_is_open()
    assert group_is_open()


_PROGRAM = """
import os
import sys
import torch.distributed as dist
from BYOL import pretrain
from tests.training.test_process_group import SETTINGS
if __name__ == "__main__":
    images, out = sys.argv[1:]
    pretrain(images, out=f"{out}/two", devices=2, **SETTINGS)
    assert not dist.is_initialized()
    if os.environ.get("LOCAL_RANK", "0") == "0":
        pretrain(images, out=f"{out}/after", **SETTINGS)
"""
SETTINGS = {
    "preset": "small", "backbone": "plain5", "image_size": 12, "batch_size": 8, "hidden_size": 16,
    "output_size": 8, "epochs": 1, "knn_every": 0, "workers": 0, "evaluate": False,
    "report": False, "predictor": "optimal", "accelerator": "cpu",
}  # fmt: skip


def test_a_run_after_one_of_two_processes_trains_on_all_images(tmp_path):
    images = draw_images(tmp_path / "images", each=10)
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(program), str(images), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pretrain(images, out=tmp_path / "alone", **SETTINGS)
    after, alone = (
        load_weights(tmp_path / run / "backbone.safetensors")[0] for run in ("after", "alone")
    )
    assert after.keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-5)
