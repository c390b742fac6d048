"""Types that the commands share."""

from typing import Any

Answer = tuple[dict[str, Any], str]  # the results for --json, and the text for a terminal
