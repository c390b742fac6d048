"""What is exported: a run's backbone, with a classifier on it or without."""

from dataclasses import dataclass

from torch import nn

from BYOL._files import to_json
from BYOL.config import PretrainConfig
from BYOL.model.classifier import Classifier, output_name, with_classifier
from BYOL.runs.open import Run


@dataclass(frozen=True, eq=False)
class Model:
    """A run's backbone, and what stands on it.

    Args:
        run: the opened run.
        classifier: None: the backbone alone.
    """

    run: Run
    classifier: Classifier | None = None

    @property
    def config(self) -> PretrainConfig:
        """Settings of the run."""
        return self.run.config

    @property
    def backbone(self) -> nn.Module:
        """Trained, without the classifier."""
        return self.run.backbone

    @property
    def output(self) -> str:
        """What a program of it puts out: features, probabilities, or values."""
        return output_name(self.classifier)

    @property
    def metadata(self) -> dict[str, str]:
        """What an exported file says of itself."""
        known = self.classifier
        if known is None:
            return self.run.metadata
        return {**self.run.metadata, "task": known.task, "classes": to_json(list(known.names))}

    def for_timm(self) -> tuple[nn.Module, dict[str, str]]:
        """The network whose weights timm loads, and what a file of them says of itself.

        With a classifier its last layer is that, and ``classifier`` says its name.

        Raises:
            UserError: timm gives this network no classifier of one layer.
        """
        if self.classifier is None:
            return self.backbone, self.metadata
        network, name = with_classifier(self.backbone, self.config, self.classifier.layer)
        return network, {**self.metadata, "classifier": name}
