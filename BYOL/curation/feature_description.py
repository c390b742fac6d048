"""What stored features were computed from, and whether they fit a backbone and images.

A description is a dictionary with the keys ``weights`` (a hash of the backbone), ``network``
(metadata of its input), ``layer``, ``pool``, ``mirror``, ``precision``, and ``images`` (number and
hash of the images of every split).
"""

import json
from collections.abc import Mapping
from typing import Any

from BYOL._files import to_json
from BYOL.data.dataset import Images
from BYOL.model.layer_features import LayerFeatures
from BYOL.runs.open import Run

KEY = "features"  # of the description in the metadata of a Parquet file
_TITLES = {"weights": "another backbone", "network": "a backbone with another input"}
Description = Mapping[str, Any]


def read_description(metadata: Mapping[bytes, bytes] | None) -> Description:
    """Return the description in the metadata of a Parquet file; empty if it has none."""
    try:
        values = json.loads((metadata or {}).get(KEY.encode(), b"{}"))
    except (ValueError, RecursionError):
        return {}
    return values if is_description(values) else {}


def is_description(values: Any) -> bool:
    """Return whether ``values`` from a file have the numbers and hashes of images."""
    images = values.get("images") if isinstance(values, dict) else None
    return isinstance(images, dict) and all(
        isinstance(part, dict) and is_count(part.get("count"), 0) for part in images.values()
    )


def is_count(value: Any, low: int) -> bool:
    """Return whether ``value`` is a whole number from ``low`` up."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def describe(run: Run, network: LayerFeatures, sets: Mapping[str, Images]) -> dict[str, Any]:
    """Return the description of features, except how they are computed.

    Args:
        run: the run.
        network: its backbone with a layer and pooling.
        sets: the images by split.
    """
    return {
        "weights": run.weights_digest,
        "network": run.metadata,
        "layer": network.layer or "",
        "pool": network.pool,
        "images": {
            name: {"count": len(part), "digest": part.digest} for name, part in sets.items()
        },
    }


def split_counts(description: Description) -> dict[str, int]:
    """Return the number of images by split."""
    return {split: images["count"] for split, images in description.get("images", {}).items()}


def find_difference(stored: Description, wanted: Description) -> str | None:
    """Return what ``stored`` was computed with instead of ``wanted``; None if nothing differs.

    Args:
        stored: a description.
        wanted: the values that it must have; ``images`` is not compared.
    """
    for key, value in wanted.items():
        if key != "images" and stored.get(key) != value:
            return _TITLES.get(key) or f"another {key} ({to_json(stored.get(key))})"
    return None


def find_other_images(stored: Description, wanted: Description) -> str | None:
    """Return which images ``stored`` has instead of those of ``wanted``; None if it has them.

    Args:
        stored: a description, which may have further splits.
        wanted: the description whose images it must have.
    """
    have = stored["images"]
    for name, images in wanted["images"].items():
        if name not in have:
            return f"no images of the split {name}"
        if have[name] != images:
            return f"other images than DATA ({have[name]['count']:,} and not {images['count']:,})"
    return None


def find_mismatch(stored: Description, wanted: Description) -> str | None:
    """Return what differs between ``stored`` and ``wanted``, the splits included; None if equal."""
    other = find_difference(stored, wanted) or find_other_images(stored, wanted)
    if not other and stored["images"].keys() != wanted["images"].keys():
        other = "another --split"
    return other
