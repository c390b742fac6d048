"""The commands as Python functions: ``pretrain``, ``evaluate``, ``embed`` and ``export``.

Each function takes the settings of its command as keyword arguments and returns the dictionary that
the command prints with ``--json``. The names, defaults and accepted values are those of
docs/commands. Paths may be ``str`` or ``pathlib.Path``. Numbers and arrays of numpy are accepted
like numbers and lists of Python.

A mistake raises :class:`BYOL.errors.UserError`, a ``ValueError`` whose message names the setting.
"""

import os
from collections.abc import Mapping
from typing import Any

from BYOL._plain import plain
from BYOL.cli.child_command import can_start_again, pretrain_in_child
from BYOL.config import PretrainConfig
from BYOL.config.evaluate import EvaluateConfig
from BYOL.config.export import ExportConfig
from BYOL.config.features import EmbedConfig
from BYOL.config.from_values import build_settings, specified_names, values_of_file
from BYOL.config.paths import expand_home
from BYOL.errors import SettingsError
from BYOL.training.clock import command_clock

StrPath = str | os.PathLike[str]


def pretrain(data: StrPath | None = None, **settings: Any) -> dict[str, Any]:
    """Train a backbone on images without labels, as ``byol pretrain`` does.

    For several ``devices``, Lightning runs the calling script again, once for each further device:
    call this function under ``if __name__ == "__main__":``, and only once with several devices.
    Later runs on one device may follow. In a notebook or an interactive session the training runs
    in another process. Runs in threads of one process wait for each other, because they seed
    PyTorch's generators, which are left as they were.

    Args:
        data: training images; None for the built-in handwritten digits.
        settings: further settings of the run, such as ``out``, ``epochs`` or ``backbone``.

    Returns:
        The content of ``results.json``: ``run`` (the run folder), speed, collapse metrics, and the
        evaluation if there are labels.

    Raises:
        UserError: a setting or the data is wrong; nothing has been written then.

    Example::

        results = BYOL.pretrain("photos/", out="runs/photos", minutes=30)
        backbone = BYOL.load_backbone(results["run"])

    A mistake is reported before any work:

    >>> pretrain("digits", epochs=0)
    Traceback (most recent call last):
    BYOL.errors.SettingsError: --epochs=0 is out of range: give a number from 1 up
    """
    config: PretrainConfig = _settings(PretrainConfig, {"data": data, **settings})
    if config.devices * config.nodes > 1 and not can_start_again():
        return pretrain_in_child(config)
    from BYOL.training.pretrain import pretrain

    with command_clock():
        return pretrain(config)


def evaluate(run: StrPath, data: StrPath | None = None, **settings: Any) -> dict[str, Any]:
    """Evaluate a backbone on labelled images, as ``byol evaluate`` does.

    Args:
        run: a run folder, a checkpoint or an exported backbone.
        data: labelled images; None for the data of the run.
        settings: further settings of the command, such as ``protocol`` or ``labels``.

    Returns:
        The content of ``evaluation.json``, which is also written into the run folder: the measures
        of the trained backbone, the untrained backbone and raw pixels.

    Raises:
        UserError: there is no run, there are no labelled images, or a setting is wrong.

    Example::

        results = BYOL.evaluate("runs/photos", "labelled/", protocol="knn,linear")
        results["rows"]["trained"]["linear"]
    """
    config = _settings(EvaluateConfig, {"run": run, "data": data, **settings})
    from BYOL.cli.commands.evaluate import evaluate_run

    return evaluate_run(config)[0]


def embed(
    run: StrPath, data: StrPath | None = None, *, out: StrPath, **settings: Any
) -> dict[str, Any]:
    """Write the feature vector of every image to a file, as ``byol embed`` does.

    Args:
        run: a run folder, a checkpoint or an exported backbone.
        data: images; None for the data of the run.
        out: the file to write: .parquet, .npy or .npz.
        settings: further settings of the command, such as ``layer`` or ``precision``.

    Returns:
        ``out``, the number of ``pictures``, and the ``shape`` and ``dtype`` of the vectors.

    Raises:
        UserError: there is no run, there are no images, or the file cannot be written.

    Example::

        BYOL.embed("runs/photos", "photos/", out="photos.npy")
        vectors = numpy.load("photos.npy", mmap_mode="r")
    """
    config = _settings(EmbedConfig, {"run": run, "data": data, "out": out, **settings})
    from BYOL.cli.commands.embed import embed_run

    return embed_run(config)[0]


def export(run: StrPath, *, to: StrPath, **settings: Any) -> dict[str, Any]:
    """Export a backbone or a classifier for other programs, as ``byol export`` does.

    ``BYOL.export`` is a package, so this function is imported from this module.

    Args:
        run: a run folder, a checkpoint or an exported backbone.
        to: the file to write (.safetensors, .pth, .onnx or .pt2), or a folder for the Hugging Face
            hub, written as ``"NAME/"`` with a slash at the end.
        settings: further settings of the command, such as ``classifier``, ``data`` and ``labels``.

    Returns:
        ``to``, the metadata of the export, and the measures of a classifier.

    Raises:
        UserError: there is no run, the format is unknown, or the file cannot be written.

    Example::

        from BYOL.api import export

        export("runs/photos", to="backbone.onnx")
    """
    config = _settings(ExportConfig, {"run": run, "to": to, **settings})
    from BYOL.cli.commands.export import export_run

    return export_run(config)[0]


def _settings(settings: type, arguments: Mapping[str, Any]) -> Any:
    """The settings of a command from the arguments of a function; ``data=None`` is the default.

    Raises:
        UserError: an unknown name, or a value of the wrong type or out of range.
    """
    data = arguments.get("data")
    if not isinstance(data, str | os.PathLike | None):  # not even listed: an array may be large
        raise SettingsError(
            f"data is a {type(data).__name__}: give the name of a folder or a file; "
            "numpy.savez('images.npz', images=data) saves an array"
        )
    values = {
        name: plain(value)
        for name, value in arguments.items()
        if name != "data" or value is not None
    }
    values = expand_home(settings, values_of_file(settings, values, "the setting {!r}"))
    return build_settings(settings, values, specified_names((), values))
