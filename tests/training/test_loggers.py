"""The table of curves: written while a run goes, whole every time."""

import csv

from BYOL.training import loggers as logs
from BYOL.training.loggers import CurveTable


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_written_when_it_is_time_and_with_every_save(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    path = tmp_path / "logs" / "metrics.csv"
    table = CurveTable(path, seconds=30)
    for step in range(500):  # however many
        table.log_metrics({"loss": 1.0}, step)
    assert not path.exists()
    now[0] += 31
    table.log_metrics({"loss": 0.5, "knn": 0.7}, 500)
    found = rows_of(path)
    assert len(found) == 501 and found[-1] == {"knn": "0.7", "loss": "0.5", "step": "500"}
    table.log_metrics({"loss": 0.25}, 501)
    assert len(rows_of(path)) == 501
    table.save()
    assert len(rows_of(path)) == 502
    now[0] += 29
    table.log_metrics({"loss": 0.25}, 502)
    assert len(rows_of(path)) == 502  # counted from the last save


def test_a_run_that_goes_on_keeps_the_rows_of_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.csv"
    table = CurveTable(path, seconds=0)
    for step in (1, 2, 3):
        table.log_metrics({"loss": float(step)}, step)
    again = CurveTable(path, until=2)
    again.log_metrics({"loss": 9.0}, 3)
    again.save()
    assert [(row["step"], row["loss"]) for row in rows_of(path)][-2:] == [
        ("2", "2.0"),
        ("3", "9.0"),
    ]


def test_a_disk_that_is_full_keeps_the_rows_for_later(tmp_path, monkeypatch):
    said: list[str] = []
    path = tmp_path / "metrics.csv"
    table = CurveTable(path, warn=said.append, seconds=0)

    def refuse(*given):
        raise OSError("no space left on the device")

    monkeypatch.setattr(logs, "write_atomically", refuse)
    table.log_metrics({"loss": 1.0}, 1)
    assert len(said) == 1 and "no space left" in said[0] and not path.exists()
    monkeypatch.undo()
    table.log_metrics({"loss": 2.0}, 2)
    assert [row["step"] for row in rows_of(path)] == ["1", "2"]
