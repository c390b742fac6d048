"""Errors of a backbone that does not fit name the argument to change."""

import collections

import pytest
import timm
import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import UserError
from tests.model.test_byol import small_backend

FLAT = (nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Flatten())


def flat(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Flatten(), *more)


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 24, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).permute(0, 2, 3, 1)


class Returns(nn.Module):
    """A network whose output is wrapped."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(3, 16, 3), wrap

    def forward(self, x: torch.Tensor):
        return self.wrap(self.conv(x))


class ModelOutput(collections.OrderedDict):
    """Like the outputs of transformers, a dictionary."""


def with_classifier(name: str) -> nn.Module:
    network = nn.Module()
    network.forward = lambda x: getattr(network, name)(network.body(x).mean((2, 3)))
    network.body = small_backend()
    setattr(network, name, nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 10)))
    return network


@pytest.mark.parametrize(
    ("make", "size", "settings", "named"),
    [
        (lambda: timm.create_model("resnet10t"), 512, {}, "classifier fc is still on.*=512"),
        (lambda: timm.create_model("mobilenetv3_small_050"), 9, {}, "classifier.*input_size=1024"),
        (lambda: flat(nn.Linear(3600, 10)), 3600, {}, "classifier 3 is still on.*=3600"),
        (ChannelsLast, 24, {}, r"channels come last.*permute"),
        (ChannelsLast, 28, {}, r"channels come last"),
        (flat, 3600, {}, "197136 at 224 px.*give image_size=32"),
        (flat, 2704, {}, "give image_size=28"),
        (flat, 7, {}, "depends on the size of the images.*give image_size$"),
        (flat, 3600, {"image_size": 64}, "give input_size=15376 or image_size=32"),
        (lambda: flat(nn.Linear(3600, 9)), 8, {}, "outputs 9 features: give input_size=9"),
        (lambda: flat(nn.Linear(2704, 9)), 8, {}, "outputs 9 features: give input_size=9"),
        (lambda: flat(nn.Linear(3600, 9)), 9, {"image_size": 48},
         r"image_size=48 does not fit .*: give image_size=32, or build it for 48 px"),
        (lambda: nn.Conv2d(5, 8, 3), 8, {}, "in_channels=3 does not fit.*give in_channels=5"),
        (lambda: Returns(lambda x: (x, x)), 16, {}, "outputs a tuple"),
        (lambda: Returns(lambda x: {"features": x}), 16, {}, "outputs a dict of features"),
        (lambda: Returns(lambda x: ModelOutput(pooler_output=x)), 16, {},
         "outputs a ModelOutput of pooler_output: it must be one tensor"),
        (lambda: Returns(lambda x: x.flatten(2).mT), 16, {}, "average its tokens"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(9)), 9, {}, "lazy layers.*image_size"),
        (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=0), 192,
         {"image_size": 32}, r"image_size=32 does not fit .*\(.*32.*224.*\): give image_size=224"),
    ],
)  # fmt: skip
def test_the_error_names_the_argument_to_change(make, size, settings, named):
    with pytest.raises(UserError, match=named) as caught:
        BYOL(size, 8, 8, backend=make(), **settings)
    message = str(caught.value)
    assert "\n" not in message
    if "give input_size=" in message:  # the number is right
        right = int(message.split("give input_size=")[1].split()[0])
        backend = make()
        if "still on" in message:
            name = message.split("whose classifier ")[1].split()[0]
            parent, _, last = name.rpartition(".")
            setattr(backend.get_submodule(parent), last, nn.Identity())
            if " and image_size=" in message:
                settings = {"image_size": int(message.rpartition("=")[2])}
        BYOL(right, 8, 8, backend=backend, **settings)
    if message.rpartition("give ")[2].startswith("image_size=") and not settings:
        right = int(message.rpartition("image_size=")[2])
        assert BYOL(size, 8, 8, backend=make(), image_size=right)


def test_an_encoder_for_a_rare_size_is_accepted():
    assert BYOL(9, 8, 8, backend=flat(nn.Linear(2704, 9)))  # 28 px
    assert BYOL(3600, 8, 8, backend=flat(), image_size=32)


@pytest.mark.parametrize("image_size", [None, 32])
def test_lazy_layers_get_the_shapes_of_the_images_and_equal_weights_in_both_networks(image_size):
    backend = nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.LazyLinear(9),
    )  # fmt: skip
    if image_size:
        backend = nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(9))
    model = BYOL(9, 8, 8, backend=backend, image_size=image_size)
    x = torch.randn(2, 3, 32, 32)
    model.eval()
    assert torch.equal(model.onlineNet.backend(x), model.targetNet.backend(x))
    assert all(module.training for module in backend.train().modules())
    model.train()(x, x)
    model.updateTargetNetwork()


def test_the_trial_changes_neither_the_backend_nor_the_random_numbers():
    class Counting(nn.Sequential):
        calls = 0

        def forward(self, x):
            self.calls += 1
            torch.rand(1)
            return super().forward(x)

    backend = Counting(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = torch.random.get_rng_state()
    with pytest.raises(UserError, match="give input_size=4"):
        BYOL(5, 8, 8, backend=backend)
    assert torch.equal(before, torch.random.get_rng_state())
    assert backend.calls == 0 and backend.training and backend[1].num_batches_tracked == 0


def test_hooks_are_copied_or_named():
    seen = []
    backend = small_backend()
    backend.register_forward_hook(lambda module, inputs, output: seen.append(module))
    model = BYOL(16, 8, 8, backend=backend)
    seen.clear()
    model(*torch.rand(2, 4, 3, 12, 12))
    assert seen.count(model.onlineNet.backend) == seen.count(model.targetNet.backend) == 2

    class Keeping:
        def __call__(self, module, inputs, output):
            self.output = output

        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    backend = small_backend()
    backend.register_forward_hook(Keeping())
    with pytest.raises(UserError, match=r"cannot be copied for the target.*remove its hooks"):
        BYOL(16, 8, 8, backend=backend)
    backend = small_backend()
    backend.register_forward_hook(lambda module, inputs, output: setattr(module, "last", output))
    backend(torch.rand(2, 3, 12, 12))  # keeps a tensor with a gradient
    assert BYOL(16, 8, 8, backend=backend)


def test_a_backend_without_parameters_trains_the_heads():
    model = BYOL(3, 8, 8, backend=nn.AdaptiveAvgPool2d(1))
    model(*torch.rand(2, 4, 3, 8, 8))
    model.updateTargetNetwork()


@pytest.mark.parametrize("place", [{"dtype": torch.float64}, {"device": "meta"}])
def test_heads_are_made_where_the_backend_is(place):
    model = BYOL(16, 8, 8, backend=small_backend().to(**place), predictor="directpred")
    for network in (model.onlineNet, model.targetNet):
        places = {(p.device, p.dtype) for p in network.parameters()}
        assert len(places) == 1
    assert model.onlineNet.predictor.weight.dtype == torch.float32


def test_a_classifier_that_fits_input_size_is_a_warning(lines):
    assert BYOL(10, 8, 8, backend=with_classifier("head"))
    assert any("classifier head.1 is still on" in line for line in lines())


@pytest.mark.slow
def test_torchvision_networks_with_and_without_classifier():
    import torchvision

    for name, features in (
        ("resnet18", 512), ("vgg11", 4096), ("squeezenet1_1", 512), ("densenet121", 1024),
        ("convnext_tiny", 768), ("swin_t", 768), ("regnet_y_400mf", 440), ("mnasnet0_5", 1280),
    ):  # fmt: skip
        network = getattr(torchvision.models, name)(weights=None)
        with pytest.raises(UserError, match=f"is still on.*give input_size={features}"):
            BYOL(features + 1, 8, 8, backend=network)
    with pytest.raises(UserError, match="channels come last"):
        BYOL(768, 8, 8, backend=torchvision.models.swin_t().features)
