"""What a look at the headers of some pictures tells of all."""

from collections import Counter
from collections.abc import Sequence

from BYOL.data.decode import Encoded, band_count, is_grey


def seen_channels(probed: Sequence[Encoded]) -> int:
    """As many as most of them have bands; else 1 where all are grey, else 3."""
    if bands := seen_bands(probed):
        return bands
    grey = [is_grey(picture) for picture in probed]
    return 1 if any(grey) and all(found in (True, None) for found in grey) else 3


def seen_bands(probed: Sequence[Encoded]) -> int | None:
    """The bands of the TIFFs that are most of the pictures; None where other pictures are.

    A few others among them are then broken pictures, and told as such.
    """
    counts = Counter(map(band_count, probed))
    return counts.most_common(1)[0][0] if counts else None


def spread(n: int, most: int) -> list[int]:
    """At most so many places of 0 … n-1, evenly."""
    return sorted({i * n // most for i in range(min(n, most))} if n > most else set(range(n)))
