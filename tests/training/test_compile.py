import dataclasses

import pytest
import torch
from torch._dynamo.utils import counters

from BYOL._hardware import Machine
from BYOL.config.presets import preset_config
from BYOL.model.loss import criterion
from BYOL.runs.build_model import build_model
from BYOL.training.compile import compilation_pays_off, compile_forward, resolve_compile
from tests.conftest import TINY_SETTINGS

pytestmark = pytest.mark.trains


def tiny_model(**changes):
    settings = {"channels": 3, "stem": "imagenet", **TINY_SETTINGS, **changes}
    return build_model(preset_config("small", **settings)).train()


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model_has_the_loss_and_gradients_of_the_plain_one(backend, monkeypatch):
    """The first backend traces and differentiates like the second, but writes no machine code."""
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **k: compile_with(self, backend=backend, **k)
    )
    plain, compiled = tiny_model(), tiny_model()
    x, x1 = torch.randn(2, 8, 3, 16, 16)
    before = {name: value.clone() for name, value in compiled.state_dict().items()}
    state = torch.random.get_rng_state()
    assert compile_forward(compiled, torch.zeros_like(x))
    assert all(torch.equal(v, before[k]) for k, v in compiled.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    graphs = counters["stats"]["unique_graphs"]
    losses = []
    for model in (plain, compiled):
        onlinex, onlinex1, targetx, targetx1 = model(x, x1)
        loss = criterion(onlinex, targetx1, onlinex1, targetx)
        loss.backward()
        losses.append(loss.item())
    assert counters["stats"]["unique_graphs"] == graphs > 0  # the trial's fits the run's steps
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    largest = max(p.grad.norm() for p in plain.parameters() if p.grad is not None)
    for p, q in zip(plain.parameters(), compiled.parameters(), strict=True):
        if p.grad is not None:  # before a batch-norm that of a bias is 0, but for rounding
            assert (p.grad - q.grad).norm() < 1e-3 * p.grad.norm() + 1e-6 * largest


def test_a_model_that_cannot_be_compiled_runs_without_and_logs_the_reason(monkeypatch, lines):
    model = tiny_model()

    def refuse(*args, **kwargs):
        raise RuntimeError("no compiler here\nand a long traceback")

    monkeypatch.setattr(
        type(model), "compile", lambda self, **_: setattr(self, "_compiled_call_impl", refuse)
    )
    x = torch.randn(8, 3, 16, 16)
    assert not compile_forward(model, x)
    assert lines() == ["not compiled, the run continues without: RuntimeError: no compiler here"]
    assert model(x, x)[0].isfinite().all()


def test_where_graphs_cannot_be_recorded_the_model_is_compiled_without(monkeypatch, lines):
    compile_with = torch.nn.Module.compile

    def compile(self, **options):
        if options.pop("mode", None):
            raise RuntimeError("no graphs here")
        compile_with(self, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    model = tiny_model()
    x = torch.randn(8, 3, 16, 16)
    assert compile_forward(model, x, graphs=True)
    assert lines() == [
        "not recorded as CUDA graphs, compiled without: RuntimeError: no graphs here"
    ]
    assert model._compiled_call_impl is not None and model(x, x.clone())[0].isfinite().all()


@pytest.mark.parametrize(
    ("machine", "least"),
    [(Machine("cpu", "bf16"), 10_000), (Machine("gpu", "bf16"), 10_000),
     (Machine("gpu", "fp16"), 10_000), (Machine("gpu", "fp32"), 15_000)],
    ids=str,
)  # fmt: skip
def test_a_long_run_is_compiled_and_a_short_one_is_not(machine, least):
    assert not compilation_pays_off(least - 1, machine)
    assert compilation_pays_off(least, machine)


@pytest.mark.parametrize("machine", [Machine("cpu", "fp32"), Machine("mps", "fp32")], ids=str)
def test_without_an_entry_no_run_is_compiled(machine):
    assert not compilation_pays_off(10**12, machine)


def test_auto_counts_micro_batches_and_explicit_choices_stay():
    machine = Machine("cpu", "bf16")
    config = preset_config("small", batch_size=64, epochs=50, compile="auto")
    images = 64 * 100
    assert resolve_compile("auto", config, images, machine) == "off"  # 5,000 steps
    twice = dataclasses.replace(config, accumulate=2)
    assert resolve_compile("auto", twice, images, machine) == "on"
    explicit = dataclasses.replace(twice, compile="off")
    assert resolve_compile(explicit.compile, explicit, images, machine) == explicit.compile
