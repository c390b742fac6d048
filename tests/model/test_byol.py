import copy
import inspect
import operator

import numpy as np
import pytest
import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.heads import MLP, build_predictor
from BYOL.model.networks import _State
from BYOL.utils import criterion, get_byol_transforms

pytestmark = pytest.mark.trains


def small_backend() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3)
    )


def small_model(**kwargs) -> BYOL:
    return BYOL(**{"input_size": 16, "hidden_size": 32, "output_size": 8, "t": 0.9, **kwargs,
                   "backend": kwargs.get("backend") or small_backend()})  # fmt: skip


def test_constructor_takes_exactly_the_specified_arguments_then_keywords():
    parameters = list(inspect.signature(BYOL).parameters.values())
    positional = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [
        ("input_size", 2048), ("hidden_size", 4096), ("output_size", 256), ("depth_proj", 2),
        ("depth_pred", 2), ("closedFormPredicator", False), ("EAvg", True), ("t", 0.996),
        ("backend", "resnet50"), ("pretrained", False),
    ]  # fmt: skip
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[10:])


def test_the_specified_training_loop_runs():
    """The loss falls, and only the update moves the target, by τ."""
    images = torch.rand(16, 3, 16, 16)
    train_loader = [(images, torch.zeros(16))]
    transform, transform1, _ = get_byol_transforms(16, [0.5] * 3, [0.25] * 3)
    byol = small_model(t=0.99)
    optimizer = torch.optim.SGD(byol.parameters(), lr=0.1, momentum=0.9, weight_decay=1.5e-4)
    losses = []
    for _epoch in range(30):
        byol.train()
        for batch, _ in train_loader:
            x = transform(batch)
            x1 = transform1(batch)

            onlinex, onlinex1, targetx, targetx1 = byol(x, x1)
            loss = criterion(onlinex, targetx1, onlinex1, targetx)
            optimizer.zero_grad()
            loss.backward()
            before = copy.deepcopy(list(byol.targetNet.parameters()))
            optimizer.step()
            for old, new in zip(before, byol.targetNet.parameters(), strict=True):
                assert torch.equal(old, new), "only updateTargetNetwork may move the target"
            byol.updateTargetNetwork()
            online = [
                *byol.onlineNet.backend.parameters(),
                *byol.onlineNet.projection.parameters(),
            ]
            for old, new, source in zip(before, byol.targetNet.parameters(), online, strict=True):
                torch.testing.assert_close(new, 0.99 * old + 0.01 * source)
            losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]


def test_parts_have_the_specified_names():
    model = small_model()
    assert isinstance(model.onlineNet.backend, nn.Module)
    assert model.onlineNet.projection(torch.rand(4, 16)).shape == (4, 8)
    assert model.onlineNet.predictor(torch.rand(4, 8)).shape == (4, 8)
    outputs = model(torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16))
    assert [o.shape for o in outputs] == [(4, 8)] * 4
    assert [o.requires_grad for o in outputs] == [True, True, False, False]


def test_target_starts_as_a_copy_and_shares_nothing():
    model = small_model()
    for part in ("backend", "projection"):
        online = getattr(model.onlineNet, part).state_dict()
        target = getattr(model.targetNet, part).state_dict()
        assert online.keys() == target.keys()
        for name in online:
            assert torch.equal(online[name], target[name])
            assert online[name].data_ptr() != target[name].data_ptr()


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_an_optimizer_over_all_parameters_never_moves_the_target(make):
    model = small_model()
    before = copy.deepcopy(model.targetNet.state_dict())
    optimizer = make(model.parameters(), lr=0.1, weight_decay=0.1)
    x, x1 = torch.rand(2, 4, 3, 16, 16)
    a, b, c, d = model(x, x1)
    criterion(a, d, b, c).backward()
    optimizer.step()
    for name, value in model.targetNet.named_parameters():
        assert torch.equal(value, before[name])


def test_batch_statistics_are_per_view():
    """Constant views of different brightness: with joint statistics they would not both be 0."""
    model = small_model(backend=nn.Sequential(nn.BatchNorm2d(3), nn.AvgPool2d(16)), input_size=3)
    seen = []
    model.onlineNet.backend.register_forward_hook(lambda m, i, o: seen.append(o))
    model(torch.zeros(4, 3, 16, 16), torch.ones(4, 3, 16, 16))
    assert all(view.abs().max() < 1e-5 for view in seen)


def test_the_averaged_weights_are_the_parameters_of_pytorch():
    """Each parameter occurs once, also tied ones and those of a module that is used twice."""
    tied = nn.Linear(4, 4)
    tied.weight = tied.bias = nn.Parameter(torch.ones(4))
    shared = nn.BatchNorm1d(4)
    model = nn.Sequential(tied, shared, nn.Sequential(shared, nn.Linear(4, 4, bias=False)))
    model.register_module("none", None)
    state = _State(running=False)
    state.collect(model, copy.deepcopy(model))
    found = [online for _, online in state.averaged.values()]
    listed = list(model.parameters())
    assert len(listed) == len(found) == 4 and all(map(operator.is_, listed, found))


def test_without_moving_average_the_target_is_the_online_network():
    model = small_model(EAvg=False)
    assert model.targetNet is model.onlineNet
    assert not any(name.startswith("targetNet") for name in model.state_dict())
    x, x1 = torch.rand(2, 4, 3, 16, 16)
    _, _, targetx, targetx1 = model(x, x1)
    assert not targetx.requires_grad
    assert not targetx1.requires_grad
    model.eval()
    _, _, targetx, targetx1 = model(x, x1)
    torch.testing.assert_close(targetx, model.onlineNet(x).detach())
    before = copy.deepcopy(model.state_dict())
    model.updateTargetNetwork()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_a_fixed_target_is_always_the_initial_network():
    model = small_model(target="fixed")
    before = copy.deepcopy(list(model.targetNet.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    a, b, c, d = model(*torch.rand(2, 8, 3, 16, 16))
    criterion(a, d, b, c).backward()
    optimizer.step()
    model.updateTargetNetwork()
    for old, new, online in zip(
        before, model.targetNet.parameters(), model.onlineNet.parameters(), strict=False
    ):
        assert torch.equal(old, new)
        assert not torch.equal(old, online) or not online.grad.any()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_heads_of_any_depth(depth):
    model = small_model(depth_proj=depth, depth_pred=depth)
    for head in (model.onlineNet.projection, model.onlineNet.predictor):
        linear = [m for m in head if isinstance(m, nn.Linear)]
        assert len(linear) == depth
        assert all(m.bias is not None for m in linear[:-1])
        assert linear[-1].bias is None
        assert sum(isinstance(m, nn.BatchNorm1d) for m in head) == depth - 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"input_size": 17}, "input_size=17 does not fit.*give input_size=16"),
        ({"depth_proj": 0}, "depth_proj=0 is out of range"),
        ({"hidden_size": -1}, "hidden_size=-1 is out of range"),
        ({"EAvg": "False"}, "EAvg='False' is no flag: give True or False"),
        ({"closedFormPredicator": None}, "closedFormPredicator=None is no flag"),
        ({"pretrained": "no"}, "pretrained='no' is no flag"),
        ({"t": 1.5}, "t=1.5 is out of range"),
        ({"t": float("nan")}, "t=nan is out of range"),
        ({"t": None}, "t=None is out of range: τ is a number from 0 to 1"),
        ({"t": "0.9"}, "t='0.9' is out of range: τ is a number"),
        ({"t": [0.9, 0.9]}, "is out of range: τ is a number"),
        ({"in_channels": 0}, "in_channels=0 is out of range: give a whole number from 1 up"),
        ({"image_size": -3}, "image_size=-3 is out of range: give a whole number"),
        ({"image_size": 32.0}, "image_size=32.0 is out of range: give a whole number"),
        ({"image_size": "32"}, "image_size='32' is out of range: give a whole number"),
        ({"hidden_size": None}, "hidden_size=None is out of range: give a whole number"),
        ({"output_size": True}, "output_size=True is out of range: give a whole number"),
        ({"backend": small_backend}, "neither a name nor a module.*call it: small_backend"),
        ({"backend": nn.Flatten}, "neither a name nor a module.*call it: Flatten"),
        ({"backend": 5}, "backend=5 is neither a name nor a module: give a timm name or an nn.Mod"),
        ({"view_predictors": None}, "view_predictors=None is no list of names"),
        ({"view_predictors": (1,)}, "is no list of names"),
        ({"predictor": "magic"}, "'magic' is unknown.*mlp"),
        ({"target": "moving"}, "'moving' is unknown.*ema"),
    ],
)
def test_a_wrong_argument_is_named(kwargs, message):
    with pytest.raises(UserError, match=message):
        small_model(**kwargs)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_scripted_backend_is_an_error():
    with pytest.raises(UserError, match=r"cannot be copied.*torch.jit.*give the module that was"):
        small_model(backend=torch.jit.script(small_backend()))


def test_no_backend_is_an_error():
    with pytest.raises(UserError, match="backend=None is neither a name nor a module"):
        BYOL(16, backend=None)


def test_numbers_of_numpy_are_sizes_and_tau():
    sizes = {"hidden_size": np.int64(32), "image_size": np.int16(12), "in_channels": np.int8(3)}
    model = small_model(t=np.float32(0.5), **sizes)
    assert type(model.t) is float and model.t == 0.5
    model.updateTargetNetwork(np.float64(0.25))
    with pytest.raises(UserError, match="t='1' is out of range"):
        model.updateTargetNetwork("1")


def test_state_dict_round_trip_gives_the_same_outputs():
    model, other = small_model(), small_model()
    other.load_state_dict(model.state_dict())
    model.eval(), other.eval()
    x, x1 = torch.rand(2, 4, 3, 16, 16)
    for a, b in zip(model(x, x1), other(x, x1), strict=True):
        assert torch.equal(a, b)


def test_the_target_drops_nothing():
    from timm.layers import DropPath

    def backend() -> nn.Module:
        block = nn.Sequential(nn.Conv2d(16, 16, 1), DropPath(0.5))
        return nn.Sequential(small_backend(), nn.Dropout2d(0.5), block, nn.Dropout(0.5))

    for kept in (True, False):
        model = small_model(backend=backend(), EAvg=kept).train()
        dropping = [
            m for m in model.modules() if isinstance(m, (nn.Dropout, nn.Dropout2d, DropPath))
        ]
        targets = set(model.targetNet.modules()) if kept else set()
        assert len(dropping) == (6 if kept else 3)
        assert all(module.training == (module not in targets) for module in dropping)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(norm.training for norm in norms)
    model = small_model(backend=backend()).train()
    x = torch.randn(8, 3, 16, 16)
    torch.testing.assert_close(model.targetNet(x), model.targetNet(x))
    assert not torch.equal(model.onlineNet.backend(x), model.onlineNet.backend(x))


@pytest.mark.parametrize(
    ("name", "dropping"),
    [
        ("resnet18", {"drop_rate": 0.5}),  # by a function, at the end of the network
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "attn_drop_rate": 0.5}),
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "patch_drop_rate": 0.5}),
    ],
)
def test_the_target_drops_nothing_by_functions(name, dropping):
    import timm

    backbone = timm.create_model(name, num_classes=0, **dropping)
    model = BYOL(backbone.num_features, 8, 6, backend=backbone).train()
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.targetNet(x), model.targetNet(x))
        online = [model.onlineNet.backend(x) for _ in range(2)]
    assert not torch.equal(*online)


def test_a_target_updates_statistics_of_any_kind_of_module():
    from timm.layers import EvoNorm2dB0

    norm = EvoNorm2dB0(16)
    model = small_model(backend=nn.Sequential(small_backend(), nn.Conv2d(16, 16, 1), norm)).train()
    before = model.targetNet.backend[2].running_var.clone()
    model(*torch.rand(2, 4, 3, 16, 16))
    assert not torch.equal(model.targetNet.backend[2].running_var, before)


def test_a_seed_initialises_backend_projection_and_predictor_in_this_order():
    """Opening a run rebuilds it from its seed, so another order would be another network."""
    torch.manual_seed(3)
    model = BYOL(128, 16, 8, backend="plain5")
    torch.manual_seed(3)
    parts = (
        build_backbone("plain5"),
        MLP(128, 16, 8, 2),
        build_predictor("mlp", 8, 16, 2),
    )
    made = (model.onlineNet.backend, model.onlineNet.projection, model.onlineNet.predictor)
    for part, expected in zip(made, parts, strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(part.state_dict()[name], value), name
