"""Several processes train the same weights as one process with the same global batch."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from BYOL.cli.main import main
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.errors import LostError, UserError
from BYOL.export import load_weights
from BYOL.model.sync_batchnorm import GlobalBatchNorm, synchronise_batchnorm
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint
from BYOL.training.launch import translated_errors
from tests.conftest import TINY, draw_images
from tests.forked import FORKSERVER

CLEAN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
FLAGS = (
    "--no-evaluate", "--optimizer=lars", "--accelerator=cpu", "--predictor=optimal",
    "--gauges-every=2", "--backbone=plain5", "--precision=fp32",
    "--knn-every=2",  # the last epoch's is the best: the first process has saved it before the end
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=20)


def launch(launcher: list[str], images, run, *flags: str) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if name not in CLEAN}
    argv = ["pretrain", str(images), *TINY, *FLAGS, "--out", str(run), *flags]
    command = [sys.executable, "-m", *launcher, "BYOL", *argv]
    return subprocess.Popen(
        command, env={**clean, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )


def assert_equal_to_rounding(one, many) -> None:
    first, second = (load_weights(r / "backbone.safetensors")[0] for r in (one, many))
    for name, value in first.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, second[name], rtol=2e-3, atol=2e-4)
    curves = []
    for run in (one, many):
        with (run / "logs" / "metrics.csv").open(newline="") as file:
            curves.append(list(csv.DictReader(file)))
    assert len(curves[0]) == len(curves[1])
    for row, other in zip(*curves, strict=True):
        for name in ("knn", "probe", "learning_rate", "gauge/std", "gauge/centred_rank"):
            if row[name]:
                assert float(row[name]) == pytest.approx(float(other[name]), rel=5e-3)


@pytest.mark.trains
def test_two_processes_equal_one_with_the_same_global_batch(images, tmp_path):
    two = launch([], images, tmp_path / "two", "--devices=2")
    argv = ["pretrain", str(images), *TINY, *FLAGS, "--out", str(tmp_path / "one")]
    assert main(argv) == 0
    error = two.communicate(timeout=240)[1]
    assert two.returncode == 0 and "byol: " not in error, error  # of none of the processes
    assert_equal_to_rounding(tmp_path / "one", tmp_path / "two")
    names = load_checkpoint(tmp_path / "one" / "checkpoints" / "last.ckpt")["state_dict"].keys()
    second = load_checkpoint(tmp_path / "two" / "checkpoints" / "last.ckpt")["state_dict"]
    assert names == second.keys()


def test_the_message_about_a_lost_shard_names_how_to_resume(tmp_path):
    trace = "Caught LostError in DataLoader worker process 0.\nTraceback …\nBYOL.errors.LostError: "
    for text in ("DATA: a.tar is gone", f"{trace}DATA: a.tar is gone\n"):
        with pytest.raises(UserError) as caught, translated_errors(RunFolder(tmp_path)):
            raise LostError(text)
        advice = "then the same command with --resume auto resumes the run"
        assert str(caught.value) == f"DATA: a.tar is gone, {advice}"
        assert isinstance(caught.value, LostError)
        with pytest.raises(UserError) as caught, concise_loader_errors():
            raise LostError(text)
        assert str(caught.value) == "DATA: a.tar is gone"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_torchrun_equals_one_process(images, tmp_path, processes):
    run = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    many = launch(run, images, tmp_path / "many")
    argv = ["pretrain", str(images), *TINY, *FLAGS, "--out", str(tmp_path / "one")]
    assert main(argv) == 0
    error = many.communicate(timeout=280)[1]
    assert many.returncode == 0, error
    assert_equal_to_rounding(tmp_path / "one", tmp_path / "many")


def test_the_others_end_when_one_process_is_killed(images, tmp_path):
    run = tmp_path / "run"
    first = launch(
        [], images, run, "--devices=2", "--epochs=100000", "--knn-every=0", "--checkpoint-every=1"
    )
    until = time.monotonic() + 200
    while not (run / "checkpoints" / "last.ckpt").exists():
        assert first.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(first.pid)], capture_output=True, text=True
    )
    for child in listed.stdout.split():
        os.kill(int(child), signal.SIGKILL)
    begun = time.monotonic()
    error = first.communicate(timeout=60)[1]
    assert time.monotonic() - begun < 30
    assert first.returncode == 75 and "another process of this run ended" in error
    assert "Traceback" not in error
    load_checkpoint(run / "checkpoints" / "last.ckpt")


def _normalise(rank: int, world: int, file: str, answers) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    x = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0)) * 3 + 100
    x, weights = x.double().float(), torch.linspace(-1, 1, 6).view(-1, 1, 1, 1)
    mine = slice(0, 2) if rank == 0 else slice(2, 6)  # processes may have unequal parts
    norm = synchronise_batchnorm(nn.BatchNorm2d(5), "cpu")
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
    part = x[mine].clone().requires_grad_()
    out = norm(part)
    (out.square() * weights[mine]).sum().backward()
    answers[rank] = (
        out.detach(), part.grad, norm.weight.grad, norm.running_mean, norm.running_var
    )  # fmt: skip
    dist.destroy_process_group()


def test_global_batch_norm_is_batch_norm_of_the_whole_batch(tmp_path):
    """Values, gradients and running statistics."""
    answers = FORKSERVER.Manager().dict()
    arguments = (2, str(tmp_path / "meet"), answers)
    mp.start_processes(_normalise, arguments, 2, start_method="forkserver")
    x = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0)) * 3 + 100
    x.requires_grad_()
    norm, weights = nn.BatchNorm2d(5), torch.linspace(-1, 1, 6).view(-1, 1, 1, 1)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
    out = norm(x)
    (out.square() * weights).sum().backward()
    parts = [answers[0], answers[1]]
    for k, whole in ((0, out.detach()), (1, x.grad)):
        torch.testing.assert_close(torch.cat([p[k] for p in parts]), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts[0][2] + parts[1][2], norm.weight.grad, rtol=1e-4, atol=1e-4)
    for p in parts:
        torch.testing.assert_close(p[3], norm.running_mean)
        torch.testing.assert_close(p[4], norm.running_var, rtol=1e-4, atol=1e-5)


def test_conversion_keeps_names_activations_and_what_one_process_computes():
    import timm

    plain = timm.create_model("efficientnet_b0", num_classes=0).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before, names = plain(x), plain.state_dict().keys()
        after = synchronise_batchnorm(plain, "cpu")
        assert torch.equal(after(x), before) and after.state_dict().keys() == names
    kinds = {type(m) for m in after.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {GlobalBatchNorm}
