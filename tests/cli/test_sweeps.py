import dataclasses
import datetime
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.axes import Axes
from PIL import Image
from scipy.stats import ttest_rel

from BYOL.cli.main import main
from BYOL.cli.sweep import run as running
from BYOL.cli.sweep.compare import compare_variants, comparison_table, incomparable_note
from BYOL.cli.sweep.results import known_rows, results_of
from BYOL.cli.sweep.spec import Cell, read_sweep
from BYOL.cli.sweep.summary import summarise, table, write_summary
from BYOL.config import load_config, save_config
from BYOL.config.presets import preset_config
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import accuracy_interval
from BYOL.runs.checksum import add_checksum
from BYOL.runs.folder import RunFolder
from BYOL.training.prepare import prepare
from BYOL.training.resume import find_start
from tests.conftest import draw_images

OURS = sorted((Path(__file__).parents[2] / "benchmarks" / "sweeps").glob("*.yaml"))
SETTINGS = {
    "preset": "small", "backbone": "plain5", "image_size": 12, "batch_size": 8, "hidden_size": 16,
    "output_size": 8, "epochs": 1, "knn_every": 0, "lr": 0.1, "workers": 0,
}  # fmt: skip


def write(path, **parts):
    path.write_text(yaml.safe_dump(parts, allow_unicode=True, sort_keys=False))
    return str(path)


@pytest.mark.parametrize("file", OURS, ids=lambda path: path.stem)
def test_the_documented_sweeps_are_valid_and_have_three_seeds(file, tmp_path):
    cells = read_sweep(file, tmp_path, trust=True)
    assert len(cells) >= 5 and {len(cell.runs) for cell in cells} == {3}


def test_rows_times_grid_times_seeds(tmp_path):
    file = write(
        tmp_path / "s.yaml",
        settings={**SETTINGS, "data": "digits"},
        rows={"plain": {}, "no predictor": {"predictor": "none"}},
        grid={"tau": [0.5, 0.9], "crop_scale": [[0.2, 1.0]]},
        seeds=[3, 4],
    )
    cells = read_sweep(file, tmp_path / "out")
    assert [cell.name for cell in cells] == [
        f"{row} tau={tau} crop_scale=[0.2, 1.0]"
        for row in ("plain", "no predictor")
        for tau in (0.5, 0.9)
    ]
    runs = [run for cell in cells for run in cell.runs]
    assert len({run.out for run in runs}) == 8
    assert [run.seed for run in runs] == [3, 4] * 4
    assert runs[-1].predictor == "none" and runs[-1].tau == 0.9 and runs[0].predictor == "mlp"
    assert runs[0].crop_scale == (0.2, 1.0) and runs[0].lr == 0.1 and runs[0].preset == "small"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"grids": {}}, "has a part 'grids'"),
        ({"grid": {"tau": 0.5}}, "tau must be a list"),
        ({"settings": {"temperature": 1}}, "--temperature is unknown"),
        ({"settings": {"lr": "fast"}}, "--lr"),
        ({"rows": {"a": {"tau": 2}}}, "--tau=2.* is out of range"),
        ({"settings": {"seed": 1}}, "seed is not for a sweep"),
        (
            {"rows": {"a": {"devices": 2}}},
            "devices is not for a sweep to set: .*once",
        ),
        ({"seeds": []}, "seeds must be"),
        ({"seeds": [0, "one"]}, "seeds must be"),
        ({"seeds": [0, -1]}, "--seed=-1 is out of range"),
        ({"seeds": [3, 0, 3]}, r"seeds=\[3, 0, 3\] has one twice"),
        ({"settings": {"data": datetime.date(2024, 1, 1)}}, "data=2024-01-01 is neither text"),
        ({"rows": {"a": {"project": b"bytes"}}}, "project=b'bytes' is neither text"),
        ({"grid": {"mean": [[datetime.date(2024, 1, 1)]]}}, "mean=.* is neither text"),
        ({"rows": {"a b": {}, "a/b": {}}}, "same name"),
        ({"rows": {"a": [1]}}, "a must be names"),
    ],
)
def test_a_mistake_in_the_file_is_named_before_anything_runs(tmp_path, parts, message):
    file = write(tmp_path / "s.yaml", **parts)
    with pytest.raises(UserError, match=message) as caught:
        read_sweep(file, tmp_path / "out")
    assert "\n" not in str(caught.value) and "s.yaml" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    [
        "settings: {data: 2024-99-99}", "settings: {mean: " + "[" * 3000 + "]" * 3000 + "}",
        "settings: &s {tau: 0.5}\nrows: {a: *s}", "- a list", "seeds: [0", "\0",
    ],
    ids=("date", "nested", "alias", "list", "torn", "zero"),
)  # fmt: skip
def test_a_file_that_is_not_a_table_of_plain_values_is_refused(tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^SWEEP=") as caught:
        read_sweep(tmp_path / "s.yaml", tmp_path / "out")
    assert "\n" not in str(caught.value) and "s.yaml" in str(caught.value)


def test_a_sweep_skips_complete_runs_and_writes_a_table(tmp_path, capsys, monkeypatch):
    pictures = draw_images(tmp_path / "pictures", each=10)
    settings = {**SETTINGS, "data": str(pictures)}
    rows = {"mlp": {}, "τ = 0": {"target": "online"}}
    file = write(tmp_path / "s.yaml", settings=settings, rows=rows, seeds=[0, 1])
    out = tmp_path / "out"
    argv = ["sweep", file, "--out", str(out), "--trust"]
    done = []
    pretrain = running.pretrain

    def stopped(config, **known):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(config.out)
        return pretrain(config, **known)

    monkeypatch.setattr(running, "pretrain", stopped)
    assert main(argv) == 130
    monkeypatch.setattr(
        running, "pretrain", lambda config, **k: (done.append(config.out), pretrain(config, **k))
    )
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    assert len(done) == 4 and len(set(done)) == 4, "finished runs are not run again"
    answer = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in answer["rows"]] == ["raw pixels", "untrained", "mlp", "τ = 0"]
    trained = answer["rows"][2]
    assert trained["runs"] == 2 and len(trained["measures"]["knn16"]) == 2
    for seed, accuracy in enumerate(trained["measures"]["linear"]):
        results = json.loads((out / "mlp" / f"seed-{seed}" / "results.json").read_text())
        assert results["evaluation"]["rows"]["trained"]["linear"]["accuracy"] == accuracy
    text = (out / "table.md").read_text()
    assert text.startswith("| variant | 1-shot") and "| τ = 0 |" in text and "0 of 2" in text
    with Image.open(out / "sweep.png") as picture:
        assert picture.size[0] > 400
    write(tmp_path / "s.yaml", settings={**settings, "lr": 0.2}, rows=rows, seeds=[0, 1])
    assert main(argv) == 2
    assert "holds a run with lr=0.1, not 0.2" in capsys.readouterr().err


@pytest.mark.trains
def test_baselines_are_evaluated_once_per_seed_and_equal_those_of_a_single_run(
    tmp_path, monkeypatch
):
    pictures = draw_images(tmp_path / "pictures", each=10)
    rows = {"bn": {}, "again": {"predictor": "linear"}, "gn-ws": {"norm": "gn-ws"}}
    settings = {**SETTINGS, "data": str(pictures)}
    file = write(tmp_path / "s.yaml", settings=settings, rows=rows, seeds=[0, 1])
    given = {}
    pretrain = running.pretrain

    def listening(config, known):
        def rows_of(resolved):
            given[config.out] = known(resolved)
            return given[config.out]

        return pretrain(config, known=rows_of)

    monkeypatch.setattr(running, "pretrain", listening)
    assert main(["sweep", file, "--trust", "--out", str(tmp_path / "out")]) == 0
    known = {tuple(Path(out).parts[-2:]): sorted(rows) for out, rows in given.items()}
    for seed in ("seed-0", "seed-1"):
        assert known["bn", seed] == []
        assert known["again", seed] == ["raw pixels", "untrained"]
        assert known["gn-ws", seed] == ["raw pixels"], "its backbone is another one"
    for variant, seed in known:
        run = tmp_path / "out" / variant / seed
        there = json.loads((run / "results.json").read_text())["evaluation"]["rows"]
        assert main(["evaluate", str(run), str(pictures), "--seed", seed[-1]]) == 0
        assert json.loads((run / "evaluation.json").read_text())["rows"] == there


def test_a_sweep_deletes_nothing(tmp_path, monkeypatch):
    """Neither a run without its last checkpoint, nor what the user has put into its folder."""
    file = write(tmp_path / "s.yaml", settings={**SETTINGS, "data": "digits"})
    (settings,) = read_sweep(file, tmp_path / "out")[0].runs
    folder = RunFolder(Path(settings.out))
    folder.create()
    save_config(settings, folder.config)
    assert find_start(folder, running.resumed(settings).resume, 1).checkpoint is None
    (folder.path / "notes.txt").write_text("mine")
    monkeypatch.setattr(running, "pretrain", lambda config, known: find_start(folder, "auto", 1))
    attempt = running.attempt(settings, [settings])
    assert "notes.txt is in the way" in attempt.failure
    older = {"byol_version": "0", "byol_config": {}, "global_step": 3, "state_dict": {}}
    torch.save(older, folder.older_checkpoint(3))
    add_checksum(folder.older_checkpoint(3))
    assert find_start(folder, running.resumed(settings).resume, 1).checkpoint is not None
    assert (folder.path / "notes.txt").read_text() == "mine"


def test_the_table_has_mean_and_spread_of_the_seeds():
    rows = [
        {"name": "raw pixels", "measures": {"knn20": [0.5]}},
        {"name": "a", "measures": {"knn20": [0.5, 0.7], "projection std": [20.0, 22.0]},
         "runs": 2, "alarms": 1},
    ]  # fmt: skip
    assert table(rows).splitlines()[2:] == [
        "| raw pixels | 0.500 |  |  |",
        "| a | 0.600 ±0.141 | 21.0 ±1.4 | 1 of 2 |",
    ]
    assert table([{"name": "a|b\nc", "measures": {}}]).splitlines()[2] == "| a\\|b c |  |"


def test_measures_that_some_seeds_lack_are_summarised(tmp_path):
    runs = tuple(finished_run(tmp_path, "a", seed) for seed in (0, 1))
    for seed, run in enumerate(runs):
        file = Path(run.out) / "results.json"
        results = json.loads(file.read_text())
        for measures in results["evaluation"]["rows"].values():
            measures["linear R²"] = {"value": 0.25 + seed, "low": 0.0, "high": 2.0}
            if seed:
                measures["5-shot"] = {"accuracy": 0.75, "spread": 0.0}
        file.write_text(json.dumps(results))
    rows = {row["name"]: row["measures"] for row in summarise([Cell("a", runs)])}
    expected = {"linear": [0.5, 0.5], "linear R²": [0.25, 1.25], "5-shot": [0.75]}
    assert rows["a"].items() >= expected.items()
    assert rows["untrained"].keys() == expected.keys()


def finished_run(root: Path, name: str, seed: int = 0, start: float | None = None, **settings):
    """A run's settings, and a folder as if it had been made with them."""
    folder = root / name / f"seed-{seed}"
    folder.mkdir(parents=True)
    run = preset_config("small", out=str(folder), seed=seed, **settings)
    save_config(dataclasses.replace(run, stem="imagenet"), folder / "config.yaml")
    levels = {"raw pixels": 0.1, "untrained": 0.2, "trained": 0.5}
    levels |= {} if start is None else {"start": start}
    rows = {source: {"linear": {"accuracy": level}} for source, level in levels.items()}
    results = {"evaluation": {"rows": rows}, "gauges": {}, "alarm": None, "train_seconds": 1.0}
    (folder / "results.json").write_text(json.dumps(results))
    return run


def test_an_untrained_row_is_not_reused_from_a_run_whose_weights_decided_the_stem(tmp_path):
    plain = finished_run(tmp_path, "plain")
    resolved = load_config(Path(plain.out) / "config.yaml")
    assert set(known_rows(resolved, [plain])) == {"raw pixels", "untrained"}
    for change in ({"weights": "w.pth"}, {"pretrained": True}, {"stem": "small"}):
        other = dataclasses.replace(resolved, **change)
        assert set(known_rows(other, [plain])) == {"raw pixels"}
    for change in (
        {"pixel_range": (0.0, 4095.0)}, {"labels": "l.csv"}, {"data": "x"},
        {"image_size": 48}, {"groups": "g.csv"}, {"frames": "middle"}, {"metric": "accuracy"},
    ):  # fmt: skip
        assert known_rows(dataclasses.replace(resolved, **change), [plain]) == {}


def test_initial_weights_of_variants_are_rows_of_the_table_once(tmp_path):
    cells = [
        Cell("scratch", (finished_run(tmp_path, "scratch"),)),
        Cell("w", tuple(finished_run(tmp_path, "w", s, 0.3, weights="w.pth") for s in (0, 1))),
        Cell("w again", (finished_run(tmp_path, "w again", start=0.3, weights="w.pth"),)),
        Cell("v", (finished_run(tmp_path, "v", start=0.4, weights="v.pth"),)),
    ]
    rows = {row["name"]: row["measures"] for row in summarise(cells)}
    assert list(rows) == [
        "raw pixels", "untrained", "start", "start (v)", "scratch", "w", "w again", "v",
    ]  # fmt: skip
    assert rows["start"] == {"linear": [0.3, 0.3]} and rows["start (v)"] == {"linear": [0.4]}


def test_statistics_of_the_file_are_those_of_the_run(tmp_path):
    pictures = draw_images(tmp_path / "pictures", each=4)
    std = [0.267334285, 0.25643846, 0.27615047]
    run = preset_config("small", data=str(pictures), batch_size=4, std=std, out=str(tmp_path / "r"))
    (tmp_path / "r").mkdir()
    save_config(prepare(run).config, tmp_path / "r" / "config.yaml")
    assert results_of(run) is None, "and no UserError"


def with_outcomes(root: Path, name: str, seed: int, hits: np.ndarray, digest: str | None = "x"):
    """A finished run whose evaluation stored which test images it classifies correctly."""
    run = finished_run(root, name, seed)
    file = Path(run.out) / "results.json"
    results = json.loads(file.read_text())
    rows = {source: {"linear": accuracy_interval(hits)} for source in ("untrained", "trained")}
    results["evaluation"] = {"rows": rows, "pictures": {"judge": len(hits), "learn": 9}}
    results["evaluation"] |= {"test_digest": digest} if digest else {}
    file.write_text(json.dumps(results))
    return run


def test_variants_are_compared_with_the_first_one_on_the_same_images(tmp_path):
    first = np.arange(200) < 100
    better, level = first | (np.arange(200) < 120), first ^ (np.arange(200) < 4)
    cells = [
        Cell(name, (with_outcomes(tmp_path, name, 0, hits),))
        for name, hits in (("base", first), ("better", better), ("level", level))
    ]
    found = {c["variant"]: c for c in compare_variants(cells)}
    assert set(found) == {"better", "level"} and found["better"]["reference"] == "base"
    assert found["better"]["p"] == pytest.approx(2 * 0.5**20)
    assert found["better"]["p_holm"] == pytest.approx(4 * 0.5**20)
    assert (found["better"]["only_first"], found["better"]["only_second"]) == (20, 0)
    assert found["level"]["p_holm"] == pytest.approx(2 * 0.5**4)
    text = comparison_table(list(found.values()))
    assert text.splitlines()[2] == "| better | +0.100 (p < 0.001) |"
    _, text = write_summary(cells, tmp_path)
    assert "| minus base | linear |" in text and "McNemar" not in text.splitlines()[0]
    assert json.loads((tmp_path / "sweep.json").read_text())["comparisons"]


def test_the_plot_shows_the_metric_that_decides(tmp_path, monkeypatch):
    cells = [Cell("base", (with_outcomes(tmp_path, "base", 0, np.arange(9) < 5),))]
    file = tmp_path / "base/seed-0/results.json"
    results = json.loads(file.read_text())
    measure = {"value": 0.5, "low": 0.4, "high": 0.6}
    results["evaluation"]["rows"]["trained"]["linear balanced accuracy"] = measure
    file.write_text(json.dumps(results))
    shown = []
    monkeypatch.setattr(Axes, "set_title", lambda _, title, **__: shown.append(title))
    for metric in ("accuracy", "balanced-accuracy"):
        results["evaluation"]["metric"] = metric
        file.write_text(json.dumps(results))
        write_summary(cells, tmp_path)
    assert [title for title in shown if title.startswith("linear")] == [
        "linear", "linear balanced accuracy",
    ]  # fmt: skip


def test_seeds_are_averaged_for_each_image_and_other_images_are_not_compared(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 200)) < np.array([0.5, 0.6])[:, None, None]
    cells = [
        Cell(name, tuple(with_outcomes(tmp_path, name, s, h) for s, h in enumerate(hits)))
        for name, hits in (("a", a), ("b", b))
    ]
    (found,) = compare_variants(cells)
    peer = ttest_rel(b.mean(axis=0), a.mean(axis=0))
    assert found["seeds"] == 3 and found["p"] == pytest.approx(peer.pvalue)
    assert found["difference"] == pytest.approx(b.mean() - a.mean())
    other = Cell("c", (with_outcomes(tmp_path, "c", 0, a[0], digest="y"),))
    old = Cell("d", (with_outcomes(tmp_path, "d", 0, a[0], digest=None),))
    assert compare_variants([cells[0], other]) == compare_variants([cells[0], old]) == []
    assert compare_variants([old, cells[0]]) == compare_variants([old]) == []
    assert comparison_table([]) == ""
    assert incomparable_note([cells[0], old]) == incomparable_note(cells) == ""
    assert incomparable_note([cells[0], other]) == (
        f"{cells[0].name} and c are not compared, because their evaluations differ in the test "
        "images or their labels."
    )
