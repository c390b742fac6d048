"""Draw the packages of docs/architecture.md from the code: ``python docs/architecture.py``.

With ``--check`` nothing is written; the exit code is 1 where the page is not current.
"""

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- packages: made by docs/architecture.py -->", "<!-- end of packages -->"


def order() -> list[str]:
    """The packages and modules of the root from the highest to the lowest."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [name.strip() for layer in layers for name in layer.split(":")]


def imports() -> dict[str, set[str]]:
    """Unit → units that it imports; a unit is a package or a module of the root."""
    found: dict[str, set[str]] = {name: set() for name in order()}
    for path in sorted((ROOT / "BYOL").rglob("*.py")):
        unit = path.relative_to(ROOT / "BYOL").parts[0].removesuffix(".py")
        if unit == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            found[unit] |= {name for name in _modules(node) if name in found} - {unit}
    return found


def _modules(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ImportFrom) and node.module == "BYOL":
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("BYOL."):
        return {str(node.module).split(".")[1]}
    if isinstance(node, ast.Import):
        return {a.name.split(".")[1] for a in node.names if a.name.startswith("BYOL.")}
    return set()


def summary(unit: str) -> str:
    """The first sentence of the docstring of a package or module."""
    folder = ROOT / "BYOL" / unit
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


def drawing() -> str:
    """The table of packages, and a diagram without the imports that others imply."""
    units, graph = order(), imports()
    shown = [u for u in units if not u.startswith("_") and u != "errors"]
    edges = {u: {v for v in graph[u] if v in shown} for u in shown}
    reach: dict[str, set[str]] = {}
    for u in reversed(shown):  # a lower unit is known before those that import it
        reach[u] = edges[u].union(*(reach[v] for v in edges[u]))
    lines = ["```mermaid", "flowchart TD"]
    for u in shown:
        implied = set[str]().union(*(reach[v] for v in edges[u]))
        lines += [f"    {u} --> {v}" for v in shown if v in edges[u] - implied]
    lines += ["```", "", "| unit | content | imports |", "|---|---|---|"]
    for u in units:
        below = ", ".join(f"`{v}`" for v in units if v in graph[u] and not v.startswith("_"))
        lines.append(f"| `{u}` | {summary(u)} | {below} |")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or check it."""
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    made = f"{head}{BEGIN}\n{drawing()}\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv[1:]:
        if made != text:
            print("docs/architecture.md is not current: run python docs/architecture.py")
        return int(made != text)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
