"""The training of a run's networks by Lightning's Trainer."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from BYOL import byol
from BYOL._hardware import Machine, peak_memory, pick_workers, torch_device
from BYOL.config import PretrainConfig
from BYOL.data.sampler import epoch_sampler
from BYOL.data.shards.order import Streams
from BYOL.data.train_loader import train_loader
from BYOL.model.sync_batchnorm import synchronise_batchnorm
from BYOL.training.budget import Estimate
from BYOL.training.callbacks.build import RunCallbacks
from BYOL.training.launch import build_strategy, translated_errors
from BYOL.training.loggers import build_loggers
from BYOL.training.module import Pretraining
from BYOL.training.prepare import Prepared, build_views
from BYOL.training.resume import Start, fixed_facts
from BYOL.training.signals import StopRequest
from BYOL.training.trainer import build_trainer
from BYOL.views.pipeline import Views


def train_network(
    config: PretrainConfig,
    prepared: Prepared,
    model: byol.BYOL,
    start: Start,
    machine: Machine,
    stop: StopRequest,
    more_loggers: Sequence[Logger],
    estimate: Estimate | None,
) -> tuple[PretrainConfig, dict[str, Any]]:
    """Train ``model``.

    Returns:
        The settings, whose length a time limit may have corrected, and the results of the training
        itself.
    """
    steps_per_epoch = len(prepared.train) // config.batch_size
    streams = _streams(config, start, machine)
    views = build_views(config)
    loader = _loader(config, prepared, views, start.step, machine, streams)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.sync_batchnorm and config.devices * config.nodes > 1:
        model = synchronise_batchnorm(model, machine.accelerator)
    module = Pretraining(model, config, views, steps_per_epoch)
    facts = {**fixed_facts(config, prepared.train), "streams": dataclasses.asdict(streams)}
    callbacks = RunCallbacks(config, prepared, start, machine, stop, module, estimate, facts)
    loggers = [*build_loggers(config.loggers, start.folder, start.step), *more_loggers]
    trainer = _trainer(config, start, callbacks, machine, loggers)
    with translated_errors(start.folder, lambda: bool(start.step) and not callbacks.started):
        trainer.fit(module, loader, ckpt_path=start.checkpoint)
    return module.config, {
        "epochs": module.config.epochs,
        "epochs_seen": round(trainer.global_step / steps_per_epoch, 2),
        "steps": trainer.global_step,
        "peak_memory": peak_memory(torch_device(machine.accelerator)),
        **callbacks.results(),
    }


def _streams(config: PretrainConfig, start: Start, machine: Machine) -> Streams:
    """Return the streams of the run that is resumed, or one for every loader process."""
    recorded = (start.facts or {}).get("streams")
    workers = pick_workers(config.workers, machine.accelerator)
    fresh = Streams(config.devices * config.nodes, max(workers, 1), config.accumulate)
    return Streams(**recorded) if recorded else fresh


def _loader(
    config: PretrainConfig,
    prepared: Prepared,
    views: Views,
    completed_steps: int | None,
    machine: Machine,
    streams: Streams,
) -> Any:
    epoch, step = divmod(completed_steps or 0, len(prepared.train) // config.batch_size)
    sampler = epoch_sampler(
        prepared.train,
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
        prepared.train,
        sampler,
        views=views.all_configs,
        workers=pick_workers(config.workers, machine.accelerator),
        device=torch_device(machine.accelerator),
    )


def _trainer(
    config: PretrainConfig,
    start: Start,
    callbacks: RunCallbacks,
    machine: Machine,
    loggers: list[Logger],
) -> pl.Trainer:
    return build_trainer(
        config,
        machine,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=build_strategy(config.devices * config.nodes),
        max_epochs=config.epochs,
        max_steps=-1 if config.steps is None else config.steps,
        use_distributed_sampler=False,  # the loader shards by itself, equally for any world size
        callbacks=callbacks.callbacks,
        plugins=[callbacks.store],
        logger=loggers,
        default_root_dir=start.folder.path,
    )
