import pytest
import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import UserError
from BYOL.training.lars import LARS
from BYOL.training.optimizers import build_optimizer, keep_present_settings, parameter_groups


def _model(**kwargs) -> BYOL:
    backend = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1))
    return BYOL(4, 8, 6, backend=backend, **kwargs)


@pytest.mark.parametrize("case", range(3))
def test_lars_equals_the_authors(authors, case):
    """Six steps on a convolution, a linear layer and a batch-norm, all from given gradients."""
    weight_decay, trust, momentum = authors[f"lars/{case}/config"]

    class Tiny(nn.Module):
        """The groups come from :func:`parameter_groups`, which asks for ``onlineNet``."""

        def __init__(self, arrays):
            super().__init__()
            self.target = "ema"
            self.onlineNet = nn.Module()
            self.onlineNet.weights = nn.ParameterDict(
                {name.replace(".", "_"): nn.Parameter(value) for name, value in arrays.items()}
            )
            self.onlineNet.backend = nn.Identity()

    prefix = f"lars/{case}/0/param/"
    start = {k.removeprefix(prefix): v for k, v in authors.items() if k.startswith(prefix)}
    model = Tiny({name: torch.from_numpy(value).clone() for name, value in start.items()})
    optimizer = build_optimizer(
        "lars", model, lr=0.0, weight_decay=weight_decay, momentum=momentum, trust=trust
    )
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = float(authors[f"lars/{case}/learning_rate"][step])
        for name in start:
            parameter = model.onlineNet.weights[name.replace(".", "_")]
            torch.testing.assert_close(
                parameter.detach(),
                torch.from_numpy(authors[f"lars/{case}/{step}/param/{name}"]),
                rtol=1e-5,
                atol=1e-6,
            )
            parameter.grad = torch.from_numpy(authors[f"lars/{case}/{step}/grad/{name}"])
        optimizer.step()
    for name in start:
        final = torch.from_numpy(authors[f"lars/{case}/final/{name}"])
        parameter = model.onlineNet.weights[name.replace(".", "_")].detach()
        torch.testing.assert_close(parameter, final, rtol=1e-5, atol=1e-6)


def test_a_wrapped_model_is_unwrapped():
    model = _model(EAvg=False)
    expected = build_optimizer("sgd", model, lr=0.1, weight_decay=0.1).state_dict()["param_groups"]
    wrappers = (torch.compile, nn.DataParallel, lambda m: nn.DataParallel(torch.compile(m)))
    for wrap in wrappers:
        optimizer = build_optimizer("sgd", wrap(model), lr=0.1, weight_decay=0.1)
        assert optimizer.state_dict()["param_groups"] == expected
    with pytest.raises(UserError, match="model is a Linear: give a BYOL model"):
        build_optimizer("sgd", nn.Linear(2, 2), lr=0.1, weight_decay=0.1)


def test_numbers_for_each_channel_are_spared_whatever_their_shape():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixed = nn.Conv2d(3, 4, 3)
            self.narrow = nn.Conv2d(4, 1, 1)  # a weight, though with one number a channel
            self.gamma = nn.Parameter(torch.ones(4, 1, 1))
            self.temperature = nn.Parameter(torch.ones(()))
            self.pos_embed1 = nn.Parameter(torch.ones(1, 4, 8))
            self.mixing = nn.Parameter(torch.ones(4, 8))

        def forward(self, x):
            return (self.mixed(x) * self.gamma).mean((2, 3))

    model = BYOL(4, 8, 6, backend=Scaled())
    groups = parameter_groups(model, 0.1)
    names = {id(p): n for n, p in model.onlineNet.backend.named_parameters()}
    treated = {names[id(p)] for g in groups if g["adapt"] for p in g["params"] if id(p) in names}
    assert treated == {"mixed.weight", "narrow.weight", "mixing"}
    assert all(g["weight_decay"] == (0.1 if g["adapt"] else 0.0) for g in groups)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_a_state_that_is_loaded_brings_its_moments_and_no_settings(name):
    model = _model()

    def built(**settings):
        optimizer = build_optimizer(name, model, lr=0.1, **settings)
        keep_present_settings(optimizer)
        return optimizer

    first = built(weight_decay=1e-4, momentum=0.9)
    for parameter in model.onlineNet.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.step()
    state = first.state_dict()
    for group in state["param_groups"]:
        group["fused"] = None  # as a CPU's has, where a GPU's is fused
    second = built(weight_decay=0.5, momentum=0.1, predictor_lr_scale=7.0, trust=0.2)
    fresh = [{k: v for k, v in g.items() if k != "params"} for g in second.param_groups]
    second.load_state_dict(state)
    assert fresh == [{k: v for k, v in g.items() if k != "params"} for g in second.param_groups]
    assert {group["lr_scale"] for group in second.param_groups} == {1.0, 7.0}
    for parameter, kept in first.state.items():
        for what, value in kept.items():
            torch.testing.assert_close(second.state[parameter][what], value)


def test_biases_and_norms_get_no_decay_and_no_adaptation():
    model = _model()
    spared, treated = [], []
    for group in parameter_groups(model, 0.1):
        (treated if group["adapt"] else spared).extend(group["params"])
        assert group["weight_decay"] == (0.1 if group["adapt"] else 0.0)
    assert all(p.ndim == 1 for p in spared)
    assert all(p.ndim > 1 for p in treated)
    ids = {id(p) for p in spared + treated}
    assert ids == {id(p) for p in model.onlineNet.parameters()}


@pytest.mark.parametrize(("ema", "factor"), [(True, 1.0), (False, 10.0)])
def test_without_moving_average_the_predictor_has_ten_times_the_learning_rate(ema, factor):
    model = _model(EAvg=ema)
    optimizer = build_optimizer("sgd", model, lr=0.5, weight_decay=0.0)
    predictor = {id(p) for p in model.onlineNet.predictor.parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == 0.5 * (factor if id(parameter) in predictor else 1.0)


@pytest.mark.parametrize("asked", [{"weight"}, lambda: {"weight"}], ids=["set", "method"])
def test_what_a_backbone_asks_to_be_spared_may_be_a_set_or_a_method(asked):
    backend = nn.Linear(4, 4)
    backend.no_weight_decay = asked
    treated = [p for g in parameter_groups(BYOL(4, 8, 6, backend=backend), 0.1) if g["adapt"]
               for p in g["params"]]  # fmt: skip
    assert treated and all(p is not backend.weight for p in treated)


def test_lars_does_not_move_weights_by_their_decay_where_gradients_are_unfit():
    weight = nn.Parameter(torch.randn(6, 4))
    before = weight.detach().clone()
    optimizer = LARS([weight], lr=3.2, weight_decay=1e-6)
    weight.grad = torch.zeros_like(weight)
    optimizer.unfit = torch.tensor(True)
    optimizer.step()
    assert torch.equal(weight, before)
    optimizer.unfit = torch.tensor(False)
    optimizer.step()  # the decay alone, adapted, is a whole step
    torch.testing.assert_close(weight.detach(), before * (1 - 3.2 * 1e-3))


def test_unknown_optimizer_is_named():
    with pytest.raises(UserError, match=r"'adam' is unknown.*lars, sgd, adamw"):
        build_optimizer("adam", _model(), lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", -0.1), ("lr", "0.1"), ("momentum", 2), ("weight_decay", -1), ("trust", -1)],
)
def test_numbers_out_of_range_are_named(name, value):
    settings = {"lr": 0.1, "weight_decay": 0.0, name: value}
    with pytest.raises(UserError, match=f"{name}={value!r} is out of range: give a number from 0"):
        LARS(nn.Linear(2, 2).parameters(), **settings)
