"""Kinds of labels, and the type of a measured result."""

from typing import Any

CLASSES, TAGS, VALUES, NOTHING = "classification", "multilabel", "regression", "none"

# A value, the ends of its 95 % interval ("low", "high"), chosen settings and "outcomes".
Measure = dict[str, Any]
Measures = dict[str, Measure]
