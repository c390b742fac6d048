"""The rule for the state of the target: averaged, copied, its own, or left alone."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import register_parametrization

from BYOL.byol import BYOL
from BYOL.errors import UserError
from BYOL.utils import criterion
from tests.model.test_byol import small_backend, small_model

pytestmark = pytest.mark.trains


def train(model: BYOL, steps: int = 20, lr: float = 0.3) -> BYOL:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        x, x1 = torch.randn(2, 16, 3, 12, 12, generator=generator)
        onlinex, onlinex1, targetx, targetx1 = model(x, x1)
        optimizer.zero_grad()
        criterion(onlinex, targetx1, onlinex1, targetx).backward()
        optimizer.step()
        model.updateTargetNetwork()
    return model


class PowerIteration(nn.Module):
    """A spectral norm that a user wrote, whose vector is updated in training mode."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("direction", torch.ones(width) / width**0.5)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        rows = weight.flatten(1)
        if self.training:
            with torch.no_grad():
                u = rows @ self.direction
                self.direction = nn.functional.normalize(rows.mT @ (u / u.norm()), dim=0)
        return weight / (rows @ self.direction).norm()


def own_norm(layer: nn.Conv2d) -> nn.Conv2d:
    register_parametrization(layer, "weight", PowerIteration(layer.weight[0].numel()))
    return layer


def backend_of(norm) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # old functions of torch
        return nn.Sequential(norm(nn.Conv2d(3, 8, 3, 2)), nn.ReLU(), norm(nn.Conv2d(8, 16, 3, 2)))


SPECTRAL = {
    "new": parametrizations.spectral_norm,
    "old": nn.utils.spectral_norm,
    "own": own_norm,
}


@pytest.mark.parametrize("target_norm", ["batch", "running"])
@pytest.mark.parametrize("kind", SPECTRAL)
def test_spectral_norms_of_the_target_stay_1(kind, target_norm):
    model = small_model(backend=backend_of(SPECTRAL[kind]), target_norm=target_norm)
    train(model, steps=40)
    for network in (model.onlineNet, model.targetNet):
        for layer in (network.backend[0], network.backend[2]):
            norm = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
            assert norm == pytest.approx(1, abs=0.1)
    before = model.targetNet.backend[0].weight.detach().clone()
    with torch.no_grad():
        for parameter in model.onlineNet.parameters():
            parameter.normal_()
    for _ in range(60):
        model.updateTargetNetwork()  # without a forward pass in between
    after = model.targetNet.backend[0].weight.detach()
    assert not torch.allclose(before, after)
    assert float(torch.linalg.matrix_norm(after.flatten(1), 2)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize("norm", [parametrizations.weight_norm, nn.utils.weight_norm])
def test_weight_norm_is_averaged_by_length_and_direction(norm, passed):
    backend = backend_of(norm)
    if passed:
        backend(torch.randn(2, 3, 12, 12))  # leaves a tensor with a gradient in the old form
    model = train(small_model(backend=backend))
    layer = model.targetNet.backend[0]
    new = norm is parametrizations.weight_norm
    g = layer.parametrizations.weight.original0 if new else layer.weight_g
    lengths = layer.weight.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, g.detach().flatten().abs())
    assert not torch.equal(model.onlineNet.backend[0].weight, model.targetNet.backend[0].weight)


def test_a_pruned_weight_stays_pruned_in_the_target():
    backend = small_backend()
    prune.l1_unstructured(backend[0], "weight", amount=0.5)
    model = train(small_model(backend=backend), steps=3)
    layer = model.targetNet.backend[0]
    assert torch.equal(layer.weight == 0, layer.weight_mask == 0)
    torch.testing.assert_close(layer.weight, layer.weight_orig * layer.weight_mask)


class Stateful(nn.Module):
    """A module with state of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.table = nn.Parameter(torch.arange(4), requires_grad=False)
        self.mask = nn.Parameter(torch.tensor([True, False]), requires_grad=False)
        self.phase = nn.Parameter(torch.ones(4, dtype=torch.complex64))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("centre", torch.zeros(16))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.register_buffer("missing", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).mean((2, 3))
        if self.training:
            self.calls += 1
            self.cache = self.cache + 1
            self.centre.lerp_(x.detach().mean(0), 0.1)
        return x - self.centre + self.phase.abs().mean()


def test_every_kind_of_state_follows_the_documented_rule():
    model = small_model(backend=Stateful())
    online, target = model.onlineNet.backend, model.targetNet.backend
    first = target.phase.detach().clone()
    with torch.no_grad():
        online.phase += 1j
        online.frozen += 1
        online.table += 5
    model.train()
    model(*torch.rand(2, 4, 3, 8, 8))
    assert target.calls == 0 and online.calls == 2  # it is not in training mode itself
    model.updateTargetNetwork()
    torch.testing.assert_close(target.phase.detach(), first + 0.1j)  # averaged, τ = 0.9
    torch.testing.assert_close(target.frozen, torch.full((3,), 1.1))  # averaged
    assert target.table.tolist() == [0, 1, 2, 3] and target.mask.tolist() == [True, False]
    assert torch.equal(target.centre, online.centre) and target.calls == 2  # copied
    assert not torch.equal(target.cache, online.cache)  # not in the state dict: its own
    before = copy.deepcopy(model.targetNet.state_dict())
    online.centre += 1
    model.updateTargetNetwork(1.0)
    assert all(torch.equal(value, before[k]) for k, value in model.targetNet.state_dict().items())


def test_tied_parameters_are_averaged_once_and_stay_tied():
    backend = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1))
    backend[2].weight = backend[1].weight
    model = small_model(backend=backend)
    target, online = (n.backend[1].weight.detach() for n in (model.targetNet, model.onlineNet))
    before = target.clone()
    with torch.no_grad():
        online += 1
    model.updateTargetNetwork()
    torch.testing.assert_close(target, before + 0.1)
    assert model.targetNet.backend[2].weight is model.targetNet.backend[1].weight


def test_an_average_updates_every_parameter_as_the_authors_formula_does():
    model = small_model(target_norm="running")
    with torch.no_grad():
        for value in model.onlineNet.parameters():
            value.normal_()
        model.onlineNet.backend[1].running_mean.normal_()
    before = copy.deepcopy(model.targetNet.state_dict())
    model.updateTargetNetwork(0.75)
    for name, value in model.targetNet.state_dict().items():
        if value.is_floating_point():
            online = model.onlineNet.state_dict()[name]
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * online)


def test_a_changed_online_network_is_an_error():
    for change in (
        lambda backend: backend.append(nn.Conv2d(16, 16, 1)),
        lambda backend: backend.pop(3),
        lambda backend: backend.insert(0, nn.Conv2d(3, 3, 1)),
    ):
        model = small_model()
        change(model.onlineNet.backend)
        with pytest.raises(UserError, match="onlineNet and targetNet differ in "):
            model.updateTargetNetwork()


def test_the_target_drops_nothing_before_the_first_call_of_train():
    model = BYOL(192, 64, 16, backend="vit_tiny_patch16_224", image_size=32)
    training = [module for module in model.targetNet.modules() if module.training]
    assert [type(module) for module in training] == [nn.BatchNorm1d]
    backend = nn.Sequential(small_backend(), nn.Dropout(0.5))
    for model in (small_model(backend=backend), small_model(backend=backend).train()):
        model.targetNet.train()  # not even when it is called directly
        x = torch.randn(4, 3, 12, 12)
        assert torch.equal(model.targetNet.backend[1](x), x)
        assert model.targetNet.backend[0][1].training
    assert not any(m.training for m in small_model(target_norm="running").targetNet.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_target_of_a_16_bit_model_follows_in_float32(dtype):
    model = small_model(t=0.996)
    exact = copy.deepcopy(model)
    model.to(dtype)
    exact.load_state_dict(model.state_dict())
    for one in (model, exact):
        with torch.no_grad():
            for parameter in one.onlineNet.parameters():
                parameter.mul_(1.5)
    exact.onlineNet.load_state_dict(model.onlineNet.state_dict())
    for _ in range(300):
        model.updateTargetNetwork()
        exact.updateTargetNetwork()
    pair = (model.targetNet.parameters(), exact.targetNet.parameters())
    for value, right in zip(*pair, strict=True):
        assert value.dtype == dtype
        assert torch.equal(value, right.to(dtype))


def moved(model: BYOL, updates: int) -> dict[str, torch.Tensor]:
    for _ in range(updates):
        model.updateTargetNetwork()
    return {name: value.float() for name, value in model.targetNet.state_dict().items()}


ROUND_TRIPS = {
    "state_dict": lambda m: (
        (other := small_model(t=0.996).bfloat16()).load_state_dict(m.state_dict()) and other
    ),
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "file": lambda m: _saved(m),
}


def _saved(model: BYOL) -> BYOL:
    import io

    content = io.BytesIO()
    torch.save(model.state_dict(), content)
    content.seek(0)
    other = small_model(t=0.996).bfloat16()
    other.load_state_dict(torch.load(content, weights_only=True))
    return other


@pytest.mark.parametrize("kind", ROUND_TRIPS)
def test_the_averages_of_a_16_bit_model_survive(kind):
    model = small_model(t=0.996).bfloat16()
    with torch.no_grad():
        for parameter in model.onlineNet.parameters():
            parameter.mul_(1.5)
    moved(model, 20)
    again = ROUND_TRIPS[kind](model)
    assert again is not model
    names = {n for n, p in model.targetNet.named_parameters()}
    assert all(model.targetNet.state_dict()[name].dtype == torch.float32 for name in names)
    assert all(p.dtype == torch.bfloat16 for p in again.targetNet.parameters())
    whole, resumed = moved(model, 20), moved(again, 20)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_16_bit_target_that_was_changed_from_outside_keeps_the_change():
    model = small_model(t=0.996).bfloat16()
    moved(model, 3)
    with torch.no_grad():
        model.targetNet.backend[0].weight.fill_(7)
        model.onlineNet.backend[0].weight.fill_(7)
    assert (moved(model, 1)["backend.0.weight"] == 7).all()


def test_a_16_bit_model_converted_to_32_bits_keeps_its_averages():
    model = small_model(t=0.996).bfloat16()
    with torch.no_grad():
        model.onlineNet.backend[0].weight.mul_(1.5)
    averages = moved(model, 5)
    model.float()
    value = model.targetNet.backend[0].weight
    assert torch.equal(value, averages["backend.0.weight"])
    assert not torch.equal(value, value.bfloat16().float())
    assert model.targetNet.state_dict()["backend.0.weight"].data_ptr() == value.data_ptr()


def test_statistics_since_a_32_bit_state_was_loaded_survive_a_conversion():
    model = small_model().bfloat16()
    model.load_state_dict(small_model().state_dict())
    model.train()(*torch.rand(2, 8, 3, 12, 12))
    mean = model.targetNet.backend[1].running_mean.float()
    model.float()
    assert mean.any() and torch.equal(model.targetNet.backend[1].running_mean, mean)


def model_on(device: str, dtype: torch.dtype) -> BYOL:
    with torch.device(device):
        return small_model(t=0.996).to(dtype)


def trained_16_bit_model(dtype: torch.dtype = torch.bfloat16) -> BYOL:
    model = small_model(t=0.996).to(dtype)
    with torch.no_grad():
        for parameter in model.onlineNet.parameters():
            parameter.mul_(1.5)
    moved(model, 20)
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("was", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_16_bit_state_can_be_assigned(device, was, dtype):
    model = trained_16_bit_model(dtype)
    nested = nn.ModuleDict({"byol": model_on(device, was)})
    before = model.state_dict()
    nested.load_state_dict({f"byol.{name}": value for name, value in before.items()}, assign=True)
    again = nested["byol"]
    types = {v.dtype for v in again.state_dict(keep_vars=True).values() if v.is_floating_point()}
    assert types == {dtype, torch.float32}
    for one, other in zip(again.parameters(), model.parameters(), strict=True):
        assert one.dtype == dtype and one.requires_grad == other.requires_grad
        assert torch.equal(one, other)
    assert all(map(torch.equal, again.state_dict().values(), before.values()))
    assert {output.dtype for output in again(*torch.rand(2, 8, 3, 12, 12))} == {dtype}
    again.load_state_dict(before, assign=True)
    whole, resumed = moved(model, 20), moved(again, 20)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_an_assigned_target_alone_keeps_its_type_and_shares_no_memory():
    model, again = trained_16_bit_model(), small_model(t=0.996).bfloat16()
    state = model.targetNet.state_dict()
    again.targetNet.load_state_dict(state, assign=True)
    again.onlineNet.load_state_dict(model.onlineNet.state_dict())
    assert {p.dtype for p in again.targetNet.parameters()} == {torch.bfloat16}
    expected = {name: value.clone() for name, value in state.items()}
    whole, resumed = moved(model, 1), moved(again, 1)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert all(map(torch.equal, state.values(), expected.values()))


def test_an_assigned_32_bit_state_makes_a_16_bit_model_one_of_32_bits():
    source, model = small_model(t=0.996), trained_16_bit_model()
    model.load_state_dict(source.state_dict(), assign=True)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(map(torch.equal, model.parameters(), source.parameters()))
    assert moved(model, 1).keys() == moved(source, 1).keys()
    assert all(map(torch.equal, model.parameters(), source.parameters()))


def test_a_32_bit_state_becomes_the_average_of_a_16_bit_target_and_comes_back():
    source, model = small_model(t=0.996), trained_16_bit_model()
    model.load_state_dict(source.state_dict())
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    again = small_model(t=0.996)
    again.load_state_dict(model.state_dict())
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    pairs = zip(again.targetNet.parameters(), source.targetNet.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("assign", [False, True])
def test_a_part_of_a_state_replaces_only_its_own_averages(assign):
    model = trained_16_bit_model()
    before = model.state_dict()
    name = "targetNet.backend.0.weight"
    part = {name: torch.full_like(before[name], 1 / 3)}
    model.load_state_dict(part, strict=False, assign=assign)
    after = model.state_dict()
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert torch.equal(after[name], part[name])
    assert all(torch.equal(value, before[key]) for key, value in after.items() if key != name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_images_are_converted_to_the_type_of_the_model(dtype):
    model = small_model().to(dtype)
    outputs = model(*torch.rand(2, 8, 3, 12, 12))
    assert {output.dtype for output in outputs} == {dtype}
    loss = criterion(outputs[0], outputs[3], outputs[1], outputs[2])
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = small_model()(*torch.rand(2, 8, 3, 12, 12))
    assert outputs[0].dtype == torch.bfloat16


def test_copies_pickles_compiled_and_functional_models_compute_the_same():
    model = train(small_model(), steps=2).eval()
    x, x1 = torch.rand(2, 4, 3, 12, 12)
    expected = model(x, x1)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for outputs in (
        copy.deepcopy(model)(x, x1),
        pickle.loads(pickle.dumps(model))(x, x1),
        torch.func.functional_call(model, state, (x, x1)),
    ):
        assert all(map(torch.equal, outputs, expected))
