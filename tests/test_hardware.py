"""The choice of the numeric precision."""

import pytest
import torch

from BYOL import _hardware
from BYOL.errors import SettingsError


@pytest.fixture
def measured(monkeypatch):
    """Return a function that sets whether the CPU has bf16, and the rates in fp32 and bf16."""

    def use(supported: bool, fp32: float, bf16: float) -> list[tuple]:
        calls: list[tuple] = []

        def rates(*dtypes):
            calls.append(dtypes)
            return [fp32, bf16]

        monkeypatch.setattr(_hardware, "_cpu_multiplies_bf16", lambda: supported)
        monkeypatch.setattr(_hardware, "convolution_rates", rates)
        _hardware._cpu_is_faster_in_bf16.cache_clear()
        return calls

    yield use
    _hardware._cpu_is_faster_in_bf16.cache_clear()


@pytest.mark.parametrize(("bf16", "chosen"), [(2.0, "bf16"), (0.58, "fp32")])
def test_a_cpu_with_bf16_uses_it_only_where_it_is_faster(measured, bf16, chosen):
    calls = measured(True, 1.0, bf16)
    assert _hardware.pick_precision("auto", "cpu") == chosen
    assert _hardware.pick_precision("auto", "cpu") == chosen
    assert calls == [(torch.float32, torch.bfloat16)]  # once, in this order


def test_a_cpu_without_bf16_is_not_measured(measured):
    calls = measured(False, 1.0, 2.0)
    assert _hardware.pick_precision("auto", "cpu") == "fp32"
    assert calls == []


def test_a_specified_precision_is_not_measured(measured):
    calls = measured(True, 1.0, 0.5)
    assert _hardware.pick_precision("bf16", "cpu") == "bf16"
    assert calls == []
    with pytest.raises(SettingsError, match="fp16"):
        _hardware.pick_precision("fp16", "cpu")


def test_the_measurement_changes_no_random_state_and_works_in_inference_mode():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with torch.inference_mode():
        rates = _hardware.convolution_rates(torch.float32, torch.bfloat16, rounds=1)
    assert torch.equal(torch.rand(3), expected)
    assert all(rate > 0 for rate in rates)
    assert not torch.is_inference_mode_enabled()
