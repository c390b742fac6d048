"""No output replaces an input: the check of the commands that write files, before any work."""

from pathlib import Path

from BYOL.errors import UserError


def check_not_input(argument: str, out: Path, *inputs: str | Path | None) -> None:
    """Check that the file ``out`` replaces none of the ``inputs``.

    Args:
        argument: how the user named the file, for the message: ``--grid=e.png``.
        out: the file to write.
        inputs: files and folders that are read; names of other kinds are ignored. A PNG file in an
            input folder counts as one of its images.

    Raises:
        UserError: ``out`` exists and is an input.
    """
    if not out.is_file():
        return
    for source in (name for name in inputs if name):
        place = Path(source).expanduser()
        if not place.exists():
            continue
        is_image = place.is_dir() and out.suffix.lower() == ".png"
        if out.samefile(place) or (is_image and out.resolve().is_relative_to(place.resolve())):
            raise UserError(f"{argument} would replace a file that is read ({place}): give another")
