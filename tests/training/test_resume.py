"""A run that was killed, stopped or damaged ends as if nothing had happened."""

import contextlib
import csv
import dataclasses
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from BYOL.cli.main import main
from BYOL.cli.program import parse
from BYOL.config import PretrainConfig, load_config
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.paths import with_absolute_paths
from BYOL.errors import SettingsError, StoppedError, UserError
from BYOL.export import load_weights
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint, open_run
from BYOL.training.pretrain import pretrain
from BYOL.training.resume import Start, fixed_facts
from BYOL.training.signals import StopRequest
from tests.conftest import TINY, draw_images, tiny
from tests.forked import FORKSERVER


def train(config) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    # Loader workers are forked, as in an ordinary run: a nested server would outlive the kill.
    multiprocessing.set_start_method("fork", force=True)
    try:
        pretrain(config)
    except StoppedError:
        os._exit(75)


def start(config):
    process = FORKSERVER.Process(target=train, args=(config,))
    process.start()
    return process


def wait_for(path, process, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        alive = process.poll() is None if hasattr(process, "poll") else process.is_alive()
        assert alive and time.monotonic() < until, f"{path.name} does not come"
        time.sleep(0.005)


def rows(run) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_run(one, two) -> None:
    """Weights, optimizer and curves, bit for bit."""
    first, second = (load_checkpoint(r / "checkpoints" / "last.ckpt") for r in (one, two))
    assert first["global_step"] == second["global_step"]
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
    states = [c["optimizer_states"][0]["state"] for c in (first, second)]
    for key, state in states[0].items():
        for name, value in state.items():
            assert torch.equal(value, states[1][key][name])
    exported, again = (load_weights(r / "backbone.safetensors")[0] for r in (one, two))
    assert all(torch.equal(exported[k], again[k]) for k in exported)
    assert rows(one) == rows(two)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=20)


def interrupted(images, out, workers: int) -> dict:
    """Everything that has a state: accumulation, momentum, gauges, k-NN, dropout."""
    return tiny(
        images, out, epochs=4, accumulate=2, knn_every=1, gauges_every=3, optimizer="lars",
        memory=0.0, workers=workers, checkpoint_steps=1, resume="auto",
    )  # fmt: skip


def kill_at_random(images, whole, place, workers: int, kills: int, seconds: float) -> None:
    chance = random.Random(workers)
    run = place / f"killed{workers}"
    for _ in range(kills):
        process = start(interrupted(images, run, workers))
        time.sleep(chance.uniform(0.05, 1.0) * seconds)
        process.kill()
        process.join()
    process = start(interrupted(images, run, workers))
    process.join()
    assert process.exitcode == 0
    assert_same_run(whole, run)


def timed_whole_run(images, place) -> float:
    server = FORKSERVER.Process(target=int)  # the first one waits until the server has imported all
    server.start()
    server.join()
    begun = time.monotonic()
    process = start(interrupted(images, place / "whole", 0))
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begun


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(images, tmp_path):
    seconds = timed_whole_run(images, tmp_path)
    kill_at_random(images, tmp_path / "whole", tmp_path, 1, 3, seconds)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_twenty_kills_change_no_bit(images, tmp_path, workers):
    seconds = timed_whole_run(images, tmp_path)
    kill_at_random(images, tmp_path / "whole", tmp_path, workers, 20, seconds)


def test_photographs_decoded_once_change_no_bit_of_a_resumed_run(tmp_path):
    """The decoded pixels are in a file of the stopped run, and in memory of the whole one."""
    photos = tmp_path / "photos"
    draw_images(photos, ("a",), each=10, side=200)
    draw_images(photos, ("b",), each=10, side=150)  # two sizes do not fit into one array
    same = {
        "epochs": 3, "image_size": 32, "checkpoint_steps": 1, "resume": "auto",
        "data_root": str(tmp_path / "cache"),
    }  # fmt: skip
    process = start(tiny(photos, tmp_path / "stopped", **same, memory=0.0, workers=1))
    wait_for(tmp_path / "stopped" / "checkpoints" / "step-000000001.ckpt", process)
    assert list((tmp_path / "cache" / "decoded").iterdir())
    process.kill()
    process.join()
    for out, memory in (("stopped", 0.0), ("whole", 4.0)):
        process = start(tiny(photos, tmp_path / out, **same, memory=memory, workers=0))
        process.join()
        assert process.exitcode == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_stopped_on_request_saves_within_an_epoch_and_can_be_resumed(images, tmp_path):
    config = interrupted(images, tmp_path / "stopped", 1)
    process = start(config)
    wait_for(tmp_path / "stopped" / "checkpoints" / "step-000000001.ckpt", process)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 75
    # In processes like the first: another number of threads adds up in another order.
    for settings in (config, interrupted(images, tmp_path / "whole", 0)):
        process = start(settings)
        process.join()
        assert process.exitcode == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_under_nohup_survives_its_terminal():
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal_name is None
            with pytest.raises(StoppedError, match="stopped by SIGUSR1"):
                os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_handlers_that_python_did_not_install_are_left_alone(monkeypatch):
    real = signal.getsignal
    earlier = real(signal.SIGINT), real(signal.SIGTERM)  # a program in the background ignores some
    monkeypatch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGINT else real(n))
    with StopRequest():
        assert real(signal.SIGINT) is earlier[0]
        assert real(signal.SIGTERM) is not earlier[1]
    assert (real(signal.SIGINT), real(signal.SIGTERM)) == earlier


def test_a_second_signal_stops_at_once():
    from BYOL.training.signals import StopRequest

    process = FORKSERVER.Process(target=_never_ending)
    process.start()
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(5)
    assert process.exitcode == -signal.SIGINT
    with StopRequest(), pytest.raises(StoppedError, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)


def _never_ending() -> None:
    from BYOL.training.signals import StopRequest

    with StopRequest() as stop:
        stop.set_deferred(True)
        while True:
            time.sleep(0.01)


def test_resume_auto_is_one_line_for_a_job_array(images, tmp_path, capsys):
    argv = ["pretrain", str(images), *TINY, "--no-evaluate", "--out", str(tmp_path / "run")]
    argv += ["--resume", "auto"]
    assert parse("pretrain", argv[1:]).resume == "auto"
    assert main([*argv, "--json"]) == 0
    first = capsys.readouterr().out
    assert main([*argv, "--json"]) == 0  # complete: nothing is left to do
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert main([*argv, "--json", "--epochs=3"]) == 0  # one more is asked for
    more = json.loads(capsys.readouterr().out)
    assert more["steps"] == json.loads(first)["steps"] * 3 // 2 and more["epochs"] == 3
    assert load_config(tmp_path / "run" / "config.yaml").epochs == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [({"hidden_size": 32}, "--hidden_size=32"), ({"batch_size": 4}, "--batch_size=4")],
)
def test_settings_that_do_not_fit_the_checkpoint_are_rejected(images, tmp_path, change, named):
    pretrain(tiny(images, tmp_path / "run", epochs=1))
    with pytest.raises(UserError, match=named):
        pretrain(tiny(images, tmp_path / "run", resume=True, **{"epochs": 2, **change}))


def test_a_run_that_was_killed_behind_its_checkpoint_makes_no_row_of_the_spectrum_twice(
    images, tmp_path
):
    run = tmp_path / "run"
    pretrain(tiny(images, run, epochs=2))
    spectrum = run / "logs" / "spectrum.csv"
    before = spectrum.read_text()
    with spectrum.open("a") as file:
        print("15,0.5,0.4", file=file)  # as if killed then, with a row half written
        file.write("2")
    pretrain(tiny(images, run, epochs=3, resume=True))
    after = spectrum.read_text()
    assert after.startswith(before) and "15,0.5,0.4" not in after
    assert [line.split(",")[0] for line in after.splitlines()] == ["5", "10", "15"]


def test_missing_images_are_detected_on_resume(tmp_path):
    images = draw_images(tmp_path / "pictures")
    pretrain(tiny(images, tmp_path / "run", epochs=1))
    (images / "a" / "00.png").unlink()
    with pytest.raises(UserError, match=r"23 images, but .* 24"):
        pretrain(tiny(images, tmp_path / "run", epochs=2, resume=True))


def test_other_images_of_the_same_number_are_detected_on_resume(tmp_path):
    first, second = (draw_images(tmp_path / name) for name in ("first", "second"))
    pretrain(tiny(first, tmp_path / "run", epochs=1))
    moved = first.rename(tmp_path / "moved")  # the same ones elsewhere
    pretrain(tiny(moved, tmp_path / "run", epochs=2, resume=True))
    (second / "a" / "00.png").rename(second / "a" / "other.png")
    for resume, epochs in ((True, 3), ("auto", 3), ("auto", 2)):
        with pytest.raises(UserError, match="the images of DATA are not those of the run"):
            pretrain(tiny(second, tmp_path / "run", epochs=epochs, resume=resume))
    arrays = [tmp_path / name for name in ("a.npy", "b.npy")]
    for number, path in enumerate(arrays):
        np.save(path, np.random.default_rng(number).integers(0, 256, (24, 16, 16, 3), np.uint8))
    pretrain(tiny(arrays[0], tmp_path / "array", epochs=1))
    with pytest.raises(UserError, match="the images of DATA are not those of the run"):
        pretrain(tiny(arrays[1], tmp_path / "array", epochs=2, resume=True))


class TwentyImages:
    digest = ""

    def __len__(self) -> int:
        return 20


@pytest.mark.parametrize(
    ("changes", "step", "named"),
    [
        ({"epochs": 2}, 5, "--epochs=2 does not fit --resume: .* made 5 steps, and would have 4"),
        ({"epochs": 2}, 4, None),
        ({"epochs": 9, "steps": 3}, 4, "--steps=3 does not fit --resume: .* made 4 steps"),
        ({"epochs": 1, "steps": 8}, 4, "--epochs=1 does not fit --resume"),
    ],
)
def test_a_run_that_is_shorter_than_it_was_trained_is_refused(tmp_path, changes, step, named):
    start = Start(RunFolder(tmp_path / "run"), step=step)
    config = tiny(tmp_path, tmp_path / "run", **changes)  # two steps an epoch
    with pytest.raises(SettingsError, match=named) if named else contextlib.nullcontext():
        start.check(fixed_facts(config, TwentyImages()), config.only(OptimizationSettings))


def test_a_complete_run_is_no_answer_to_other_settings_and_gets_what_it_lacks(
    images, tmp_path, lines
):
    run = tmp_path / "run"
    results = pretrain(tiny(images, run, report=True))
    again = tiny(images, run, resume="auto", report=True, knn_every=2, workers=1, memory=1.0)
    (run / "report.html").unlink()
    lines.clear()
    assert pretrain(again) == json.loads((run / "results.json").read_text())
    messages = [line for line in lines() if "so far" not in line]  # a slow machine says more
    assert messages == [f"the run in {run} is complete: nothing was trained"]
    assert (run / "report.html").exists() and results["steps"] == 10
    for change, named in (({"lr": 0.7}, "--lr=0.7"), ({"flip": 0.0}, "--flip")):
        with pytest.raises(UserError, match=f"{named}.* does not fit --resume"):
            pretrain(tiny(images, run, resume="auto", **change))
    with pytest.raises(UserError, match="nowhere is not there"):
        pretrain(tiny(tmp_path / "nowhere", run, resume="auto"))
    weights, metadata = load_weights(run / "backbone.safetensors")
    (run / "backbone.safetensors").unlink()
    pretrain(again)
    found = load_weights(run / "backbone.safetensors")
    assert found[1] == metadata and all(torch.equal(found[0][k], v) for k, v in weights.items())
    for path in (run / "checkpoints").iterdir():  # as where no disk had room for one
        path.unlink()
    assert pretrain(again)["steps"] == 10
    with pytest.raises(UserError, match="has no checkpoint to resume from"):
        pretrain(tiny(images, run, resume="auto", epochs=9))


@pytest.mark.parametrize(
    ("recorded", "present", "expected"),
    [
        (True, False, "--no-freeze_patches does not fit .* was started with --freeze_patches$"),
        (False, True, "--freeze_patches does not fit .* was started with --no-freeze_patches$"),
        (0.5, 0.7, "--freeze_patches=0.7 does not fit .* was started with 0.5$"),
        (None, 8, "--freeze_patches=8 does not fit .* was started with none$"),
        (8, None, "no --freeze_patches does not fit .* was started with 8$"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_as_it_is_typed(recorded, present, expected, tmp_path):
    start = Start(RunFolder(tmp_path))
    with pytest.raises(SettingsError, match=expected):
        start._check_equal("freeze_patches", recorded, present)


def test_a_run_is_opened_from_other_folders_than_it_was_started_in(images, tmp_path, monkeypatch):
    monkeypatch.chdir(images.parent)
    config = tiny(Path(images.name), tmp_path / "run", epochs=1)
    pretrain(config)
    assert load_config(tmp_path / "run" / "config.yaml").data == str(images)
    pretrain(dataclasses.replace(config, epochs=2, resume=True))
    monkeypatch.chdir(tmp_path)
    assert main(["embed", "run", "--out", "e.npy"]) == 0
    assert len(np.load("e.npy")) == 40


def test_a_run_that_moved_with_its_images_finds_them_again(tmp_path, monkeypatch):
    draw_images(tmp_path / "here" / "photos", each=5)
    monkeypatch.chdir(tmp_path / "here")
    pretrain(tiny(Path("photos"), Path("runs/x"), epochs=1))
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    assert main(["embed", "there/runs/x", "--out", "e.npy"]) == 2, "it is from elsewhere now"
    moved = open_run("there/runs/x", trust=True)
    assert moved.config.data == str(tmp_path / "there" / "photos")
    (tmp_path / "there" / "photos").rename(tmp_path / "gone")
    assert open_run("there/runs/x").config.data == str(tmp_path / "here" / "photos")
    assert main(["embed", "there/runs/x", "--trust", "--out", "e.npy"]) == 2


def test_what_is_built_in_is_no_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert with_absolute_paths(PretrainConfig(data="digits", out="x")).data == "digits"
    assert with_absolute_paths(PretrainConfig(data="digits", out="x")).out == str(tmp_path / "x")


@pytest.mark.parametrize("damage", ["one byte", "cut short", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(images, tmp_path, damage, lines):
    run = tmp_path / "run"
    pretrain(tiny(images, run))
    whole = load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    last = run / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes({"one byte": content, "cut short": content[:-9], "empty": b""}[damage])
    lines.clear()
    pretrain(tiny(images, run, resume=True))
    assert "last.ckpt is damaged" in lines()[0] and "step-000000005.ckpt of step 5" in lines()[0]
    again = load_checkpoint(last)["state_dict"]
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_run_is_opened_by_the_checkpoint_that_resume_would_use(images, tmp_path, lines):
    import BYOL

    run = tmp_path / "run"
    pretrain(tiny(images, run))
    (run / "backbone.safetensors").unlink()  # as if training were not over
    folder = run / "checkpoints"
    before = load_checkpoint(folder / "step-000000005.ckpt")["state_dict"]
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:-9])
    lines.clear()
    opened = open_run(run)
    (line,) = lines()
    assert "last.ckpt is damaged" in line and "step-000000005.ckpt of step 5 is used" in line
    for backbone in (opened.backbone, BYOL.load_backbone(run)):
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, before[f"model.onlineNet.backend.{name}"])
    (folder / "step-000000005.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged"):
        open_run(run)


@pytest.mark.parametrize(("first", "then"), [(4, 1), (1, 2)])
def test_another_number_of_parts_goes_on_in_mid_epoch_with_the_same_steps(
    images, tmp_path, first, then
):
    settings = {"checkpoint_steps": 1, "checkpoint_keep": 50, "gauges_every": 1000, "epochs": 3}
    whole = pretrain(tiny(images, tmp_path / "run", accumulate=first, **settings))
    before = rows(tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    for path in folder.iterdir():
        if path.name != "step-000000007.ckpt":
            path.unlink()
    (tmp_path / "run" / "results.json").unlink()
    again = pretrain(tiny(images, tmp_path / "run", accumulate=then, resume=True, **settings))
    assert again["steps"] == whole["steps"] == 15 and again["epochs_seen"] == 3
    after = rows(tmp_path / "run")
    for name in ("step", "learning_rate", "epoch"):  # the last of an epoch is known as the last
        assert [row[name] for row in before] == [row[name] for row in after]
    read = [[row["step"] for row in found if row["gauge/std"]] for found in (before, after)]
    assert read[0] == read[1]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_the_same_schedule(images, tmp_path, first, then):
    """The same steps of the same global batches; not the same bits, since sums are in parts."""
    runs = {}
    for name, counts in (("whole", (1,)), ("changed", (first, then))):
        run = runs[name] = tmp_path / name
        for devices in counts:
            words = ["--epochs=6", f"--devices={devices}", "--knn-every=0", "--optimizer=lars"]
            words += ["--no-evaluate", "--no-report", "--accelerator=cpu", "--checkpoint-steps=3"]
            words += ["--resume=auto", "--out", str(run), "--precision=fp32"]
            process = subprocess.Popen(
                [sys.executable, "-m", "BYOL", "pretrain", str(images), *TINY, *words],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stderr=subprocess.PIPE,
                text=True,
            )
            if name == "changed" and devices == first:
                wait_for(run / "checkpoints" / "last.ckpt", process)
                process.terminate()
                assert process.wait(60) == 75
                assert load_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] < 30
            said = process.communicate(timeout=200)[1]
            assert process.returncode in (0, 75)
            assert said.count("byol: stopped") == (process.returncode == 75)  # one speaks for all
    one, other = (rows(run) for run in runs.values())
    assert [row["step"] for row in one] == [row["step"] for row in other]
    assert [row["learning_rate"] for row in one] == [row["learning_rate"] for row in other]
    # Rounding grows step by step: to 5 % of the way after 60; without SyncBN 16 % after 24 steps.
    ends = [load_weights(run / "backbone.safetensors")[0] for run in runs.values()]
    begun = open_run(runs["whole"]).untrained.state_dict()
    learnt = [name for name in begun if name.endswith(("weight", "bias"))]
    apart = sum(float((ends[0][name] - ends[1][name]).square().sum()) for name in learnt)
    way = sum(float((ends[0][name] - begun[name]).square().sum()) for name in learnt)
    assert apart < 0.1**2 * way


def test_the_last_few_and_the_best_are_kept(images, tmp_path):
    results = pretrain(tiny(images, tmp_path / "run", epochs=5, knn_every=1, checkpoint_keep=3))
    folder = tmp_path / "run" / "checkpoints"
    names = {path.name for path in folder.iterdir()}
    assert names == {"last.ckpt", "best.ckpt", "step-000000020.ckpt", "step-000000015.ckpt"}
    best_epoch = max(results["online_knn"], key=lambda pair: (pair[1], -pair[0]))[0]
    assert load_checkpoint(folder / "best.ckpt")["global_step"] == best_epoch * 5
    assert load_checkpoint(folder / "last.ckpt")["global_step"] == 25
