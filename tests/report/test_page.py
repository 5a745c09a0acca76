"""report.html in a real browser without a network: plot, keyboard walk, both colour schemes, no errors."""

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from bitjoule.report import write_report
from bitjoule.report.units import accuracy_text, count_text, energy_text, percent_text, size_text
from tests.report.synthetic import HOSTILE, report_data

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=1280,900",
)
PATIENCE_S = 10


class Browser:
    """Chromium on one page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())

    def run(self, script: str, *values: object) -> Any:
        return self.driver.execute_script(script, *values)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def wait(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.driver, PATIENCE_S, 0.05).until(lambda _: condition())

    def focused_row(self) -> int | None:
        place = self.run("return document.activeElement.dataset.p ?? null")
        return None if place is None else int(place)

    def prefer(self, scheme: str) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})

    def scripts(self, allowed: bool) -> None:
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    binary, service = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or service is None:
        pytest.skip("no chromium and chromedriver on PATH: the report is not tested in a browser")
    options = Options()
    options.binary_location = binary
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(service))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return report_data(layers=9)


@pytest.fixture(scope="module")
def report(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(data, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def browser(chromium: Browser, report: Path) -> Iterator[Browser]:
    """The report freshly opened, in light colours; a test fails if the console then holds an error."""
    chromium.prefer("light")
    chromium.errors()
    chromium.open(report)
    yield chromium
    assert chromium.errors() == []


def front(data: dict[str, Any], hardware: int = 0) -> list[int]:
    """Ids, which are places in `points` here, of a front, energy ascending."""
    return list(data["hardware"][hardware]["front"])


def plot_center(browser: Browser, point: int) -> tuple[int, int]:
    """Where a point stands in the window, by plotly's own axes."""
    place = browser.run(
        """
        const plot = document.getElementById("plot");
        plot.scrollIntoView({ block: "center" });
        const { xaxis, yaxis } = plot._fullLayout;
        const trace = plot.data.find((t) => t.customdata && t.customdata.includes(arguments[0]));
        const k = trace.customdata.indexOf(arguments[0]);
        const box = plot.getBoundingClientRect();
        const [x, y] = [xaxis.d2p(trace.x[k]), yaxis.d2p(trace.y[k])];
        return [box.left + xaxis._offset + x, box.top + yaxis._offset + y];
        """,
        point,
    )
    return round(place[0]), round(place[1])


def test_the_plot_is_drawn_with_a_marker_for_every_point(browser: Browser, data: dict[str, Any]) -> None:
    expected = sum(p["status"] == "done" and p["hardware"] == "moons-4mb" for p in data["points"])
    assert len(browser.all("#plot .scatterlayer path.point")) == expected
    assert not any(figure.is_displayed() for figure in browser.all("figure.static"))
    assert browser.run("return performance.timing.loadEventEnd - performance.timing.navigationStart") < 10_000
    labels = [text.text for text in browser.all("#plot .xtick text")]
    assert {"5", "10", "20"} <= set(labels)


def test_error_bars_only_where_there_are_seeds(browser: Browser, data: dict[str, Any]) -> None:
    bars = browser.run("return [...document.querySelectorAll('#plot .errorbar path.yerror')].length")
    assert bars >= len(front(data))
    sizes = browser.run("return document.getElementById('plot').data.flatMap((t) => t.error_y?.array ?? [])")
    assert sum(size > 0 for size in sizes) == len(front(data))


def test_a_click_on_a_point_opens_its_details(browser: Browser, data: dict[str, Any]) -> None:
    chosen = front(data)[3]
    x, y = plot_center(browser, chosen)
    mouse = ActionChains(browser.driver)
    mouse.w3c_actions.pointer_action.move_to_location(x, y)
    mouse.perform()
    browser.wait(lambda: browser.all("#plot .hoverlayer .hovertext"))
    point = data["points"][chosen]
    words = browser.one("#plot .hoverlayer .hovertext").text
    for text in (
        point["label"],
        energy_text(point["energy_pj"]),
        "DRAM 42 %",
        size_text(point["weight_bits"]),
    ):
        assert text in words
    mouse.click().perform()
    browser.wait(lambda: browser.one("#chosen").is_displayed())
    panel = browser.one("#chosen").text
    assert point["label"] in panel
    assert "Energy by component and tensor" in panel
    rows = browser.all("#chosen table.layers tbody tr")
    assert len(rows) == 10
    assert "features.1.add" in rows[-1].text
    for row, layer in zip(rows, point["formats"], strict=False):
        assert all(layer[side] in row.text for side in ("layer", "weights", "input", "output"))
        assert row.find_elements(By.CSS_SELECTOR, ".stack i")
    assert browser.one("#chosen").get_attribute("aria-live") == "polite"


def test_bars_are_stacked_by_component_or_tensor(browser: Browser, data: dict[str, Any]) -> None:
    browser.run("document.querySelector('table.points tr.front').click()")
    assert "DRAM" in browser.one("#chosen .key").text
    browser.run("document.querySelector('.stack-by button:last-child').click()")
    assert "weights" in browser.one("#chosen .key").text
    assert "DRAM" not in browser.one("#chosen .key").text


def test_loop_nests_open_below_the_layers(browser: Browser, data: dict[str, Any]) -> None:
    browser.run("document.querySelector('table.points tr.front').click()")
    assert not browser.all("#chosen .mappings")
    browser.run(
        "const s = document.getElementById('hardware'); s.value = 1; s.dispatchEvent(new Event('change'))"
    )
    chosen = front(data, 1)[0]
    browser.run("document.querySelector(`table.points tr[data-p='${arguments[0]}']`).click()", chosen)
    mappings = data["points"][chosen]["mappings"]
    blocks = browser.all("#chosen .mappings details")
    assert len(blocks) == len(mappings)
    assert mappings[1]["layers"][0] in blocks[1].text
    assert "units busy 62.1 %, bound by glb reads, proven optimal (energy)" in blocks[1].text
    assert not browser.all("#chosen .mappings pre")[1].is_displayed()
    browser.run("arguments[0].querySelector('summary').click()", blocks[1])
    assert (
        browser.run("return arguments[0].textContent", browser.all("#chosen .mappings pre")[1])
        == (mappings[1]["nest"])
    )
    assert mappings[1]["certificate"] in blocks[1].text


def test_walk_along_the_front_with_the_keyboard(browser: Browser, data: dict[str, Any]) -> None:
    members = front(data)
    browser.run("document.querySelector('table.points thead th:last-child button').focus()")
    browser.press(Keys.TAB)
    assert browser.focused_row() == members[0]
    assert browser.run("return document.querySelectorAll('table.points tr[tabindex=\"0\"]').length") == 1
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.focused_row() == members[2]
    assert data["points"][members[2]]["label"] in browser.run(
        "return document.getElementById('spoken').textContent"
    )
    browser.press(Keys.END)
    assert browser.focused_row() == members[-1]
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert browser.focused_row() == members[-2]
    assert not browser.one("#chosen").is_displayed()
    browser.press(Keys.ENTER)
    assert data["points"][members[-2]]["label"] in browser.one("#chosen h3").text
    browser.press(Keys.ARROW_LEFT)
    assert data["points"][members[-3]]["label"] in browser.one("#chosen h3").text
    browser.press(Keys.ESCAPE)
    assert not browser.one("#chosen").is_displayed()
    assert browser.focused_row() == members[-3]
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused_row() == members[-2]


def test_the_plot_itself_can_be_walked(browser: Browser, data: dict[str, Any]) -> None:
    members = front(data)
    browser.run("document.getElementById('plot').focus()")
    browser.press(Keys.ARROW_RIGHT, Keys.ENTER)
    assert data["points"][members[1]]["label"] in browser.one("#chosen h3").text
    rings = browser.run("return document.getElementById('plot').data.slice(-2).map((t) => t.x.length)")
    assert rings == [1, 1]
    browser.press(Keys.ESCAPE)
    assert not browser.one("#chosen").is_displayed()


def test_columns_sort_both_ways_with_unknown_last(browser: Browser, data: dict[str, Any]) -> None:
    def shown() -> list[float | None]:
        rows = browser.run(
            "return [...document.querySelectorAll('table.points tbody tr')]"
            ".filter((row) => !row.hidden).map((row) => row.dataset.p)"
        )
        return [(data["points"][int(p)]["validation"] or {"mean": None})["mean"] for p in rows]

    browser.run("document.querySelector('[data-key=validation_mean] button').click()")
    known = [value for value in shown() if value is not None]
    assert known == sorted(known, reverse=True)
    assert shown()[-1] is None
    browser.run("document.querySelector('[data-key=validation_mean] button').click()")
    assert [value for value in shown() if value is not None] == known[::-1]
    assert shown()[-1] is None
    assert browser.one("[data-key=validation_mean]").get_attribute("aria-sort") == "ascending"


def test_hardware_split_and_families_are_switched(browser: Browser, data: dict[str, Any]) -> None:
    browser.run(
        "const s = document.getElementById('hardware'); s.value = 1; s.dispatchEvent(new Event('change'))"
    )
    names = [row.text for row in browser.all("table.points tbody tr") if row.is_displayed()]
    assert len(names) == sum(p["hardware"] == "braintta22" for p in data["points"])
    assert "braintta22" in browser.one("#energy").text
    assert "moons-4mb" not in browser.one("#energy").text
    browser.run("document.querySelector('[data-split=test]').click()")
    assert len(browser.all("#plot .scatterlayer path.point")) == len(front(data, 1))
    browser.run("document.querySelector('[data-family=\"0\"]').click()")
    assert browser.one("[data-family='0']").get_attribute("aria-pressed") == "false"
    left = [i for i in front(data, 1) if data["points"][i]["family"] != data["families"][0]]
    assert len(browser.all("#plot .scatterlayer path.point")) == len(left)


def test_light_and_dark_by_preference_and_by_button(browser: Browser) -> None:
    def colors() -> tuple[str, str, str]:
        page = "return getComputedStyle(document.body).backgroundColor"
        ink = "return getComputedStyle(document.body).color"
        return (
            browser.run(page),
            browser.run(ink),
            browser.run("return document.getElementById('plot').layout.font.color"),
        )

    light = colors()
    assert light == ("rgb(246, 246, 243)", "rgb(28, 36, 46)", "#1c242e")
    browser.prefer("dark")
    browser.wait(lambda: colors() == ("rgb(17, 21, 27)", "rgb(232, 235, 239)", "#e8ebef"))
    assert browser.one("#theme").text == "Light"
    browser.run("document.getElementById('theme').click()")
    assert colors() == light
    browser.run("document.getElementById('theme').click()")
    assert colors()[0] == "rgb(17, 21, 27)"


def test_a_narrow_window_does_not_scroll_sideways(browser: Browser) -> None:
    size = {"width": 420, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_shows_the_static_plot_in_light_colours(browser: Browser) -> None:
    browser.prefer("dark")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert [figure.is_displayed() for figure in browser.all("figure.static")] == [True, False]
    assert not browser.one("#plot").is_displayed()
    assert not browser.one(".topbar").is_displayed()
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_javascript_there_are_plots_and_all_tables(
    browser: Browser, report: Path, data: dict[str, Any]
) -> None:
    browser.scripts(allowed=False)
    try:
        browser.open(report)
        assert all(figure.is_displayed() for figure in browser.all("figure.static svg"))
        assert len(browser.all("figure.static")) == 2
        rows = browser.all("table.points tbody tr")
        assert len(rows) == len(data["points"])
        assert rows[-1].is_displayed()
        assert browser.all("#details details")
        assert not browser.one("#plot").is_displayed()
        assert not browser.one("#theme").is_displayed()
        assert {"Energy saved at equal accuracy, moons-4mb", "Proxies against energy, braintta22"} <= {
            caption.text for caption in browser.all("caption")
        }
    finally:
        browser.scripts(allowed=True)


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(report_data(layers=3, hostile=True), tmp_path / "hostile.html"))
    browser.run("window.alert = () => { window.attacked = true; }")
    assert browser.all("#plot .scatterlayer path.point")
    first = int(browser.run("return document.querySelector('table.points tbody tr').dataset.p"))
    x, y = plot_center(browser, first)
    mouse = ActionChains(browser.driver)
    mouse.w3c_actions.pointer_action.move_to_location(x, y)
    mouse.perform()
    browser.wait(lambda: browser.all("#plot .hoverlayer .hovertext"))
    mouse.click().perform()
    browser.wait(lambda: browser.one("#chosen").is_displayed())
    assert HOSTILE[1] in browser.one("#chosen").text
    assert not browser.all("img")
    assert not browser.all("#chosen script, .hoverlayer a, .hoverlayer script")
    assert browser.run("return document.scripts.length") == 3
    assert browser.run("return window.attacked ?? null") is None
    legend = browser.run("return [...document.querySelectorAll('.legend span')].map((s) => s.textContent)")
    assert legend[0] == "fp16" + HOSTILE[0]


def test_browser_and_python_write_numbers_alike(browser: Browser) -> None:
    energies = [None, 0.0, 0.25, 999.4, 999.6, 1234.5, 1.25e6, 12.25e6, 999.7e6, 3.4e9, 1e12, 7.5e15]
    fractions = [None, 0.0, 0.9125, 0.91375, 1.0]
    counts = [None, 0, 12, 999_999, 1_500_000, 3_210_000_000, 7_000_000_000_000]
    source = files("bitjoule.report").joinpath("page", "units.js").read_text()
    script = f"""{source}
        const [energies, fractions, counts] = JSON.parse(arguments[0]);
        return [energies.map(energyText), fractions.map((f) => percentText(f)), counts.map(countText),
            counts.map(sizeText), accuracyText(0.925, 0.004), accuracyText(0.93, null)];"""
    assert browser.run(script, json.dumps([energies, fractions, counts])) == [
        [energy_text(e) for e in energies],
        [percent_text(f) for f in fractions],
        [count_text(c) for c in counts],
        [size_text(c) for c in counts],
        accuracy_text(0.925, 0.004),
        accuracy_text(0.93),
    ]
