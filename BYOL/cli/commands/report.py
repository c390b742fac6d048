"""``byol report``."""

from pathlib import Path

from BYOL._files import check_place
from BYOL._hardware import pick_accelerator, pick_workers, torch_device
from BYOL.cli.commands.common import Answer
from BYOL.config.report import ReportConfig
from BYOL.curation.run_images import open_run_images
from BYOL.data.loader_errors import loader_mishaps
from BYOL.data.open import Splits
from BYOL.errors import UserError
from BYOL.evaluation.splits import attach_labels
from BYOL.report.compare import MOST, write_comparison
from BYOL.report.html import write_report
from BYOL.report.sample_features import SampleConfig
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import Run, open_run


@loader_mishaps()
def report_run(config: ReportConfig) -> Answer:
    """``byol report``: a run, or several beside each other, as one HTML file.

    Raises:
        UserError: no run, more runs than can be told apart, another ending than .html, or a place
            of pictures that has none. Pictures that are no longer where the run found them are no
            mistake: the page then does without.
    """
    if not 1 <= len(config.run) <= MOST:
        raise UserError(f"RUN: {len(config.run)} runs were given; give one to {MOST}")
    alone = len(config.run) == 1
    beside = RunFolder(Path(config.run[0])).report if alone else Path("compare.html")
    out = Path(config.out) if config.out else beside
    if out.suffix != ".html":
        raise UserError(f"--out={out} has an unknown ending: use .html")
    if config.out or not alone:
        check_place(f"--out={out}", out)
    accelerator = pick_accelerator(config.accelerator)
    runs = [open_run(path, trust=config.trust) for path in config.run]
    if part := next((run.checkpoint for run in runs if run.checkpoint), None):
        raise UserError(f"RUN={part} is a checkpoint: a report is of a whole run, give its folder")
    opened = [_pictures(run, config) for run in runs]
    pictures = [splits for splits, _ in opened]
    missing = next((why for _, why in opened if why), None)
    how = SampleConfig(
        torch_device(accelerator),
        pick_workers(None, accelerator),
        config.batch_size,
        config.pictures,
        config.seed,
    )
    if alone:
        path = write_report(runs[0], pictures[0], how, out, missing)
    else:
        path = write_comparison(runs, pictures, how, out, missing)
    size = path.stat().st_size
    answer = {"out": str(path), "runs": config.run, "bytes": size, "missing": missing}
    without = f"without pictures: {missing}\n" if missing else ""
    return answer, f"{without}{path} ({size / 1e6:.1f} MB): open it in a browser"


def _pictures(run: Run, config: ReportConfig) -> tuple[Splits | None, str | None]:
    """The pictures of a run, or why there are none."""
    if config.data is not None:
        return open_run_images(run, config.data, config.data_root), None
    try:
        return attach_labels(open_run_images(run, None, config.data_root), run.config), None
    except UserError as error:
        return None, str(error)
