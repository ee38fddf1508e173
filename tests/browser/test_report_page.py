"""The report in a real browser: nothing overflows, nothing is fetched, no message, and text that can be read in both schemes."""

import itertools
import shutil
from pathlib import Path

import pytest

from kilonova.proof import chromium, report

PROJECT = Path(__file__).resolve().parent.parent.parent
SIZES = [(360, 740), (768, 1024), (1280, 800)]

pytestmark = pytest.mark.skipif(not chromium.find(), reason="no chromium on this machine (apt-get install chromium)")

# Elements that stick out to the right, but for what is inside of a box that scrolls.
OVERFLOW = """[...document.body.querySelectorAll('*')].filter(e => {
  if (e.closest('.scroll, pre, .vh, .skip-link, thead') || !e.getClientRects().length) return false;
  return e.getBoundingClientRect().right > innerWidth + 1;
}).map(e => e.outerHTML.slice(0, 120))"""

# Texts whose contrast with what is behind them is below WCAG's AA: 4.5, or 3 where the letters are large.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = color => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = c => c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    const layers = [];
    for (let p = e; p; p = p.parentElement) {
      const style = getComputedStyle(p);
      // The header's gradient: its lightest stop is the worst for its light text.
      if (style.backgroundImage.includes('gradient')) { layers.push([138, 59, 18, 1]); break; }
      const color = rgba(style.backgroundColor);
      if (color[3]) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const bad = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !e.getClientRects().length || e.closest('.vh, .skip-link, title, desc, style')) continue;
    const style = getComputedStyle(e), svg = e instanceof SVGElement, back = behind(e);
    const front = over(rgba(svg ? style.fill : style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) bad.add(`${ratio.toFixed(2)}: ${e.tagName}.${e.getAttribute('class')} ${text.slice(0, 40)}`);
  }
  return [...bad];
})()"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    for path in (PROJECT / "tests/data/report").glob("*.json"):
        shutil.copy(path, directory)
    with chromium.Browser(width=720, height=400) as browser:
        browser.screenshot(directory / "console.png")
    return report.write(directory, PROJECT / "roles/report/templates/index.html.j2").as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser() as browser:
        yield browser


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=SIZES, ids=lambda size: str(size[0]))
def shown(browser, address, scheme, request):
    """The page with everything in it unfolded."""
    width, height = request.param
    browser.messages.clear()
    browser.requests.clear()
    browser.resize(width, height, mobile=width < 500)
    browser.media(prefers_color_scheme=scheme)
    browser.open(address)
    browser.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    return browser


def test_nothing_overflows(shown):
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert shown.evaluate(OVERFLOW) == []


def test_no_message_and_nothing_fetched(shown, address):
    assert shown.messages == []
    assert [url for url in shown.requests if not url.startswith(("data:", address))] == []


def test_texts_can_be_read(shown):
    assert shown.evaluate(CONTRAST) == []


def test_the_schemes_differ(browser, address):
    colors = set()
    for name in ("light", "dark"):
        browser.media(prefers_color_scheme=name)
        browser.open(address)
        colors.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colors) == 2


def test_what_a_screen_reader_needs(browser, address):
    browser.open(address)
    assert browser.evaluate("document.documentElement.lang") == "en"
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    assert browser.evaluate("[...document.images].every(i => i.alt.length > 10 && i.naturalWidth)")
    assert browser.evaluate(
        "[...document.querySelectorAll('svg:not([aria-hidden])')].every(e => e.querySelector('title') && e.querySelector('desc'))"
    )
    assert browser.evaluate(
        "[...document.querySelectorAll('section')].every(e => document.getElementById(e.getAttribute('aria-labelledby')))"
    )
    # Headings do not leave a level out.
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])")
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    # What scrolls can be reached by the keyboard.
    assert browser.evaluate("[...document.querySelectorAll('pre, .diagram')].every(e => e.tabIndex === 0)")


def test_the_verdict_and_the_failure_are_there(browser, address):
    browser.open(address)
    text = browser.evaluate("document.body.innerText")
    assert "1 thing did not work" in text
    assert "nova-compute.service is inactive" in text
    assert "<script>alert(1)</script>" in text
