"""The limits of the size of modules and functions, and the functions that may exceed them."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "BYOL"
MOST_ROOT_MODULES = 16
MOST_MODULE_LINES = 300
MOST_FUNCTION_LINES = 40  # with the signature, without the docstring
EXCEPTIONS = {
    "byol.py:BYOL.__init__": "its signature is specified and takes most of it",
    "evaluation/evaluate.py:evaluate": "its signature takes a third of it",
}


def functions(tree: ast.AST, prefix: str = ""):
    """Yield the qualified name and the number of lines of every function in ``tree``."""
    for node in ast.iter_child_nodes(tree):
        name = f"{prefix}{getattr(node, 'name', '')}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            yield name, lines
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from functions(node, f"{name}.")


def test_the_root_has_at_most_16_modules():
    modules = list(PACKAGE.glob("*.py"))
    assert 0 < len(modules) <= MOST_ROOT_MODULES


def test_no_module_has_more_than_300_lines():
    lines = {p: p.read_text().count("\n") for p in PACKAGE.rglob("*.py")}
    assert len(lines) > 300
    assert {str(p): n for p, n in lines.items() if n > MOST_MODULE_LINES} == {}


def test_functions_of_more_than_40_lines_are_named_with_the_reason():
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}:{name}": lines
        for path in PACKAGE.rglob("*.py")
        for name, lines in functions(ast.parse(path.read_text()))
    }
    assert len(found) > 2000
    long = {name for name, lines in found.items() if lines > MOST_FUNCTION_LINES}
    assert long == set(EXCEPTIONS)
