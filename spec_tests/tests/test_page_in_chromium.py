"""The page of the matrix in Debian's Chromium, as people use it. `nox -s page` runs this."""

import json
import os
import shutil
import statistics
from pathlib import Path

import page_sample
import pytest

from spec_tests.matrix.merge import KINDS, merge

pytest.importorskip("jinja2", reason="the page is made with Jinja2, of the extra `compare`")
pytest.importorskip("selenium", reason="`nox -s page` installs what drives the browser")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from spec_tests.matrix.page import as_page

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("Debian's chromium and chromium-driver are not here", allow_module_level=True)

SIZES = {"desk": (1280, 900), "phone": (390, 844)}
# The smallest ratio of text to what is behind it, over all that is seen (WCAG 2.2, 1.4.3).
CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
// Mixed colours are told in shares of 1.
const parse = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4)
  .map((v, i) => (text.startsWith("color(") && i < 3 ? 255 * v : v));
const mix = (top, below) => (v, i) => v * top[3] + below[i] * (1 - top[3]);
const over = (top, below) => [...top.slice(0, 3).map(mix(top, below)), 1];
function behind(node) {
  const layers = [];
  for (let at = node; at; at = at.parentElement)
    layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
}
const low = new Map();
let seen = 0;
for (const node of document.body.querySelectorAll("*")) {
  if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
  if (!node.checkVisibility() || node.tagName === "SCRIPT" || node.tagName === "OPTION") continue;
  seen += 1;
  const style = getComputedStyle(node), below = behind(node);
  const a = light(over(parse(style.color), below)), b = light(below);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) low.set(`${node.className || node.tagName} ${style.color} on ${below}`, ratio);
}
return [seen, [...low]];
"""
# Pairs of things to press or read, of the part before the tables, that lie on each other.
OVERLAPS = """
const top = "h1, .lines :is(button, a, .warn, .state), .bar :is(label, button), .jump a, #count";
const all = [...document.querySelectorAll(top)].filter((node) => node.checkVisibility());
const shared = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
const out = [];
for (const [at, one] of all.entries()) for (const other of all.slice(at + 1)) {
  if (one.contains(other) || other.contains(one)) continue;
  for (const a of one.getClientRects()) for (const b of other.getClientRects())
    if (shared(a, b, "left", "right") > 1 && shared(a, b, "top", "bottom") > 6)
      out.push(`${one.textContent} / ${other.textContent}`);
}
return out;
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    results = page_sample.results()
    path = tmp_path_factory.mktemp("page") / "matrix.html"
    path.write_text(as_page(merge(results), results, **page_sample.parts()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # A container has no user namespaces for the sandbox, and the page is our own.
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield found
    found.quit()


@pytest.fixture(params=list(SIZES))
def page(request, browser, address):
    """Open the page at one of two widths; what it then writes to its console is a fault."""
    opened = opener(browser, address, request.param)
    yield opened
    assert browser.get_log("browser") == []


@pytest.fixture
def desk(browser, address):
    yield opener(browser, address, "desk")
    assert browser.get_log("browser") == []


def opener(browser, address, size, hash=""):
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(address + hash)
    return browser


def script(page, text, *arguments):
    return page.execute_script(text, *arguments)


def keys(page, *typed):
    for key in typed:
        page.switch_to.active_element.send_keys(key)


def panel(page, wanted=""):
    """Return the text beside the table, once it is there."""
    box = page.find_element(By.ID, "panel")
    WebDriverWait(page, 5).until(lambda _: box.is_displayed() and wanted in box.text)
    return box


def shown(page):
    """Return the keys of the rows that are seen."""
    return script(
        page,
        "return [...document.querySelectorAll('tbody.rows tr[id]')]"
        ".filter((row) => row.checkVisibility()).map((row) => row.dataset.key)",
    )


def shoot(page, name):
    folder = os.environ.get("SPEC_TESTS_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        width = page.execute_script("return innerWidth")
        page.save_screenshot(str(Path(folder) / f"{name}-{width}.png"))


def fits(page):
    """Assert that nothing makes the page itself wider than the window."""
    # Not innerWidth, which on a phone grows with what overflows.
    root = "document.documentElement"
    wide, window = script(page, f"return [{root}.scrollWidth, {root}.clientWidth]")
    assert wide <= window


def test_it_asks_for_nothing_and_complains_of_nothing(page):
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("about:", "data:"))] == [page.current_url]
    assert script(page, "return performance.getEntriesByType('resource').length") == 0
    assert script(page, "return window.broken") is None


def test_a_large_page_opens_whole(browser, address, capsys):
    """All rows are there once it has loaded; how long that took is told, and asserted nowhere."""
    rows = sum(len(merge(page_sample.results()).rows(kind)) for kind in KINDS)
    assert rows > 1500  # Three times what was promised for.
    took = []
    for _ in range(3):
        desk = opener(browser, address, "desk")
        assert script(desk, "return document.readyState") == "complete"
        took.append(
            script(browser, "return performance.getEntriesByType('navigation')[0].loadEventEnd")
        )
    with capsys.disabled():
        print(f"\n{rows} rows: loaded in {statistics.median(took):.0f} ms, median of three")


def test_nothing_overflows_or_overlaps(page):
    fits(page)
    assert script(page, OVERLAPS) == []
    shoot(page, "first")
    page.find_element(By.ID, "fold").click()
    assert len(shown(page)) > 1500
    fits(page)
    # The names of rows stay where the table is pushed.
    left = "return document.querySelector('tr[id] th').getBoundingClientRect().left"
    before = script(page, left)
    script(page, "document.querySelector('.scroll').scrollLeft = 200")
    assert script(page, left) == before
    script(page, "for (const one of document.querySelectorAll('details')) one.open = true")
    fits(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(page, theme):
    """In both themes, with all of it open, the contrast is at least 4.5."""
    button = page.find_element(By.ID, "theme")
    while button.text != f"Theme: {theme}":
        button.click()
    page.find_element(By.ID, "fold").click()
    script(page, "for (const one of document.querySelectorAll('details')) one.open = true")
    script(page, "document.querySelector('#ops\\\\.sin td:nth-child(3) button').click()")
    panel(page, "To reproduce")
    seen, low = script(page, CONTRAST)
    assert seen > 5000
    assert low == []
    shoot(page, f"cell-{theme}")
    while button.text != "Theme: system":
        script(page, "document.getElementById('theme').click()")


def test_the_theme_is_the_systems_until_it_is_chosen(desk):
    paper = "return getComputedStyle(document.body).backgroundColor"
    for scheme, color in (("dark", "rgb(22, 23, 27)"), ("light", "rgb(255, 255, 255)")):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        desk.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        assert script(desk, paper) == color
    desk.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_chapter_folds(page):
    toggle = page.find_element(By.CSS_SELECTOR, "#clauses ~ .scroll .toggle")
    assert shown(page) == []
    toggle.click()
    assert toggle.get_attribute("aria-expanded") == "true"
    assert shown(page)[0] == "tensor-01"
    toggle.click()
    assert shown(page) == []


def test_the_filter(page):
    state = Select(page.find_element(By.ID, "state"))
    state.select_by_visible_text("crashed")
    assert shown(page) == ["errors-01"]
    assert page.find_element(By.ID, "count").text == "1 of 1537 rows"
    Select(page.find_element(By.ID, "implementation")).select_by_visible_text("impl_right")
    assert shown(page) == []
    assert page.find_element(By.ID, "nothing").is_displayed()
    page.find_element(By.ID, "clear").click()
    Select(page.find_element(By.ID, "implementation")).select_by_visible_text("impl_wrong")
    state.select_by_visible_text("all but passed")
    wrong = {"errors-01", "rnn-02", "ops.sin", "ops.sinh", "GRU: vmap", "rnn.GRU.batch_first.vmap"}
    assert set(shown(page)) == wrong
    heads = page.find_elements(By.CSS_SELECTOR, ".wide thead th")
    assert {head.text for head in heads if head.is_displayed() and "impl" in head.text} == {
        "impl_wrong"
    }
    fits(page)
    shoot(page, "filter")


def test_the_search(desk):
    keys(desk, "/")
    assert desk.switch_to.active_element.get_attribute("id") == "search"
    keys(desk, "RNNCell values")
    WebDriverWait(desk, 5).until(lambda _: shown(desk) == ["rnn-02"])
    keys(desk, Keys.ESCAPE)
    assert shown(desk) == []
    assert desk.find_element(By.ID, "search").get_attribute("value") == ""


def test_the_keyboard(desk):
    keys(desk, "/", "sin", Keys.ENTER)
    WebDriverWait(desk, 5).until(lambda _: "ops.sin" in shown(desk))
    here = "const h = document.querySelector('tr.here'); return h && (h.dataset.key || 'chapter')"
    moved = []
    while script(desk, here) != "ops.sin" and len(moved) < 40:
        keys(desk, "j")
        moved.append(script(desk, here))
    assert moved[-1] == "ops.sin"
    keys(desk, "l", Keys.ENTER)
    box = panel(desk, "To reproduce")
    assert "impl_wrong" in box.text
    keys(desk, Keys.ESCAPE)
    assert not box.is_displayed()
    assert desk.switch_to.active_element.text == "✗ 0/7 failed"
    keys(desk, "k")
    assert script(desk, here) != "ops.sin"


def test_a_cell_opens_on_the_failure(page):
    opener(page, page.current_url.partition("#")[0], "desk", "#rnn-02@impl_wrong")
    box = panel(page, "To reproduce")
    for wanted in (
        "got 0.25 but should be 0.5",
        page_sample.HOSTILE,
        "spec-tests run --impl impl_wrong 'spec_tests.suite.test_rnn::test_02[0]'",
        "agree with the reference, for tanh and relu",
        "30 tests",
    ):
        assert wanted in box.text
    assert not box.find_elements(By.TAG_NAME, "script")
    assert "rnn-02" in shown(page)
    box.find_element(By.CSS_SELECTOR, "article a").click()
    assert page.find_element(By.ID, "text-rnn-02").is_displayed()


def test_what_an_incomplete_run_shows(desk):
    script(desk, "location.hash = '#ops.tanh@impl_cut'")
    box = panel(desk, "no result")
    assert "got 0.25 but should be 0.5" in box.text
    assert "passed" not in box.text
    assert not [one for one in box.find_elements(By.TAG_NAME, "summary") if one.text == "JSON"]


def test_a_number_opens_its_json_environment_and_command(page):
    number = page.find_element(By.CSS_SELECTOR, '[data-total="clauses"][data-impl="1"]')
    number.click()
    box = panel(page, "JSON")
    script(page, "for (const one of document.querySelectorAll('#panel details')) one.open = true")
    assert '"passed": 469' in box.text
    assert "--impl impl_wrong" in box.text
    assert "Linux-6.1" in box.text
    fits(page)


def test_the_file_is_given_whole(desk, tmp_path):
    desk.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    desk.find_element(By.CSS_SELECTOR, '.lines a.download[data-impl="1"]').click()
    target = tmp_path / "impl_wrong.json"
    WebDriverWait(desk, 10).until(lambda _: target.exists())
    assert json.loads(target.read_text(encoding="utf-8")) == page_sample.results()[1]


def test_by_property(desk):
    desk.find_element(By.CSS_SELECTOR, ".toggle").click()
    cell = desk.find_element(By.CSS_SELECTOR, '[data-property="gradient"]:is(td:nth-child(3) *)')
    assert cell.text.startswith("✗")
    cell.click()
    assert "ops.sin: failed" in panel(desk, "Where it did not pass").text


def test_print_leaves_out_what_is_to_press(desk):
    desk.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not desk.find_element(By.CSS_SELECTOR, ".bar").is_displayed()
    assert desk.find_element(By.ID, "totals").is_displayed()
    # What scrolls on a screen is whole on paper, and does not lie on what follows.
    assert script(
        desk,
        "return [...document.querySelectorAll('.tall')]"
        ".every((one) => one.scrollHeight <= one.clientHeight + 1)",
    )
    desk.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_heat_map_shows_another_statistic(page):
    cell = page.find_element(By.CSS_SELECTOR, ".heat tr[data-key='ops.sin'] td")
    errors = [f"{float(one):.2f}" for one in cell.get_attribute("data-errors").split()]
    levels = cell.get_attribute("data-levels").split()
    chosen = Select(page.find_element(By.ID, "statistic"))
    assert cell.text == errors[1]
    for place, name in enumerate(("median", "99.9%", "largest")):
        chosen.select_by_visible_text(name)
        assert cell.text == errors[place]
        assert cell.get_attribute("class") == f"h{levels[place]}"
    script(page, "document.getElementById('accuracy').scrollIntoView()")
    shoot(page, "accuracy")
    name = page.find_element(By.CSS_SELECTOR, ".heat thead a")
    name.click()
    box = page.find_element(By.ID, name.get_attribute("href").partition("#")[2])
    WebDriverWait(page, 5).until(lambda _: "spec-tests accuracy" in box.text)


@pytest.mark.parametrize("part", ["training", "memory"])
def test_a_measured_number_opens_its_json_environment_and_command(page, part):
    script(page, "for (const one of document.querySelectorAll('details')) one.open = true")
    section = page.find_element(By.ID, f"{part}-part")
    script(page, "arguments[0].scrollIntoView()", section)
    shoot(page, part)
    number = section.find_element(By.CSS_SELECTOR, "tbody .measured")
    script(page, "arguments[0].scrollIntoView({ block: 'center' })", number)
    number.click()
    box = panel(page, "Environment and command")
    wanted = {
        "training": (
            "digits_rnn, impl_right",
            '"final_accuracy": 0.97',
            "120 numbers, in the file",
        ),
        "memory": ("impl_right, T = 64", '"median": 67108864', "AVX2"),
    }[part]
    for words in (*wanted, "numpy 2.4.6", "python -m"):
        assert words in box.text
    fits(page)
    shoot(page, f"{part}-number")
    # The name of a column leads to where it was measured.
    keys(page, Keys.ESCAPE)
    name = section.find_element(By.CSS_SELECTOR, ".numbers th a[href^='#'][href$='impl_right']")
    script(page, "for (const one of document.querySelectorAll('details')) one.open = false")
    script(page, "arguments[0].click()", name)
    where = page.find_element(By.ID, f"{part}-impl_right")
    WebDriverWait(page, 5).until(lambda _: "python -m" in where.text)


def test_figures_of_training_are_seen_whole(page):
    pictures = page.find_elements(By.CSS_SELECTOR, "#training-part img, #memory-part img")
    assert len(pictures) == 7
    for picture in pictures:
        assert script(page, "return arguments[0].naturalWidth", picture) > 300
        assert picture.size["width"] <= script(page, "return innerWidth")
