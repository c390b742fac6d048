"""Curves of a healthy run and of two that fail, on the digits: docs/images/collapse-curves.svg.

    python benchmarks/collapse_curves.py --plot docs/images/collapse-curves.svg

The runs differ in one setting. They take about three minutes on one core.
"""

import tempfile
from pathlib import Path
from typing import Any

from common import arguments, header, save
from matplotlib import rc_context
from matplotlib.figure import Figure

from BYOL.config.presets import preset_config
from BYOL.report.metrics_csv import Curves, read_curves
from BYOL.runs.folder import RunFolder
from BYOL.training.pretrain import pretrain

# Small batches and twice the learning rate, so that a failure takes one epoch.
SETTINGS: dict[str, Any] = {
    "batch_size": 16, "lr": 1.6, "warmup_epochs": 0.2, "hidden_size": 128, "output_size": 64,
    "knn_every": 1, "gauges_every": 10, "evaluate": False, "report": False,
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "healthy": {},
    "no predictor": {"predictor": "none"},
    "learning rate 20": {"lr": 20.0},
}
STYLES = {"healthy": "-", "no predictor": "--", "learning rate 20": ":"}
PANELS = {
    "loss": ("loss", "a collapse is near 0"),
    "gauge/std": ("spread (std)", "a collapse falls towards 0"),
    "gauge/centred_rank": ("centred effective rank", "a collapse falls towards 1"),
}


def curves_of(changes: dict[str, Any], epochs: int) -> Curves:
    """Train on the digits and return the curves."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        settings = {**SETTINGS, **changes, "epochs": epochs, "out": str(out)}
        pretrain(preset_config("digits", **settings))
        return read_curves(RunFolder(out).metrics)


def plot(runs: dict[str, Curves], path: str) -> None:
    """Draw a panel for each quantity, with a line for each run."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True)
    for axes, (column, (title, note)) in panels:
        for name, curves in runs.items():
            series = curves.series[column]
            axes.plot(series.x, series.y, STYLES[name], label=name, linewidth=1.6)
        axes.set_title(f"{title}\n", fontsize=11, loc="left")
        axes.text(0, 1.03, note, transform=axes.transAxes, fontsize=9, color="#555555")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.set_xlabel("epoch")
    figure.axes[-1].legend(frameon=False, fontsize=9)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": ""}):
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Train the runs, print their last values and draw their curves."""
    args = arguments(__doc__, epochs=6, plot=None)
    line = header()
    runs = {name: curves_of(changes, args.epochs) for name, changes in RUNS.items()}
    last = {
        name: {column: round(curves.series[column].last, 3) for column in (*PANELS, "knn")}
        for name, curves in runs.items()
    }
    for name, values in last.items():
        print(name, values)
    if args.plot:
        plot(runs, args.plot)
    save(args.json, machine=line, epochs=args.epochs, last=last)


if __name__ == "__main__":
    main()
