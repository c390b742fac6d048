"""Checks of a copy of the networks before training: image sizes and numeric precision."""

import copy
import dataclasses
import logging
from collections.abc import Mapping

import torch
from torch import nn

from BYOL._hardware import Machine
from BYOL.byol import BYOL
from BYOL.errors import SettingsError, first_line

log = logging.getLogger(__name__)


def check_network(model: BYOL, backbone: str, channels: int, sizes: Mapping[str, int]) -> bool:
    """Pass two images of every size that occurs in training through a copy of the network.

    Args:
        model: the networks; they are not changed.
        backbone: the name of the backbone, for messages.
        channels: of the images.
        sizes: :func:`BYOL.config.view_configs.input_sizes` of the run.

    Returns:
        Whether a convolution with a stride has an input one pixel wide: see
        :func:`reliable_machine`.

    Raises:
        SettingsError: the network does not accept images of a size.
    """
    network = copy.deepcopy(model.onlineNet)
    narrow = _narrow_inputs(network)
    for name, side in sizes.items():
        x = torch.zeros(2, channels, side, side)
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                network(x)
        except Exception as error:  # the kind of error depends on the network
            reason = first_line(error, 160)
            raise SettingsError(
                f"--{name}={side} does not fit backbone {backbone!r}: give a larger "
                f"size, or another backbone ({reason})"
            ) from error
    return bool(narrow)


def reliable_machine(narrow: bool, precision: str, machine: Machine) -> Machine:
    """Return ``machine``, with fp32 where bf16 on a CPU would give wrong gradients.

    If a convolution with a stride has an input one pixel wide, oneDNN's bf16 gradient of its
    weights reads uninitialised memory (observed with torch 2.14): it differs from call to call and
    is often not finite. The change to fp32 is logged.

    Args:
        narrow: whether there is such a convolution; from :func:`check_network`.
        precision: the setting.
        machine: the machine that trains.

    Raises:
        SettingsError: bf16 is specified.
    """
    if not narrow or (machine.accelerator, machine.precision) != ("cpu", "bf16"):
        return machine
    reason = "on a CPU bf16 gradients are wrong where a convolution has inputs one pixel wide"
    if precision == "bf16":
        raise SettingsError(f"--precision=bf16: {reason}: use fp32 or larger images")
    log.info(f"training in fp32: {reason}")
    return dataclasses.replace(machine, precision="fp32")


def _narrow_inputs(network: nn.Module) -> list[nn.Module]:
    """Return a list to which strided convolutions add themselves when an input is 1 pixel wide."""
    narrow: list[nn.Module] = []

    def check(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[-1] == 1:
            narrow.append(layer)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1:
            layer.register_forward_pre_hook(check)
    return narrow
