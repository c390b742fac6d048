"""Pretraining: where pictures, views, networks, loss, schedules and evidence meet.

:func:`pretrain` reads top to bottom as a run does: settle the settings, make the run's folder,
train, export, measure. The engine is Lightning's Trainer; there is no training loop here.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from BYOL import byol
from BYOL._clock import command_start
from BYOL._console import counted, show_messages_by_default
from BYOL._distributed import first_process
from BYOL._hardware import Machine, peak_memory, pick_machine, pick_workers, torch_device
from BYOL._random import fold
from BYOL._waiting import waiting
from BYOL.config import PretrainConfig, save_config
from BYOL.config.paths import rooted
from BYOL.config.presets import misfit
from BYOL.config.tasks import Measures
from BYOL.config.view_configs import view_configs
from BYOL.data.dataset import readable
from BYOL.data.sampler import epoch_sampler
from BYOL.data.shards.order import Streams
from BYOL.data.train_loader import train_loader
from BYOL.evaluation.evaluate import NOTHING_KNOWN
from BYOL.export import export_backbone
from BYOL.model.sync_batchnorm import synchronise_batchnorm
from BYOL.runs.build_model import build_model, seeded_model
from BYOL.runs.folder import RunFolder, default_folder
from BYOL.runs.open import backbone_metadata
from BYOL.training.auto_recipe import recorded_settings
from BYOL.training.budget import announce_recipe, with_length
from BYOL.training.callbacks.build import Watchers
from BYOL.training.compile import settle_compile
from BYOL.training.dry_run import check_network, trusted_machine
from BYOL.training.finalize import finish, save_report
from BYOL.training.launch import cluster, mishaps, strategy, with_processes
from BYOL.training.loggers import loggers
from BYOL.training.microbatch import with_parts_that_fit
from BYOL.training.module import Pretraining
from BYOL.training.prepare import Prepared, build_views, prepare
from BYOL.training.resume import Start, facts, find_start
from BYOL.training.signals import StopRequest
from BYOL.training.trainer import engine
from BYOL.training.wandb import check_tracking, tracked
from BYOL.views.pipeline import Views
from BYOL.views.preview import save_preview

log = logging.getLogger(__name__)


def pretrain(
    config: PretrainConfig, known: Mapping[str, Measures] = NOTHING_KNOWN
) -> dict[str, Any]:
    """Train a backbone on pictures without labels, and measure it.

    Args:
        config: see :class:`PretrainConfig`; :func:`BYOL.config.presets.preset_config` makes one.
        known: references of the comparison that were measured before: :func:`evaluate`.

    Returns:
        What ``results.json`` holds: the settings, speed, gauges, and where there are labels the
        comparison with raw pixels and the untrained backbone.

    Raises:
        UserError: a mistake in the settings or the data; nothing has been written then.
    """
    show_messages_by_default()
    began = command_start()
    config = with_processes(config)
    machine = pick_machine(config.accelerator, config.devices, config.precision)
    stamped = config.resume != "auto"
    out = Path(config.out) if config.out else default_folder(config.data, stamped=stamped)
    if config.resume:
        config = dataclasses.replace(config, **recorded_settings(config, RunFolder(out)))
    start = find_start(RunFolder(out), config.resume, config.epochs)
    with StopRequest() as stop:
        with waiting("opening the images"):
            prepared = prepare(config)
        config = rooted(dataclasses.replace(prepared.config, out=str(out), resume=False))
        start.check(config, prepared.train)
        if start.results:
            return _complete(config, prepared, start, machine)
        with waiting("building the network"):
            model = seeded_model(config) if start.checkpoint else build_model(config)
            narrow = check_network(model, config)
        machine = trusted_machine(narrow, config, machine)
        if start.compiled and config.compile == "auto":  # another choice rounds otherwise
            config = dataclasses.replace(config, compile="on" if start.compiled == "on" else "off")
        if not start.checkpoint:
            config = with_parts_that_fit(config, model, machine)
        config, estimate = with_length(config, prepared, model, machine, began)
        config = settle_compile(config, len(prepared.train), model, machine)
        check_tracking(config)
        with start.opened():
            if first_process():
                save_config(config, start.folder.config)  # a run that goes on may have changed it
                if not start.folder.views.exists():
                    _save_views(prepared, config, start.folder)
                if (config.pretrained or config.weights) and not start.checkpoint:
                    _save_start(config, model, start.folder)
                _announce(config, prepared, model, machine)
                if start.step:
                    steps = config.epochs * (len(prepared.train) // config.batch_size)
                    log.info(f"resumes after step {start.step:,} of {steps:,}")
                announce_recipe(config, len(prepared.train), estimate, machine, began)
            with tracked(config, start.folder) as tracker:
                run = _train(config, prepared, model, start, machine, stop, tracker.loggers)
                results = {"run": str(out), **run, "evaluation": None}
                if not first_process():
                    return results
                results = finish(config, prepared, model, start.folder, results, machine, known)
                tracker.conclude(results)
            if config.report:
                save_report(config, prepared, start.folder, machine)
            return results


def _complete(
    config: PretrainConfig, prepared: Prepared, start: Start, machine: Machine
) -> dict[str, Any]:
    """What is known of a run that has come to its end before; its report, where there is none."""
    assert start.results is not None
    start.check_complete(config)
    log.info(f"the run in {start.folder.path} is complete: nothing was trained")
    if config.report and first_process() and not start.folder.report.exists():
        save_report(config, prepared, start.folder, machine)
    return start.results


def _save_start(config: PretrainConfig, model: byol.BYOL, folder: RunFolder) -> None:
    """The weights from elsewhere, which may be gone when they are to be compared with."""
    export_backbone(model.onlineNet.backend, folder.start, backbone_metadata(config))


def _save_views(prepared: Prepared, config: PretrainConfig, folder: RunFolder) -> None:
    assert config.image_size is not None
    images = readable(prepared.train, prepared.train.probes(8))
    if images:  # if all of them are broken, whoever reads the others says so
        save_preview(images, view_configs(config), folder.views, key=fold(config.seed, 0))


def _announce(
    config: PretrainConfig, prepared: Prepared, model: byol.BYOL, machine: Machine
) -> None:
    weights = sum(p.numel() for p in model.onlineNet.backend.parameters()) / 1e6
    begun = f", begun with {config.weights}" if config.weights else ""
    log.info(
        f"{prepared.train.name}: {counted(len(prepared.train), 'picture')}, "
        f"{counted(config.channels or 0, 'channel')}, "
        f"seen at {config.view_shape[-1]} px; preset {config.preset}; {config.backbone} "
        f"({weights:.2f} M weights{begun}), {machine.accelerator} in {machine.precision}"
        f"{', compiled' if config.compile == 'on' else ''}"
    )
    if prepared.labelled:
        log.info(
            f"{len(prepared.labelled):,} of them have labels, which judge and are not learnt from"
        )
    if config.pixel_range:
        low, high = config.pixel_range
        log.info(f"values from {low:g} to {high:g} are black to white (--pixel-range sets others)")
    for note in filter(None, (misfit(config), *prepared.train.notes)):
        log.warning(note)
    if prepared.broken:
        names = ", ".join(prepared.broken[:3]) + (" …" if len(prepared.broken) > 3 else "")
        log.info(
            f"left out, because it cannot be read: {len(prepared.broken)} of the files: {names}"
        )


def _train(
    config: PretrainConfig,
    prepared: Prepared,
    model: byol.BYOL,
    start: Start,
    machine: Machine,
    stop: StopRequest,
    further: Sequence[Logger],
) -> dict[str, Any]:
    steps_per_epoch = len(prepared.train) // config.batch_size
    streams = _streams(config, start, machine)
    views = build_views(config)
    loader = _loader(config, prepared, views, start.step, machine, streams)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.sync_batchnorm and config.devices * config.nodes > 1:
        model = synchronise_batchnorm(model, machine.accelerator)
    module = Pretraining(model, config, views, steps_per_epoch)
    held_to = {**facts(config, prepared.train), "streams": dataclasses.asdict(streams)}
    watch = Watchers(config, prepared, start, machine, stop, module.total_steps, held_to)
    curves = [*loggers(start.folder.logs, start.step), *further]
    trainer = _trainer(config, start, watch, machine, curves)
    with mishaps(start.folder):
        trainer.fit(module, loader, ckpt_path=start.checkpoint)
    return {
        "epochs": config.epochs,
        "epochs_seen": round(trainer.global_step / steps_per_epoch, 2),
        "steps": trainer.global_step,
        "peak_memory": peak_memory(torch_device(machine.accelerator)),
        **watch.found(),
    }


def _streams(config: PretrainConfig, start: Start, machine: Machine) -> Streams:
    """Those of the run that goes on; else one for every loader process of every process."""
    held_to = (start.held_to or {}).get("streams")
    workers = pick_workers(config.workers, machine.accelerator)
    fresh = Streams(config.devices * config.nodes, max(workers, 1), config.accumulate)
    return Streams(**held_to) if held_to else fresh


def _loader(
    config: PretrainConfig,
    prepared: Prepared,
    views: Views,
    done: int | None,
    machine: Machine,
    streams: Streams,
) -> Any:
    epoch, step = divmod(done or 0, len(prepared.train) // config.batch_size)
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
    watch: Watchers,
    machine: Machine,
    curves: list[Logger],
) -> pl.Trainer:
    return engine(
        config,
        machine,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=strategy(config.devices * config.nodes),
        max_epochs=config.epochs,
        max_steps=-1 if config.steps is None else config.steps,
        use_distributed_sampler=False,  # the loader shards by itself, the same for any world size
        callbacks=watch.callbacks,
        plugins=[watch.store, *cluster()],
        logger=curves,
        default_root_dir=start.folder.path,
    )
