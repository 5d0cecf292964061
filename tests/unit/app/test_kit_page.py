"""The kit as a page to print: codes that are the text, and nothing that is fetched."""

import re

import pytest
import segno

from doubles.installation import Installation
from drkeeper.app.wiring.kit_page import MOST_BYTES, kit_html, slices

KIT = '# drkeeper recovery kit\n#kit store: s3://b/<p>&"x"\n' + "AGE-SECRET-KEY-PQ-1ABC\n" * 60


@pytest.mark.parametrize(
    "text", [KIT, "x" * 3000, "\u00e4" * 900 + "\n", "\n" * 5, "a\nb"], ids=range(5)
)
def test_the_codes_joined_are_the_text(text):
    """Byte for byte, each small enough for a camera; lines are cut only when they are too long."""
    parts = slices(text)
    assert "".join(parts) == text
    assert all(0 < len(part.encode()) <= MOST_BYTES for part in parts)


def test_each_code_is_drawn_in_the_page():
    """As inline SVG, numbered; what the text says of itself is inert."""
    page = kit_html(KIT, secret=True)
    count = len(slices(KIT))
    assert page.count("<svg") == count
    assert f"{count} of {count}" in page
    assert "s3://b/&lt;p&gt;&amp;&quot;x&quot;" in page
    assert "Whoever holds this page" in page


def test_a_code_says_what_its_part_says():
    """The modules that are drawn are those of the part, as whoever makes codes draws them."""
    page = kit_html(KIT, secret=True)
    for part in slices(KIT):
        code = segno.make(part, micro=False, error="m", mode="byte", encoding="utf-8")
        assert f'viewBox="0 0 {code.symbol_size(border=4)[0]} ' in page
        path = re.search(r' d="([^"]+)"', code.svg_inline(omitsize=True))[1]
        assert path in page


def test_nothing_is_fetched_and_nothing_runs():
    """One file: no script, no address but the namespaces of none, and a policy that says so."""
    page = kit_html("plain\n", secret=False)
    assert "default-src 'none'" in page
    for word in ("<script", "src=", "href=", "url(", "@import", "http"):
        assert word not in page.replace("http-equiv", "")
    assert "This page holds no key" in page


@pytest.mark.e2e
def test_the_page_is_written_privately_and_never_by_accident(tmp_path):
    """With a key it goes to a file of one's own; without, anybody may see it."""
    home = Installation(tmp_path).init()
    page = tmp_path / "kit.html"
    home.done("key", "kit", "--identity", home.kit, "--html", "--output", page)
    assert page.stat().st_mode & 0o777 == 0o600
    assert "AGE-SECRET-KEY-PQ-1" in page.read_text()
    assert home.run("key", "kit", "--identity", home.kit, "--html").returncode == 2
    assert "AGE-SECRET" not in home.done("key", "kit", "--html")
