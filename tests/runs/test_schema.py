"""A damaged file of a run folder is one line that names the file and the field, in every command.

Every value of every file is replaced by others, every file is cut, emptied and written in another
encoding. Each command then ends with 0 or 2 and without a traceback.
"""

import copy
import dataclasses
import functools
import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from BYOL.cli.main import main
from BYOL.cli.sweep.spec import Cell
from BYOL.cli.sweep.summary import summarise, table
from BYOL.config import PretrainConfig, load_config, save_config
from BYOL.config.yaml_io import read_settings
from BYOL.errors import DataError, UserError
from BYOL.export.exportable import ExportModel
from BYOL.export.model_card import model_card
from BYOL.report.html import write_report
from BYOL.report.sample_features import SampleConfig
from BYOL.runs.checksum import add_checksum
from BYOL.runs.curves import read_metrics
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import Run, load_checkpoint, open_run
from BYOL.runs.schema import read_evaluation, read_results
from BYOL.training.loggers import CurveTable
from BYOL.training.resume import find_start
from tests.conftest import draw_images, make_run

INTERVAL = {"accuracy": 0.5, "low": 0.4, "high": 0.6}
ROW = {
    "5-shot": {"accuracy": 0.5, "spread": 0.1}, "knn20": INTERVAL, "linear": {**INTERVAL, "C": 1.0},
    "linear MAE": {"value": 2.5, "low": 2.0, "high": 3.0},
    "finetune 1 %": {**INTERVAL, "epochs": 9},
}  # fmt: skip
EVALUATION = {
    "run": "r", "data": "d", "pictures": {"learn": 8, "judge": 2}, "classes": 2,
    "task": "classification", "groups": {"learn": 4, "judge": 2, "both": 0}, "untaught": ["x"],
    "rows": {"raw pixels": ROW, "untrained": ROW, "trained": ROW},
    "confusion": [[1, 0], [1, 2]], "class_names": ["a", "b"],
    "feature_gauges": {"trained": {"std": 0.5}, "untrained": {"std": 0.4}},
    "metric": "accuracy", "majority": {"class": "a", "accuracy": 0.5}, "unequal": True,
    "recall": {"a": {"recall": 0.5, "low": 0.1, "high": 0.9, "images": 2}},
    "leakage": {"checked": 2, "leaked": 1, "pairs": [["x", "y"]]},
    "comparisons": {"untrained": [
        {"measure": "linear", "difference": 0.1, "decides": "linear-probe", "p_holm": 0.5,
         "test": "McNemar", "only_first": 3, "only_second": 2, "better": 0},
    ]},
}  # fmt: skip
RESULTS = {
    "run": "r", "epochs": 1, "epochs_seen": 1.0, "steps": 3, "peak_memory": 10,
    "train_seconds": 1.5, "images_per_second": 20.0, "steps_skipped": 0, "pictures_left_out": ["a"],
    "gauges": {"std": 0.5, "effective_rank": 3.0}, "alarm": "text", "stopped": False,
    "online_knn": [[1, 0.5]], "online_probe": [], "evaluation": EVALUATION, "pictures": 10,
    "feature_gauges": {"trained": {"std": 0.5}, "untrained": {"std": 0.4}},
    "machine": {"accelerator": "cpu", "precision": "fp32"}, "versions": {"BYOL": "0", "torch": "2"},
    "teacher": {
        "name": "lite0", "trained_on": "ImageNet", "licence": "MIT", "size": 32, "images": 10,
        "seconds": 1.0, "agreement": 0.5, "agreement_images": 10, "agreement_on": "test",
    },
}  # fmt: skip
RESULTS, EVALUATION = json.loads(json.dumps([RESULTS, EVALUATION]))  # without shared rows
METRICS = "epoch,gauge/std,knn,loss,step\n0,,,3.5,1\n,0.5,,,1\n1,,0.5,3.0,2\n"
OTHERS = (
    None, True, 0, -1, 10**400, 1e308, -1e308, math.nan, math.inf, "", "x\x1b[31m\n", "\udcff", [],
    ["x"], [[1, 2]], {}, {"x": {}}, {"x": None}, [None],
)  # fmt: skip
MISSING = object()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("schema")
    images = draw_images(root / "images", each=5)
    folder = RunFolder(make_run(root / "run", images, backbone="plain5", image_size=16))
    folder.create()
    folder.results.write_text(json.dumps(RESULTS))
    folder.evaluation.write_text(json.dumps({**EVALUATION, "labels": None}))
    folder.metrics.write_text(METRICS)
    folder.spectrum.write_text("3,2.5,1\n")
    return root


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(template / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def places(values: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in nested dictionaries and lists."""
    yield place
    pairs = values.items() if isinstance(values, dict) else ()
    pairs = enumerate(values) if isinstance(values, list) else pairs
    for key, value in pairs:
        yield from places(value, (*place, key))


def replaced(values: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of ``values`` with another value at ``place``, or without it."""
    if not place:
        return value
    values = copy.deepcopy(values)
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return values


def use(folder: RunFolder, out: Path) -> None:
    """Everything that reads the results, without training and without images."""
    config = config_of(folder.path)
    run = Run(folder, config, nn.Identity())
    write_report(run, None, SampleConfig(torch.device("cpu")), out / "page.html")
    model_card(ExportModel(run), "name")
    (out / "sweep").mkdir(exist_ok=True)
    table(summarise([Cell("a", (config,))]))


@functools.cache
def config_of(path: Path) -> PretrainConfig:
    """The settings of a run of which hundreds of other files are read in one test."""
    return dataclasses.replace(load_config(path / "config.yaml"), out=str(path))


def one_line(action: Callable[[], object], path: Path) -> str | None:
    """The message of the UserError that ``action`` raises; None if it raises nothing."""
    try:
        action()
    except UserError as error:
        message = str(error)
        assert str(path) in message, message
        assert message.isprintable(), message
        return message
    return None


@pytest.mark.parametrize("name", ["results.json", "evaluation.json"])
def test_any_other_value_is_used_or_named(folder: RunFolder, tmp_path: Path, name: str) -> None:
    path, valid = folder.path / name, RESULTS if name == "results.json" else EVALUATION
    pairs = [(place, value) for place in places(valid) for value in (*OTHERS, MISSING)]
    refused = 0
    for place, value in random.Random(0).sample(pairs, 150):
        if value is MISSING and not place:
            continue
        path.write_text(json.dumps(replaced(valid, place, value)))
        refused += one_line(lambda: use(folder, tmp_path), path) is not None
    assert refused > 60


def test_the_message_names_the_file_and_the_field(folder: RunFolder) -> None:
    wrong = replaced(RESULTS, ("evaluation", "rows", "trained", "linear", "low"), "\x1b[31mx")
    folder.results.write_text(json.dumps(wrong))
    with pytest.raises(DataError) as caught:
        read_results(folder.results)
    field = "evaluation.rows.trained.linear.low is '?[31mx'"
    assert f"{folder.results} is damaged: {field}: input should be a valid number" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("evaluation", "metric"), "x", "evaluation.metric is 'x': value error, the metric"),
        (("evaluation", "metric"), "auto", "evaluation.metric is 'auto'"),
        (("evaluation", "majority", "class"), MISSING, "evaluation.majority.class: field required"),
        (("evaluation", "leakage", "checked"), MISSING, "checked and leaked belong together"),
        (("evaluation", "leakage", "checked"), 0, "leaked is at most checked"),
        (("evaluation", "comparisons", "untrained", 0, "difference"), MISSING, "field required"),
        (("evaluation", "comparisons", "untrained", 0, "only_second"), MISSING, "belong together"),
        (("teacher", "agreement_images"), "x", "teacher.agreement_images is 'x'"),
        (("teacher", "trained_on"), MISSING, "teacher.trained_on: field required"),
    ],
)  # fmt: skip
def test_a_foreign_field_that_a_report_shows_is_named(
    folder: RunFolder, tmp_path: Path, place: tuple[Any, ...], value: Any, message: str
) -> None:
    folder.results.write_text(json.dumps(replaced(RESULTS, place, value)))
    assert message in (one_line(lambda: use(folder, tmp_path), folder.results) or "")


def test_a_search_for_copies_that_was_impossible_is_no_damage(
    folder: RunFolder, tmp_path: Path
) -> None:
    folder.results.write_text(json.dumps(replaced(RESULTS, ("evaluation", "leakage"), {})))
    use(folder, tmp_path)
    assert read_results(folder.results)["evaluation"]["leakage"] == {}


def test_a_comparison_without_a_difference_is_left_out(folder: RunFolder, tmp_path: Path) -> None:
    place = ("evaluation", "comparisons", "untrained", 0, "difference")
    folder.results.write_text(json.dumps(replaced(RESULTS, place, None)))
    use(folder, tmp_path)
    assert read_results(folder.results)["evaluation"]["comparisons"] == {"untrained": []}


def test_a_number_that_the_writer_could_not_express_is_left_out(folder: RunFolder) -> None:
    """NaN becomes null in JSON."""
    values = replaced(RESULTS, ("evaluation", "rows", "trained", "linear", "low"), None)
    values = replaced(values, ("evaluation", "rows", "trained", "knn20", "accuracy"), None)
    folder.results.write_text(json.dumps(replaced(values, ("gauges", "std"), None)))
    read = read_results(folder.results)
    assert read["gauges"] == {"effective_rank": 3.0}
    row = read["evaluation"]["rows"]["trained"]
    assert "low" not in row["linear"] and "knn20" not in row


def damaged(content: bytes) -> dict[str, bytes]:
    """Files as an interrupted copy, an editor or another person leave them."""
    text = content.decode("utf-8", "replace")
    return {
        "empty": b"", "half": content[: len(content) // 2], "a byte": content[:1],
        "utf-16": text.encode("utf-16"), "zeros": bytes(len(content)), "nested": b"[" * 100_000,
        "a wide line": b"a," * 200_000, "a long cell": b'step\n"' + b"1" * 200_000 + b'"\n',
        "controls": content.replace(b"0", b"\x1b[31m"), "a number": b"1" * 10_000,
        "latin": "é".encode("latin-1"), "nan": b"NaN",
    }  # fmt: skip


FILES = (
    "results.json", "evaluation.json", "logs/metrics.csv", "logs/spectrum.csv", "config.yaml",
    "views.png", "checkpoints/last.ckpt", "backbone.safetensors", "logs/wandb.json",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_command_on_a_damaged_file_ends_with_one_line(
    folder: RunFolder, template: Path, capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path
) -> None:
    path, images = folder.path / name, str(template / "images")
    valid = path.read_bytes() if path.exists() else b"step\n1\n"
    run = str(folder.path)
    commands = (
        ["report", run, "--out", str(tmp_path / "page.html")],
        ["embed", run, images, "--workers=0", "--out", str(tmp_path / "e.npy")],
        ["export", run, "--to", str(tmp_path / "hub" / name.replace("/", "-")) + "/"],
    )
    (tmp_path / "hub").mkdir()
    for number, (kind, content) in enumerate(damaged(valid).items(), FILES.index(name)):
        path.write_bytes(content)
        argv = commands[number % len(commands)]
        shutil.rmtree(tmp_path / "hub")
        (tmp_path / "hub").mkdir()
        code = main(argv)
        shown = capsys.readouterr()
        assert code in (0, 2), (kind, argv, shown.err)
        assert "\x1b" not in shown.err + shown.out, (kind, argv)
        if code == 2:
            lines = shown.err.splitlines()
            assert sum(line.startswith("byol: ") for line in lines) == 1, (kind, argv, lines)


@pytest.mark.parametrize("cell", ["x", "1e400", "-", "0x10", "\x1b"])
def test_a_cell_of_the_curves_is_named(folder: RunFolder, cell: str) -> None:
    folder.metrics.write_text(METRICS.replace("3.0", cell))
    if cell == "1e400":  # infinity, which a run that diverges writes
        assert read_metrics(folder.metrics)[2]["loss"] == cell
        return
    with pytest.raises(DataError, match=r"metrics.csv is damaged: line 4: loss is"):
        read_metrics(folder.metrics)


def test_damaged_curves_are_kept_when_a_run_resumes(
    folder: RunFolder, lines: Callable[[], list[str]]
) -> None:
    content = METRICS.encode("utf-16")
    folder.metrics.write_bytes(content)
    table = CurveTable(folder.metrics, until=2)
    table.log_metrics({"loss": 1.0}, 3)
    table.save()
    assert (folder.logs / "metrics.damaged.csv").read_bytes() == content
    assert [row["step"] for row in read_metrics(folder.metrics)] == ["3"]
    assert any("is renamed to metrics.damaged.csv" in line for line in lines())


CHECKPOINT = {
    "byol_version": "0", "byol_config": {"epochs": 2, "compile": "off"}, "global_step": 3,
    "byol_facts": {"pictures": 10, "digest": "x", "streams": {"groups": 1, "lanes": 1, "parts": 1}},
    "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 1}}}}, "state_dict": {},
}  # fmt: skip


def test_other_values_in_a_checkpoint_are_named(folder: RunFolder) -> None:
    checked = [place for place in places(CHECKPOINT) if place]
    others = [None, -1, "x", [], {"x": 1}, MISSING, 1e308]
    refused = 0
    for place in checked:
        for value in others:
            torch.save(replaced(CHECKPOINT, place, value), folder.checkpoint)
            add_checksum(folder.checkpoint)
            refused += (
                one_line(lambda: load_checkpoint(folder.checkpoint), folder.checkpoint) is not None
            )
            one_line(lambda: find_start(folder, True, 2), folder.checkpoint)
    assert refused > len(checked) * 3


def test_a_results_file_of_the_present_writer_is_valid(run: Path) -> None:
    """And reading changes nothing in it."""
    folder = RunFolder(run)
    assert read_results(folder.results) == json.loads(folder.results.read_text())
    written = folder.evaluation.read_text() if folder.evaluation.exists() else "null"
    assert read_evaluation(folder.evaluation) == json.loads(written)  # of another test
    assert read_metrics(folder.metrics)
    load_checkpoint(folder.checkpoint)


def test_a_moved_run_reports_its_present_folder(folder: RunFolder, tmp_path: Path) -> None:
    config = dataclasses.replace(load_config(folder.config), out=str(folder.path))
    save_config(config, folder.config)
    folder.path.rename(tmp_path / "elsewhere")
    for trust in (False, True):
        moved = open_run(tmp_path / "elsewhere", trust=trust)
        assert moved.config.out == str(tmp_path / "elsewhere")
        assert moved.name == str(tmp_path / "elsewhere")


def test_settings_without_an_input_specification_are_named(folder: RunFolder) -> None:
    settings = read_settings(folder.config)
    for name in ("channels", "image_size", "mean", "std"):
        folder.config.write_text(json.dumps(replaced(settings, (name,), MISSING)))
        with pytest.raises(UserError, match=r"config.yaml: \w+="):
            open_run(folder.path)
