"""Evaluation of the backbone during training."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from BYOL.evaluation.online import OnlineAccuracies
from BYOL.training.callbacks.log_values import log_values


class OnlineEvaluation(Callback):
    """Accuracies of the backbone on labelled images after every few epochs.

    Args:
        every: epochs between evaluations.
        measure: function that returns the accuracies of a backbone.
    """

    def __init__(self, every: int, measure: Callable[[torch.nn.Module], OnlineAccuracies]):
        self.every = every
        self.measure = measure
        self.knn: list[tuple[int, float]] = []
        self.probe: list[tuple[int, float]] = []

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints, as in earlier versions."""
        return "OnlineChecks"

    def state_dict(self) -> dict[str, Any]:
        """Return the curves: (epoch, accuracy) of k-NN and of the linear probe."""
        return {"curve": self.knn, "probe": self.probe}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the curves; checkpoints of earlier versions have none of the probe."""
        self.knn = [(epoch, accuracy) for epoch, accuracy in state_dict["curve"]]
        self.probe = [(epoch, accuracy) for epoch, accuracy in state_dict.get("probe", [])]

    def improved(self, epoch: int, best: float) -> bool:
        """Return whether k-NN was evaluated after ``epoch`` and is better than ``best``."""
        return bool(self.knn) and self.knn[-1][0] == epoch and self.knn[-1][1] > best

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Evaluate if an evaluation is due."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every:
            return
        accuracies = self.measure(module.model.onlineNet.backend)  # type: ignore[union-attr,arg-type]
        self.knn.append((epoch, accuracies.knn))
        values = {"knn": accuracies.knn}
        if accuracies.probe is not None:
            self.probe.append((epoch, accuracies.probe))
            values["probe"] = accuracies.probe
        log_values(trainer, {**values, "epoch": trainer.current_epoch})
