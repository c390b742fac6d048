"""Results of the complete runs of a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from BYOL.cli.sweep.same_settings import check_same_settings
from BYOL.config import PretrainConfig, load_config
from BYOL.config.data_settings import DataSettings
from BYOL.config.fields import fields_of
from BYOL.config.tasks import Measures
from BYOL.runs.folder import RunFolder
from BYOL.runs.schema import read_results

# settings that the baselines of a run depend on
_PIXELS = (*(fields_of(DataSettings).keys() - {"workers", "shuffle_buffer"}),
    "preset", "image_size", "seed", "metric",
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
    check_same_settings(run, load_config(folder.config), folder.path)
    results: dict[str, Any] | None = read_results(folder.results)
    return results


def known_rows(resolved: PretrainConfig, others: Sequence[PretrainConfig]) -> dict[str, Measures]:
    """The baselines of a run that another run of the sweep has already evaluated.

    Raw pixels and the untrained backbone are the same in all variants with the same images, seed
    and backbone. Evaluating them takes three times as long as evaluating the trained backbone.

    Args:
        resolved: the settings of the run to evaluate, resolved as in its config.yaml: what a sweep
            leaves open, such as the image size, may differ between variants and machines.
        others: runs of the same sweep, complete or not.
    """
    known: dict[str, Measures] = {}
    for other in others:
        results = results_of(other)
        rows = results["evaluation"]["rows"] if results and results["evaluation"] else {}
        if not rows:
            continue
        recorded = load_config(RunFolder(Path(str(other.out))).config)
        for source, decisive in (("raw pixels", _PIXELS), ("untrained", (*_PIXELS, *_UNTRAINED))):
            same = all(getattr(resolved, name) == getattr(recorded, name) for name in decisive)
            if same and source in rows:
                known.setdefault(source, rows[source])
        if len(known) == 2:
            break
    return known
