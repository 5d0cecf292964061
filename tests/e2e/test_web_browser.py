"""The page in a real browser: what it looks like, what it says to the console, how it is used.

Set ``DRKEEPER_SCREENSHOTS`` to a folder to keep the pictures and look at them.
"""

import base64
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from doubles.pages import HOSTILE, hostile_machine, kept_machine, troubled_machine
from doubles.quarters import DAY, END, quick_folder, scope_of, two_years
from drkeeper.app.web.markup import address
from drkeeper.app.web.server import Listener
from drkeeper.clock import SystemClock
from drkeeper.reports.html.page import html_bytes
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.report import compute

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("browser")]

DESKTOP, PHONE = (1280, 800), (360, 740)


def absent(message: str) -> None:
    if os.environ.get("DRKEEPER_TESTS_REQUIRE_SERVICES"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium without a screen, a profile or a network beyond this machine."""
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        absent("no chromium; run scripts/install-test-services (chromium, chromium-driver)")
    try:
        from selenium import webdriver  # noqa: PLC0415 - absent where there is no browser
        from selenium.webdriver.chrome.service import Service  # noqa: PLC0415 - as above
    except ImportError:
        absent("no selenium; install the test dependencies")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--no-first-run", "--disable-extensions", "--no-proxy-server",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    driver.set_page_load_timeout(20)
    yield driver
    driver.quit()


@contextmanager
def serving(machine):
    """Serve a machine, and give where."""
    listener = Listener(
        "127.0.0.1:0", overview=lambda: machine.overview, reader=machine.reader,
        clock=SystemClock(),
    )  # fmt: skip
    listener.start()
    try:
        yield f"http://{listener.address}"
    finally:
        assert listener.stop()


@pytest.fixture(scope="module")
def places():
    with serving(kept_machine()) as kept, serving(troubled_machine()) as troubled:
        yield {"kept": kept, "troubled": troubled}


def look(browser, url, size, *, dark=False):
    """Open a page on a screen of a size."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
    browser.get(url)


def picture(browser, folder: Path, name: str) -> bytes:
    """Take a picture of the whole page, and keep it if somebody wants to look."""
    whole = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    asked = {"captureBeyondViewport": True, "format": "png", "clip": {**whole, "scale": 1}}
    taken = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
    kept = Path(os.environ.get("DRKEEPER_SCREENSHOTS") or folder)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{name}.png").write_bytes(taken)
    return taken


def brightness(browser) -> int:
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[4:-1].split(",")[:3]) // 3


def accessible(browser, role: str) -> list[str]:
    """Return the names of everything of a role, as a screen reader gets them."""
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [
        str(node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored") and node.get("role", {}).get("value") == role
    ]


@pytest.mark.parametrize(
    ("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "phone"]
)
@pytest.mark.parametrize(
    ("machine", "path", "name"),
    [
        ("kept", "/", "overview-kept"),
        ("troubled", "/", "overview-troubled"),
        ("kept", "/policy/shop-database", "policy-kept"),
        ("troubled", "/policy/mail", "policy-troubled"),
        ("troubled", "/runs?policy=mail", "runs"),
        ("troubled", "/alarms", "alarms"),
    ],
)
def test_every_page_fits_its_screen_and_says_nothing_to_the_console(  # noqa: PLR0913 - a table
    browser, places, tmp_path, machine, path, name, size, dark
):
    """Styled, as wide as the screen and no wider, and without an error, a warning or a refusal."""
    look(browser, places[machine] + path, size, dark=dark)
    device = "phone-dark" if dark else "desktop-light"
    assert picture(browser, tmp_path, f"{name}-{device}").startswith(b"\x89PNG")
    widths = "return [document.documentElement.scrollWidth, innerWidth]"
    page, screen = browser.execute_script(widths)
    assert page <= screen == size[0]
    assert (brightness(browser) < 60) == dark
    assert browser.execute_script("return document.scripts.length") == 0
    assert browser.get_log("browser") == []


def test_a_run_that_failed_says_why(browser, places, tmp_path):
    """Its page has the error, the next step and the log; the way there is one link."""
    look(browser, f"{places['troubled']}/runs?state=failed", DESKTOP)
    browser.find_element("css selector", "tbody th a").click()
    text = browser.find_element("tag name", "main").text
    picture(browser, tmp_path, "run-failed")
    assert "did not answer: connection timed out" in text
    assert "Next: Check the network" in text
    assert "store.retried attempt=1" in text
    assert browser.get_log("browser") == []


def test_alarms_are_above_everything_else(browser, places):
    """On a telephone too, what needs somebody is on the first screen."""
    for size in (DESKTOP, PHONE):
        look(browser, places["troubled"], size)
        top = browser.find_element("css selector", ".alarm").rect["y"]
        assert top < size[1]
        assert top < browser.find_element("css selector", ".policies").rect["y"]


def test_it_can_be_used_by_keyboard_alone(browser, places):
    """The first stop is the skip link; every stop can be seen; the skip link works."""
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415 - absent without a browser

    look(browser, places["troubled"], DESKTOP)
    stops = []
    for _ in range(8):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        stop = browser.switch_to.active_element
        stops.append(stop.text)
        assert stop.value_of_css_property("outline-style") == "solid", stop.text
        assert stop.rect["y"] >= 0
    assert stops[:5] == ["Skip to content", "drkeeper", "Overview", "Runs", "Alarms 5"]
    look(browser, places["troubled"], DESKTOP)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.tag_name == "main"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_screen_reader_hears_what_eyes_see(browser, places, size):
    """Tables stay tables on telephones, charts have words, bars tell their figures."""
    look(browser, f"{places['troubled']}/", size)
    assert {"Policies", "Repositories"} <= set(accessible(browser, "table"))
    assert "State" in accessible(browser, "columnheader")
    assert any("2\xa0h promised" in name for name in accessible(browser, "image"))
    assert accessible(browser, "navigation") == ["Pages"]
    look(browser, f"{places['troubled']}/policy/mail", size)
    pictures = accessible(browser, "image")
    assert all(pictures)
    assert any("recovery points since" in name for name in pictures)
    assert any("the longest" in name for name in pictures)


def test_hostile_names_stay_names(browser):
    """In a browser, too: nothing runs, nothing loads, and the text is there."""
    with serving(hostile_machine()) as place:
        for path in ("/", "/alarms", "/runs", *(address("policy", text) for text in HOSTILE[:5])):
            look(browser, place + path, DESKTOP)
            assert browser.execute_script("return document.scripts.length") == 0
            assert browser.execute_script("return document.images.length") == 0
            assert browser.get_log("browser") == []
        look(browser, place, DESKTOP)
        assert HOSTILE[0] in browser.find_element("tag name", "main").text


def test_a_page_prints(browser, places):
    """Paper gets the facts, on white, without the bars to click."""
    look(browser, f"{places['troubled']}/policy/mail", DESKTOP, dark=True)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert brightness(browser) == 255
    assert not browser.find_element("css selector", ".top nav").is_displayed()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a quarter in which much went wrong, as a file."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with quick_folder() as folder, two_years(folder / "state" / "ledger.sqlite") as ledger:
        made = compute(ledger, scope_of("files", "shop"), Quarter(2026, 4), END + DAY)
    path.write_bytes(html_bytes(made))
    return path


@pytest.mark.parametrize(
    ("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "phone"]
)
def test_a_report_fits_any_screen(browser, report, tmp_path, size, dark):
    """Its style is taken and nothing else asked for; nothing is wider than the screen; dark is dark."""
    browser.get_log("browser")
    look(browser, report.as_uri(), size, dark=dark)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert (brightness(browser) < 128) is dark
    assert len(accessible(browser, "heading")) > 15
    assert any("achieved RTO by phase" in name for name in accessible(browser, "image"))
    assert picture(browser, tmp_path, f"report-{size[0]}")


def test_a_report_is_printed_on_pages(browser, report):
    """On paper it is light whatever the screen is, and has more than one page and less than a book."""
    look(browser, report.as_uri(), DESKTOP, dark=True)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF-")
    assert 5 < printed.count(b"/Type /Page\n") < 60
