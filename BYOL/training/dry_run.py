"""What a copy of the networks shows of itself before training: whether the sizes fit, and the
precision."""

import copy
import dataclasses
import logging

import torch
from torch import nn

from BYOL._hardware import Machine
from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.view_configs import small_view_configs
from BYOL.errors import UserError, first_line

log = logging.getLogger(__name__)


def check_network(model: BYOL, config: PretrainConfig) -> bool:
    """Show a copy of the network two pictures of every size that it will see.

    Returns:
        Whether a convolution with a stride saw pictures one pixel wide: see
        :func:`trusted_machine`.

    Raises:
        UserError: pictures of that size are too small for it, or not what it is built for; or
            batches too small for batch-norm.
    """
    together = config.micro_batch * (config.devices * config.nodes if config.sync_batchnorm else 1)
    if config.norm == "bn" and together < 2:
        raise UserError(
            f"--batch_size={config.batch_size} leaves batch-norm one picture at a time, whose "
            f"variance is 0: give at least {2 * config.batch_size}, or --norm gn-ws"
        )
    network = copy.deepcopy(model.onlineNet)
    narrow = _narrow_inputs(network)
    for name, x in _two_of_every_size(config).items():
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                network(x)
        except Exception as error:  # every network has its own way to say so
            reason = first_line(error, 160)
            raise UserError(
                f"--{name}={x.shape[-1]} is not for backbone {config.backbone!r}: give a larger "
                f"size, or another backbone ({reason})"
            ) from error
    return bool(narrow)


def trusted_machine(narrow: bool, config: PretrainConfig, machine: Machine) -> Machine:
    """``machine``, but in fp32 where a processor's bf16 would give wrong gradients.

    Where a convolution with a stride sees pictures one pixel wide, oneDNN's gradient of its weights
    in bf16 reads memory that nobody has written (seen with torch 2.14): it is another one at every
    call, often not finite.

    Args:
        narrow: whether there is such a convolution; from :func:`check_network`.
        config: settled.
        machine: that trains.

    Raises:
        UserError: bf16 was asked for by name.
    """
    if not narrow or (machine.accelerator, machine.precision) != ("cpu", "bf16"):
        return machine
    reason = "on a CPU bf16 gradients are wrong where a convolution sees pictures one pixel wide"
    if config.precision == "bf16":
        raise UserError(f"--precision=bf16: {reason}: use fp32 or larger pictures")
    log.info(f"training in fp32: {reason}")
    return dataclasses.replace(machine, precision="fp32")


def _narrow_inputs(network: nn.Module) -> list[nn.Module]:
    """Grows, as the network is used, by convolutions with a stride that saw width 1."""
    found: list[nn.Module] = []

    def look(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[-1] == 1:
            found.append(layer)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1:
            layer.register_forward_pre_hook(look)
    return found


def _two_of_every_size(config: PretrainConfig) -> dict[str, torch.Tensor]:
    """Black pictures of every size that the network will see, by the setting that says so."""
    assert config.channels is not None and config.image_size is not None
    sides = {"image_size": config.image_size}
    if config.view_size:
        sides["view_size"] = config.view_size
    for view in small_view_configs(config):
        sides["small_size"] = view.size
    return {name: torch.zeros(2, config.channels, side, side) for name, side in sides.items()}
