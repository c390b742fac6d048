"""The command line: parses arguments, calls a command and prints its results."""

import contextlib
import dataclasses
import importlib
import io
import os
import sys
from typing import Any

import BYOL
from BYOL._console import STDERR, show_messages, visible, with_dashes
from BYOL._distributed import drop_invalid_ranks
from BYOL._files import to_json
from BYOL._waiting import waiting
from BYOL.cli.collector import without_collector
from BYOL.cli.output import (
    open_closed_streams,
    output_is_needed,
    print_answer,
    show_unraisable,
)
from BYOL.config import PretrainConfig
from BYOL.config.curation import (
    DuplicatesConfig,
    OutliersConfig,
    PredictConfig,
    SearchConfig,
    SelectConfig,
)
from BYOL.config.datasets import ShardConfig, TileConfig
from BYOL.config.evaluate import EvaluateConfig
from BYOL.config.export import ExportConfig
from BYOL.config.features import EmbedConfig
from BYOL.config.inspection import BenchmarkConfig, ViewsConfig
from BYOL.config.report import ReportConfig
from BYOL.config.runs import RunsConfig
from BYOL.config.sweep import SweepConfig
from BYOL.errors import (
    RESUME_CODE,
    StoppedError,
    UserError,
    first_line,
    ran_out_of_memory,
)
from BYOL.training.clock import command_clock

COLLAPSED = 3  # exit code
_RESERVE = 4 << 20  # bytes that are given back when memory runs out, for the message


def main(argv: list[str] | None = None) -> int:
    """Run the command line; :mod:`BYOL.cli.main` is the entry point.

    Returns:
        The exit code. 0: success. 2: a mistake of the user, described in one line on standard
        error, and with ``--json`` as ``{"error": …, "code": 2}`` on standard output. 3: the
        collapse alarm stopped training. 75: a run stopped early, and the same command with
        ``--resume auto`` resumes it. 130: Ctrl-C. 141: the reader of the output, such as ``head``,
        closed it.
    """
    argv = sys.argv[1:] if argv is None else argv
    reserve = bytearray(_RESERVE)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = show_unraisable
    open_closed_streams()
    show_messages()
    drop_invalid_ranks()
    # Read by torch, which is not imported yet: operations that Apple's GPUs lack run on the CPU.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without "±" shows "?"
            with contextlib.suppress(OSError):  # it flushes the stream, which may be full
                stream.reconfigure(errors="replace")
    try:
        with command_clock():
            code, text = _run(argv)
        return print_answer(text, code, needed=output_is_needed(argv))
    except (UserError, OSError, MemoryError, RuntimeError, ImportError, SystemError) as error:
        del reserve
        message = _user_message(error)
        if message is None:
            raise
        print(f"byol: {message}", file=STDERR)
        if "--json" in argv:
            print_answer(to_json({"error": message, "code": 2}), 2)
        return 2
    except StoppedError as error:
        if str(error):
            print(f"byol: {visible(str(error), kept='')}", file=STDERR)
        return RESUME_CODE
    except KeyboardInterrupt:
        print("byol: stopped", file=STDERR)
        return 130


def _user_message(error: BaseException) -> str | None:
    """Return the line for an error that no change of this program could avoid; None for others.

    These are a user's mistake, a file that the system does not read or write, and a lack of memory.
    """
    text = str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or first_line(error)}"
    elif ran_out_of_memory(error):
        text = f"memory ran out ({first_line(error, 80)}): a smaller --batch-size needs less"
    elif not isinstance(error, UserError):
        return None
    return visible(with_dashes(text), kept="")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command. ``byol NAME`` calls ``NAME_run`` in ``BYOL.cli.commands.NAME``.

    Args:
        summary: its line in the overview.
        settings: the dataclass of its settings.
        positional: settings that may be specified without their flags, in this order.
        compiles: whether it may compile or trace a network.
        fits: whether it fits models of scikit-learn.
    """

    summary: str
    settings: type
    positional: tuple[str, ...] = ("run", "data")
    compiles: bool = False
    fits: bool = False


COMMANDS = {
    "pretrain": Command(
        "Train a backbone on images without labels; by default on handwritten digits",
        PretrainConfig,
        ("data",),
        compiles=True,
    ),
    "evaluate": Command(
        "Evaluate a backbone on labelled images, compared with raw pixels and an untrained one",
        EvaluateConfig,
        fits=True,
    ),
    "embed": Command("Write the feature vector of every image to a file", EmbedConfig),
    "duplicates": Command("Find near-identical images and suggest which to keep", DuplicatesConfig),
    "outliers": Command("List the images that differ most from the others", OutliersConfig),
    "search": Command("Find the images that are most similar to query images", SearchConfig),
    "select": Command(
        "Choose a small representative set of images to label first", SelectConfig, fits=True
    ),
    "predict": Command(
        "Predict the labels of all images from a few, and estimate the accuracy",
        PredictConfig,
        fits=True,
    ),
    "export": Command(
        "Export a backbone or classifier for timm, torchvision, ONNX or the Hugging Face hub",
        ExportConfig,
        compiles=True,
    ),
    "report": Command(
        "Write a run as one HTML page, or a comparison of several runs", ReportConfig, ("run",)
    ),
    "runs": Command(
        "List the runs in a folder: data, recipe, time and accuracy", RunsConfig, ("folder",)
    ),
    "views": Command(
        "Show the augmented views that the network would be trained on", ViewsConfig, ("data",)
    ),
    "shard": Command(
        "Pack a folder of images into shards, for data sets larger than a disk",
        ShardConfig,
        ("data",),
    ),
    "tile": Command(
        "Cut large images into tiles: satellite scenes, slides, circuit boards",
        TileConfig,
        ("data",),
    ),
    "benchmark": Command(
        "Measure the training speed on this machine and find the bottleneck",
        BenchmarkConfig,
        ("data",),
        compiles=True,
    ),
    "sweep": Command(
        "Run all variants of an ablation that are not complete, then tabulate and plot them",
        SweepConfig,
        ("sweep",),
        compiles=True,
    ),
}

_OVERVIEW = """BYOL {version}
Self-supervised training of image backbones: images without labels in, a trained backbone out.

usage: byol COMMAND [ARGUMENTS]

{commands}

examples:
  byol pretrain                        train on the built-in digits (two minutes on two cores)
  byol pretrain photos/                train on a folder of images
  byol COMMAND --help                  show the most common settings of a command
  byol COMMAND --help-all              show all settings of a command
"""


def _run(argv: list[str]) -> tuple[int, str]:
    """Run a command, and return the exit code and the text for standard output."""
    if not argv or argv[0] in ("-h", "--help"):
        lines = (f"  {name:11} {command.summary}" for name, command in COMMANDS.items())
        return 0, _OVERVIEW.format(version=BYOL.__version__, commands="\n".join(lines))
    if argv[0] == "--version":
        return 0, BYOL.__version__
    name, *rest = argv
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}"
        raise UserError(f"command {name!r} is unknown: {hint}")
    as_json = "--json" in rest
    config = parse(name, [argument for argument in rest if argument != "--json"])
    if isinstance(config, str):
        return 0, config
    results, text = _call(name, config)
    if text:  # empty in all but the first of several processes
        text = to_json(results) if as_json else visible(text)
    return COLLAPSED if results.get("stopped") else 0, text


def _call(name: str, config: Any) -> tuple[dict[str, Any], str]:
    """Run the command ``name`` with the settings ``config``.

    Its module is imported now, so that help and mistakes do not wait for torch.
    """
    with waiting("loading the libraries"), without_collector():
        from BYOL.evaluation.sklearn_import import import_sklearn_quickly
        from BYOL.model.timm_import import import_timm_quickly

        if not COMMANDS[name].compiles:
            import_timm_quickly()
        if COMMANDS[name].fits:
            import_sklearn_quickly()
        module = importlib.import_module(f"BYOL.cli.commands.{name}")
    return getattr(module, f"{name}_run")(config)


def parse(name: str, argv: list[str]) -> Any:
    """Parse the arguments of the command ``name``, or return its help as text.

    Later values override earlier ones: the preset, the file of ``--config``, the arguments.

    Raises:
        UserError: an unknown flag, a value of the wrong type or out of range.
    """
    from BYOL.cli.parser import parse_settings

    command = COMMANDS[name]
    return parse_settings(command.settings, argv, name, command.summary, command.positional)
