"""The table of an evaluation shows names as they are."""

from BYOL.evaluation.table import results_text


def test_names_are_not_markup() -> None:
    rows = {
        "reference (a[/b].pth)": {"knn20": {"accuracy": 0.5}},
        "[red]x :smile:": {"[/]": {"value": 1.0}},
    }
    text = results_text({"rows": rows, "pictures": {"learn": 1, "judge": 2}, "classes": 2})
    for name in ("reference (a[/b].pth)", "[red]x :smile:", "[/]"):
        assert name in text
