"""How Lightning's checkpoints reach the disk here: whole, and without code on the way back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins import TorchCheckpointIO

from BYOL.files import save_tensors, write_atomically
from BYOL.runs import load_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary name and renames; reads tensors and plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``; an older file stays until the new one is whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: save_tensors(checkpoint, temporary))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint; ``weights_only`` is True whatever is asked."""
        return load_checkpoint(Path(path))
