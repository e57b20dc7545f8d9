"""The report in headless Chromium: it draws, asks for nothing outside, and works by keyboard."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import re

import pytest

from pcainit.cli.main import main
from pcainit.io.atomic import read_arrays
from pcainit.output.report import write_report
from pcainit.tests.browser import Browser, find_chromium
from pcainit.tests.example_result import make_result

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")

# Share of the pixels that are drawn on, and the number of distinct colours.
PIXELS = """(() => {
  const old = document.querySelector('%s canvas'), copy = document.createElement('canvas');
  copy.width = old.width; copy.height = old.height;
  const pen = copy.getContext('2d');
  pen.drawImage(old, 0, 0);
  const data = pen.getImageData(0, 0, copy.width, copy.height).data, colours = new Set();
  let drawn = 0, sum = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3]) {
    drawn++; colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
    sum = (sum * 31 + data[i] + i) %% 1000000007;
  }
  return [drawn * 4 / data.length, colours.size, sum]; })()"""
# Contrast of each text with what lies behind it, where it is under what WCAG's level AA asks for.
CONTRAST = """(() => {
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const read = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = read(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll('main *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.getClientRects().length || e.disabled) continue;
    const style = getComputedStyle(e), a = light(read(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push([e.tagName, e.textContent.slice(0, 40), ratio]);
  }
  return [poor, document.querySelectorAll('main *').length]; })()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    write_report(folder, make_result(folder, 1500))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, folder):
    browser.open(folder / "report.html")
    yield browser
    assert browser.faults == []
    outside = [a for a in browser.requests if not re.match(r"data:|blob:", a)]
    assert outside == [(folder / "report.html").resolve().as_uri()]


def _change(page, part, value, event="input"):
    page.value(
        "(() => { const e = document.querySelector('[data-part=%s]'); e.value = '%s'; "
        "e.dispatchEvent(new Event('%s')); })()" % (part, value, event)
    )
    page.settle()


def test_volumes_and_points_are_drawn(page):
    for box, least in ("#viewer", 0.05), ("#scatter", 0.01):
        share, colours, _ = page.value(PIXELS % box)
        assert share > least and colours > 20
    assert not page.value("!!document.querySelector('.no-viewer').getClientRects().length")
    assert page.value("document.querySelectorAll('[data-part=labels] span').length") == 4


def test_level_mode_and_movie_change_the_picture(page):
    triangles = "Number(document.querySelector('#viewer canvas').dataset.triangles)"
    before, first = page.value(triangles), page.value(PIXELS % "#viewer")
    _change(page, "level", 60)
    assert 0 < page.value(triangles) < before
    _change(page, "level", 19)
    page.value("document.querySelector('[value=over]').click()")
    page.settle()
    assert page.value(PIXELS % "#viewer")[2] != first[2]
    page.value("document.querySelector('[value=film]').click()")
    page.settle()
    assert page.value("document.querySelectorAll('[data-part=path] option').length") == 3 + 6
    start = page.value(PIXELS % "#viewer")
    _change(page, "position", 100)
    assert page.value(PIXELS % "#viewer")[2] != start[2]
    assert "component 1 at" in page.value(
        "document.querySelector('[data-part=labels]').textContent"
    )
    page.value("document.querySelector('[data-part=play]').click()")
    page.value(  # it begins anew, as often as it takes to be looked at in time
        "new Promise(done => { const look = () => "
        "document.querySelector('[data-part=position]').value < 60 "
        "? done(1) : setTimeout(look, 10); look(); })"
    )
    page.value("document.querySelector('[data-part=play]').click()")


def test_keyboard_turns_the_volumes(page):
    seen = []
    for _ in range(200):  # reached by the tabulator alone
        page.press("Tab", 9)
        seen.append(page.value("document.activeElement.tagName"))
        if page.value("document.activeElement === document.querySelector('#viewer canvas')"):
            break
    assert seen[-1] == "CANVAS" and "INPUT" in seen and "SELECT" in seen
    before = page.value(PIXELS % "#viewer")
    page.press("ArrowLeft", 37)
    page.settle()
    turned = page.value(PIXELS % "#viewer")
    assert turned[2] != before[2]
    page.press("+", 187, "+")
    page.settle()
    assert page.value(PIXELS % "#viewer")[0] > turned[0]


def test_points_are_chosen_by_lasso_and_by_class(page, folder):
    latents = read_arrays(folder / "latents.npz")
    wanted = int((~latents["junk"] & (latents["class"] == 2)).sum())
    _change(page, "pick", 2, "change")
    said = "document.querySelector('#scatter [data-part=said]').textContent"
    assert page.value(said) == "%d chosen" % wanted
    page.value("document.querySelector('#scatter canvas').scrollIntoView()")
    box = json.loads(
        page.value(
            "JSON.stringify(document.querySelector('#scatter canvas').getBoundingClientRect())"
        )
    )
    left, top = box["x"] + 64, box["y"] + 14
    right, bottom = box["x"] + box["width"] - 14, box["y"] + box["height"] - 48
    page.mouse("mousePressed", left, top)
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 2)):
        page.mouse("mouseMoved", x, y)
    page.mouse("mouseReleased", left, top + 2)
    page.settle()
    count = int(page.value(said).split()[0].replace(",", ""))
    assert 0.98 * 1500 < count <= 1500
    page.value(
        "window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }"
    )
    _change(page, "pick", 4, "change")
    page.value("document.querySelector('[data-part=save]').click()")
    rows = page.value("window.saved.text()").split()
    members = [k + 1 for k in range(1500) if latents["class"][k] == 4 and not latents["junk"][k]]
    assert list(map(int, rows)) == members


def test_hover_says_which_particle(page):
    page.value("document.querySelector('#scatter canvas').scrollIntoView()")
    box = page.value(
        "(() => { const r = document.querySelector('#scatter canvas').getBoundingClientRect(); "
        "return [r.x, r.y, r.width, r.height]; })()"
    )
    for across in range(10, 90, 2):
        page.mouse("mouseMoved", box[0] + box[2] * across / 100, box[1] + box[3] * 0.45, False)
        if page.value("document.querySelector('[data-part=tip]').textContent"):
            break
    tip = page.value("document.querySelector('[data-part=tip]').textContent")
    assert re.match(r"row \d+, (class \d|set aside), ", tip) and "contrast" in tip


def test_comparison_shows_the_sets_in_their_colours(browser, folder, tmp_path):
    words = ["one=%s" % (folder / "volumes"), "two=%s" % (folder / "components" / "mean.mrc")]
    assert main(["compare", *words, "-o", str(tmp_path / "out"), "--resolution", "20"]) == 0
    browser.open(tmp_path / "out" / "comparison.html")
    share, colours, _ = browser.value(PIXELS % "#viewer")
    assert share > 0.05 and colours > 20 and browser.faults == []
    labels = browser.value("document.querySelector('[data-part=labels]').innerText").split("\n")
    assert "".join(labels).replace(" ", "") == "one1one2one3one4two1"
    cells = browser.value("document.querySelector('table.classes tbody').innerText")
    assert "one" in cells and "two" in cells
    poor, _ = browser.value(CONTRAST)
    assert poor == []
    outside = [a for a in browser.requests if not a.startswith("data:")]
    assert outside == [(tmp_path / "out" / "comparison.html").resolve().as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_all_text(browser, folder, scheme):
    browser.call(
        "Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value=scheme)]
    )
    browser.open(folder / "report.html", 1920)
    poor, seen = browser.value(CONTRAST)
    page = browser.value("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert poor == [] and seen > 200
    assert (page == "rgb(255, 255, 255)") == (scheme == "light")


def test_on_paper_pictures_stand_in(browser, folder):
    browser.open(folder / "report.html")
    shown = "!!document.querySelector('%s').getClientRects().length"
    assert not browser.value(shown % ".static-points")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.value(shown % ".static-points")
        assert not browser.value(shown % "#viewer") and not browser.value(shown % "#scatter")
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_pictures_stand_in_without_webgl(folder, tmp_path):
    browser = Browser(tmp_path)
    try:
        browser.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="const get = HTMLCanvasElement.prototype.getContext; "
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) "
            "{ return kind === 'webgl2' ? null : get.call(this, kind, ...rest); }",
        )
        browser.open(folder / "report.html")
        assert browser.faults == []
        assert not browser.value("!!document.querySelector('#viewer').getClientRects().length")
        assert browser.value("!!document.querySelector('.no-viewer').getClientRects().length")
    finally:
        browser.close()
