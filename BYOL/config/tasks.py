"""Kinds of labels, and the type of a measured result."""

CLASSES, TAGS, VALUES, NOTHING = "classification", "multilabel", "regression", "none"
TASKS = ("auto", CLASSES, TAGS, VALUES)

Measure = dict[str, float]  # a value and the ends of its 95 % interval: "low", "high"
Measures = dict[str, Measure]
