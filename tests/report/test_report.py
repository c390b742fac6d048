"""The report without a browser: what stands on the page, for every kind of run."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from BYOL.cli.main import main, parse
from tests.conftest import TINY, draw_pictures

HOSTILE = "<script>alert(1)<"  # a folder's name cannot hold a slash


def report(*argv) -> str:
    """The page that ``byol report`` makes."""
    assert main(["report", *map(str, argv)]) == 0
    words = list(map(str, argv))
    out = words[words.index("--out") + 1]
    return Path(out).read_text(encoding="utf-8")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    root = tmp_path_factory.mktemp("unlabelled")
    pictures = draw_pictures(root / "pictures", classes=("",))
    argv = ["pretrain", str(pictures), *TINY, "--gauges-every=1", "--out", str(root / "run")]
    assert main(argv) == 0
    return root / "run"


def test_a_run_ends_with_its_page_and_everything_is_on_it(run):
    page = (run / "report.html").read_text()
    assert headings(page) == [
        "Accuracy beside its references",
        "What it takes to be alike",
        "Map of 24 pictures",
        "What is taken for what",
        "What the network saw",
        "Curves",
        "Collapse gauges",
        "Load the backbone",
        "Configuration",
    ]
    assert page.count('<figure class="query"') == 8
    neighbours = len(re.findall(r'<figure class="(?:match|miss)"', page))
    assert neighbours == 64
    results = json.loads((run / "results.json").read_text())
    accuracy = results["evaluation"]["rows"]["trained"]["linear"]["accuracy"]
    assert f"{accuracy * 100:.1f}" in text(page)
    assert "load_state_dict" in page and "byol pretrain --config" in page


def test_the_page_asks_for_nothing_from_elsewhere(run):
    page = (run / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert "http" not in re.sub(r"data:[^\"]*", "", page).replace("http-equiv", "")
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_settings_that_are_not_the_presets_are_marked(run):
    page = text((run / "report.html").read_text())
    assert re.search(r"hidden_size 16 1024", page)
    assert re.search(r"backbone plain5 resnet18", page)
    assert not re.search(r"\bmomentum 0.9 0.9", page)


def test_names_from_outside_cannot_become_part_of_the_page(tmp_path):
    names = (HOSTILE, '"><img src=x onerror=alert(2)>')
    pictures = draw_pictures(tmp_path / "<b>pictures", classes=names)
    assert main(["pretrain", str(pictures), *TINY, "--out", str(tmp_path / "<i>run")]) == 0
    page = (tmp_path / "<i>run" / "report.html").read_text()
    assert page.count("<script") == 2 and page.count("</script>") == 2
    for name in (*names, "<b>pictures", "<i>run"):
        assert name not in page and name in html.unescape(page)
    assert "alert(1)" in page


def test_without_labels_neighbours_and_map_but_no_accuracy(unlabelled):
    page = (unlabelled / "report.html").read_text()
    assert {"What it takes to be alike", "Map of 12 pictures"} <= set(headings(page))
    assert not {"Accuracy beside its references", "What is taken for what"} & set(headings(page))
    assert "nothing can be said of accuracy" in text(page) and "has not collapsed" in text(page)
    assert page.count('<figure class="plain"') == 64 and "✓" not in text(page)


def test_an_unfinished_run_is_shown_from_its_checkpoint_and_says_so(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    for name in ("results.json", "backbone.safetensors", "report.html"):
        (copy / name).unlink()
    page = report(copy, "--trust", "--out", copy / "report.html")
    assert "unfinished: 2 of 2 epochs" in text(page) and "last checkpoint" in text(page)
    assert "What is taken for what" in headings(page), "labels are there, so a probe is fitted"
    (copy / "logs" / "metrics.csv").unlink()
    assert "Curves" not in headings(report(copy, "--trust", "--out", copy / "report.html"))


def test_pictures_that_have_moved_are_done_without_or_found_by_data(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    config = (copy / "config.yaml").read_text()
    gone = re.sub(r"^data: .*$", f"data: {tmp_path / 'gone'}", config, flags=re.M)
    (copy / "config.yaml").write_text(gone)
    page = report(copy, "--trust", "--out", tmp_path / "page.html")
    assert "There are no pictures on this page" in text(page) and "is not there" in text(page)
    assert not any("Map" in heading for heading in headings(page))
    assert "Accuracy beside its references" in headings(page)
    pictures = draw_pictures(tmp_path / "here")
    page = report(copy, "--data", pictures, "--out", tmp_path / "page.html")
    assert "Map of 24 pictures" in headings(page)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_becomes_pictures(tmp_path, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (24, 20, 20, channels), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(24) % 3)
    argv = ["pretrain", str(tmp_path / "set.npz"), *TINY, "--out", str(tmp_path / "run")]
    assert main([*argv, "--no-evaluate"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png") > 16


def test_a_report_that_fails_does_not_take_the_run_with_it(tmp_path, monkeypatch, capsys):
    from BYOL.report import html as page

    def fail(*_):
        raise RuntimeError("the pen\nbroke")

    monkeypatch.setattr(page, "write_page", fail)
    pictures = draw_pictures(tmp_path / "pictures")
    argv = ["pretrain", str(pictures), *TINY, "--no-evaluate", "--out", str(tmp_path / "run")]
    assert main(argv) == 0
    warnings = [e for e in capsys.readouterr().err.splitlines() if e.startswith("warning: ")]
    assert len([w for w in warnings if "no report (the pen broke)" in w]) == 1
    assert (tmp_path / "run" / "results.json").exists()
    assert not (tmp_path / "run" / "report.html").exists()


def test_no_report_where_none_is_wanted():
    assert parse("pretrain", ["--no-report"]).report is False


def test_runs_are_compared_where_they_differ(run, unlabelled, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "other")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(re.sub(r"^seed: 0$", "seed: 7", config, flags=re.M))
    page = report(run, copy, "--trust", "--out", tmp_path / "compare.html")
    assert re.search(r"setting A B seed 0 7 ", text(page)), "only the seed differs"
    assert page.count('<figure class="query"') == 8
    assert len(re.findall(r'<figure class="(?:match|miss)"', page)) == 128
    loss = re.findall(r'<path class="line c\d" d="[^"]+" data-name="([AB])"', page)
    assert loss.count("A") == loss.count("B") > 2
    assert "k-NN, k = 20" in text(page)

    page = report(run, unlabelled, "--out", tmp_path / "compare.html")
    assert "Not shown: the runs were trained on different pictures" in text(page)
    capsys.readouterr()
    argv = ["report", str(run), str(unlabelled), "--out", str(tmp_path / "c.html"), "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [str(run), str(unlabelled)]


def test_the_last_positional_word_may_be_a_list():
    assert parse("report", ["a", "b c", "--seed", "3"]).run == ["a", "b c"]
    assert parse("report", ["runs/ä", "--out=x.html"]).run == ["runs/ä"]
    assert parse("report", ["1", "null"]).run == ["1", "null"]
    assert parse("report", ["--run", "a", "--run=b"]).run == ["a", "b"]


def test_the_sample_of_a_larger_set_is_the_seeds(run, tmp_path):
    first, again, other = (
        report(run, "--pictures", "10", "--seed", seed, "--out", tmp_path / "page.html")
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert "Map of 10 pictures" in headings(first) and "10 of the 24" in text(first)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["report"], "run"),
        (["report", "missing"], "RUN=missing"),
        (["report", "RUN", "missing"], "RUN=missing"),
        (["report", "RUN", "--out=page.pdf"], "--out=page.pdf"),
        (["report", "RUN", "--out=nowhere/page.html"], "nowhere"),
        (["report", "RUN", "--data=missing"], "DATA=missing"),
        (["report", "RUN", "--pictures=2"], "--pictures=2"),
        (["report", *["RUN"] * 9], "9 runs"),
    ],
)
def test_mistakes_cost_a_line(run, tmp_path, monkeypatch, capsys, argv, named):
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and named in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_in_the_folder_is_named(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "results.json").write_text("{")
    assert main(["report", str(copy)]) == 2
    assert "results.json cannot be read" in capsys.readouterr().err
