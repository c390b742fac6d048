"""A limit for the size of a network before it is built.

The name and the arguments of a network may come from another person's file. A network that does not
fit into memory would end this process, or the processes of others.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from BYOL._hardware import available_memory
from BYOL.errors import MachineError
from BYOL.model.timm_import import without_compiler

MOST_PARAMETERS = 10**10  # the largest networks of timm have half of it
MOST_MODULES = 10_000  # a network with more takes minutes to build
_BYTES = 4  # of a parameter


class _TooLargeError(Exception):
    """The network has more parameters or modules than the limit."""


# Initial values of torch and timm that the meta device computes with sympy.
_VALUES = (Tensor.normal_, Tensor.erfinv_, Tensor.clamp_)


class _WithoutInitialValues(TorchFunctionMode):
    """Leaves out random initial values: importing sympy takes 0.6 s."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Return the tensor that ``func`` would initialize, or call ``func``."""
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _VALUES:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def check_size(build: Callable[[], nn.Module], what: str) -> None:
    """Build a network on the meta device, which takes no memory, and count its parameters.

    Building ends as soon as a limit is exceeded. Any other error is left to the actual build.

    Args:
        build: function that builds the network.
        what: the network, for the message.

    Raises:
        MachineError: it has more parameters than memory can hold, or too many modules.
    """
    memory = available_memory()
    most = min(MOST_PARAMETERS, memory // _BYTES) if memory else MOST_PARAMETERS
    count = {"parameters": 0, "modules": 0}

    def add(name: str, number: int, limit: int) -> None:
        count[name] += number
        if count[name] > limit:
            raise _TooLargeError(f"{limit:,} {name}")

    def add_parameter(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        add("parameters", 0 if parameter is None else parameter.numel(), most)

    def add_module(module: nn.Module, name: str, child: Any) -> None:
        add("modules", 1, MOST_MODULES)

    hooks = (
        register_module_parameter_registration_hook(add_parameter),
        register_module_module_registration_hook(add_module),
    )
    try:
        with without_compiler(), torch.device("meta"), _WithoutInitialValues():
            build()
    except _TooLargeError as error:
        raise MachineError(
            f"{what} has more than {error}, which this machine cannot hold: choose a smaller "
            "network"
        ) from error
    except Exception:  # a network that the meta device does not support, or wrong arguments
        return
    finally:
        for hook in hooks:
            hook.remove()
