"""The model that is exported: the backbone of a run, with or without a classifier."""

from dataclasses import dataclass

from torch import nn

from BYOL._files import to_json
from BYOL.config import PretrainConfig
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.model.classifier import Classifier, output_name, with_classifier
from BYOL.runs.open import Run


@dataclass(frozen=True, eq=False)
class ExportModel:
    """The backbone of a run, with an optional classifier.

    Args:
        run: the opened run.
        classifier: the classifier on top of the backbone, or None for the backbone alone.
    """

    run: Run
    classifier: Classifier | None = None

    @property
    def config(self) -> PretrainConfig:
        """The configuration of the run."""
        return self.run.config

    @property
    def spec(self) -> BackboneSpec:
        """What the backbone is built from."""
        return self.config.only(BackboneSpec)

    @property
    def backbone(self) -> nn.Module:
        """The trained backbone without the classifier."""
        return self.run.backbone

    @property
    def output(self) -> str:
        """The name of the output of an exported program: features, probabilities or values."""
        return output_name(self.classifier)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of an exported file."""
        classifier = self.classifier
        if classifier is None:
            return self.run.metadata
        classes = to_json(list(classifier.names))
        return {**self.run.metadata, "task": classifier.task, "classes": classes}

    def timm_weights(self) -> tuple[nn.Module, dict[str, str]]:
        """Return the network whose weights timm loads, and the metadata of its weight file.

        With a classifier, the last layer of the network is the classifier, and the metadata entry
        ``classifier`` is the name of this layer.

        Raises:
            UserError: timm's classifier for this network is not a single layer.
        """
        if self.classifier is None:
            return self.backbone, self.metadata
        network, name = with_classifier(self.backbone, self.config, self.classifier.layer)
        return network, {**self.metadata, "classifier": name}
