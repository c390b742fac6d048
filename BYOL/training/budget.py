"""How long a run takes: the speed of real steps is measured before the first one, and with
``--minutes`` the number of steps follows from it.

:class:`BYOL.training.callbacks.time_limit.TimeLimit` corrects it during the run. The decision and
its corrections are recorded in config.yaml, so the run can be resumed and repeated bit for bit.
"""

import copy
import dataclasses
import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from BYOL._console import counted
from BYOL._hardware import Machine, pick_workers, wait_for
from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.evaluation_settings import EvaluationSettings
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.recipe import fit_length, schedule
from BYOL.training.benchmark import TrialRun
from BYOL.training.prepare import Prepared
from BYOL.training.remaining import seconds_after_training

log = logging.getLogger(__name__)
_SHARE = 0.03  # of the time limit that the measurement takes
_MIN_SECONDS, _MAX_SECONDS = 1.0, 20.0  # of the measurement
_SHORT_SECONDS = 2.0  # of the measurement if only a message depends on it
_MIN_STEPS = 50  # the length of shorter runs is not estimated
_CHECKS_SHARE = 0.1  # of the training time that online checks may take
_LONG = 3600  # seconds: a run on a CPU that takes longer begins with a warning
_IN_ALL = "in all (--minutes or --epochs change it)"


@dataclass(frozen=True)
class Estimate:
    """How long the parts of a run take, in seconds.

    Args:
        step: an optimizer step, loading and views included.
        rest: everything after the last step.
        check: an online check.
        deadline: when training should end, on ``time.monotonic``; None without a time limit.
        most_epochs: maximum number of epochs of a run with a deadline; None for no limit.
    """

    step: float
    rest: float
    check: float = 0.0
    deadline: float | None = None
    most_epochs: int | None = None

    def total(self, steps: int) -> float:
        """Seconds from now to the end of a run of so many steps."""
        return steps * self.step + self.rest


def resolve_length(
    config: PretrainConfig, prepared: Prepared, model: BYOL, machine: Machine, began: float
) -> tuple[PretrainConfig, Estimate | None]:
    """The settings with ``epochs`` and ``steps`` that fit ``minutes``, and the measured speed.

    Args:
        config: resolved settings.
        prepared: the images.
        model: the networks; they are not changed.
        machine: that trains.
        began: start of the command, on ``time.monotonic``.

    Returns:
        Settings without ``minutes``, which ``recipe`` records; the estimate is None for runs so
        short that it is not measured, and for runs of several processes.
    """
    steps = config.only(OptimizationSettings).total_steps(len(prepared.train))
    alone = config.devices * config.nodes == 1
    if not alone or (config.minutes is None and steps < _MIN_STEPS):
        return dataclasses.replace(config, minutes=None), None
    estimate = measure(config, prepared, model, machine)
    if config.minutes is None:
        return config, estimate
    deadline = began + 60 * config.minutes - estimate.rest
    values = _fitted(config, len(prepared.train), deadline - time.monotonic(), estimate)
    recipe, most_epochs = {**config.recipe, "minutes": config.minutes}, config.epochs
    config = dataclasses.replace(config, **values, minutes=None, recipe=recipe)
    # Specified epochs or steps are a limit as well, which the clock must not lift.
    if not config.specified & {"epochs", "steps"}:
        most = None if "minutes" in config.specified else most_epochs
        estimate = dataclasses.replace(estimate, deadline=deadline, most_epochs=most)
    return config, estimate


def _fitted(config: PretrainConfig, images: int, left: float, estimate: Estimate) -> dict[str, Any]:
    """The length of a run that has ``left`` seconds for training, and what follows from it."""
    per_epoch = images // config.batch_size
    step, checks = estimate.step, None
    if config.preset == "auto" and "knn_every" not in config.specified and estimate.check:
        checks = min(max(int(_CHECKS_SHARE * left / estimate.check), 1), 10)
        left -= checks * estimate.check
    elif config.knn_every:
        step += estimate.check / (config.knn_every * per_epoch)
    # Without a specified number of epochs, specified minutes are filled.
    filled = "minutes" in config.specified and "epochs" not in config.specified
    values = fit_length(left / step, per_epoch, None if filled else config.epochs)
    if config.steps is not None and "steps" in config.specified:
        values["steps"] = min(config.steps, values["steps"] or config.steps)
    if config.preset == "auto":
        length = (values["steps"] or values["epochs"] * per_epoch) / per_epoch
        derived = schedule(values["epochs"], length, checks or 10)
        values |= {k: v for k, v in derived.items() if k not in config.specified}
    return values


def log_recipe(
    config: OptimizationSettings,
    images: int,
    estimate: Estimate | None,
    machine: Machine,
    began: float,
    done: int = 0,
    reasons: Sequence[str] = (),
) -> None:
    """Log the choices of the preset auto, their reasons, and the expected time of the run.

    Args:
        config: the resolved length of the run.
        images: number of training images.
        estimate: the measured speed; nothing is said about the time without it.
        machine: that trains.
        began: start of the command, on ``time.monotonic``.
        done: number of steps of a resumed run that are made already.
        reasons: the reasons of the choices.
    """
    for reason in reasons:
        log.info(f"  {reason}")
    if estimate is None:
        return
    steps = config.total_steps(images)
    seconds = estimate.total(max(steps - done, 0)) + time.monotonic() - began
    length = counted(config.epochs, "epoch")
    if config.steps is not None:
        length = f"{steps / (images // config.batch_size):.2g} epochs"
    line = (
        f"{length}, {counted(steps, 'step')} of {1000 * estimate.step:,.0f} ms: about "
        f"{duration(seconds)} "
    )
    # A resumed run keeps its length, whatever the time limit.
    line += "to the end (--epochs changes it)" if done else _IN_ALL
    if machine.accelerator == "cpu" and seconds > _LONG:
        log.warning(line if done else f"{line}; --minutes=60 makes it an hour")
    else:
        log.info(line)


def duration(seconds: float) -> str:
    """Return ``seconds`` in the usual unit: seconds, minutes, hours or days."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return (
                f"{seconds / unit:.2g} {name}"
                if seconds < 10 * unit
                else f"{seconds / unit:.0f} {name}"
            )
    return f"{seconds:.0f} seconds"


def measure(config: PretrainConfig, prepared: Prepared, model: BYOL, machine: Machine) -> Estimate:
    """Time some steps of training, on a copy of the networks, and what comes after training."""
    seconds = _SHORT_SECONDS
    if config.minutes is not None:
        seconds = min(max(60 * config.minutes * _SHARE, _MIN_SECONDS), _MAX_SECONDS)
    short = dataclasses.replace(
        config, compile="off" if config.compile == "auto" else config.compile
    )
    workers = pick_workers(config.workers, machine.accelerator)
    clock = _StepClock(seconds, skip=1 + (2 * workers if config.minutes is not None else 0))
    run = TrialRun(short, prepared, copy.deepcopy(model), machine)
    run.make_views(next(iter(run.loader)))  # compiles the views, where no run before has done so
    began, used = time.monotonic(), time.process_time()
    run.train(100_000, clock)
    del run  # its loader processes end
    gc.collect()
    busy = max((time.monotonic() - began) / max(time.process_time() - used, 1e-3), 1.0)
    rest, check = seconds_after_training(
        config.only(EvaluationSettings), config.input_spec, workers, prepared, model, machine, busy
    )
    return Estimate(clock.each, rest, check)


class _StepClock(Callback):
    """Stops training after some seconds and knows the time of a step.

    Args:
        seconds: to measure, from the end of the skipped steps on.
        skip: steps at the beginning that are not counted: loader processes have prepared batches
            ahead of them. Where they alone take longer than ``seconds``, they have to do.
    """

    def __init__(self, seconds: float, skip: int):
        self.seconds = seconds
        self.skip = skip
        self.each = 0.0
        self.since = 0.0
        self.first = self.last = 0

    def on_train_start(self, *_: Any) -> None:
        """Start the clock."""
        self.since = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Look at the clock after an optimizer step."""
        step = trainer.global_step
        if step == self.last:  # a part of a step that is accumulated
            return
        self.last = step
        wait_for(module.device)
        now = time.monotonic()
        self.each = (now - self.since) / (step - self.first)
        enough = now - self.since >= self.seconds
        if step == 1 and enough:  # a large network: the next step is enough
            trainer.should_stop = now - self.since > 10 * self.seconds
            self.skip = 1
        if step in (1, self.skip):  # the first step sets up
            self.first, self.since = step, now
        else:
            trainer.should_stop = enough and step > self.skip
