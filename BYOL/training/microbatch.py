"""How many images a device can take at a time; larger batches are accumulated from such parts."""

import copy
import dataclasses
import logging
import math

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from BYOL._hardware import Machine, available_memory, torch_device
from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.view_configs import further_kinds, further_view_configs, view_configs
from BYOL.config.view_settings import ViewSettings
from BYOL.errors import MachineError
from BYOL.training.benchmark import training_step
from BYOL.training.module import batch_loss

log = logging.getLogger(__name__)
_USABLE = 0.7  # of the available memory: loaders, evaluation and other programs need some, too


def fit_micro_batch(config: PretrainConfig, model: BYOL, machine: Machine) -> PretrainConfig:
    """The settings with ``accumulate`` so large that a part of a batch fits the memory.

    On a GPU a step is tried. On a CPU, which would swap or be killed, the memory of a step is
    estimated from two images.

    Args:
        config: resolved settings.
        model: the networks; they are not changed.
        machine: that trains.

    Raises:
        MachineError: not even the smallest part fits.
    """
    on_gpu, views = machine.accelerator == "gpu", config.only(ViewSettings)
    processes = config.devices * config.nodes
    if on_gpu and processes > 1:  # another process may have the first GPU
        return config
    for parts in _divisors(config.batch_size // processes, config.accumulate):
        tried = dataclasses.replace(config, accumulate=parts)
        if on_gpu:
            fits = _fits_gpu(tried, model, machine)
        else:
            needed = step_bytes(views, tried.view_shape[:2], model)
            fits = needed <= _USABLE * (available_memory() or math.inf)
        if fits:
            if parts != config.accumulate:
                log.info(
                    f"a batch of {config.batch_size} does not fit the memory: each step is "
                    f"accumulated from {parts} parts of {tried.micro_batch} images; a smaller "
                    "--batch_size or --grad_checkpointing need less".replace("_", "-")
                )
            return tried
    raise MachineError(
        f"--batch_size={config.batch_size} does not fit the memory, in parts of two images "
        f"neither: use a smaller --backbone, --image_size (now {config.image_size}) or "
        "--grad_checkpointing"
    )


def _divisors(per_process: int, least: int) -> list[int]:
    """Divisors of ``per_process`` from ``least`` on, each about twice the last.

    Parts have at least two images.
    """
    found = [least]
    for parts in range(least + 1, per_process // 2 + 1):
        if per_process % parts == 0 and parts >= min(2 * found[-1], per_process // 2):
            found.append(parts)
    return found


def _fits_gpu(config: PretrainConfig, model: BYOL, machine: Machine) -> bool:
    device = torch_device(machine.accelerator)
    tried = None
    try:
        tried = copy.deepcopy(model).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        views = _views(config.only(ViewSettings), config.view_shape[:2], device)
        training_step(config, tried, machine)(*views)
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        del tried
        torch.cuda.empty_cache()


def step_bytes(config: ViewSettings, shape: tuple[int, int], model: BYOL) -> int:
    """Estimated memory of a training step in bytes, beyond that of the networks.

    The tensors that the forward pass of two images keeps for the backward pass are counted;
    gradients and the optimizer's state are as large as the weights, once and at most twice.

    Args:
        config: the views.
        shape: (B, C) of the views of a micro-batch.
        model: the networks; they are not changed.
    """
    tried = copy.deepcopy(model).train()
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = sum(p.numel() * p.element_size() for p in tried.parameters())
    pointers = {p.untyped_storage().data_ptr() for p in tried.parameters()}
    (images, channels), kinds = shape, further_kinds(config)
    views = _views(config, (2, channels), torch.device("cpu"))
    with torch.random.fork_rng(devices=[]), saved_tensors_hooks(count, lambda tensor: tensor):
        loss, _ = batch_loss(tried, views[0], views[1], views[2:], kinds)
    activations = sum(size for pointer, size in kept.items() if pointer not in pointers)
    del loss
    return 3 * weights + activations * images // 2


def _views(config: ViewSettings, shape: tuple[int, int], device: torch.device) -> list[Tensor]:
    """Return views of noise, (B, C, S, S) each, for the ``shape`` (B, C)."""
    # Noise: predictors that solve a least squares problem need images that differ.
    views = []
    for view in (*view_configs(config), *further_view_configs(config)):
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand((*shape, view.size, view.size), generator=generator).to(device)
        views.append(noise.contiguous(memory_format=torch.channels_last))
    return views
