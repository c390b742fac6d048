"""How a trained backbone stands beside its references, protocol by protocol.

Better means: its interval lies above the reference's. Where the two overlap, nothing is shown.
"""

from dataclasses import dataclass
from typing import Any

REFERENCES = ("raw pixels", "untrained")
# protocol → its measures, the one that is told first
PROTOCOLS = {
    "few labels": ("5-shot", "1-shot"),
    "k-NN": ("knn20", "knn200"),
    "a linear probe": ("linear",),
}
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Standing:
    """What a protocol shows.

    Args:
        protocol: of :data:`PROTOCOLS`.
        measure: whose figures are told.
        trained: value, low and high.
        references: the same of each reference.
        against: by reference 1 for better, -1 for worse, 0 for neither shown, over all measures of
            the protocol; better by one and worse by another is neither.
    """

    protocol: str
    measure: str
    trained: Interval
    references: dict[str, Interval]
    against: dict[str, int]


def standings(rows: dict[str, dict[str, Any]]) -> list[Standing]:
    """Of every protocol that the trained backbone and a reference have been measured by.

    Args:
        rows: source → measure → figures, as an evaluation holds them.
    """
    known = {r: rows[r] for r in REFERENCES if r in rows}
    found = []
    for protocol, names in PROTOCOLS.items():
        shared = [
            name
            for name in names
            if "accuracy" in rows.get("trained", {}).get(name, {})
            and any(name in row for row in known.values())
        ]
        if not shared:
            continue
        told = shared[0]
        references = {r: intervals(row[told]) for r, row in known.items() if told in row}
        against = {r: _against(rows["trained"], known[r], shared) for r in references}
        trained = intervals(rows["trained"][told])
        found.append(Standing(protocol, told, trained, references, against))
    return found


def intervals(measure: dict[str, Any]) -> Interval:
    """Value, low and high of a measure, whether it has an interval, a spread or neither."""
    value = float(measure.get("accuracy", measure.get("value", float("nan"))))
    spread = measure.get("spread") or 0.0
    return value, measure.get("low", value - spread), measure.get("high", value + spread)


def _against(trained: dict[str, Any], reference: dict[str, Any], names: list[str]) -> int:
    signs = set()
    for name in names:
        if name in reference:
            (_, low, high), (_, bottom, top) = intervals(trained[name]), intervals(reference[name])
            signs.add((low > top) - (high < bottom))
    signs.discard(0)
    return signs.pop() if len(signs) == 1 else 0
