"""The page in a real browser: nothing to complain about, every section there, on a desk, a phone and in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blackstart.report import html
from blackstart.report.model import CoveredPoint
from tests.unit.report.samples import FULL, HOSTILE

pytestmark = [pytest.mark.live, pytest.mark.needs("chromium")]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
)
PATIENCE_MS = 180_000
SECTIONS = ("verdict", "change", "findings", "coverage", "surface", "worth", "environment")
# Contrast as WCAG 2 computes it, of each text against the first ground behind it that is not transparent.
CONTRAST = """
() => {
  const parts = c => c.match(/[0-9.]+/g).map(Number);
  const light = c => parts(c).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) > 0) return c; } return "rgb(255,255,255)"; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(`${e.tagName} ${e.className} ${ratio.toFixed(2)}`);
  }
  return bad;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (not installed)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS.split(), timeout=PATIENCE_MS
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    many = tuple(CoveredPoint(kind=kind, call="write", path=HOSTILE * 3, passed=1) for kind in "abcdefghijkl")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(html.render(msgspec.structs.replace(FULL, coverage=(*FULL.coverage, *many))))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_opens_without_a_complaint(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    try:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        complaints: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        assert [name for name in SECTIONS if not page.locator(f"#{name}").is_visible()] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing hangs over the edge"
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        assert page.locator(".shade").first.bounding_box()["width"] > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nor when all is unfolded"
        assert page.evaluate(CONTRAST) == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(20, 24, 29)") == (scheme == "dark")
        assert (complaints, asked) == ([], [page_file.as_uri()])
    finally:
        context.close()


def test_the_page_can_be_read_without_seeing_it(browser: Any, page_file: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    try:
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])")
        assert all(after - before <= 1 for before, after in pairwise(levels))
        # What scrolls can be reached by keyboard and says what it is; what is drawn says what it shows.
        assert page.evaluate(
            "[...document.querySelectorAll('.scroll, [role=img]')].every(e => e.getAttribute('aria-label') "
            "&& (e.getAttribute('role') === 'img' || e.tabIndex === 0))"
        )
        assert page.evaluate("[...document.querySelectorAll('th')].every(e => e.scope)")
    finally:
        page.close()
