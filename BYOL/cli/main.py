"""The command line: parses, calls, prints. What the commands do lives elsewhere."""

import dataclasses
import importlib
import io
import os
import select
import sys
from typing import Any

import BYOL
from BYOL._clock import command_clock
from BYOL._console import STDERR, show_messages, with_dashes
from BYOL._files import to_json
from BYOL.config import PretrainConfig
from BYOL.config import commands as settings
from BYOL.config.curation import DuplicatesConfig, OutliersConfig, SearchConfig
from BYOL.config.export import ExportConfig
from BYOL.config.labelling import PredictConfig, SelectConfig
from BYOL.config.shard import ShardConfig
from BYOL.config.tile import TileConfig
from BYOL.errors import RESUME_CODE, StoppedError, UserError

COLLAPSED = 3  # exit code
READ_ENOUGH = 141  # what a shell reports of a program that SIGPIPE has ended


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``byol`` and ``python -m BYOL``.

    Returns:
        0; 2 after one line on standard error that says what the user can mend (with ``--json`` also
        ``{"error": …, "code": 2}`` on standard output); 3 where training
        was stopped by the collapse alarm; 75 where a run stopped before its end and the same line
        with ``--resume auto`` goes on; 141 where whoever read the output, ``head`` say, stopped.
    """
    argv = sys.argv[1:] if argv is None else argv
    show_messages()
    # torch, which is not imported yet, then leaves what Apple's GPUs cannot do to the CPU
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no "±" shows another sign
            stream.reconfigure(errors="replace")
    try:
        with command_clock():
            code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return READ_ENOUGH
    except UserError as error:
        message = with_dashes(str(error))
        print(f"byol: {message}", file=STDERR)
        if "--json" in argv:
            print(to_json({"error": message, "code": 2}))
        return 2
    except StoppedError as error:
        if str(error):
            print(f"byol: {error}", file=STDERR)
        return RESUME_CODE
    except KeyboardInterrupt:
        print("byol: stopped", file=STDERR)
        return 130


def _reader_is_gone() -> bool:
    """Whether it is standard output that is broken; then the interpreter is kept from saying so."""
    if not hasattr(select, "poll"):  # Windows
        return False
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    gone = any(event & select.POLLERR for _, event in output.poll(0))
    if gone:  # the interpreter flushes once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Args:
        summary: its line in the help.
        settings: what it can be told.
        positional: settings that may be given as bare words, in this order.
        does: "module:function" from settings to a dictionary and a text; imported when called, so
            that help and mistakes need not wait for torch.
        compiles: whether it may compile or trace a network.
    """

    summary: str
    settings: type
    positional: tuple[str, ...]
    does: str
    compiles: bool = False

    def __call__(self, config: Any) -> tuple[dict[str, Any], str]:
        """Do it."""
        from BYOL.model.timm_import import import_timm_quickly

        if not self.compiles:
            import_timm_quickly()
        module, function = self.does.split(":")
        return getattr(importlib.import_module(module), function)(config)


COMMANDS = {
    "pretrain": Command(
        "learn from pictures without labels; without DATA, from built-in handwritten digits",
        PretrainConfig,
        ("data",),
        "BYOL.cli.commands.pretrain:pretrain_run",
        compiles=True,
    ),
    "evaluate": Command(
        "measure a run with labelled pictures, beside raw pixels and the untrained backbone",
        settings.EvaluateConfig,
        ("run", "data"),
        "BYOL.cli.commands.evaluate:evaluate_run",
    ),
    "embed": Command(
        "write the feature vector of every picture to a file",
        settings.EmbedConfig,
        ("run", "data"),
        "BYOL.cli.commands.embed:embed_run",
    ),
    "duplicates": Command(
        "find near-identical pictures, and say which to keep",
        DuplicatesConfig,
        ("run", "data"),
        "BYOL.cli.commands.duplicates:duplicates_run",
    ),
    "outliers": Command(
        "list the pictures that are least like the others",
        OutliersConfig,
        ("run", "data"),
        "BYOL.cli.commands.outliers:outliers_run",
    ),
    "search": Command(
        "find the pictures that are most like given ones",
        SearchConfig,
        ("run", "data"),
        "BYOL.cli.commands.search:search_run",
    ),
    "select": Command(
        "choose the pictures to label first: a few that stand for all",
        SelectConfig,
        ("run", "data"),
        "BYOL.cli.commands.select:select_run",
    ),
    "predict": Command(
        "guess the labels of all pictures from those of some, and say how good the guesses are",
        PredictConfig,
        ("run", "data"),
        "BYOL.cli.commands.predict:predict_run",
    ),
    "export": Command(
        "write the backbone, or a classifier on it, for timm, torchvision, ONNX or the hub",
        ExportConfig,
        ("run", "data"),
        "BYOL.cli.commands.export:export_run",
        compiles=True,
    ),
    "report": Command(
        "a run as one HTML page: verdict, curves, neighbours, map; or several runs compared",
        settings.ReportConfig,
        ("run",),
        "BYOL.cli.commands.report:report_run",
    ),
    "views": Command(
        "look at what the network will see, before paying for a run",
        settings.ViewsConfig,
        ("data",),
        "BYOL.cli.commands.views:views_run",
    ),
    "shard": Command(
        "pack a folder of pictures into shards, for sets larger than a disk",
        ShardConfig,
        ("data",),
        "BYOL.cli.commands.shard:shard_run",
    ),
    "tile": Command(
        "cut large pictures into tiles: scenes, slides, boards",
        TileConfig,
        ("data",),
        "BYOL.cli.commands.tile:tile_run",
    ),
    "benchmark": Command(
        "measure what this machine does a second, and which part holds the rest back",
        settings.BenchmarkConfig,
        ("data",),
        "BYOL.cli.commands.benchmark:benchmark_run",
        compiles=True,
    ),
    "sweep": Command(
        "run every variant of an ablation that is not finished, then tabulate and plot them",
        settings.SweepConfig,
        ("sweep",),
        "BYOL.cli.commands.sweep:sweep_run",
        compiles=True,
    ),
}

_OVERVIEW = f"""BYOL {BYOL.__version__}
A folder of pictures without labels goes in, a backbone that has learnt to see comes out.

usage: byol COMMAND [ARGUMENTS]

{{commands}}

start here:
  byol pretrain                        the built-in digits, about two minutes on two cores
  byol pretrain photos/                any folder of pictures
  byol COMMAND --help                  every setting of a command
"""


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        lines = (f"  {name:11} {command.summary}" for name, command in COMMANDS.items())
        print(_OVERVIEW.format(commands="\n".join(lines)))
        return 0
    if argv[0] == "--version":
        print(BYOL.__version__)
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}"
        raise UserError(f"command {name!r} is unknown: {hint}")
    command = COMMANDS[name]
    as_json = "--json" in rest
    config = parse(name, [argument for argument in rest if argument != "--json"])
    if config is None:
        return 0
    results, text = command(config)
    if text:  # only the first of several processes speaks
        print(to_json(results) if as_json else text)
    return COLLAPSED if results.get("stopped") else 0


def parse(name: str, argv: list[str]) -> Any:
    """The settings of command ``name`` from its arguments, or None where only help was wanted.

    Order, later ones win: the preset, the file of ``--config``, the arguments.

    Raises:
        UserError: an unknown flag, a value of the wrong type or out of range.
    """
    from BYOL.cli.parser import parse_settings

    command = COMMANDS[name]
    return parse_settings(command.settings, argv, name, command.summary, command.positional)
