"""Names of files, classes and runs as Markdown, which they could otherwise change."""

import re

from BYOL._console import visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&])")


def plain(text: str) -> str:
    """Return ``text`` on one line, with the characters escaped that Markdown or HTML interprets."""
    return _SPECIAL.sub(r"\\\1", visible(text, kept=""))


def code(text: str) -> str:
    """Return ``text`` as inline code, which may contain backticks."""
    text = visible(text, kept="")
    marks = "`" * (_longest_run(text) + 1)
    pad = " " if text[:1] == "`" or text[-1:] == "`" or not text else ""
    return f"{marks}{pad}{text}{pad}{marks}"


def fenced(text: str, language: str) -> str:
    """Return ``text`` as a block of code, which may contain other blocks."""
    fence = "`" * max(_longest_run(text) + 1, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
