"""What the pages say, and that nothing from outside is more than text in them."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from doubles.pages import (
    HOSTILE,
    NOW,
    Machine,
    empty_machine,
    hostile_machine,
    kept_machine,
    troubled_machine,
)
from drkeeper.app.web.frame import asset, framed
from drkeeper.app.web.markup import visible
from drkeeper.app.web.pages.alarms import alarms_page
from drkeeper.app.web.pages.overview import overview_page
from drkeeper.app.web.pages.policy import PolicyFacts, policy_page
from drkeeper.app.web.pages.run import run_page
from drkeeper.app.web.pages.runs import runs_page
from drkeeper.app.web.pages.trouble import trouble_page
from drkeeper.app.web.reading import RunLog
from drkeeper.model.run import RunState

VOID = {"meta", "link", "br", "hr", "input"}
ALLOWED = {
    "html", "head", "meta", "title", "link", "body", "a", "header", "nav", "ul", "ol", "li", "span",
    "main", "footer", "h1", "h2", "h3", "p", "div", "section", "table", "caption", "thead", "tbody",
    "tr", "th", "td", "time", "small", "strong", "code", "svg", "path", "rect", "line", "circle",
    "figure", "figcaption", "dl", "dt", "dd", "details", "summary", "pre", "form", "label", "select",
    "option", "button", "text",
}  # fmt: skip
"""No script, no style, nothing that loads."""


class Outline(HTMLParser):
    """The elements of a page, in order, with their attributes; and that each one ends."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def pages_of(machine: Machine) -> dict[str, bytes]:
    """Return every page of a machine."""
    overview, reader = machine.told
    found = {
        "overview": overview_page(overview),
        "still": overview_page(overview, refreshing=False),
        "runs": runs_page(overview, reader.runs(limit=51), number=1),
        "alarms": alarms_page(overview, reader.alarms(limit=200)),
        "404": trouble_page(404, "there is no such page", "Begin at the overview."),
    }
    for status in overview.policies:
        runs = reader.runs(policy=status.policy, limit=40)
        log = reader.log(runs[0].id) if runs else None
        points = reader.points(status.policy, limit=120)
        facts = PolicyFacts(status, reader.words(status.policy), runs, points, log)
        found[f"policy {status.policy!r}"] = policy_page(overview, facts)
        if runs:
            found[f"run {status.policy!r}"] = run_page(overview, runs[0], log)
            chosen = runs_page(
                overview, runs, number=3, policy=status.policy, state=RunState.FAILED
            )
            found[f"runs {status.policy!r}"] = chosen
    return {name: framed(page, overview) for name, page in found.items()}


MACHINES = {
    "kept": kept_machine(),
    "troubled": troubled_machine(),
    "hostile": hostile_machine(),
    "empty": empty_machine(),
}
EVERY = [
    pytest.param(page, id=f"{machine}-{name}".encode("ascii", "backslashreplace").decode())
    for machine, made in MACHINES.items()
    for name, page in pages_of(made).items()
]


@pytest.mark.parametrize("page", EVERY)
def test_every_page_is_well_formed_and_inert(page):
    """Elements nest and end; none runs, loads or styles; no attribute is an event."""
    outline = Outline(page)
    assert outline.open == []
    for name, attributes in outline.found:
        assert name in ALLOWED, name
        assert not any(key.startswith("on") for key in attributes)
        assert "style" not in attributes
        for key in ("href", "action"):
            target = attributes.get(key)
            assert target is None or target.startswith(("/", "#")), target


@pytest.mark.parametrize("page", EVERY)
def test_every_page_can_be_used_without_eyes_or_mouse(page):
    """Landmarks, one h1, headings without leaps, a skip link, named pictures, scoped heads."""
    outline = Outline(page)
    names = [name for name, _ in outline.found]
    assert [names.count(landmark) for landmark in ("main", "header", "footer", "h1")] == [1] * 4
    levels = [int(name[1]) for name in names if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    links = [attributes for name, attributes in outline.found if name == "a"]
    assert links[0] == {"class": "skip", "href": "#main"}
    for picture in outline.all("svg"):
        assert picture.get("aria-hidden") == "true" or picture.get("aria-label")
    for head in outline.all("th"):
        assert head["scope"] in {"row", "col"}
    ids = [attributes["id"] for _, attributes in outline.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert outline.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_they_are(text):
    """An operator sees the very name, with what hides made visible, on every page about it."""
    machine = MACHINES["hostile"]
    pages = pages_of(machine)
    for name in ("overview", "alarms", f"policy {text!r}", f"run {text!r}"):
        shown = re.sub(r"<[^>]*>", "", pages[name].decode())
        unescaped = (
            shown.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
            .replace("&#x27;", "'").replace("&amp;", "&")
        )  # fmt: skip
        assert visible(text).lower() in unescaped.lower(), name


def test_alarms_come_first_and_say_what_to_do():
    """The overview names the policy, the time in its zone, and the next step, before all else."""
    page = framed(overview_page(MACHINES["troubled"].overview), None).decode()
    assert page.index("What needs you") < page.index(">Policies<")
    assert "3 of 6 policies need you" in page
    assert "Run drkeeper backup wiki." in page
    assert "2026-11-20 07:29 CET" in page
    assert page.index("RPO violated") < page.index("RPO at risk")


def test_conditions_that_nobody_raised_are_shown():
    """Without a daemon there are no alarms in the ledger, and the page still tells."""
    overview = replace(MACHINES["troubled"].overview, alarms=())
    page = framed(overview_page(overview), overview).decode()
    assert "storage unreachable" in page
    assert "never ran" in page


def test_the_bar_shows_the_part_of_the_promise_that_is_used():
    """Half of the objective is half of the way to the mark; beyond it the bar is full and red."""
    machine = MACHINES["kept"]
    status = replace(machine.overview.policies[0], rpo_target=timedelta(hours=2))

    def bar(old):
        points = replace(status.points, durable=NOW - old)
        one = replace(machine.overview, policies=(replace(status, points=points),))
        return framed(overview_page(one), one).decode()

    assert 'class="fill ok" width="40.00%"' in bar(timedelta(hours=1))
    assert 'class="fill warn" width="64.00%"' in bar(timedelta(hours=1.6))
    assert 'class="fill bad" width="100.00%"' in bar(timedelta(hours=9))


def test_times_are_told_in_the_zone_of_the_policy_with_utc_beside():
    """02:30 in Berlin is what its policy says; machines read UTC."""
    page = pages_of(MACHINES["kept"])["policy 'shop-database'"].decode()
    time = '<time datetime="2026-11-20T14:05:00Z" title="2026-11-20 14:05:00 UTC">'
    assert f"{time}Fri 20 Nov 2026, 15:05 CET</time>" in page


def test_charts_say_in_words_what_they_show():
    """Who does not see the columns hears the same facts."""
    page = pages_of(MACHINES["troubled"])["policy 'mail'"].decode()
    assert re.search(r'aria-label="40\xa0runs: the shortest took .* did not succeed."', page)
    assert re.search(
        r'aria-label="\d+\xa0recovery points since .*further apart than 2\xa0h\."', page
    )


def test_a_policy_that_never_ran_and_one_without_file_have_pages():
    """Nothing to draw is said in words."""
    overview = MACHINES["troubled"].overview
    status = next(one for one in overview.policies if one.policy == "music")
    page = framed(policy_page(overview, PolicyFacts(status, None, (), ())), overview).decode()
    for words in ("nothing can be restored", "It has not run yet", "None is planned"):
        assert words in page


def test_the_overview_comes_anew_unless_told_to_hold_still():
    """Whoever reads slowly can stop it (WCAG 2.2.2), without a script."""
    pages = pages_of(MACHINES["kept"])
    assert b'http-equiv="refresh" content="30"' in pages["overview"]
    assert b'href="/?refresh=off"' in pages["overview"]
    for name, page in pages.items():
        assert (b"http-equiv" in page) == (name == "overview")


def test_an_empty_machine_says_how_to_begin():
    """A newcomer is told the command."""
    page = pages_of(MACHINES["empty"])["overview"].decode()
    assert "No policies yet" in page
    assert "drkeeper policy new NAME" in page
    assert "does not run" in page


def test_nothing_is_green_without_a_daemon():
    """Promises that nobody works for are not called kept without a word."""
    overview = replace(MACHINES["kept"].overview, daemon_alive=False)
    page = framed(overview_page(overview), overview).decode()
    assert 'class="headline bad">The policies are kept, but no daemon runs</h1>' in page


def test_a_log_is_shown_as_text():
    """A log with markup in it is a log."""
    machine = MACHINES["kept"]
    run = machine.reader.runs(limit=1)[0]
    page = framed(run_page(machine.overview, run, RunLog("<b>x</b>\n", cut=True)), None)
    assert b"&lt;b&gt;x&lt;/b&gt;" in page
    assert b"Only its end is shown." in page


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, "relative luminance"."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(scheme):
    """Every colour of text reaches 4.5 to 1 on every ground it stands on (WCAG 2.2, 1.4.3)."""
    sheet = asset("style.css").decode()
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))
    pairs = [
        (text, ground) for text in ("text", "muted", "accent") for ground in ("ground", "sheet")
    ]
    pairs += [(tone, f"{tone}-soft") for tone in ("ok", "info", "warn", "bad", "quiet")]
    pairs += [("sheet", "bad"), ("text", "quiet-soft"), ("muted", "quiet-soft")]
    for text, ground in pairs:
        lighter, darker = sorted(
            (luminance(colours[text]), luminance(colours[ground])), reverse=True
        )
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


def test_the_style_sheet_loads_nothing():
    """No font, picture or sheet comes from anywhere."""
    sheet = asset("style.css").decode()
    assert "url(" not in sheet
    assert "@import" not in sheet


def test_classes_of_the_pages_are_in_the_style_sheet():
    """A class without a rule is a typing error."""
    sheet = asset("style.css").decode()
    used: set[str] = set()
    for machine in MACHINES.values():
        for page in pages_of(machine).values():
            for _, attributes in Outline(page).found:
                used.update((attributes.get("class") or "").split())
    ruled = set(re.findall(r"\.([a-z][a-z-]*)", sheet))
    sections = {"alarms", "policies", "repositories", "promises", "points", "runs", "next", "log",
                "figures", "facts-of-run", "past"}  # fmt: skip
    assert used - ruled - sections == set()


def test_assets_are_part_of_the_package():
    """They are found wherever drkeeper is installed."""
    import drkeeper.app.web  # noqa: PLC0415 - only here

    folder = Path(drkeeper.app.web.__file__).parent / "static"
    assert {path.name for path in folder.iterdir()} == {"style.css", "icon.svg"}
