"""A linear layer on a trained backbone, which predicts classes, tags or values."""

from dataclasses import dataclass, field
from typing import Any

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
    """The classifier of a backbone.

    Args:
        layer: from features to one number for every name.
        names: names of the classes, tags or values.
        kind: linear, or finetuned: the backbone was trained together with it.
        labels: number of labelled training images.
        measures: measures of a classifier trained in the same way, on labelled images that it was
            not trained on.
        evaluation: a sentence about these test images, with the measures.
        details: what an accuracy hides: the majority class, and the recall of each class.
    """

    layer: LinearLayer
    names: tuple[str, ...]
    kind: str
    labels: int
    measures: Measures
    evaluation: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The kind of the outputs: classification, multilabel or regression."""
        return self.layer.task


def output_name(classifier: Classifier | None) -> str:
    """Return the name of the output of a program: features, probabilities or values."""
    return OUTPUTS[classifier.task] if classifier else "features"


class Activation(nn.Module):
    """(B, t) outputs of a linear layer → probabilities of classes or tags; values are unchanged.

    Args:
        task: kind of the t outputs.
    """

    def __init__(self, task: str):
        super().__init__()
        self.task = task

    def forward(self, scores: Tensor) -> Tensor:
        """Map (B, t) outputs to (B, t) probabilities or values."""
        if self.task == CLASSES:
            return scores.softmax(dim=1)
        return scores.sigmoid() if self.task == TAGS else scores


def as_module(layer: LinearLayer) -> nn.Module:
    """Convert ``layer`` to a module: (B, d) float32 features → (B, t) outputs."""
    linear = nn.Linear(layer.weight.shape[1], len(layer.weight))
    _fill(linear, layer)
    return nn.Sequential(linear, Activation(layer.task))


def with_classifier(
    backbone: nn.Module, config: PretrainConfig, layer: LinearLayer
) -> tuple[nn.Module, str]:
    """Return a run's network as timm builds it with a classifier, and the name of that classifier.

    Args:
        backbone: the trained backbone.
        config: the resolved settings of the run.
        layer: the layer on its features.

    Returns:
        (B, C, size, size) normalised images → (B, t), before :class:`Activation`; in evaluation
        mode.

    Raises:
        UserError: timm gives this network no classifier of one linear layer.
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
    classifier = network.get_classifier()  # type: ignore[operator]
    name = next((name for name, module in network.named_modules() if module is classifier), "")
    classifier_weights = {f"{name}.weight", f"{name}.bias"}
    linear = isinstance(classifier, nn.Linear) and classifier.weight.shape == layer.weight.shape
    if not linear or set(network.state_dict()) - classifier_weights != set(backbone.state_dict()):
        raise UserError(
            f"timm's {config.backbone} has no classifier of one linear layer on the features: "
            "use .onnx or .pt2"
        )
    network.load_state_dict(backbone.state_dict(), strict=False)
    _fill(classifier, layer)
    return network.eval(), name


@torch.no_grad()
def _fill(linear: nn.Linear, layer: LinearLayer) -> None:
    linear.weight.copy_(torch.from_numpy(layer.weight))
    linear.bias.copy_(torch.from_numpy(layer.bias))
