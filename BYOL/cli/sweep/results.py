"""What finished runs of a sweep have left."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from BYOL.config import PretrainConfig, load_config
from BYOL.config.paths import rooted
from BYOL.config.tasks import Measures
from BYOL.errors import UserError
from BYOL.runs.folder import RunFolder

# settings that decide what the references of a run measure
_PIXELS = (
    "data", "data_root", "preset", "channels", "image_size", "memory", "strict_images", "seed",
    "pixel_range", "labels", "task", "groups",
)  # fmt: skip
# weights from elsewhere settle stem, mean and std where these are left open
_UNTRAINED = ("backbone", "backbone_args", "stem", "norm", "mean", "std", "pretrained", "weights")


def results_of(run: PretrainConfig) -> dict[str, Any] | None:
    """What a run has left in its folder, or None where it is not finished.

    Raises:
        UserError: the folder holds a run with other settings, or something unreadable.
    """
    assert run.out is not None
    folder = RunFolder(Path(run.out))
    if not folder.config.exists():
        return None
    found = load_config(folder.config)
    for name, value in vars(rooted(run)).items():
        # None and "auto" were settled by the run; where folders lie changes nothing
        if name not in ("out", "resume") and value not in (None, "auto"):
            there = getattr(found, name)
            if there != value:
                raise UserError(
                    f"{folder.path} holds a run with {name}={there}, not {value}: "
                    "give another --out"
                )
    try:
        return json.loads(folder.results.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder.results} cannot be read: {error}") from error


def known_rows(run: PretrainConfig, others: Sequence[PretrainConfig]) -> dict[str, Measures]:
    """The references of a run that another run of the sweep has measured already.

    Raw pixels and an untrained backbone are the same in every variant that changes neither
    pictures nor seed nor backbone, and take three times as long to measure as the trained one.

    Args:
        run: that is to be evaluated.
        others: runs of the same sweep, finished or not.
    """
    known: dict[str, Measures] = {}
    for source, decisive in (("raw pixels", _PIXELS), ("untrained", (*_PIXELS, *_UNTRAINED))):
        for other in others:
            if any(getattr(run, name) != getattr(other, name) for name in decisive):
                continue
            found = results_of(other)
            if found and found["evaluation"]:
                known[source] = found["evaluation"]["rows"][source]
                break
    return known
