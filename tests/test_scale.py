"""The forecast for large runs: its arithmetic, and that the page shows what the script prints."""

import argparse
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import BYOL.byol
import BYOL.model.sync_batchnorm
from BYOL.model.loss import criterion
from tests.test_docs import DOCS


@pytest.fixture(autouse=True)
def from_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))


@pytest.fixture
def failures(from_benchmarks):
    return importlib.import_module("failures")


@pytest.fixture
def traffic(from_benchmarks):
    return importlib.import_module("traffic")


@pytest.mark.parametrize(
    ("mtbf", "interval", "save", "restart"),
    [(5000.0, 500.0, 20.0, 100.0), (1500.0, 250.0, 5.0, 900.0), (1e5, 2000.0, 1.0, 10.0)],
)
def test_simulated_failures_cost_what_the_closed_form_says(failures, mtbf, interval, save, restart):
    rng = np.random.default_rng(0)
    walls = [
        failures.simulate(100 * interval, mtbf, interval, save, restart, rng)["wall"]
        for _ in range(1500)
    ]
    expected = failures.expected_wall(100 * interval, mtbf, interval, save, restart)
    error = float(np.std(walls)) / math.sqrt(len(walls))
    assert abs(np.mean(walls) - expected) < 4 * error + 1e-6


def test_work_lost_is_half_an_interval_a_failure_where_failures_are_rare(failures):
    rng = np.random.default_rng(0)
    runs = [failures.simulate(2e5, 1e5, 1000.0, 0.0, 0.0, rng) for _ in range(2000)]
    count = sum(run["failures"] for run in runs)
    assert count / len(runs) == pytest.approx(2.0, rel=0.1)
    assert sum(run["lost"] for run in runs) / count == pytest.approx(500, rel=0.05)


def test_without_failures_only_checkpoints_cost(failures):
    run = failures.simulate(1000.0, 1e15, 100.0, 2.0, 50.0, np.random.default_rng(0))
    assert run == {"wall": 1020.0, "failures": 0, "lost": 0.0}


def test_the_best_interval_is_where_the_closed_form_is_least(failures):
    best = failures.best_interval(1e6, 2.0)
    least = failures.expected_wall(1e6, 1e6, best, 2.0, 100.0)
    for factor in (0.7, 0.9, 1.1, 1.4):
        assert failures.expected_wall(1e6, 1e6, factor * best, 2.0, 100.0) > least * (1 - 1e-7)


def test_statistics_are_as_many_as_the_synchronised_norms_say(traffic, monkeypatch):
    model = BYOL.byol.BYOL(128, 16, 8, backend="plain5")
    _, forward, backward = traffic.collectives(model)
    model = BYOL.model.sync_batchnorm.synchronise_batchnorm(model, "cpu").train()
    said = {"all_gather": [], "all_reduce": []}
    world = BYOL.model.sync_batchnorm.dist
    monkeypatch.setattr(world, "is_initialized", lambda: True)
    monkeypatch.setattr(world, "get_world_size", lambda: 2)
    monkeypatch.setattr(world, "get_rank", lambda: 0)

    def gathered(rows, mine):
        said["all_gather"].append(mine.numel())
        for row in rows:
            row.copy_(mine)

    monkeypatch.setattr(world, "all_gather", gathered)
    monkeypatch.setattr(world, "all_reduce", lambda x: said["all_reduce"].append(x.numel()))
    x = torch.randn(4, 3, 16, 16)
    online, online1, target, target1 = model(x, x)
    criterion(online, target1, online1, target).backward()
    for part in (forward, backward):
        assert (len(said[part.kind]), 4 * sum(said[part.kind])) == (part.count, part.size)


def test_a_ring_of_two_sends_everything_once(traffic):
    parts = [traffic.Collective("gradients", "all_reduce", 1, 100)]
    assert traffic.bytes_sent(parts, 2) == 100 and traffic.bytes_sent(parts, 4) == 150
    assert traffic.bytes_sent([traffic.Collective("x", "all_gather", 1, 100)], 4) == 300


def test_the_page_shows_the_costs_of_all_steps():
    pipeline = importlib.import_module("pipeline")
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    given = argparse.Namespace(**pipeline.all_settings())
    assert pipeline.constants(given) in page
    table = pipeline.table(pipeline.cost(given.backbone), given)
    assert table in page, "run: python benchmarks/pipeline.py"


def test_the_page_shows_the_tables_of_the_script():
    scale = importlib.import_module("scale")
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    given = argparse.Namespace(**scale.settings())
    one = scale.cost(given.backbone)
    assert scale.constants(given) in page
    assert scale.network_table(one, given) in page
    for table in scale.runs_table(one, given)[0].split("\n\n"):
        assert table in page, "run: python benchmarks/scale.py"
