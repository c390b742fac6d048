"""The command ``byol report``. Without the images of a run, its page has none."""

from pathlib import Path

from BYOL._files import check_output_path
from BYOL._hardware import pick_accelerator, pick_workers, torch_device
from BYOL.cli.commands.common import Answer
from BYOL.config.data_settings import DataSettings
from BYOL.config.report import ReportConfig
from BYOL.curation.run_images import open_run_images
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.splits import attach_labels
from BYOL.report.compare import MOST, write_comparison
from BYOL.report.html import write_report
from BYOL.report.sample_features import SampleConfig
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import Run, open_run


@concise_loader_errors()
def report_run(config: ReportConfig) -> Answer:
    """Write a run, or a comparison of several runs, as one HTML file.

    Raises:
        UserError: no run, too many runs, an ending other than .html, or ``data`` without images.
    """
    if not 1 <= len(config.run) <= MOST:
        raise UserError(f"RUN: {len(config.run)} runs are too many: give one to {MOST}")
    alone = len(config.run) == 1
    default = RunFolder(Path(config.run[0])).report if alone else Path("compare.html")
    out = Path(config.out) if config.out else default
    if out.suffix != ".html":
        raise UserError(f"--out={out} has an unknown ending: use .html")
    if config.out or not alone:
        check_output_path(f"--out={out}", out)
    accelerator = pick_accelerator(config.accelerator)
    runs = [open_run(path, trust=config.trust) for path in config.run]
    if checkpoint := next((run.checkpoint for run in runs if run.checkpoint), None):
        raise UserError(
            f"RUN={checkpoint} is a checkpoint: a report is of a whole run, give its folder"
        )
    opened = [_images(run, config) for run in runs]
    images = [splits for splits, _ in opened]
    missing = next((why for _, why in opened if why), None)
    sample_config = SampleConfig(
        torch_device(accelerator),
        pick_workers(None, accelerator),
        config.batch_size,
        config.pictures,
        config.seed,
        config.data,
    )
    if alone:
        path = write_report(runs[0], images[0], sample_config, out, missing)
    else:
        path = write_comparison(runs, images, sample_config, out, missing)
    size = path.stat().st_size
    answer = {"out": str(path), "runs": config.run, "bytes": size, "missing": missing}
    without = f"without images: {missing}\n" if missing else ""
    return answer, f"{without}{path} ({size / 1e6:.1f} MB): open it in a browser"


def _images(run: Run, config: ReportConfig) -> tuple[Splits | None, str | None]:
    """The images of a run, or the reason why there are none."""
    if config.data is not None:
        return open_run_images(run, config.data, config.data_root), None
    try:
        images = open_run_images(run, None, config.data_root)
        return attach_labels(images, run.config.only(DataSettings)), None
    except UserError as error:
        return None, str(error)
