"""Names of the files in a run folder.

config.yaml            the settings, enough to repeat the run
views.png              views of some images
start.safetensors      the backbone before training, if the run starts from other weights
teacher.safetensors    the statistics of the targets, if the run has a teacher
checkpoints/last.ckpt  everything that resuming needs (next to older ones and the best)
logs/                  metrics.csv, spectrum.csv and TensorBoard's files
backbone.safetensors   the trained backbone, at the end
results.json           the results, at the end
evaluation.json        the latest results of byol evaluate
report.html            all of it as one page
"""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from BYOL._untrusted import check_folder_links
from BYOL.data.data_source import parse_source
from BYOL.errors import MachineError, SettingsError
from BYOL.model.weights import RUN_WEIGHTS

_CHECKPOINTS, _LOGS = "checkpoints", "logs"


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files in the folder of a run.

    Args:
        path: path of the folder; it need not exist.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Path of the settings."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Path of the folder of checkpoints."""
        return self.path / _CHECKPOINTS

    @property
    def checkpoint(self) -> Path:
        """Path of the last checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """Path of the checkpoint with the best online k-NN."""
        return self.checkpoints / "best.ckpt"

    def older_checkpoint(self, step: int) -> Path:
        """Return the path of the checkpoint of optimizer step ``step`` that is not the last."""
        return self.checkpoints / f"step-{step:09}.ckpt"

    def older_checkpoints(self) -> list[Path]:
        """Return the paths of the existing checkpoints before the last, newest first."""
        return sorted(self.checkpoints.glob("step-*.ckpt"), reverse=True)

    @property
    def lock(self) -> Path:
        """Path of the file that the process locks which writes into the folder."""
        return self.path / ".lock"

    @property
    def backbone(self) -> Path:
        """Path of the trained backbone."""
        return self.path / RUN_WEIGHTS

    @property
    def start(self) -> Path:
        """Path of the backbone before training, if the run starts from other weights."""
        return self.path / "start.safetensors"

    @property
    def teacher(self) -> Path:
        """Path of the statistics of the targets, if the run has a teacher."""
        return self.path / "teacher.safetensors"

    @property
    def results(self) -> Path:
        """Path of the results."""
        return self.path / "results.json"

    @property
    def evaluation(self) -> Path:
        """Path of the latest results of ``byol evaluate``."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """Path of the report."""
        return self.path / "report.html"

    @property
    def views(self) -> Path:
        """Path of the preview of views."""
        return self.path / "views.png"

    @property
    def logs(self) -> Path:
        """Path of the folder of curves."""
        return self.path / _LOGS

    @property
    def metrics(self) -> Path:
        """Path of the table of curves."""
        return self.logs / "metrics.csv"

    @property
    def spectrum(self) -> Path:
        """Path of the eigenvalues of the projections' covariance at the end of every epoch."""
        return self.logs / "spectrum.csv"

    def tracking(self, service: str) -> Path:
        """Return the path of the file that records what a tracking service has received."""
        return self.logs / f"{service}.json"

    def create(self, *, new: bool = False) -> None:
        """Create the folder and its subfolders.

        Args:
            new: whether the folder must not exist.

        Raises:
            SettingsError: it exists, although it must be new.
            MachineError: it cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=not new)
            self.checkpoints.mkdir(exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except FileExistsError as error:
            if not new:
                raise MachineError(f"--out={self.path} cannot be made: {error.strerror}") from error
            raise SettingsError(
                f"--out={self.path} already exists: give --resume to resume its run, or another "
                "name"
            ) from error
        except OSError as error:
            raise MachineError(f"--out={self.path} cannot be made: {error.strerror}") from error

    def remove_if_unused(self) -> None:
        """Remove the folder if it holds nothing but its lock and empty subfolders."""
        with contextlib.suppress(OSError):
            self.checkpoints.rmdir()
            self.logs.rmdir()
            if list(self.path.iterdir()) == [self.lock]:
                self.lock.unlink()
                self.path.rmdir()

    def stamps(self) -> tuple[tuple[int, int] | None, ...]:
        """Return values that change when another process writes a checkpoint or the results."""
        return tuple(_stamp(path) for path in (self.checkpoint, self.results))

    def check_links(self, argument: str) -> None:
        """Reject a folder whose entries lead out of it: see :mod:`BYOL._untrusted`.

        Args:
            argument: the name of the folder as the user specified it, for the message.

        Raises:
            UserError: it names the first such entry.
        """
        check_folder_links(self.path, (_CHECKPOINTS, _LOGS), argument)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def default_folder(data: str | None, *, stamped: bool = True, task: int | None = None) -> Path:
    """Return the default folder of a run on the images ``data``.

    Args:
        data: the images, as the user specified them.
        stamped: whether the name has the time.
        task: number of this process, if its launcher has started several independent runs.

    Returns:
        ``runs/NAME-TIME``, which is new every second, or ``runs/NAME`` if ``stamped`` is False;
        with a task, ``-TASK`` follows.
    """
    name = parse_source(data).name
    if stamped:
        name += f"-{time.strftime('%Y%m%d-%H%M%S')}"
    return Path("runs") / (name if task is None else f"{name}-{task}")
