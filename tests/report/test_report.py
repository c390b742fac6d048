"""The report without a browser: the content of the page for every kind of run."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from BYOL.cli.main import main
from BYOL.cli.program import parse
from tests.conftest import TINY, draw_images

HOSTILE = "<script>alert(1)<"  # a folder's name cannot hold a slash


def report(*argv) -> str:
    """Return the page that ``byol report`` writes."""
    arguments = list(map(str, argv))
    assert main(["report", *arguments]) == 0
    out = arguments[arguments.index("--out") + 1]
    return Path(out).read_text(encoding="utf-8")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(?!Contents)(.*?)</h2>", page)


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    root = tmp_path_factory.mktemp("unlabelled")
    images = draw_images(root / "images", classes=("",))
    argv = ["pretrain", str(images), *TINY, "--gauges-every=1", "--out", str(root / "run")]
    assert main(argv) == 0
    return root / "run"


def test_a_run_writes_a_complete_report(run):
    page = (run / "report.html").read_text()
    assert headings(page) == [
        "What to do next",
        "Further results",
        "Nearest neighbours",
        "Embedding map",
        "Confusion matrix",
        "Training curves",
        "Collapse metrics",
        "Views",
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


def test_the_page_has_no_external_references(run):
    page = (run / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in re.sub(r"data:[^\"]*", "", page).replace("http-equiv", "")
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_contents_list_every_section_and_no_other(run):
    page = (run / "report.html").read_text()
    nav = re.search(r"<nav.*?</nav>", page, re.S)[0]
    links = re.findall(r'<a href="#([^"]+)">(.*?)</a>', nav)
    sections = re.findall(r'<section id="([^"]+)">\s*<h2>(.*?)</h2>', page)
    assert links == [section for section in sections if section[0] != "next"]


def test_the_page_and_the_terminal_give_the_same_advice(run, capsys):
    from BYOL.cli.commands.pretrain import summary

    results = json.loads((run / "results.json").read_text())
    lines = [line for line in summary(results).splitlines() if line.startswith("next: ")]
    assert 1 <= len(lines) <= 2
    page = text((run / "report.html").read_text())
    for line in lines:
        title, command = line.removeprefix("next: ").split(": byol ")
        assert title[1:] in page and f"byol {command}" in page


def test_settings_that_differ_from_the_preset_are_marked(run):
    page = text((run / "report.html").read_text())
    assert re.search(r"hidden_size 16 auto", page)
    assert re.search(r"backbone plain5 auto", page)
    assert not re.search(r"\bmomentum 0.9 0.9", page)


def test_names_are_escaped(tmp_path):
    names = (HOSTILE, '"><img src=x onerror=alert(2)>')
    images = draw_images(tmp_path / "<b>images", classes=names)
    assert main(["pretrain", str(images), *TINY, "--out", str(tmp_path / "<i>run")]) == 0
    page = (tmp_path / "<i>run" / "report.html").read_text()
    assert page.count("<script") == 2 and page.count("</script>") == 2
    for name in (*names, "<b>images", "<i>run"):
        assert name not in page and name in html.unescape(page)
    assert "alert(1)" in page


def test_without_labels_the_page_has_neighbours_and_map_but_no_accuracy(unlabelled):
    page = (unlabelled / "report.html").read_text()
    assert {"Nearest neighbours", "Embedding map"} <= set(headings(page))
    assert not {"Further results", "Confusion matrix"} & set(headings(page))
    assert "the accuracy is unknown" in text(page) and "has not collapsed" in text(page)
    assert page.count('<figure class="plain"') == 64 and "✓" not in text(page)


def test_the_page_of_an_unfinished_run_shows_its_checkpoint(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    for name in ("results.json", "backbone.safetensors", "report.html"):
        (copy / name).unlink()
    page = report(copy, "--trust", "--out", copy / "report.html")
    assert "unfinished: 2 of 2 epochs" in text(page) and "last checkpoint" in text(page)
    assert "Confusion matrix" in headings(page), "there are labels, so a probe is fitted"
    (copy / "logs" / "metrics.csv").unlink()
    page = report(copy, "--trust", "--out", copy / "report.html")
    assert "Training curves" not in headings(page)


def test_moved_images_are_omitted_or_found_by_data(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    config = (copy / "config.yaml").read_text()
    gone = re.sub(r"^data: .*$", f"data: {tmp_path / 'gone'}", config, flags=re.M)
    (copy / "config.yaml").write_text(gone)
    page = report(copy, "--trust", "--out", tmp_path / "page.html")
    assert "There are no images on this page" in text(page) and "is not there" in text(page)
    assert not any("map" in heading for heading in headings(page))
    assert "How the accuracy was measured" in text(page)
    images = draw_images(tmp_path / "here")
    page = report(copy, "--data", images, "--out", tmp_path / "page.html")
    assert "24 images; those with similar features" in text(page)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_with_any_number_of_channels_are_shown(tmp_path, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (24, 20, 20, channels), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(24) % 3)
    argv = ["pretrain", str(tmp_path / "set.npz"), *TINY, "--out", str(tmp_path / "run")]
    assert main([*argv, "--no-evaluate"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png") > 16


def test_a_failed_report_does_not_fail_the_run(tmp_path, monkeypatch, capsys):
    from BYOL.report import html as page

    def fail(*_):
        raise RuntimeError("the first\nline")

    monkeypatch.setattr(page, "write_page", fail)
    images = draw_images(tmp_path / "images")
    argv = ["pretrain", str(images), *TINY, "--no-evaluate", "--out", str(tmp_path / "run")]
    assert main(argv) == 0
    warnings = [e for e in capsys.readouterr().err.splitlines() if e.startswith("warning: ")]
    assert len([w for w in warnings if "no report (the first)" in w]) == 1
    assert (tmp_path / "run" / "results.json").exists()
    assert not (tmp_path / "run" / "report.html").exists()


def test_the_report_can_be_disabled():
    assert parse("pretrain", ["--no-report"]).report is False


def test_a_comparison_shows_the_differences_of_the_runs(run, unlabelled, tmp_path, capsys):
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
    assert "Not shown: the runs were trained on different images" in text(page)
    capsys.readouterr()
    argv = ["report", str(run), str(unlabelled), "--out", str(tmp_path / "c.html"), "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [str(run), str(unlabelled)]


def test_the_last_positional_argument_may_be_a_list():
    assert parse("report", ["a", "b c", "--seed", "3"]).run == ["a", "b c"]
    assert parse("report", ["runs/ä", "--out=x.html"]).run == ["runs/ä"]
    assert parse("report", ["1", "null"]).run == ["1", "null"]
    assert parse("report", ["--run", "a", "--run=b"]).run == ["a", "b"]


def test_the_seed_determines_the_sample_of_a_larger_set(run, tmp_path):
    first, again, other = (
        report(run, "--pictures", "10", "--seed", seed, "--out", tmp_path / "page.html")
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert "10 images; those with similar" in text(first) and "10 of the 24" in text(first)


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
def test_user_errors_are_one_line(run, tmp_path, monkeypatch, capsys, argv, named):
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and named in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_in_the_folder_is_named(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "results.json").write_text("{")
    assert main(["report", str(copy)]) == 2
    assert "results.json is damaged: it is not JSON" in capsys.readouterr().err
