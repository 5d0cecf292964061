"""Laws of the log: no registered secret leaves, and every event is one bounded line."""

import base64
import json
import string
from urllib.parse import quote, quote_plus

from hypothesis import assume, example, given, settings, strategies as st

from drkeeper.app.wiring.logs.escaping import escaped
from drkeeper.app.wiring.logs.forms import LONGEST_LINE, Form, line_of
from drkeeper.app.wiring.logs.redacting import REDACTED, Redactor

# What people and generators make secrets of, and characters that every encoding treats its own way.
SECRETS = st.text(
    st.sampled_from(
        string.ascii_letters + string.digits + "äß€😀 +/=%&?#@:'\"\\<>\n\t\x1b\u202e~_-"
    ),
    min_size=6,
    max_size=40,
).filter(lambda text: len(text.strip()) >= 6)
TEXTS = st.text(max_size=30)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=20)
FIXED = {"event": "store.refused", "level": "error", "timestamp": "2026-03-01T12:00:00.000Z"}


def values(inside: st.SearchStrategy) -> st.SearchStrategy:
    """Return nested values of every kind with ``inside`` among the leaves and keys."""
    return st.recursive(
        LEAVES | inside,
        lambda some: (
            st.lists(some, max_size=4)
            | st.dictionaries(TEXTS | inside, some, max_size=4)
            | st.tuples(some, some)
            | some.map(repr)
            | inside.map(ValueError)
            | inside.map(lambda text: text.encode())
        ),
        max_leaves=12,
    )


def written(secret: str) -> dict[str, str]:
    """Return the usual spellings of a secret, made here in the plain way."""
    return {
        "raw": secret,
        "percent": quote(secret, safe=""),
        "path": quote(secret),
        "form": quote_plus(secret),
        "json": json.dumps(secret),
        "json-utf8": json.dumps(secret, ensure_ascii=False),
        "repr": repr(secret),
        "bytes": repr(secret.encode()),
        "hex": secret.encode().hex(),
        "basic": base64.b64encode(b"user:" + secret.encode()).decode(),
        "base64": base64.b64encode(secret.encode()).decode(),
        "base64url": base64.urlsafe_b64encode(b"x" + secret.encode() + b"yz").decode(),
    }


def visible(secret: str, line: str) -> list[str]:
    """Return the spellings of a secret that stand in a line, marks of redaction aside."""
    rest = line.replace(REDACTED, "\0")
    tried = {
        "raw": secret,
        "escaped": escaped(secret),
        "json": json.dumps(secret)[1:-1],
        "percent": quote(secret, safe=""),
        "repr": repr(secret)[1:-1],
        "hex": secret.encode().hex(),
        # The last piece of four depends on what follows.
        "base64": base64.b64encode(secret.encode()).decode()[: len(secret.encode()) * 8 // 6],
    }
    return [name for name, text in tried.items() if text in rest]


@settings(max_examples=300, deadline=None)
@given(secret=SECRETS, data=st.data(), form=st.sampled_from(Form))
def test_no_registered_secret_leaves(secret: str, data: st.DataObject, form: Form) -> None:
    """Whatever nested values an event holds, and in whatever form, no registered secret is in its line."""
    inside = st.sampled_from(sorted(written(secret).values())).flatmap(
        lambda text: st.tuples(TEXTS, TEXTS).map(lambda ends: ends[0] + text + ends[1])
    )
    value = data.draw(values(inside))
    redactor = Redactor([secret])
    fields = redactor.fields({**FIXED, "value": value, "error": value})
    line = redactor.line(line_of(fields, form))
    bare = redactor.line(line_of(FIXED, form))
    assume(visible(secret, bare) == [])
    assert visible(secret, line) == []


@settings(max_examples=200, deadline=None)
@given(secrets=st.lists(SECRETS, min_size=1, max_size=4), before=TEXTS, after=TEXTS)
@example(["abcdefgh", "defghijk"], "", "defghijk")
@example(["aaaaaa", "aaaaaaa"], "a", "aaaaa")
def test_every_spelling_in_a_text_is_hidden(secrets: list[str], before: str, after: str) -> None:
    """Texts of errors and children may hold several secrets, in all spellings, one beside the other."""
    redactor = Redactor(secrets)
    for secret in secrets:
        for name, text in written(secret).items():
            shown = redactor.text(before + text + after)
            for other in secrets:
                assert visible(other, shown) == [], name


@settings(max_examples=300, deadline=None)
@given(fields=st.dictionaries(TEXTS, values(TEXTS), max_size=6), form=st.sampled_from(Form))
def test_every_event_is_one_bounded_line(fields: dict[str, object], form: Form) -> None:
    """No value of any kind can begin a line, command a terminal, or make a line without end."""
    line = line_of({**Redactor().fields(fields), **FIXED}, form)
    assert escaped(line) == line
    assert len(line.encode()) <= LONGEST_LINE
    if form is Form.JSON:
        assert json.loads(line)["event"] == "store.refused"
    if form is Form.JOURNAL:
        assert line.startswith("<3>store.refused")


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 60_000), count=st.integers(1, 40), form=st.sampled_from(Form))
def test_large_events_keep_what_says_who_and_when(size: int, count: int, form: Form) -> None:
    """What is too long is cut, never the event, its time, its policy or its run; JSON stays JSON."""
    fields = {**FIXED, "run": "r1", "policy": "home"} | {f"f{i}": "é" * size for i in range(count)}
    line = line_of(fields, form)
    assert len(line.encode()) <= LONGEST_LINE
    for text in ("store.refused", "r1", "home"):
        assert text in line
    if form is Form.JSON:
        assert json.loads(line)["timestamp"] == FIXED["timestamp"]


@given(text=st.text(max_size=200))
def test_nothing_is_lost_without_reason(text: str) -> None:
    """Where no secret is and no name tells of one, the text stays as it was."""
    assume(not any(char in text for char in "=:") and "earer" not in text.lower())
    assume("basic" not in text.lower() and "KEY" not in text.upper())
    assert Redactor(["quite-another-secret"]).text(text) == text
