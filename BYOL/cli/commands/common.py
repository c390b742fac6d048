"""What the commands share."""

from typing import Any

from BYOL._console import counted

Answer = tuple[dict[str, Any], str]  # the results for --json, and the text for a terminal


def images_text(count: int, left_out: int) -> str:
    """The number of images, and how many more are left out: ``9 images (1 more could not …)``."""
    left = f" ({left_out:,} more could not be read)" if left_out else ""
    return counted(count, "image") + left
