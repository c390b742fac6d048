"""The report in a real browser: it shows everything without errors and without requests."""

import json
import shutil
from pathlib import Path

import pytest

from BYOL._console import visible
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
def comparison(finished_run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "compare.html"
    assert main(["report", *[str(finished_run)] * 2, "--out", str(out)]) == 0
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


def test_every_link_of_the_contents_leads_to_its_section(browser, run):
    with Visit(browser, run / "report.html", viewport={"width": 1280, "height": 700}) as visit:
        links = visit.page.locator("nav a")
        assert links.count() >= 7
        for i in range(links.count()):
            links.nth(i).click()
            title = links.nth(i).inner_text()
            heading = visit.page.locator("h2", has_text=title).last
            assert heading.bounding_box()["y"] < 700 and heading.inner_text() == title
        assert visit.errors == []


def test_a_wide_table_shows_that_it_scrolls_until_its_end(browser, run, tmp_path):
    page = hostile_page(run, tmp_path)
    with Visit(browser, page, viewport={"width": 390, "height": 844}) as visit:
        region = visit.page.locator(".scroll", has=visit.page.locator("table.confusion"))
        hint = visit.page.locator(".scroll.wide + .hint").first
        assert hint.is_visible() and "more-right" in region.get_attribute("class")
        region.evaluate("(r) => { r.scrollLeft = r.scrollWidth }")
        visit.page.locator(".more-left:not(.more-right)").first.wait_for(state="attached")
    with Visit(browser, run / "report.html", viewport={"width": 1280, "height": 844}) as visit:
        assert visit.page.locator(".hint:visible").count() == 0


HOSTILE = [
    "<b>bold</b>", "line\nbreak", "שלום \u202e evil", "\"><img src=x onerror=alert(1)>",
    "x" * 250, "ü" * 125, "{{ 7 * 7 }}", "</script><script>alert(2)</script>",
    *(f"class {number}" for number in range(8)),
]  # fmt: skip


def hostile_page(run: Path, tmp_path: Path) -> Path:
    """Return the page of a run whose classes and near-copies have hostile names."""
    copy = shutil.copytree(run, tmp_path / "run")
    results = json.loads((copy / "results.json").read_text())
    evaluation = results["evaluation"]
    size = len(HOSTILE)
    evaluation["class_names"] = HOSTILE
    evaluation["confusion"] = [[5 if r == c else 1 for c in range(size)] for r in range(size)]
    figures = {"recall": 0.5, "low": 0.4, "high": 0.6, "images": 12}
    evaluation["recall"] = dict.fromkeys(HOSTILE, figures)
    evaluation["leakage"] = {"checked": 12, "leaked": 1, "pairs": [[HOSTILE[4], HOSTILE[2]]]}
    (copy / "results.json").write_text(json.dumps(results))
    out = tmp_path / "hostile.html"
    assert main(["report", str(copy), "--trust", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_names_are_text_and_break_no_layout(browser, run, tmp_path, width):
    page = hostile_page(run, tmp_path)
    with Visit(browser, page, viewport={"width": width, "height": 844}) as visit:
        assert visit.errors == []
        visit.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true })"
        )
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        table = visit.page.locator("table.confusion tbody th bdi")
        shown = [" ".join(name.split()) for name in table.all_text_contents()]
        # control characters of files are replaced when results are read
        assert shown == [" ".join(visible(name, kept="").split()) for name in HOSTILE]


def test_paper_shows_folded_parts_in_light_colours(browser, run):
    with Visit(browser, run / "report.html", color_scheme="dark") as visit:
        visit.page.emulate_media(media="print")
        assert visit.background() == "rgb(253, 252, 250)"
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert visit.page.locator("details:not([open])").count() == 0
        visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert visit.page.locator("details:not([open])").count() > 0


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
