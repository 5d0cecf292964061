"""What is shown is the report and nothing else: no name in it does anything."""

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from ctypes.util import find_library
from html.parser import HTMLParser

import pytest

from doubles.ledgers import TickingClock, ledger_at
from doubles.quarters import BEGIN, DAY, HOUR, Story, definition, quick_folder, scope_of
from drkeeper.model.run import RunState
from drkeeper.reports.form import SECTIONS, json_bytes
from drkeeper.reports.html.page import html_bytes
from drkeeper.reports.paper import pdf_bytes
from drkeeper.reports.quarters import quarter_of
from drkeeper.reports.report import compute
from drkeeper.reports.table import csv_bytes, inert
from services import require

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://evil.example","click")',
    "+cmd|' /C calc'!A0",
    "\u202egnp.exe",
    "</style><style>@import 'http://evil.example'",
    "\x1b[31m\x07 \t=1+1",
    "{{7*7}} ${7*7} %n",
    "a" * 300,
)  # fmt: skip


class Elements(HTMLParser):
    """Collects elements, attributes and texts, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.style = ""
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.open.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        self.text += data

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass


@pytest.fixture(scope="module")
def hostile():
    """A report in which every name that comes from outside is hostile."""
    clock = TickingClock(BEGIN - HOUR)
    with (
        quick_folder() as folder,
        ledger_at(folder / "state" / "ledger.sqlite", clock=clock) as ledger,
    ):
        story = Story(ledger, clock)
        ledger.see_policies({name: definition(name[:9]) for name in HOSTILE})
        for place, name in enumerate(HOSTILE):
            at = BEGIN + place * DAY
            story.backup(name, at)
            story.backup(name, at + HOUR, state=RunState.FAILED, message=f"no {name}")
            story.drill(name, at + 2 * HOUR, bad=f"found {name}")
            story.trouble(name, at + 3 * HOUR, None, f"because {name}")
            story.key_drill(at + 4 * HOUR, recipient=name[:60], opened=False)
            ledger.open_action(name, name)
        scope = scope_of(*HOSTILE, host=HOSTILE[0])
        made = compute(ledger, scope, quarter_of(BEGIN), BEGIN + 30 * DAY)
    return json.loads(json_bytes(made))


@pytest.fixture(scope="module")
def page(hostile):
    """The page of it, as a browser sees it."""
    found = Elements()
    found.feed(html_bytes(hostile).decode())
    return found


def test_hostile_names_are_text_in_html(page):
    """No element, attribute, style or address comes of them; they are shown as they are."""
    assert not page.names & {"script", "img", "iframe", "object", "embed", "link", "form", "base"}
    assert not [each for each in page.attributes if each[1].startswith("on") or each[1] == "style"]
    links = [value for _, name, value in page.attributes if name in {"href", "src"}]
    assert all(value.startswith("#") for value in links)
    assert "@import" not in page.style
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text


def test_a_browser_may_load_nothing(page):
    """The policy names the one style sheet by its digest, and forbids all else."""
    (rules,) = (v for t, n, v in page.attributes if t == "meta" and n == "content" and "src" in v)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert rules.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in rules
    assert not re.search(r"url\(|@import|https?:", page.style)


def test_the_page_has_all_sections_and_charts(report):
    """Fifteen sections that can be reached, and each kind of chart, told in words as well."""
    shown = Elements()
    shown.feed(html_bytes(report).decode())
    ids = {value for tag, name, value in shown.attributes if (tag, name) == ("section", "id")}
    assert ids == set(SECTIONS)
    told = [value for tag, name, value in shown.attributes if (tag, name) == ("svg", "aria-label")]
    for title in (
        "shop: achieved RTO by phase", "RTO over eight quarters", "RPO over eight quarters",
        "Recovery windows by policy", "Run calendar",
    ):  # fmt: skip
        assert any(each.startswith(f"{title}: ") for each in told)


def test_it_is_rendered_from_its_json_alone(report):
    """What was read back from a file is shown as what was computed, byte for byte."""
    again = json.loads(json_bytes(report))
    assert html_bytes(again) == html_bytes(report)
    assert csv_bytes(again) == csv_bytes(report)


def test_every_failure_is_on_the_page(report):
    """All runs that did not succeed, with their reasons, and all drills."""
    shown = Elements()
    shown.feed(html_bytes(report).decode())
    for each in report["results"]["not_succeeded"]:
        assert (each["failure"] or {}).get("message", "") in shown.text
    for each in report["results"]["drills"]:
        assert f"#{each['drill']}" in shown.text


def test_a_quarter_that_is_not_over_is_marked(report):
    """Nobody takes a part for the whole."""
    made = json.loads(json_bytes(report))
    made["identity"]["complete"] = False
    assert b"Not over: until now" in html_bytes(made)
    assert b"Not over: until now" not in html_bytes(report)


def test_formulas_are_inert_in_csv(hostile):
    """No cell begins as a formula does; what was meant is still there, behind an apostrophe."""
    rows = list(csv.reader(io.StringIO(csv_bytes(hostile).decode(), newline="")))
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\t", "%"))]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not [cell for cell in cells if "\x1b" in cell or "\u202e" in cell]
    assert {len(row) for row in rows} == {6}


@pytest.mark.parametrize(
    "text", ["=1", " =1", "\u00a0+1", "-1", "@x", "\t=1", "\uff1d1", "%x", "|x"]
)
def test_whatever_may_begin_a_formula_is_led_by_an_apostrophe(text):
    """Also behind blanks, and in full width."""
    assert inert(text).startswith("'")


def test_plain_cells_stay_as_they_are():
    """Numbers, names and instants are not changed."""
    for text in ("", "shop", "12", "2026-11-20T02:30:00Z", "a=b", "ä"):
        assert inert(text) == text


def test_pdf_without_the_extra_names_it(report):
    """Who lacks the library is told what to install, and what goes without."""
    program = (
        "import json, sys; sys.modules['weasyprint'] = None  # as if it were not installed\n"
        "from drkeeper.reports.paper import pdf_bytes\n"
        "try:\n"
        "    pdf_bytes(json.load(sys.stdin))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error, error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=json_bytes(report), capture_output=True, check=True
    )
    assert b"ConfigurationError" in done.stdout
    assert b"drkeeper[pdf]" in done.stdout


@pytest.mark.slow
def test_hostile_names_are_inert_in_pdf(hostile):
    """Laid out without fetching anything; no script, and no link that leaves."""
    require("Pango", present=find_library("pangoft2-1.0") is not None)
    made = pdf_bytes(hostile)
    assert made.startswith(b"%PDF-")
    assert not re.search(rb"/JavaScript|/JS\b|/Launch|/URI|/EmbeddedFile|/OpenAction", made)
