"""The training of a run's networks by Lightning's Trainer."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from BYOL._hardware import peak_memory, pick_workers, torch_device
from BYOL.config.validation import logger_names
from BYOL.config.view_settings import ViewSettings
from BYOL.data.sampler import epoch_sampler
from BYOL.data.shards.order import Streams
from BYOL.data.train_loader import train_loader
from BYOL.model.sync_batchnorm import synchronise_batchnorm
from BYOL.training.callbacks.build import RunCallbacks
from BYOL.training.launch import build_strategy, translated_errors
from BYOL.training.loggers import build_loggers
from BYOL.training.module import Pretraining
from BYOL.training.prepare import build_views
from BYOL.training.run_setup import RunSetup
from BYOL.training.signals import StopRequest
from BYOL.training.trainer import build_trainer
from BYOL.views.pipeline import Views


def train_network(
    run: RunSetup, stop: StopRequest, more_loggers: Sequence[Logger]
) -> tuple[RunSetup, dict[str, Any]]:
    """Train the networks of ``run``.

    Returns:
        The run with its settings, whose length a time limit may have corrected, and the results of
        the training itself.
    """
    config, prepared, start, machine = run.config, run.prepared, run.start, run.machine
    steps_per_epoch = len(prepared.train) // config.batch_size
    streams = _streams(run)
    views = build_views(config.only(ViewSettings), compiled=config.compile == "on")
    loader = _loader(run, views, streams)
    model = run.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.sync_batchnorm and config.devices * config.nodes > 1:
        model = synchronise_batchnorm(model, machine.accelerator)
    module = Pretraining(model, config, views, steps_per_epoch, prepared.targets)
    facts = {
        **run.facts,
        "streams": dataclasses.asdict(streams),
        "hardware": f"{machine.accelerator} {machine.precision}",
    }
    callbacks = RunCallbacks(run, stop, module, facts)
    loggers = [*build_loggers(logger_names(config.logger), start.folder, start.step), *more_loggers]
    trainer = _trainer(run, callbacks, loggers)
    with translated_errors(start.folder, lambda: bool(start.step) and not callbacks.started):
        trainer.fit(module, loader, ckpt_path=start.checkpoint)
    return dataclasses.replace(run, config=module.config), {
        "epochs": module.config.epochs,
        "epochs_seen": round(trainer.global_step / steps_per_epoch, 2),
        "steps": trainer.global_step,
        "peak_memory": peak_memory(torch_device(machine.accelerator)),
        **callbacks.results(),
    }


def _streams(run: RunSetup) -> Streams:
    """Return the streams of the run that is resumed, or one for every loader process."""
    config, recorded = run.config, (run.start.facts or {}).get("streams")
    workers = pick_workers(config.workers, run.machine.accelerator)
    fresh = Streams(config.devices * config.nodes, max(workers, 1), config.accumulate)
    return Streams(**recorded) if recorded else fresh


def _loader(run: RunSetup, views: Views, streams: Streams) -> Any:
    config, images = run.config, run.prepared.train
    epoch, step = divmod(run.start.step or 0, len(images) // config.batch_size)
    sampler = epoch_sampler(
        images,
        config.micro_batch,
        accumulate=config.accumulate,
        processes=config.devices * config.nodes,
        buffer=config.shuffle_buffer,
        seed=config.seed,
        start_epoch=epoch,
        start_batch=step * config.accumulate,
        streams=streams,
    )
    return train_loader(
        images,
        sampler,
        views=views.all_configs,
        workers=pick_workers(config.workers, run.machine.accelerator),
        device=torch_device(run.machine.accelerator),
    )


def _trainer(run: RunSetup, callbacks: RunCallbacks, loggers: list[Logger]) -> pl.Trainer:
    config = run.config
    return build_trainer(
        run.machine,
        accumulate=config.accumulate,
        deterministic=config.deterministic,
        devices=config.devices,
        nodes=config.nodes,
        strategy=build_strategy(config.devices * config.nodes),
        max_epochs=config.epochs,
        max_steps=-1 if config.steps is None else config.steps,
        use_distributed_sampler=False,  # the loader shards by itself, equally for any world size
        callbacks=callbacks.callbacks,
        plugins=[callbacks.store],
        logger=loggers,
        default_root_dir=run.start.folder.path,
    )
