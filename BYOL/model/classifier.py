"""A linear layer on a trained backbone: what turns features into the names of things."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from BYOL.config import PretrainConfig
from BYOL.config.tasks import CLASSES, TAGS, VALUES, Measures
from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.linear_head import LinearLayer

OUTPUTS = {CLASSES: "probabilities", TAGS: "probabilities", VALUES: "values"}


@dataclass(frozen=True, eq=False)
class Classifier:
    """What stands on a backbone.

    Args:
        layer: from features to a number for every name.
        names: of the classes, tags or values.
        kind: linear, or finetuned: the backbone has been trained together with it.
        labels: how many pictures with labels taught it.
        measures: how good the like of it is on labelled pictures that have not taught it.
        judged: a sentence of which these were, and the measures in words.
    """

    layer: LinearLayer
    names: tuple[str, ...]
    kind: str
    labels: int
    measures: Measures
    judged: str

    @property
    def task(self) -> str:
        """What the numbers are: classification, multilabel or regression."""
        return self.layer.task


def output_name(classifier: Classifier | None) -> str:
    """What a program puts out: features, probabilities or values."""
    return OUTPUTS[classifier.task] if classifier else "features"


class Activation(nn.Module):
    """(B, t) outputs of a linear layer → probabilities of classes or tags; values stay.

    Args:
        task: what the t numbers are.
    """

    def __init__(self, task: str):
        super().__init__()
        self.task = task

    def forward(self, scores: Tensor) -> Tensor:
        """(B, t) → (B, t)."""
        if self.task == CLASSES:
            return scores.softmax(dim=1)
        return scores.sigmoid() if self.task == TAGS else scores


def as_module(layer: LinearLayer) -> nn.Module:
    """(B, d) float32 features → (B, t) what :class:`LinearLayer` makes of them."""
    linear = nn.Linear(layer.weight.shape[1], len(layer.weight))
    _fill(linear, layer)
    return nn.Sequential(linear, Activation(layer.task))


def with_classifier(
    backbone: nn.Module, config: PretrainConfig, layer: LinearLayer
) -> tuple[nn.Module, str]:
    """A run's network as timm builds it with a classifier, and the name of that classifier in it.

    Args:
        backbone: trained.
        config: the settled settings of the run.
        layer: on its features.

    Returns:
        (B, C, size, size) normalised → (B, t), before :class:`Activation`; in evaluation mode.

    Raises:
        UserError: timm gives this network no classifier of one layer.
    """
    network = build_backbone(
        config.backbone,
        in_channels=config.channels or 3,
        image_size=config.image_size,
        stem=config.stem,
        arguments=config.backbone_args,
        classes=len(layer.weight),
    )
    if config.norm == "gn-ws":
        network = without_batch_statistics(network)
    found = network.get_classifier()  # type: ignore[operator]
    name = next((name for name, module in network.named_modules() if module is found), "")
    own = {f"{name}.weight", f"{name}.bias"}
    linear = isinstance(found, nn.Linear) and found.weight.shape == layer.weight.shape
    if not linear or set(network.state_dict()) - own != set(backbone.state_dict()):
        raise UserError(
            f"timm's {config.backbone} has no classifier of one linear layer on the features: "
            "use .onnx or .pt2"
        )
    network.load_state_dict(backbone.state_dict(), strict=False)
    _fill(found, layer)
    return network.eval(), name


@torch.no_grad()
def _fill(linear: nn.Linear, layer: LinearLayer) -> None:
    linear.weight.copy_(torch.from_numpy(layer.weight))
    linear.bias.copy_(torch.from_numpy(layer.bias))
