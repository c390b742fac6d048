"""What the commands share."""

from typing import Any

Answer = tuple[dict[str, Any], str]  # for --json, and for a person
