"""The page in a real browser: what it shows, what its keys do, and that nothing leaves it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PIL import Image

from composer.drawing.diagram import Box, Diagram, Fact, Group, Link
from composer.drawing.html import html
from composer.drawing.theme import THEMES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium in PATH"),
    pytest.mark.skipif(DRIVER is None, reason="there is no chromedriver in PATH"),
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
]

HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script> \u202e😀 ]]> <!-- \"'&"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1300,900",
)  # fmt: skip


def picture() -> Diagram:
    """Return two stages in a chain; in a block a skip past a mechanism of two groups."""
    items: list[Box | Group] = [Box("input", "end", "input", ("3×224×224",))]
    links: list[Link] = []
    before = "input"
    for name in ("stage1", "stage2"):
        ends = [f"{name}.{word}" for word in ("conv", "a.pool", "a.gate", "b.conv", "add")]
        told = {end: (Fact("parameters", "1,234"), Fact("fx code", f"{end} = x\n  * 2", True))
                 for end in ends}  # fmt: skip
        boxes = [Box(end, "layer", end.split(".")[-1], (f"of {name}",), facts=told[end])
                 for end in ends]  # fmt: skip
        parts = tuple(
            Group(f"{name}.{part}", f"part {part}", inner,
                  Box(f"{name}.{part} closed", "plain", part))
            for part, inner in (("a", tuple(boxes[1:3])), ("b", tuple(boxes[3:4])))
        )  # fmt: skip
        cbam = Group(f"{name}.cbam", "CBAM", parts, Box(f"{name}.cbam closed", "inserted", "CBAM"),
                     inserted=True)  # fmt: skip
        closed = Box(f"{name} closed", "plain", name, badges=("CBAM",))
        items.append(Group(name, f"{name} · a block", (boxes[0], cbam, boxes[4]), closed))
        road = [before, *ends]
        links += [Link(a, b, ("b c h w",), True) for a, b in pairwise(road)]
        links.append(Link(before, ends[-1]))
        before = ends[-1]
    facts = (Fact(HOSTILE, HOSTILE), Fact("code", f"{HOSTILE}\n{HOSTILE}", True))
    items.append(Box("hostile", "plain", HOSTILE, (HOSTILE,), facts=facts))
    links.append(Link(before, "hostile", (HOSTILE,)))
    return Diagram(f"A picture {HOSTILE}", ("said of it",), tuple(items), tuple(links), (HOSTILE,))


class Page:
    """A browser with a page in it, and what a reader does with it."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver, self.file = driver, file

    def load(self) -> None:
        self.driver.get(self.file.as_uri())

    def run(self, script: str, *values: object) -> Any:
        return self.driver.execute_script(script, *values)

    def wait(self, script: str) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 5, poll_frequency=0.02).until(lambda _: self.run(script))

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def id(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def text(self, selector: str) -> str:
        said: str = self.run("return document.querySelector(arguments[0]).textContent", selector)
        return said

    def seen(self, name: str) -> bool:
        """Return whether the box or group of a name can be pressed now."""
        return self._button("press", name) is not None

    def is_open(self, name: str) -> bool:
        said: bool = self._toggle(name).get_attribute("aria-expanded") == "true"
        return said

    def toggle(self, name: str) -> None:
        self.run("arguments[0].click()", self._toggle(name))

    def box(self, name: str) -> Any:
        found = self._button("press", name)
        assert found is not None, f"{name} is not seen"
        return found

    def focused(self) -> str:
        said: str = self.run(
            "const e = document.activeElement; return e.id || e.getAttribute('aria-label')"
        )
        return said

    def _toggle(self, name: str) -> Any:
        found = self._button("toggle", name)
        assert found is not None, f"{name} is not seen"
        return found

    def _button(self, kind: str, name: str) -> Any:
        return self.run(
            """const data = JSON.parse(document.getElementById("data").textContent);
            const number = data.findIndex((entry) => entry.name === arguments[1]);
            const found = document.querySelectorAll(`.${arguments[0]}[data-i="${number}"]`);
            return [...found].find((element) => element.getClientRects().length) || null;""",
            kind, name,
        )  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    file = folder / "page.html"
    file.write_text(html(picture(), frozenset(), "paper"), encoding="utf-8")
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    try:
        yield Page(driver, file)
    finally:
        driver.quit()


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """Yield the page as it begins; no error, dialog or request may come of what a test does."""
    browser.driver.get_log("performance")
    browser.driver.get_log("browser")
    browser.load()
    yield browser
    said = [entry["message"] for entry in browser.driver.get_log("browser")]
    assert said == [], "the console is silent"
    events = [json.loads(entry["message"])["message"]
              for entry in browser.driver.get_log("performance")]  # fmt: skip
    assert not [e for e in events if e["method"] == "Page.javascriptDialogOpening"]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    own = [one for one in requests if not one["documentURL"].startswith("chrome")]
    asked = {one["request"]["url"] for one in own}
    asked = {url for url in asked if not url.startswith("blob:null/")}  # the page's own picture
    assert asked == {browser.file.as_uri()}, "the page asks for nothing but itself"


# ------------------------------------------------------------------------------- open and close


def test_a_group_opens_and_closes_by_itself(page: Page) -> None:
    assert page.seen("stage1") and not page.seen("stage1.conv")
    page.toggle("stage1")
    assert page.is_open("stage1") and not page.is_open("stage2")
    assert page.seen("stage1.conv") and not page.seen("stage2.conv")
    page.toggle("stage1.cbam")
    page.toggle("stage1.b")
    assert page.seen("stage1.b.conv") and not page.seen("stage1.a.gate")
    page.toggle("stage1.cbam")
    assert page.is_open("stage1") and not page.is_open("stage1.cbam")
    page.toggle("stage1")
    assert page.seen("stage1") and not page.seen("stage1.conv")


def test_all_open_all_closed(page: Page) -> None:
    page.id("open-all").click()
    names = [f"{stage}.{end}" for stage in ("stage1", "stage2") for end in ("a.gate", "b.conv")]
    assert all(map(page.seen, names))
    page.id("close-all").click()
    assert not any(map(page.seen, (*names, "stage1.conv")))


def test_what_is_turned_stays_where_it_is(page: Page) -> None:
    page.id("open-all").click()
    where = "const r = arguments[0].getBoundingClientRect(); return [r.left, r.top]"
    page.press(*"++++")
    page.run("arguments[0].scrollIntoView({block: 'center'})", page.box("stage2.a"))
    for _ in range(2):
        before = page.run(where, page._toggle("stage2.a"))
        page.toggle("stage2.a")
        assert page.run(where, page._toggle("stage2.a")) == pytest.approx(before, abs=2)


# -------------------------------------------------------------------------------------- search


def test_search_opens_what_is_around_a_hit(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.press("/")
    assert page.focused() == "search"
    page.press("gate")
    assert page.text("#place") == "2 hits"
    page.press(Keys.ENTER)
    assert page.text("#place") == "1 of 2" and page.seen("stage1.a.gate")
    assert not page.seen("stage2.a.gate")
    page.press(Keys.ENTER)
    assert page.text("#place") == "2 of 2" and page.seen("stage2.a.gate")
    hit = page.box("stage2.a.gate")
    assert "hit" in hit.get_attribute("class").split()
    inside = """const [a, b] = [arguments[0], document.getElementById("stage")].map(
        (e) => e.getBoundingClientRect());
        return a.top >= b.top && a.bottom <= b.bottom && a.left >= b.left && a.right <= b.right"""
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(page.driver, 3).until(lambda _: page.run(inside, hit))
    page.press(Keys.ARROW_DOWN)
    assert page.focused().startswith("gate, of stage2")
    page.press("/")
    page.press("nothing has this")
    assert page.text("#place") == "none"


# --------------------------------------------------------------------------------------- panel


def test_panel_by_keyboard(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.toggle("stage1")
    page.run("arguments[0].focus()", page.box("stage1.conv"))
    page.press(Keys.ENTER)
    assert page.focused() == "panel-title" and page.id("panel").is_displayed()
    assert page.text("#panel-title") == "conv"
    facts = page.id("facts").text
    assert "1,234" in facts and "of stage1" in facts and "stage1.conv" in facts
    assert page.text("#facts pre") == "stage1.conv = x\n  * 2"
    page.press(Keys.ESCAPE)
    assert not page.id("panel").is_displayed() and page.focused().startswith("conv, of stage1")


def test_from_a_box_to_what_it_reads(page: Page) -> None:
    page.toggle("stage1")
    page.box("stage1.conv").click()
    (way,) = [one for one in page.id("facts").find_elements("css selector", ".ways button")
              if one.text == "pool"]  # fmt: skip
    way.click()
    assert page.text("#panel-title") == "pool" and page.seen("stage1.a.pool")


def test_tab_reaches_everything_in_order(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    met = []
    for _ in range(18):
        page.press(Keys.TAB)
        met.append(page.focused())
        ring = "return getComputedStyle(document.activeElement).outlineStyle"
        assert page.run(ring) != "none", met[-1]
    assert met[0] is None and met[2] == "search", "a skip to the search comes first"
    assert met[3:9] == ["smaller", "fit", "larger", "open-all", "close-all", "save-svg"]
    assert met[9:11] == ["save-png", "theme"]
    assert met[11:17] == [
        "stage", "input, 3×224×224", "stage1, CBAM", "Parts of stage1", "stage2, CBAM",
        "Parts of stage2",
    ]  # fmt: skip
    assert "<U+202E>" in met[17]


def test_the_skip_leads_to_the_search(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.press(Keys.TAB, Keys.ENTER)
    assert page.focused() == "search"


# ------------------------------------------------------------------------------- zoom and drag


def test_zoom_and_pan(page: Page) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.keys import Keys

    page.id("open-all").click()
    at = "const s = document.getElementById('stage'); return [s.scrollLeft, s.scrollTop]"
    page.press("+", "+")
    assert page.id("fit").text == "156 %"
    page.press("-")
    assert page.id("fit").text == "125 %"
    top = page.run(at)[1]
    page.press(Keys.ARROW_DOWN)
    assert page.run(at)[1] == top + 60
    stage = page.id("stage")
    ActionChains(page.driver, duration=20).move_to_element_with_offset(stage, 500, 0) \
        .click_and_hold().move_by_offset(0, -100).release().perform()  # fmt: skip
    assert page.run(at)[1] == pytest.approx(top + 160, abs=2)
    page.press("0")
    sizes = "return ['sizer', 'stage'].map((id) => document.getElementById(id).offsetHeight)"
    whole, room = page.run(sizes)
    assert whole <= room + 1
    ActionChains(page.driver).scroll_from_origin(
        ScrollOrigin.from_element(stage), 0, -200
    ).perform()
    page.wait("return document.getElementById('sizer').offsetHeight > " + str(whole))


def test_two_fingers_zoom(page: Page) -> None:
    def touch(kind: str, apart: int) -> None:
        points = [{"x": 400 + way * apart, "y": 400, "id": way} for way in (0, 1)] if apart else []
        page.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )

    touch("touchStart", 100)
    for apart in (120, 160, 200):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert page.id("fit").text == "200 %"


def test_a_drag_is_no_click(page: Page) -> None:
    from selenium.webdriver import ActionChains

    box = page.box("stage1")
    ActionChains(page.driver, duration=20).click_and_hold(box).move_by_offset(30, 40) \
        .release().perform()  # fmt: skip
    assert not page.id("panel").is_displayed()
    box.click()
    assert page.id("panel").is_displayed()


# ---------------------------------------------------------------------------- colours and paper


def page_colour(page: Page) -> str:
    found: str = page.run("return getComputedStyle(document.body).backgroundColor")
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", found)[:3])


def test_dark_and_light(page: Page) -> None:
    assert page_colour(page) == THEMES["paper"].page
    page.id("theme").click()
    assert page_colour(page) == THEMES["dark"].page
    assert page.id("theme").get_attribute("aria-pressed") == "true"
    page.id("theme").click()
    assert page_colour(page) == THEMES["paper"].page
    wish = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
    page.load()
    assert page_colour(page) == THEMES["dark"].page
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def printed(page: Page) -> list[pypdfium2.PdfPage]:
    said = page.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    return list(pypdfium2.PdfDocument(io.BytesIO(base64.b64decode(said["data"]))))


def test_print(page: Page) -> None:
    page.id("theme").click()
    page.toggle("stage1")
    image = printed(page)[0].render(scale=1).to_pil().convert("RGB")
    inside = tuple(bytes.fromhex(THEMES["paper"].inside[1:]))
    counts = {colour: count for count, colour in image.getcolors(10**6)}
    assert counts.get(inside, 0) > image.width * image.height / 50, "groups are filled"
    page.toggle("stage1.cbam")
    page.id("larger").click()
    sheets = printed(page)
    text = "\n".join(sheet.get_textpage().get_text_range() for sheet in sheets)
    text = " ".join(text.split())
    for word in ("A picture", "said of it", "stage1 · a block", "of stage1", "stage2", "learned"):
        assert word in text, word
    assert "Open all" not in text and "of stage2" not in text
    assert image.getpixel((2, 2)) == (255, 255, 255)
    for sheet in sheets:
        width, height = sheet.get_size()
        for item in sheet.get_objects(filter=[1]):  # text
            left, bottom, right, top = item.get_bounds()
            assert 0 <= left <= right <= width and 0 <= bottom <= top <= height


# -------------------------------------------------------------------------------- hostile names


def test_hostile_names_are_text(page: Page) -> None:
    told = HOSTILE.replace("\u202e", "<U+202E>")
    assert page.driver.title == f"A picture {told}"
    assert page.text("h1") == f"A picture {told}" and page.text(".notes") == told
    page.run("arguments[0].scrollIntoView()", page.box("hostile"))
    page.box("hostile").click()
    assert page.text("#panel-title") == told
    assert page.text("#facts pre") == f"{told}\n{told}"
    assert page.run("return document.querySelectorAll('img, iframe, object').length") == 0
    assert page.run("return document.scripts.length") == 2


def test_no_other_script_runs(browser: Page) -> None:
    browser.load()
    browser.run("""window.ran = false; const script = document.createElement("script");
        script.textContent = "window.ran = true"; document.body.append(script);
        fetch("https://example.invalid/").catch(() => {});""")
    assert browser.run("return window.ran") is False
    said = " ".join(entry["message"] for entry in browser.driver.get_log("browser"))
    assert said.count("Content Security Policy") >= 2


def test_inside_an_iframe(browser: Page, tmp_path: Path) -> None:
    inner = escape(browser.file.read_text(encoding="utf-8"))
    outer = tmp_path / "notebook.html"
    frame = f'<iframe sandbox="allow-scripts" width="900" height="500" srcdoc="{inner}"></iframe>'
    outer.write_text(f'<!DOCTYPE html><meta charset="utf-8">{frame}', encoding="utf-8")
    browser.driver.get_log("browser")
    browser.driver.get(outer.as_uri())
    browser.driver.switch_to.frame(0)
    try:
        browser.toggle("stage1")
        assert browser.seen("stage1.conv")
        browser.box("stage1.conv").click()
        assert browser.text("#panel-title") == "conv"
    finally:
        browser.driver.switch_to.default_content()
    assert browser.driver.get_log("browser") == []


def test_narrow(page: Page) -> None:
    size = page.driver.get_window_size()
    page.driver.set_window_size(500, 800)
    try:
        page.box("stage1").click()
        wide = "return [document.documentElement.scrollWidth, innerWidth]"
        whole, room = page.run(wide)
        assert whole <= room
        panel, stage = (page.id(name).rect for name in ("panel", "stage"))
        assert panel["y"] >= stage["y"] + stage["height"] - 1 and stage["height"] > 150
    finally:
        page.driver.set_window_size(size["width"], size["height"])


# ------------------------------------------------------------------------- what render writes


@pytest.mark.parametrize("what", ["cbam", "resnet18"])
def test_a_page_that_render_wrote(
    monkeypatch: pytest.MonkeyPatch, page: Page, tmp_path: Path, what: str
) -> None:
    from selenium.webdriver.common.keys import Keys

    import composer

    told: Any = what
    if what == "resnet18":
        told = composer.insert("resnet18", "cbam")
    file = composer.render(told, tmp_path / "page.html", depth=1)
    monkeypatch.setattr(page, "file", file)
    page.driver.get_log("performance")
    page.load()
    name = {"cbam": "channel", "resnet18": ".stage 1"}[what]
    assert not page.is_open(name)
    page.toggle(name)
    assert page.is_open(name)
    page.id("open-all").click()
    page.id("search").send_keys("excite", Keys.ENTER)
    excite = {"cbam": "channel.excite", "resnet18": "layer1.0.cbam/channel.excite"}[what]
    page.run("arguments[0].click()", page.box(excite))
    panel = page.text("#panel")
    for said in ("mlp", "parameters", "excite:  {op: mlp", "excite_fc1"):
        assert said in panel


# ----------------------------------------------------------------------------- lines and saving

SAVED = """
const done = arguments[arguments.length - 1];
URL.createObjectURL = new Proxy(URL.createObjectURL, { apply: (make, owner, [content]) => {
  if (content.type === arguments[1]) {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(content);
  }
  return Reflect.apply(make, owner, [content]);
} });
document.getElementById(arguments[0]).click();
"""


def saved(page: Page, button: str, kind: str) -> bytes:
    """Return what a button saves."""
    page.driver.set_script_timeout(10)
    found: str = page.driver.execute_async_script(SAVED, button, kind)
    return base64.b64decode(found.partition(",")[2])


def test_what_is_shown_is_saved(page: Page) -> None:
    page.toggle("stage1")
    page.toggle("stage1.cbam")
    root = ET.fromstring(saved(page, "save-svg", "image/svg+xml"))
    texts = " ".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))
    for word in ("of stage1", "a block", "CBAM", "b c h w", "stage2"):
        assert word in texts, word
    assert "of stage2" not in texts and "var(" not in ET.tostring(root, encoding="unicode")
    image = Image.open(io.BytesIO(saved(page, "save-png", "image/png")))
    points = [float(root.get(side, "")[:-2]) for side in ("width", "height")]
    assert image.size == pytest.approx([side / 0.75 * 2 for side in points], abs=3)
    assert len(image.convert("RGB").getcolors(10**6)) > 20


LINES = """
const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.getClientRects().length);
const rect = (e) => { const { left, top, right, bottom } = e.getBoundingClientRect(); return { left, top, right, bottom }; };
const lines = shown(".arrow > i").map(rect);
for (const head of shown(".open.entered > .head")) {
  const { left, right, top, bottom } = rect(head);
  lines.push({ left: (left + right) / 2 - 1, right: (left + right) / 2 + 1, top, bottom });
}
const texts = [];
for (const span of shown(".head > span, .arrow span")) {
  const range = document.createRange();
  range.selectNodeContents(span);
  for (const { left, top, right, bottom } of range.getClientRects()) texts.push({ left, top, right, bottom });
}
const boxes = shown(".press").map(rect);
return { lines, texts, boxes };
"""  # noqa: E501


def test_no_label_is_crossed_and_links_are_straight_from_box_to_box(page: Page) -> None:
    for name in ("stage1", "stage1.cbam", "stage2"):
        page.toggle(name)
        found = page.run(LINES)
        for line in found["lines"]:
            for text in found["texts"]:
                across = text["left"] < line["right"] and line["left"] < text["right"]
                assert not (
                    across and text["top"] < line["bottom"] and line["top"] < text["bottom"]
                )
        middles = {round((line["left"] + line["right"]) / 2) for line in found["lines"]}
        assert max(middles) - min(middles) <= 2


def test_long_code_scrolls_in_the_panel(page: Page) -> None:
    page.toggle("stage1")
    page.box("stage1.conv").click()
    lines = page.driver.find_element("css selector", "#panel pre")
    assert lines.get_attribute("tabindex") == "0"
    page.run("arguments[0].textContent = 'a line\\n'.repeat(500)", lines)
    high, seen, top = page.run(
        "const e = arguments[0]; e.scrollTop = 300;"
        "return [e.scrollHeight, e.clientHeight, e.scrollTop]", lines
    )  # fmt: skip
    assert high > seen > 0 and top == 300
    panel = "const p = document.getElementById('panel').getBoundingClientRect(); return p.bottom"
    assert page.run(panel) <= page.run("return innerHeight")
