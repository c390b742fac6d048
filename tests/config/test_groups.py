"""The groups of the settings of a run: functions declare the group that they need."""

import ast
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.presets import preset_config
from BYOL.config.view_settings import ViewSettings
from BYOL.training.pretrain import pretrain

# Functions that may get all settings while a run trains; and those that may get one setting, with
# all others, with its group or with those of the backbone. The image size is in both of these.
MOST_WITH_ALL, MOST_WITH_ONE, MOST_WITH_SIZE = 26, 38, 46
GROUPS = [group for group in PretrainConfig.__mro__[1:] if group is not object]


def group_of(name: str) -> type | None:
    """Return the group that has the setting, property or method ``name``."""
    return next((g for g in GROUPS if name in g.__annotations__ or name in vars(g)), None)


def group_named(name: str) -> type | None:
    """Return the group whose class is called ``name``."""
    return next((group for group in GROUPS if group.__name__ == name), None)


def parts_of(function: ast.FunctionDef, argument: str) -> Iterator[str]:
    """Yield the names of the classes in the calls ``argument.only(CLASS)``."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{argument}.only":
            yield ast.unparse(node.args[0])


def wide_functions(tree: ast.AST) -> Iterator[str]:
    """Yield the functions with a parameter of all settings of which they read one group only."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for argument in (*function.args.args, *function.args.kwonlyargs):
            if not argument.annotation or ast.unparse(argument.annotation) != "PretrainConfig":
                continue
            uses = [
                node
                for node in ast.walk(function)
                if isinstance(node, ast.Name) and node.id == argument.arg
            ]
            reads = [
                node.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute) and node.value in uses
            ]
            groups = {group_of(name) for name in reads if name != "only"}
            groups |= {group_named(name) for name in parts_of(function, argument.arg)}
            if len(reads) == len(uses) and len(groups) == 1 and None not in groups:
                yield f"{function.name}({argument.arg}: {groups.pop().__name__})"


def test_every_setting_is_in_one_group():
    names = [name for group in GROUPS for name in group.__annotations__ if name != "title"]
    assert len(names) == len(set(names)) > 80


def test_the_check_finds_a_function_that_declares_too_much():
    wide = "def size(config: PretrainConfig): return config.view_size or config.image_size"
    both = "def both(config: PretrainConfig): return config.view_size, config.lr"
    passed = "def whole(config: PretrainConfig): return other(config), config.lr"
    part = "def part(config: PretrainConfig): return other(config.only(ViewSettings)), config.blur"
    spec = "def spec(config: PretrainConfig): return other(config.only(BackboneSpec))"
    codes = (wide, both, passed, part, spec)
    found = [list(wide_functions(ast.parse(code))) for code in codes]
    assert found == [["size(config: ViewSettings)"], [], [], ["part(config: ViewSettings)"], []]


def test_functions_that_read_one_group_declare_that_group():
    package = Path(BYOL.__file__).parent
    found = {
        path.relative_to(package).as_posix(): wide
        for path in package.rglob("*.py")
        if (wide := list(wide_functions(ast.parse(path.read_text()))))
    }
    assert found == {}


def test_a_part_of_the_settings_has_the_values_of_all_of_them_and_no_others():
    config = preset_config("digits", view_size=12, steps=9, channels=1)
    for kind in (*GROUPS, BackboneSpec):
        part = config.only(kind)
        assert type(part) is kind
        names = [field.name for field in dataclasses.fields(kind)]
        assert vars(part) == {name: getattr(config, name) for name in names}
    assert not hasattr(config.only(ViewSettings), "epochs")
    assert config.only(OptimizationSettings).total_steps(640) == 9


def holders(work: Callable[[], object]) -> dict[type, set[str]]:
    """Return the functions of the package that get settings of a run, by the class they get."""
    package = str(Path(BYOL.__file__).parent)
    found: dict[type, set[str]] = {kind: set() for kind in (PretrainConfig, BackboneSpec, *GROUPS)}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(package):
            return
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            kind = type(frame.f_locals.get(name))
            if kind in found:
                found[kind].add(f"{code.co_filename.removeprefix(package)}: {code.co_qualname}")

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def test_few_functions_get_a_setting_while_a_run_trains(tmp_path):
    config = preset_config(
        "digits", epochs=1, steps=1, knn_every=0, evaluate=False, out=str(tmp_path / "run")
    )
    found = holders(lambda: pretrain(config))
    everything = found[PretrainConfig]
    assert "/training/pretrain.py: pretrain" in everything
    assert len(everything) <= MOST_WITH_ALL, "\n".join(sorted(everything))
    of_backbone = {field.name for field in dataclasses.fields(BackboneSpec)}
    for group in GROUPS:
        for name in group.__annotations__:
            own = everything | found[group]
            own |= found[BackboneSpec] if name in of_backbone else set()
            most = MOST_WITH_SIZE if name == "image_size" else MOST_WITH_ONE
            assert len(own) <= most, f"{name}:\n" + "\n".join(sorted(own))
