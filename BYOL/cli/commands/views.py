"""The command ``byol views``."""

import dataclasses
from pathlib import Path

from BYOL._console import counted
from BYOL._files import check_not_input, check_output_path
from BYOL._random import evenly_spaced, fold
from BYOL.cli.commands.common import Answer
from BYOL.config.inspection import ViewsConfig
from BYOL.config.view_configs import further_view_configs, view_configs
from BYOL.config.view_settings import ViewSettings
from BYOL.data.configured import open_configured
from BYOL.data.dataset import readable
from BYOL.data.decode import BrokenImageError
from BYOL.data.explain import explain
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.replaced import check_not_image
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.training.prepare import prepare
from BYOL.views.preview import save_preview


def views_run(config: ViewsConfig) -> Answer:
    """Write an image of the augmented views that the network would be trained on.

    Raises:
        UserError: there are no images, or the file cannot be written.
    """
    if config.values is not None:
        return _values(config, config.values)
    out = config.out or "views.png"
    if Path(out).suffix.lower() != ".png":
        raise UserError(f"--out={out} has an unknown ending: use .png")
    check_output_path(f"--out={out}", Path(out))
    check_not_input(f"--out={out}", Path(out), config.data)
    settings = dataclasses.replace(config, batch_size=1, accumulate=1, devices=1, nodes=1)
    prepared = prepare(settings, into_memory=False)
    read = Splits(prepared.train, prepared.test, prepared.labelled)
    check_not_image(f"--out={out}", Path(out), read)
    images = readable(prepared.train, evenly_spaced(len(prepared.train), config.pictures).tolist())
    if not images:
        raise UserError(f"DATA={config.data}: none of the sampled images can be read")
    key = fold(config.seed, 0)
    resolved = prepared.config
    views = resolved.only(ViewSettings)
    configs = (*view_configs(views), *further_view_configs(views))
    path = save_preview(images, configs, Path(out), key=key, mean=resolved.mean)
    answer = {"out": str(path), "pictures": len(images)}
    return answer, f"{counted(len(images), 'image')} in {path}"


def _values(config: ViewsConfig, file: str) -> Answer:
    """Describe what each step of decoding does to ``file``.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    path = Path(file)
    if not path.is_file():
        raise UserError(f"--values={file} is no file: give an image file")
    splits = open_configured(config.data or str(path), config, frames=None)
    options = ReadOptions(config.no_data, config.slice)
    try:
        steps = explain(path, splits.train.channels, splits.pixel_range, options)
    except BrokenImageError as error:
        raise UserError(f"--values={file} cannot be read: {error}") from error
    notes = splits.train.notes
    lines = [str(path), *(f"  {step}" for step in steps), *(f"  note: {note}" for note in notes)]
    answer = {
        "file": str(path),
        "steps": [dataclasses.asdict(step) for step in steps],
        "pixel_range": splits.pixel_range and list(splits.pixel_range),
        "notes": list(notes),
    }
    return answer, "\n".join(lines)
