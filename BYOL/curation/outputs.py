"""The files that a command writes, and checks that they replace none of its inputs."""

from pathlib import Path

from BYOL._files import check_not_input
from BYOL.config.curation import SelectConfig
from BYOL.config.features import FeaturesConfig
from BYOL.curation.embedding_files import names_path
from BYOL.data.replaced import check_not_image
from BYOL.data.sources import Splits
from BYOL.runs.open import Run

# How the user named a file that is written, such as ``--grid=e.png``, and its path.
Outputs = list[tuple[str, Path]]


def output_files(config: FeaturesConfig) -> Outputs:
    """Return the files that the command with the settings ``config`` writes.

    A saved index is not one of them, because an existing one is read.
    """
    outputs = []
    for flag in ("out", "grid", "kept"):
        if name := getattr(config, flag, None):
            outputs.append((f"--{flag}={name}", Path(name)))
            if Path(name).suffix == ".npy":
                outputs.append((f"--{flag}={name}", names_path(Path(name))))
    return outputs


def check_named_inputs(outputs: Outputs, config: FeaturesConfig, run: Run) -> None:
    """Check that no output is a file that ``config`` names, or is in a folder that it names.

    An output may be in the folder of ``run``. ``byol select`` may write the file of labels that it
    reads, because it writes these labels again.

    Raises:
        UserError: an existing output would be replaced.
    """
    names = ("features", "like", "labelled")
    read = config.data or run.config.data, *(getattr(config, name, None) for name in names)
    for argument, out in outputs:
        if not _is_updated(out, config, run):
            check_not_input(argument, out, *read, run=config.run)


def check_images(outputs: Outputs, splits: Splits) -> None:
    """Check that no output is a file of the images ``splits``.

    Raises:
        UserError: an existing output would be replaced.
    """
    for argument, out in outputs:
        check_not_image(argument, out, splits)


def _is_updated(out: Path, config: FeaturesConfig, run: Run) -> bool:
    """Whether ``out`` is the file of labels that the command reads and writes again."""
    if not isinstance(config, SelectConfig) or Path(config.out) != out:
        return False
    labels = config.labels or (None if config.data else run.config.labels)
    return bool(labels and out.exists() and Path(labels).exists() and out.samefile(labels))
