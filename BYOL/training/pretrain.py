"""Pretraining: images, views, networks, loss and schedules become a trained and evaluated backbone.

:func:`pretrain` follows the order of a run: resolve the settings, create the run folder, train,
export, evaluate. Lightning's Trainer has the training loop.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from BYOL._console import counted, show_messages_by_default
from BYOL._distributed import first_process
from BYOL._hardware import Machine, pick_machine, torch_device
from BYOL._random import fold, generators_kept
from BYOL._waiting import waiting
from BYOL.config import PretrainConfig, save_config
from BYOL.config.model_settings import ModelSettings
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.paths import with_absolute_paths
from BYOL.config.presets import misfit
from BYOL.config.resumed import recorded_settings
from BYOL.config.run_settings import RunSettings
from BYOL.config.view_configs import further_view_configs, input_sizes, view_configs
from BYOL.config.view_settings import ViewSettings
from BYOL.data.dataset import readable
from BYOL.errors import SettingsError
from BYOL.export import export_backbone
from BYOL.runs.build_model import build_model, seeded_model
from BYOL.runs.folder import RunFolder, default_folder
from BYOL.runs.open import backbone_metadata
from BYOL.training.budget import log_recipe, resolve_length
from BYOL.training.clock import command_start
from BYOL.training.compile import resolve_compile
from BYOL.training.dry_run import check_network, reliable_machine
from BYOL.training.finalize import KnownRows, finalize_run, save_report
from BYOL.training.launch import process_group
from BYOL.training.launcher import independent_task, resolve_processes
from BYOL.training.microbatch import fit_micro_batch
from BYOL.training.prepare import Prepared, prepare
from BYOL.training.resume import Start, find_start, fixed_facts
from BYOL.training.run_setup import RunSetup
from BYOL.training.signals import StopRequest
from BYOL.training.teacher.features import FOLDER as TEACHER_FOLDER
from BYOL.training.teacher.resolve import hint
from BYOL.training.teacher.run import with_targets
from BYOL.training.teacher.targets import save_space
from BYOL.training.tracking import check_services, log_results, open_trackers
from BYOL.training.train import train_network
from BYOL.views.pixel_range import describe_range
from BYOL.views.preview import save_preview

log = logging.getLogger(__name__)


def pretrain(config: PretrainConfig, known: KnownRows | None = None) -> dict[str, Any]:
    """Train a backbone on images without labels, and evaluate it.

    Messages go to the logger ``BYOL``. Standard error shows them unless the application has log
    handlers of its own. PyTorch's random generators are left as they were.

    Args:
        config: settings; :func:`BYOL.config.presets.preset_config` makes them.
        known: function of the resolved settings that returns rows of the comparison that were
            measured before: see :func:`BYOL.evaluation.evaluate.evaluate`.

    Returns:
        The content of ``results.json``: settings, speed, collapse metrics, and with labels the
        comparison with raw pixels and the untrained backbone.

    Raises:
        UserError: a mistake in the settings or the data; nothing was written in this case.
        StoppedError: the run was stopped and can be resumed.
    """
    show_messages_by_default()
    config, machine, out = _with_place(config)
    start = find_start(RunFolder(out), config.resume, config.epochs)
    kept = generators_kept(torch_device(machine.accelerator))
    with kept, StopRequest() as stop, process_group(config.devices, config.nodes):
        began = command_start()
        with waiting("opening the images"):
            prepared = prepare(config)
        config = dataclasses.replace(prepared.config, out=str(out), resume=False)
        config = with_absolute_paths(config)
        facts = fixed_facts(config, prepared.train, prepared.teacher)
        start.check(facts, config.only(OptimizationSettings))
        if start.results:
            return _complete(config, prepared, start, machine)
        # Before the features of a teacher, which may take minutes.
        check_services(config.only(RunSettings))
        with waiting("building the network"):
            model = seeded_model(config) if start.checkpoint else build_model(config)
            sizes, channels = input_sizes(config.only(ViewSettings)), prepared.train.channels
            narrow = check_network(model, config.backbone, channels, sizes)
        machine = reliable_machine(narrow, config.precision, machine)
        machine = start.recorded_machine(machine, config.precision)
        config = dataclasses.replace(config, compile=start.recorded_compile(config.compile))
        prepared = with_targets(
            prepared, start, machine,
            components=config.output_size, out=config.out, workers=config.workers,
        )  # fmt: skip
        with waiting("measuring the speed"):
            if not start.checkpoint:
                config = fit_micro_batch(config, model, machine)
            config, estimate = resolve_length(config, prepared, model, machine, began)
        length = config.only(OptimizationSettings)
        compiled = resolve_compile(config.compile, length, len(prepared.train), machine)
        config = dataclasses.replace(config, compile=compiled)
        run = RunSetup(config, prepared, model, start, machine, estimate, facts)
        with start.locked_folder():
            _record_start(run, began)
            return _train_and_finalize(run, stop, known)


def _with_place(config: PretrainConfig) -> tuple[PretrainConfig, Machine, Path]:
    """Return the settings, with those of a resumed run, its hardware and its folder."""
    if config.resume is True:  # the settings of the hardware are recorded as well
        config = _with_recorded(config, Path(config.out or "").expanduser())
    devices, nodes = resolve_processes(config.devices, config.nodes, config.specified)
    config = dataclasses.replace(config, devices=devices, nodes=nodes)
    machine = pick_machine(config.accelerator, config.devices, config.precision)
    stamped, task = config.resume != "auto", independent_task(devices, nodes)
    out = Path(config.out or default_folder(config.data, stamped=stamped, task=task))
    out = out.expanduser()
    if out.name == TEACHER_FOLDER:
        raise SettingsError(
            f"--out={out}: a folder of this name holds the features of teachers; give another name"
        )
    if config.resume == "auto":
        config = _with_recorded(config, out)
    _check_time_limit(config.minutes, devices * nodes)
    return config, machine, out


def _check_time_limit(minutes: float | None, processes: int) -> None:
    """Check that a run with a time limit has one process.

    Raises:
        SettingsError: it has several.
    """
    if minutes is not None and processes > 1:
        raise SettingsError(
            f"--minutes={minutes:g} is for one process: specify --epochs for several"
        )


def _with_recorded(config: PretrainConfig, out: Path) -> PretrainConfig:
    return dataclasses.replace(config, **recorded_settings(config, RunFolder(out).config))


def _complete(
    config: PretrainConfig, prepared: Prepared, start: Start, machine: Machine
) -> dict[str, Any]:
    """Return the results of a run that is already complete; write its report if it has none."""
    assert start.results is not None
    start.check_complete(config)
    log.info(f"the run in {start.folder.path} is complete: nothing was trained")
    if config.report and first_process() and not start.folder.report.exists():
        save_report(config.seed, config.workers, prepared, start.folder, machine)
    return {**start.results, "run": str(start.folder.path)}  # it may have been moved


def _record_start(run: RunSetup, began: float) -> None:
    """Write the files of the start and log it, in the first process."""
    if first_process():
        _write_start_files(run)
        _log_start(run, began)


def _write_start_files(run: RunSetup) -> None:
    """Write the settings, the preview of views, and the weights that the run starts from."""
    config, prepared, start, folder = run.config, run.prepared, run.start, run.start.folder
    save_config(config, folder.config)  # a resumed run may have changed settings
    if not folder.views.exists():
        images = readable(prepared.train, prepared.train.probes(8))
        if images:  # if all of them are broken, the loader reports it
            views = config.only(ViewSettings)
            configs = (*view_configs(views), *further_view_configs(views))
            save_preview(images, configs, folder.views, fold(config.seed, 0), mean=config.mean)
    if (config.pretrained or config.weights) and not start.checkpoint:
        # The source of the weights may no longer exist when they are compared with.
        export_backbone(run.model.onlineNet.backend, folder.start, backbone_metadata(config))
    if prepared.targets and not start.checkpoint:
        save_space(prepared.targets.space, folder)


def _log_start(run: RunSetup, began: float) -> None:
    """Log the images, the network, the resolved settings and the expected time."""
    config, prepared, start, machine = run.config, run.prepared, run.start, run.machine
    millions = sum(p.numel() for p in run.model.onlineNet.backend.parameters()) / 1e6
    weights = f", starting from {config.weights}" if config.weights else ""
    log.info(
        f"{prepared.train.name}: {counted(len(prepared.train), 'image')}, "
        f"{counted(config.channels or 0, 'channel')}, "
        f"views of {config.view_shape[-1]} px; preset {config.preset}; {config.backbone} "
        f"({millions:.2f} M weights{weights}), {machine.accelerator} in {machine.precision}"
        f"{', compiled' if config.compile == 'on' else ''}"
    )
    if prepared.labelled:
        log.info(f"{len(prepared.labelled):,} of them have labels, used for evaluation only")
    if config.pixel_range:
        values = describe_range(config.pixel_range)
        log.info(f"values from {values} are black to white (--pixel-range sets others)")
    length = config.only(OptimizationSettings)
    problem = misfit(length, config.preset, config.backbone)
    for note in filter(None, (problem, *prepared.train.notes)):
        log.warning(note)
    if prepared.broken:
        names = ", ".join(prepared.broken[:3]) + (" …" if len(prepared.broken) > 3 else "")
        count = len(prepared.broken)
        log.info(f"left out, because it cannot be read: {count} of the files: {names}")
    if start.step:
        steps = config.total_steps(len(prepared.train))
        log.info(f"resumes after step {start.step:,} of {steps:,}")
    if advice := _teacher_hint(run):
        log.info(advice)
    reasons = config.recipe.get("reasons", ())
    log_recipe(length, len(prepared.train), run.estimate, machine, began, start.step or 0, reasons)


def _teacher_hint(run: RunSetup) -> str | None:
    """Return a line that recommends a teacher where the user may still choose one; else None."""
    config = run.config
    if config.preset != "auto" or run.start.step or run.machine.accelerator != "cpu":
        return None  # a resumed run keeps its targets
    minutes = config.recipe.get("minutes", config.minutes) or 0.0
    return hint(config.only(ModelSettings), config.pixel_range, run.prepared.train, minutes)


def _train_and_finalize(
    run: RunSetup, stop: StopRequest, known: KnownRows | None
) -> dict[str, Any]:
    config, folder = run.config, run.start.folder
    settings = dataclasses.asdict(config)
    with open_trackers(config.only(RunSettings), folder, settings) as trackers:
        run, measured = train_network(run, stop, trackers)
        results = {"run": str(folder.path), **measured, "evaluation": None}
        if not first_process():
            return results
        results = finalize_run(run, results, known)
        log_results(trackers, results)
    if config.report:
        save_report(config.seed, config.workers, run.prepared, folder, run.machine)
    return results
