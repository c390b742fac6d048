"""The models of lightly, combined from its parts as in its documentation."""

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from lightly.data import LightlyDataset
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from torch import Tensor, nn

HIDDEN, OUTPUT = 1024, 256  # of the CIFAR-10 recipe of lightly
LEARNING_RATE = 6e-2  # likewise, for a batch of 128


class LightlyBYOL(nn.Module):
    """The module of lightly's documentation ("Models: BYOL")."""

    def __init__(self, backbone: nn.Module, features: int):
        super().__init__()
        self.backbone = backbone
        self.projection_head = BYOLProjectionHead(features, HIDDEN, OUTPUT)
        self.prediction_head = BYOLPredictionHead(OUTPUT, HIDDEN, OUTPUT)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.prediction_head(self.projection_head(self.backbone(x).flatten(start_dim=1)))

    def follow(self, m: float) -> None:
        update_momentum(self.backbone, self.backbone_momentum, m=m)
        update_momentum(self.projection_head, self.projection_head_momentum, m=m)

    def forward_momentum(self, x: Tensor) -> Tensor:
        y = self.backbone_momentum(x).flatten(start_dim=1)
        return self.projection_head_momentum(y).detach()


class LightlyStep:
    """A training step of lightly's CIFAR-10 recipe: SGD .06, weight decay 5e-4, m = .99.

    Args:
        backbone: the backbone, on its device.
        features: number of its features.
        autocast: use bf16 where autocast allows it.
    """

    def __init__(self, backbone: nn.Module, features: int, autocast: bool = False):
        self.device = next(backbone.parameters()).device
        self.model = LightlyBYOL(backbone, features).to(self.device).train()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4
        )
        self.loss_of = NegativeCosineSimilarity()
        self.autocast = autocast

    def __call__(self, x: Tensor, x1: Tensor) -> Tensor:
        model = self.model
        model.follow(0.99)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            p0, z0 = model(x), model.forward_momentum(x)
            p1, z1 = model(x1), model.forward_momentum(x1)
            loss = 0.5 * (self.loss_of(p0, z1) + self.loss_of(p1, z0))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def set_learning_rate_share(self, share: float) -> None:
        """Set the learning rate to ``share`` of that of the recipe."""
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * share


def lightly_batches(
    data: str | Path, batch: int, workers: int, pin_memory: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield endless pairs of views of the files in ``data`` by the data set of lightly.

    The views are those of its CIFAR-10 recipe: those of BYOL at 32 px, without blur.
    """
    transform = BYOLTransform(
        BYOLView1Transform(input_size=32, gaussian_blur=0.0),
        BYOLView2Transform(input_size=32, gaussian_blur=0.0),
    )
    loader: torch.utils.data.DataLoader[list[Tensor]] = torch.utils.data.DataLoader(
        LightlyDataset(str(data), transform=transform),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=pin_memory,
    )
    while True:
        for (x, x1), _, _ in loader:
            yield x, x1
