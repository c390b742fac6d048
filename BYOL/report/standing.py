"""How a trained backbone stands beside its references, protocol by protocol.

Better means: its interval lies above the reference's. Where the two overlap, nothing is shown.
"""

from dataclasses import dataclass
from typing import Any

from BYOL.evaluation.baselines import START

REFERENCES = ("raw pixels", "untrained", START)
# protocol → its measures, of which the first that is there judges: the more that judge, the more
# often one is ahead by chance
PROTOCOLS = {
    "few labels": ("5-shot", "1-shot"),
    "k-NN": ("knn20", "knn200", "knn20 mAP", "knn20 R²", "knn20 MAE"),  # of classes, tags, numbers
    "a linear probe": ("linear", "linear mAP", "linear R²", "linear MAE"),
}
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Standing:
    """What a protocol shows.

    Args:
        protocol: of :data:`PROTOCOLS`.
        measure: by which it judges.
        trained: value, low and high.
        references: the same of each reference.
        against: by reference 1 for better, -1 for worse, 0 for neither shown.
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
        for name in names:
            references = {r: intervals(row[name]) for r, row in known.items() if name in row}
            if references and name in rows.get("trained", {}):
                trained = intervals(rows["trained"][name])
                against = {r: ahead(name, trained, figures) for r, figures in references.items()}
                found.append(Standing(protocol, name, trained, references, against))
                break
    return found


def intervals(measure: dict[str, Any]) -> Interval:
    """Value, low and high of a measure, whether it has an interval, a spread or neither."""
    value = measure.get("accuracy", measure.get("value"))
    value = float("nan") if value is None else float(value)
    spread = measure.get("spread") or 0.0
    return value, measure.get("low", value - spread), measure.get("high", value + spread)


def ahead(measure: str, one: Interval, other: Interval) -> int:
    """1 where one is better than the other, -1 where it is worse, 0 where neither is shown."""
    above = (one[1] > other[2]) - (one[2] < other[1])
    return -above if measure.endswith("MAE") else above
