"""Results of the complete runs of a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from BYOL.config import PretrainConfig, load_config
from BYOL.config.paths import with_absolute_paths
from BYOL.config.tasks import Measures
from BYOL.errors import UserError
from BYOL.runs.folder import RunFolder
from BYOL.runs.schema import read_results

# settings that the baselines of a run depend on
_PIXELS = (
    "data", "data_root", "preset", "channels", "image_size", "memory", "strict_images", "seed",
    "pixel_range", "no_data", "slice", "labels", "task", "groups",
)  # fmt: skip
# settings that the untrained backbone depends on; other weights decide stem, mean and std
_UNTRAINED = ("backbone", "backbone_args", "stem", "norm", "mean", "std", "pretrained", "weights")


def results_of(run: PretrainConfig) -> dict[str, Any] | None:
    """The results of a run from its folder, or None if the run is not complete.

    Raises:
        UserError: the folder holds a run with other settings, or its files cannot be read.
    """
    assert run.out is not None
    folder = RunFolder(Path(run.out))
    if not folder.config.exists():
        return None
    recorded = load_config(folder.config)
    for name, value in vars(with_absolute_paths(run)).items():
        # None and "auto" were resolved by the run; the location of folders is irrelevant
        if name not in ("out", "resume") and value not in (None, "auto"):
            other = getattr(recorded, name)
            if other != value:
                raise UserError(
                    f"{folder.path} holds a run with {name}={other}, not {value}: "
                    "give another --out"
                )
    results: dict[str, Any] | None = read_results(folder.results)
    return results


def known_rows(run: PretrainConfig, others: Sequence[PretrainConfig]) -> dict[str, Measures]:
    """The baselines of a run that another run of the sweep has already evaluated.

    Raw pixels and the untrained backbone are the same in all variants with the same images, seed
    and backbone. Evaluating them takes three times as long as evaluating the trained backbone.

    Args:
        run: the run to evaluate.
        others: runs of the same sweep, complete or not.
    """
    known: dict[str, Measures] = {}
    for source, decisive in (("raw pixels", _PIXELS), ("untrained", (*_PIXELS, *_UNTRAINED))):
        for other in others:
            if any(getattr(run, name) != getattr(other, name) for name in decisive):
                continue
            results = results_of(other)
            rows = results["evaluation"]["rows"] if results and results["evaluation"] else {}
            if source in rows:
                known[source] = rows[source]
                break
    return known
