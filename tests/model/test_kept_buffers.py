"""Small views change no running statistics, whatever keeps them."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.utils.checkpoint import checkpoint

from BYOL.byol import BYOL
from BYOL.model.kept_buffers import buffers_kept
from BYOL.model.sync_batchnorm import GlobalBatchNorm
from BYOL.training.module import batch_loss

pytestmark = pytest.mark.trains


class OwnNorm(nn.Module):
    """A norm with statistics of its own: one is written in place, the other is assigned."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("momentum_mean", torch.zeros(channels))
        self.register_buffer("momentum_scale", torch.ones(channels))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
        if self.training:
            self.count += 1
            self.momentum_mean.mul_(0.9).add_(mean.detach(), alpha=0.1)
            self.momentum_scale = torch.lerp(self.momentum_scale, std.detach(), 0.1)
        return (x - mean[:, None, None]) / std[:, None, None]


class Recomputed(nn.Module):
    """A layer that is computed again in the backward pass."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return checkpoint(self.layer, x, use_reentrant=False)


NORMS = {
    "batch norm": nn.BatchNorm2d,
    "cumulative": lambda channels: nn.BatchNorm2d(channels, momentum=None),
    "global": lambda channels: GlobalBatchNorm(nn.BatchNorm2d(channels)),
    "sync": nn.SyncBatchNorm,
    "timm": BatchNormAct2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, track_running_stats=True),
    "own": OwnNorm,
    "spectral": lambda channels: nn.utils.parametrizations.spectral_norm(
        nn.Conv2d(channels, channels, 1)
    ),
}


def model_with(norm) -> BYOL:
    backend = nn.Sequential(nn.Conv2d(3, 6, 3), norm(6), nn.ReLU(), nn.Conv2d(6, 8, 3))
    return BYOL(8, 12, 5, backend=backend)


def buffers(model: BYOL) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


# dynamo looks at the gradients of all tensors where it breaks the graph
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize(
    ("kind", "compiled"), [*((kind, False) for kind in NORMS), ("batch norm", True), ("own", True)]
)
def test_a_step_with_small_views_leaves_the_statistics_of_a_step_without(kind, compiled):
    without = model_with(NORMS[kind])
    model = copy.deepcopy(without)
    if compiled:
        torch.compiler.reset()
        model.compile(backend="aot_eager")
    start = buffers(model)
    for _ in range(2):
        x, x1 = torch.randn(2, 6, 3, 12, 12)
        small = 3 + 2 * torch.randn(2, 6, 3, 8, 8)
        batch_loss(without, x, x1)[0].backward()
        batch_loss(model, x, x1, list(small))[0].backward()
    after, expected = buffers(model), buffers(without)
    assert after.keys() == expected.keys()
    for name, value in after.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0 if not compiled else 1e-6)
    assert any(not torch.equal(value, start[name]) for name, value in after.items())


@pytest.mark.parametrize("kind", NORMS)
def test_a_small_view_is_normalised_by_its_own_batch_and_trains_the_network(kind):
    model = model_with(NORMS[kind])
    plain = copy.deepcopy(model)
    view, targets = 3 + 2 * torch.randn(6, 3, 8, 8), torch.randn(2, 6, 5)
    predictions = model.predict_further(view, *targets), plain.onlineNet.predictor(
        plain.onlineNet(view)
    )  # fmt: skip
    torch.testing.assert_close(*predictions, rtol=0, atol=0)
    for prediction in predictions:
        prediction.square().sum().backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


def test_the_tensors_of_a_network_stay_the_same_objects_and_shared_ones_stay_shared():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    network[1].running_mean = network[0].running_mean
    network[0].register_buffer("cache", torch.zeros(1), persistent=False)
    network[0].register_buffer("absent", None)
    before = dict(network.named_buffers(remove_duplicate=False))
    seen = []

    def fail(*_):
        seen.append(dict(network.named_buffers(remove_duplicate=False)))
        raise ZeroDivisionError

    network[1].register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError), buffers_kept(network):
        network(torch.randn(4, 3, 2, 2))
    inside = seen[0]
    assert inside["1.running_mean"] is inside["0.running_mean"] is not before["0.running_mean"]
    assert inside["0.cache"] is before["0.cache"] and inside["0.running_mean"].any()
    after = dict(network.named_buffers(remove_duplicate=False))
    assert after.keys() == before.keys() and network[0].absent is None
    assert all(after[name] is value for name, value in before.items())
    assert torch.equal(network[0].running_mean, torch.zeros(3))


def test_a_backward_pass_that_computes_layers_again_can_leave_the_statistics():
    network = nn.Sequential(Recomputed(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))))
    loss = network(torch.randn(4, 3, 2, 2).requires_grad_()).square().sum()
    norm = network[0].layer[1]
    mean = norm.running_mean.clone()
    with buffers_kept(network):
        loss.backward()
    assert torch.equal(norm.running_mean, mean) and norm.num_batches_tracked == 1
