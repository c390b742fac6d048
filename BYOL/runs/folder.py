"""A run's folder: what lies where.

config.yaml            the settings, enough to repeat the run
views.png              what the network saw
start.safetensors      what the backbone began with, where that is more than the seed
checkpoints/last.ckpt  everything needed to go on (older ones and the best beside it)
logs/                  metrics.csv, spectrum.csv and TensorBoard's files
backbone.safetensors   the trained backbone, at the end
results.json           the evidence, at the end
report.html            all of it as one page
"""

import time
from dataclasses import dataclass
from pathlib import Path

from BYOL.data.shards.dataset import set_name
from BYOL.data.shards.urls import is_sharded
from BYOL.errors import UserError
from BYOL.model.weights import RUN_WEIGHTS


@dataclass(frozen=True)
class RunFolder:
    """Names inside the folder of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings."""
        return self.path / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The best by the online k-NN."""
        return self.checkpoint.with_name("best.ckpt")

    def older_checkpoints(self) -> list[Path]:
        """Those before the last, newest first."""
        return sorted(self.checkpoint.parent.glob("step-*.ckpt"), reverse=True)

    @property
    def lock(self) -> Path:
        """Held by the process that writes here."""
        return self.path / ".lock"

    @property
    def backbone(self) -> Path:
        """The trained backbone."""
        return self.path / RUN_WEIGHTS

    @property
    def start(self) -> Path:
        """The backbone as the run began with it, if with weights from elsewhere."""
        return self.path / "start.safetensors"

    @property
    def results(self) -> Path:
        """The evidence."""
        return self.path / "results.json"

    @property
    def evaluation(self) -> Path:
        """The latest answer of ``byol evaluate``."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The run as a page."""
        return self.path / "report.html"

    @property
    def views(self) -> Path:
        """What the network saw."""
        return self.path / "views.png"

    @property
    def logs(self) -> Path:
        """Curves."""
        return self.path / "logs"

    @property
    def spectrum(self) -> Path:
        """Eigenvalues of the projections' covariance at the end of every epoch."""
        return self.logs / "spectrum.csv"

    def create(self) -> None:
        """Make the folder and those inside.

        Raises:
            UserError: it cannot be made.
        """
        try:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"--out={self.path} cannot be made: {error.strerror}") from error


def default_folder(data: str | None, *, stamped: bool = True) -> Path:
    """runs/NAME-TIME, new every second; without the stamp runs/NAME, the same every time."""
    name = Path(data).resolve().name.split(".")[0] if data else "digits"
    if data and is_sharded(data):
        name = set_name(data)
    return Path("runs") / (f"{name}-{time.strftime('%Y%m%d-%H%M%S')}" if stamped else name)
