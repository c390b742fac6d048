"""The report in a real browser: it shows everything without errors and without requests."""

import json
import shutil
from pathlib import Path

import pytest

from BYOL.cli.main import main

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the PATH")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def comparison(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "compare.html"
    assert main(["report", str(run), str(run), "--out", str(out)]) == 0
    return out


class Visit:
    """An open page with its errors and requests."""

    def __init__(self, browser, file: Path, **settings):
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(request.url))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.resolve().as_uri())
        self.page.wait_for_function("[...document.images].every((i) => i.complete)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def background(self) -> str:
        return self.page.evaluate("getComputedStyle(document.body).backgroundColor")

    def pixels(self) -> int:
        """Return a checksum of the drawn map."""
        return self.page.evaluate(
            """() => { const c = document.querySelector(".map > canvas");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            return d.reduce((sum, v, i) => (sum * 31 + v * (i % 7)) % 1000003, 7); }"""
        )


def check_without_errors(visit: Visit, images: int) -> None:
    assert visit.errors == []
    assert [url for url in visit.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in visit.requests if url.startswith("file:")]) == 1
    widths = visit.page.evaluate("[...document.images].map((i) => i.naturalWidth)")
    assert len(widths) >= images and min(widths) > 0
    without_alt = visit.page.evaluate("[...document.images].filter((i) => !i.hasAttribute('alt'))")
    assert without_alt == []


def test_a_report_is_complete_and_makes_no_requests(browser, run):
    with Visit(browser, run / "report.html") as visit:
        check_without_errors(visit, images=72)
        assert visit.page.evaluate("document.querySelectorAll('.chart path.line').length") >= 3


def test_the_map_shows_the_image_at_the_pointer(browser, run):
    with Visit(browser, run / "report.html", viewport={"width": 1100, "height": 900}) as visit:
        page = visit.page
        canvas = page.locator(".map > canvas")
        canvas.scroll_into_view_if_needed()
        tip = page.locator("#map .tip")
        assert not tip.is_visible()
        box = canvas.bounding_box()
        data = json.loads(page.locator("#map-data").text_content())
        xs, ys = zip(*data["tsne"], strict=True)
        at = xs.index(min(xs))  # the leftmost point is 20 px from the edge
        y = box["y"] + 20 + (ys[at] - min(ys)) / (max(ys) - min(ys)) * (box["height"] - 40)
        page.mouse.move(box["x"] + 20, y)
        assert tip.is_visible() and data["names"][at] in tip.inner_text()
        assert data["classes"][data["labels"][at]] in tip.inner_text()
        shown = page.evaluate(
            """() => { const c = document.querySelector(".tip canvas");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            return d.filter((v, i) => i % 4 === 3 && v === 255).length; }"""
        )
        assert shown == data["side"] ** 2, "the whole image is drawn"
        page.mouse.move(box["x"] + 2, box["y"] - 60)
        assert not tip.is_visible()
        canvas.focus()
        page.keyboard.press("ArrowRight")
        assert tip.is_visible() and data["names"][at] in tip.inner_text()
        assert visit.errors == []


def test_every_switch_changes_the_map(browser, run):
    with Visit(browser, run / "report.html", viewport={"width": 1100, "height": 900}) as visit:
        page = visit.page
        checksums = [visit.pixels()]
        for button in ("[data-layout=pca]", "[data-marks=images]", "[data-class='0']"):
            page.click(f"#map {button}")
            assert page.get_attribute(f"#map {button}", "aria-pressed") == "true"
            checksums.append(visit.pixels())
        assert len(set(checksums)) == 4, "every switch changes the drawn map"
        assert (
            page.locator(".only.pca").is_visible() and not page.locator(".only.tsne").is_visible()
        )
        page.click("#map [data-class='0']")
        assert visit.pixels() == checksums[2]


def test_charts_show_values_for_pointer_and_keyboard(browser, run):
    with Visit(browser, run / "report.html") as visit:
        chart = visit.page.locator(".chart").first
        at_rest = chart.locator(".read").inner_text()
        chart.locator("svg").first.hover()
        assert "at epoch" in chart.locator(".read").inner_text()
        visit.page.mouse.move(0, 0)
        assert chart.locator(".read").inner_text() == at_rest
        chart.locator("svg").first.focus()
        visit.page.keyboard.press("ArrowLeft")
        assert "at epoch" in chart.locator(".read").inner_text()


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_a_phone_needs_no_horizontal_scrolling(browser, run, comparison, kind):
    file = run / "report.html" if kind == "report" else comparison
    with Visit(browser, file, viewport={"width": 360, "height": 740}, has_touch=True) as visit:
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width == 360
        visit.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true })"
        )
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_colour_scheme_follows_the_browser(browser, run):
    colours = {}
    for scheme in ("light", "dark"):
        with Visit(browser, run / "report.html", color_scheme=scheme) as visit:
            colours[scheme] = visit.background()
    assert colours["light"] == "rgb(253, 252, 250)" and colours["dark"] == "rgb(21, 22, 24)"


def test_a_comparison_shows_both_runs_without_errors(browser, comparison):
    with Visit(browser, comparison) as visit:
        check_without_errors(visit, images=8 + 2 * 64)
        chart = visit.page.locator(".chart").first
        chart.locator("svg").first.hover()
        read = chart.locator(".read").inner_text()
        assert read.startswith("A ") and "; B " in read
