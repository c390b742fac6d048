"""Tracking services: settings, curves and results of a run at Weights & Biases and in MLflow.

Lightning's own loggers send them. All of it is in the folder of the run as well, so a failure of a
service never ends a run.
"""

import contextlib
import dataclasses
import importlib
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field
from pytorch_lightning.loggers import Logger, MLFlowLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from typing_extensions import TypedDict

from BYOL._distributed import first_process
from BYOL._files import to_json
from BYOL._temporary import temporary_path
from BYOL.config.run_settings import RunSettings
from BYOL.config.schema import Count, read_json
from BYOL.config.validation import logger_names
from BYOL.errors import DataError, MachineError, first_line
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.runs.folder import RunFolder
from BYOL.training.loggers import RunLogger

log = logging.getLogger(__name__)
_PROJECT = "byol"  # project or experiment if none is specified


class _Record(TypedDict):
    """Content of the file of a service: the identifier of the run there, and what it has received.

    ``steps`` is the last optimizer step of each curve.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    steps: NotRequired[dict[str, Count]]


@dataclasses.dataclass(frozen=True)
class Service:
    """A tracking service.

    Args:
        title: its name in messages.
        module: the module that its logger needs.
        connect: opens the run, from settings, folder and the identifier of an earlier start;
            returns the logger and the identifier.
    """

    title: str
    module: str
    connect: Callable[[RunSettings, RunFolder, str | None], tuple[Logger, str]]


class Tracker(RunLogger):
    """Sends every point of every curve to a service once.

    A resumed run computes the steps after its checkpoint again, with the same values. Those that
    the service has received already are left out.

    Args:
        service: the service.
        logger: Lightning's logger for it.
        path: the file that records what was sent.
        record: its content.
    """

    def __init__(self, service: Service, logger: Logger, path: Path, record: _Record):
        super().__init__()
        self.logger = logger
        self._service, self._path, self._record = service, path, record
        self._steps: dict[str, int] = dict(record.get("steps", {}))
        self._failed = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send the points of ``metrics`` that are later than all earlier ones of their curves."""
        step = step or 0
        new = {name: value for name, value in metrics.items() if step > self._steps.get(name, -1)}
        if new and not self._failed:
            self._steps |= dict.fromkeys(new, step)
            # Recorded first: a run that is killed in between lacks a point and repeats none.
            _write_record(self._path, {**self._record, "steps": self._steps})
            self._send(self.logger.log_metrics, dict(new), step)

    @rank_zero_only
    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Do nothing: Lightning's parameters of the module are empty; ``log_settings`` has all."""

    def log_settings(self, values: dict[str, Any]) -> None:
        """Send the settings of the run, for which a resumed run may have new values."""
        if isinstance(self.logger, MLFlowLogger):  # it accepts no second value of a parameter
            self._send(self._log_new_parameters, values)
        else:
            self._send(self.logger.log_hyperparams, values)

    def _log_new_parameters(self, values: dict[str, Any]) -> None:
        assert isinstance(self.logger, MLFlowLogger)
        known = self.logger.experiment.get_run(self.logger.run_id).data.params
        self.logger.log_hyperparams({k: v for k, v in values.items() if k not in known})

    def close(self, *, complete: bool) -> None:
        """End the run at the service; it is marked as failed unless it is ``complete``."""
        self._send(self.logger.finalize, "success" if complete else "failed")
        if isinstance(self.logger, WandbLogger):
            self._send(self.logger.experiment.finish, 0 if complete else 1)

    def _send(self, function: Callable[..., object], *values: Any) -> None:
        """Call ``function``; at its first error, a warning is logged and nothing more is sent."""
        if self._failed:
            return
        try:
            function(*values)
        except Exception as error:  # each service and its transport raises its own
            self._failed = True
            log.warning(f"{_no_answer(self._service, error)}; nothing more is sent")


def check_services(config: RunSettings) -> None:
    """Check that the services of ``config`` are installed, before anything is written.

    Raises:
        MachineError: a library is missing, or Weights & Biases has no login.
    """
    for name in _services(config):
        service = SERVICES[name]
        try:
            importlib.import_module(service.module)
        except ImportError as error:
            raise MachineError(
                f"--logger={config.logger} needs {service.title}: pip install 'BYOL[{name}]'"
            ) from error
        if name == "wandb":
            _check_login(config)


def _check_login(config: RunSettings) -> None:
    import wandb

    try:
        if os.environ.get("WANDB_MODE", "online") == "online":
            wandb.login()
    except wandb.Error as error:
        raise MachineError(
            f"--logger={config.logger} needs a login: wandb login, or WANDB_MODE=offline for files "
            "that wandb sync sends later"
        ) from error


@contextlib.contextmanager
def open_trackers(
    config: RunSettings, folder: RunFolder, settings: dict[str, Any]
) -> Iterator[list[Tracker]]:
    """Open the run at the services of ``config`` in the first process, as a context.

    A resumed run is resumed there as well. A service that does not answer costs a warning.

    Args:
        config: where curves are logged.
        folder: folder of the run.
        settings: all settings of the run by name, which are sent.
    """
    opened = (_opened(SERVICES[name], name, config, folder) for name in _services(config))
    trackers = [tracker for tracker in opened if tracker]
    complete = False
    try:
        for tracker in trackers:
            tracker.log_settings(settings)
        yield trackers
        complete = True
    finally:
        for tracker in trackers:
            tracker.close(complete=complete)


def _services(config: RunSettings) -> list[str]:
    """The services that this process sends to: those of ``config`` in the first process."""
    names = logger_names(config.logger) if first_process() else []
    return [name for name in names if name in SERVICES]


def _opened(service: Service, name: str, config: RunSettings, folder: RunFolder) -> Tracker | None:
    path = folder.tracking(name)
    record: Any = None
    with contextlib.suppress(DataError):  # a damaged file: a new run begins at the service
        record = read_json(path, _Record)
    try:
        folder.logs.mkdir(exist_ok=True)
        logger, identity = service.connect(config, folder, record and record["id"])
    except Exception as error:  # each service and its transport raises its own
        log.warning(_no_answer(service, error))
        return None
    if not record or record["id"] != identity:
        record = {"id": identity}
    _write_record(path, record)
    return Tracker(service, logger, path, record)


def _connect_wandb(
    config: RunSettings, folder: RunFolder, identity: str | None
) -> tuple[Logger, str]:
    import wandb

    identity = identity or secrets.token_hex(4)
    logger = WandbLogger(
        project=config.project or _PROJECT,
        name=str(folder.path),
        version=identity,  # with resume="allow", which is Lightning's default
        save_dir=folder.logs,
        settings=wandb.Settings(console="off", silent=True),
    )
    _ = logger.experiment  # connects
    return logger, identity


def _connect_mlflow(
    config: RunSettings, folder: RunFolder, identity: str | None
) -> tuple[Logger, str]:
    # One attempt and few seconds: MLflow's defaults let a run wait for minutes at every row.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    for name, level in (("mlflow", "WARNING"), ("pytorch_lightning.loggers.mlflow", "ERROR")):
        logging.getLogger(name).setLevel(level)  # they report every table and experiment
    place = os.environ.get("MLFLOW_TRACKING_URI")
    logger = MLFlowLogger(
        experiment_name=config.project or _PROJECT,
        run_name=folder.path.name,
        tracking_uri=place or _local_database(folder),
        artifact_location=None if place else (folder.logs.absolute() / "mlruns").as_uri(),
        run_id=identity,
    )
    if identity is not None:
        logger.experiment.update_run(identity, status="RUNNING")
    return logger, str(logger.run_id)


def _local_database(folder: RunFolder) -> str:
    """The URI of a database in ``folder``: current versions of MLflow refuse a folder of files."""
    path = str(folder.logs.absolute() / "mlflow.db")
    if re.search(r"[?#%\n]", path):
        raise ValueError("the folder of the run has a ?, # or %: set MLFLOW_TRACKING_URI")
    return f"sqlite:///{path}"


def log_results(trackers: list[Tracker], results: dict[str, Any]) -> None:
    """Send speed, alarm and every measure of the evaluation to ``trackers``.

    Args:
        trackers: of the run.
        results: content of ``results.json``.
    """
    rows = (results["evaluation"] or {"rows": {}})["rows"]
    values = {f"{row}/{m}": point_estimate(v) for row, ms in rows.items() for m, v in ms.items()}
    values |= {"images_per_second": results["images_per_second"], "alarm": bool(results["alarm"])}
    values = {name: float(value) for name, value in values.items() if value is not None}
    for tracker in trackers:
        tracker.log_metrics(values, results["steps"])


SERVICES = {
    "wandb": Service("Weights & Biases", "wandb", _connect_wandb),
    "mlflow": Service("MLflow", "mlflow", _connect_mlflow),
}


def _no_answer(service: Service, error: Exception) -> str:
    return f"{service.title} does not answer ({first_line(error)}); logs/ has everything"


def _write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Replace the file, if possible, without flushing it: it changes with every row."""
    temporary = temporary_path(path)
    with contextlib.suppress(OSError):
        temporary.write_text(to_json(record))
        temporary.replace(path)
