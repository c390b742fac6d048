"""The table of curves, written whole every time, and TensorBoard's files."""

import csv
import itertools
import shutil

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from BYOL.training import loggers as logs
from BYOL.training.loggers import CurveTable, EventFile


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


def test_a_resumed_run_keeps_the_rows_of_its_checkpoint(tmp_path):
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


def test_a_disk_that_is_full_keeps_the_rows_for_later(tmp_path, monkeypatch, lines):
    path = tmp_path / "metrics.csv"
    table = CurveTable(path, seconds=0)

    def refuse(*given):
        raise OSError("no space left on the device")

    monkeypatch.setattr(logs, "write_atomically", refuse)
    table.log_metrics({"loss": 1.0}, 1)
    assert len(lines()) == 1 and "no space left" in lines()[0] and not path.exists()
    monkeypatch.undo()
    table.log_metrics({"loss": 2.0}, 2)
    assert [row["step"] for row in rows_of(path)] == ["1", "2"]


def points(folder):
    """The loss as TensorBoard reads it."""
    accumulator = EventAccumulator(str(folder)).Reload()
    return [(point.step, point.value) for point in accumulator.Scalars("loss")]


def test_tensorboard_reads_the_curves_and_a_resumed_run_replaces_its_later_points(tmp_path):
    first = EventFile(tmp_path / "logs")
    for step in (1, 2, 3, 4):
        first.log_metrics({"loss": float(step), "knn": 0.5}, step)
    assert points(tmp_path / "logs") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    resumed = EventFile(tmp_path / "logs", until=2)
    resumed.log_metrics({"loss": 9.0}, 3)
    assert points(tmp_path / "logs") == [(1, 1.0), (2, 2.0), (3, 9.0)]


def test_tensorboard_has_the_points_after_its_folder_was_removed(tmp_path):
    curves = EventFile(tmp_path / "logs")
    curves.log_metrics({"loss": 1.0}, 1)
    shutil.rmtree(tmp_path / "logs")
    for step in (2, 3):
        curves.log_metrics({"loss": float(step)}, step)
    assert points(tmp_path / "logs") == [(2, 2.0), (3, 3.0)]


def test_a_record_that_was_cut_off_by_a_full_disk_hides_no_later_points(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "_COUNTER", itertools.count(9))  # the order of 9 and 10 as text
    curves = EventFile(tmp_path / "logs")
    curves.log_metrics({"loss": 1.0}, 1)

    def write_half(path, event):
        with path.open("ab") as file:
            file.write(b"half a record")
        raise OSError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr(logs, "_append", write_half)
        curves.log_metrics({"loss": 2.0}, 2)
    curves.log_metrics({"loss": 3.0}, 3)
    assert points(tmp_path / "logs") == [(1, 1.0), (3, 3.0)]
