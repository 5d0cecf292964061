"""Nothing from outside becomes markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from drkeeper.app.web.markup import Markup, address, document, escaped, tag, visible

ANY = st.text(st.characters())


class Seen(HTMLParser):
    """What a browser makes of a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@given(ANY)
def test_a_text_stays_a_text(text):
    """Whatever a name is made of, a browser sees one element with that text."""
    seen = Seen(tag("p", text))
    assert [name for name, _ in seen.tags] == ["p"]
    assert seen.text == visible(text)


@given(ANY)
def test_an_attribute_stays_one(text):
    """A value cannot end its attribute."""
    seen = Seen(tag("a", "x", href=text))
    assert seen.tags == [("a", {"href": visible(text)})]


@given(ANY)
def test_every_page_can_be_sent(text):
    """Names that are no UTF-8 (surrogates) do not break the answer."""
    assert document(tag("title", text), text).decode("utf-8")
    assert address(text, q=text).isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\u202eb", "a\\u202eb"), ("\x1b[2J", "\\x1b[2J"), ("x\udce9", "x\\xe9"), ("ä\n\t", "ä\n\t")],
)  # fmt: skip
def test_hidden_characters_are_shown(text, shown):
    """A name cannot hide its end or its direction."""
    assert visible(text) == shown


def test_only_elements_are_taken_as_they_are():
    """A string is escaped even when it looks escaped already; nothing is nothing; lists are joined."""
    assert escaped("&lt;") == "&amp;lt;"
    assert escaped([None, "<", [tag("b", 1)]]) == "&lt;<b>1</b>"
    assert isinstance(escaped("x"), Markup)


def test_names_of_attributes_are_checked():
    """A keyword that came from outside is a defect, not an attribute."""
    with pytest.raises(ValueError, match="no name"):
        tag("p", **{"x onclick": "1"})
    with pytest.raises(ValueError, match="no name"):
        tag("p x")


def test_addresses_are_quoted():
    """A policy's name is one step of the path."""
    assert address("policy", "a/b c") == "/policy/a%2Fb%20c"
    assert address("runs", page=2, policy=None) == "/runs?page=2"
    assert address("") == "/"
