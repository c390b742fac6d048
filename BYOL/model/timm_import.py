"""Import timm without the compiler and the logger that its own imports bring along.

torchvision, which timm imports, names one function of ``torch._dynamo``, and timm marks a few
functions that ``torch.compile`` must not trace. Importing ``torch._dynamo`` for that takes two
seconds of processor time before a command has read its first image.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

_COMPILER = ("torch._dynamo", "torch._dynamo.utils")
_LOGGER = "wandb"  # timm works without it: its own summary of a training is not used here
_postpones = False  # whether this process has imported timm quickly


def import_timm_quickly() -> None:
    """Import timm; ``torch._dynamo`` and wandb are imported later, by whoever needs them.

    Only for a process of the command line that compiles no network: the marks of timm's NaFlex
    transformers for ``torch.compile`` are missing afterwards, and so is timm's own log to Weights &
    Biases. Everything else is as after ``import timm``.
    """
    global _postpones
    if "timm" not in sys.modules:
        _postpones = True
        with _replaced(_LOGGER):
            import timm  # noqa: F401


@contextmanager
def without_compiler() -> Iterator[None]:
    """Nothing within imports the compiler only to mark a function that must not be compiled.

    torch computes on the meta device in Python and marks each of its functions. This context has
    no effect in a process that may compile, which needs the marks.
    """
    with _replaced() if _postpones else nullcontext():
        yield


@contextmanager
def _replaced(*absent: str) -> Iterator[None]:
    """Nothing within imports the compiler by name alone, nor the modules ``absent`` at all."""
    modules: dict[str, ModuleType | None] = {}
    if not any(name in sys.modules for name in _COMPILER):
        modules = {name: _Postponed(name) for name in _COMPILER}
    modules |= {name: None for name in absent if name not in sys.modules}  # raises ImportError
    sys.modules.update(modules)  # type: ignore[arg-type]
    try:
        yield
    finally:
        _restore(modules)


def _restore(modules: dict[str, ModuleType | None]) -> None:
    for name, module in modules.items():
        if sys.modules.get(name, module) is module:  # else the real one has been imported
            sys.modules.pop(name, None)


class _Postponed(ModuleType):
    """A module that is imported when one of its functions is called, or another attribute read."""

    def __init__(self, name: str):
        super().__init__(name)
        self.__path__: list[str] = []  # a package, to the import system

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "is_compile_supported":  # what torchvision.ops.roi_align imports
            return _postponed(self.__name__, name)
        if name == "disable":  # the mark of a function that must not be compiled
            return _unmarked
        return getattr(_real(self.__name__), name)


def _postponed(module: str, name: str) -> Callable[..., Any]:
    def function(*arguments: Any, **settings: Any) -> Any:
        return getattr(_real(module), name)(*arguments, **settings)

    return function


def _unmarked(function: Any = None, *_: Any, **__: Any) -> Any:
    return function if function is not None else _unmarked


def _real(module: str) -> ModuleType:
    _restore({n: m for n in _COMPILER if isinstance(m := sys.modules.get(n), _Postponed)})
    return importlib.import_module(module)
