"""Pairs of values on a command line: ``--between train test`` means ``--between train,test``."""

import re
from typing import get_args

from BYOL.config.fields import kinds_of, pair_kind

_NUMBER = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")


def join_pairs(settings: type, argv: list[str]) -> list[str]:
    """Join the two words after each flag that takes a pair.

    For a pair of numbers, both words must be numbers; otherwise the second word is an argument.

    Args:
        settings: the dataclass whose fields are the flags.
        argv: the words of the command line.
    """
    of_texts = {
        f"--{name.replace('_', '-')}": get_args(pair)[0] is str
        for name, kind in kinds_of(settings).items()
        if (pair := pair_kind(kind))
    }
    words, rest = list[str](), list(argv)
    while rest:
        flag = rest.pop(0)
        words.append(flag)
        texts = of_texts.get(flag.replace("_", "-"))
        if texts is None or len(rest) < 2:
            continue
        first, second = rest[:2]
        numbers = _NUMBER.fullmatch(first) and _NUMBER.fullmatch(second)
        names = "," not in first and not first.startswith("-") and not second.startswith("-")
        if names if texts else numbers:
            words.append(f"{first},{second}")
            rest = rest[2:]
    return words
