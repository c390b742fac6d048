"""Names of the images that could not be read."""

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from BYOL.data.batch import Batch

log = logging.getLogger(__name__)


class BrokenImages(Callback):
    """Collects the names of unreadable images, which the loader replaces, and logs the first."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints, as in earlier versions."""
        return "BrokenPictures"

    def state_dict(self) -> dict[str, Any]:
        """Return the names."""
        return {"names": sorted(self.names)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the names that the run had collected."""
        self.names = set(state_dict["names"])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        """Add the names that the loader reports in ``batch``."""
        if batch.broken:
            if not self.names:
                log.warning(f"{batch.broken[0]} cannot be read: the next image replaces it")
            self.names.update(batch.broken)
