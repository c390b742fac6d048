"""The groups of the settings of a run: functions declare the group that they need."""

import ast
from collections.abc import Iterator
from pathlib import Path

import BYOL
from BYOL.config import PretrainConfig

GROUPS = [group for group in PretrainConfig.__mro__[1:] if group is not object]


def group_of(name: str) -> type | None:
    """Return the group that has the setting, property or method ``name``."""
    return next((g for g in GROUPS if name in g.__annotations__ or name in vars(g)), None)


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
            groups = {group_of(name) for name in reads}
            if len(reads) == len(uses) and len(groups) == 1 and None not in groups:
                yield f"{function.name}({argument.arg}: {groups.pop().__name__})"


def test_every_setting_is_in_one_group():
    names = [name for group in GROUPS for name in group.__annotations__ if name != "title"]
    assert len(names) == len(set(names)) > 80


def test_the_check_finds_a_function_that_declares_too_much():
    wide = "def size(config: PretrainConfig): return config.view_size or config.image_size"
    both = "def both(config: PretrainConfig): return config.view_size, config.lr"
    passed = "def whole(config: PretrainConfig): return other(config), config.lr"
    found = [list(wide_functions(ast.parse(code))) for code in (wide, both, passed)]
    assert found == [["size(config: ViewSettings)"], [], []]


def test_functions_that_read_one_group_declare_that_group():
    package = Path(BYOL.__file__).parent
    found = {
        path.relative_to(package).as_posix(): wide
        for path in package.rglob("*.py")
        if (wide := list(wide_functions(ast.parse(path.read_text()))))
    }
    assert found == {}
