"""Words for a missing label or group, as R, pandas, spreadsheets and databases write them.

In a column of numbers every such word is a missing number. In a column of words only those are
missing that are hardly ever the name of a class; ``None`` and ``null`` are names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_OF_NUMBERS = frozenset(
    ("na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "#null!", "none")
)  # in any case
_OF_WORDS = frozenset(("NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "#NULL!"))
_NAMES = frozenset(("none", "null"))  # in any case; of a class, if the others are words
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")  # 3,5 for 3.5
UNKNOWN = -1  # a number that stands for an unknown class, tag or group
SWITCHES = {"true": 1.0, "false": 0.0}  # as pandas writes one-hot columns


def parse_number(cell: str) -> float | None:
    """Parse plain ASCII notation; 1_000 and ٣, which ``float`` accepts, are words."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


def has_decimal_comma(cell: str) -> bool:
    """Whether ``cell`` is a number with a decimal comma."""
    return _DECIMAL_COMMA.fullmatch(cell) is not None


def decimal_comma(cells: Iterable[str]) -> str | None:
    """The first cell with a decimal comma if all ``cells`` are numbers, else None."""
    first = None
    for cell in dict.fromkeys(cells):
        if has_decimal_comma(cell):
            first = first or cell
        elif parse_number(cell) is None:
            return None
    return first


def missing_words(words: Iterable[str]) -> frozenset[str]:
    """Those of ``words``, the values of one column without blank ones, that mean missing."""
    found = set(words)
    numbers = {word for word in found if word.lower() in _OF_NUMBERS}
    others = found - numbers
    if others and all(map(_is_number, others)):
        return frozenset(numbers)
    return frozenset(found & _OF_WORDS)


def unknown_numbers(words: Iterable[str]) -> set[str]:
    """Those of ``words`` that are -1, if all are integers from -1 and two others remain."""
    numbers = {word: parse_number(word) for word in words}
    whole = all(n is not None and n >= UNKNOWN and n % 1 == 0 for n in numbers.values())
    unknown = {word for word, number in numbers.items() if whole and number == UNKNOWN}
    return unknown if len(numbers) > len(unknown) + 1 else set()


def doubtful_names(words: Iterable[str]) -> set[str]:
    """Those of ``words`` that are names, though other programs write them for missing."""
    return {word for word in words if word.lower() in _NAMES}


def _is_number(cell: str) -> bool:
    return cell.lower() in SWITCHES or has_decimal_comma(cell) or parse_number(cell) is not None


def without_missing(
    argument: str, columns: Sequence[Sequence[str]], content: str = "label"
) -> tuple[list[Sequence[str]], tuple[str, ...]]:
    """Replace cells that stand for a missing label by empty ones.

    Args:
        argument: the start of every message.
        columns: the cells of each column.
        content: a word for what a cell holds, used in messages.

    Returns:
        The columns, and lines that count the words that were read as missing, and those that were
        read as the name of a class though other programs write them for missing.
    """
    missing: Counter[str] = Counter()
    names: Counter[str] = Counter()
    cleaned: list[Sequence[str]] = []
    for column in columns:
        values = set(column) - {""}
        blank = missing_words(values)
        kept = doubtful_names(values - blank)
        if blank or kept:
            counts = Counter(column)
            missing.update({word: counts[word] for word in blank})
            names.update({word: counts[word] for word in kept})
        cleaned.append(["" if cell in blank else cell for cell in column] if blank else column)
    return cleaned, missing_remarks(argument, missing, names, sum(map(len, columns)), content)


def missing_remarks(
    argument: str,
    missing: "Counter[str]",
    names: "Counter[str]",
    count: int,
    content: str = "label",
) -> tuple[str, ...]:
    """The lines of :func:`without_missing` about ``count`` cells."""
    lines = []
    if missing:
        lines.append(
            f"{argument}: {_listed(missing)} is read as an unknown {content} "
            f"({missing.total():,} of {count:,} cells)"
        )
    if names:
        lines.append(
            f"{argument}: {_listed(names)} is read as a name, not as an unknown {content} "
            f"({names.total():,} of {count:,} cells); empty cells are unknown"
        )
    return tuple(lines)


def _listed(words: "Counter[str]") -> str:
    return " or ".join(word or "an empty word" for word in sorted(words))
