"""The strict YAML reader: what is read, what is refused, and where."""

import pytest

from drkeeper.app.config.document import LARGEST_FILE, plain_value, read_document


def value(text):
    """Read ``text``, which must be right, as Python values."""
    document = read_document("f.yaml", text.encode())
    assert not document.problems
    return plain_value(document.root)


def problems(content):
    """Return what is wrong, as (line, column, message)."""
    document = read_document("f.yaml", content if isinstance(content, bytes) else content.encode())
    return [(p.mark.line if p.mark else 0, p.mark.column if p.mark else 0, p.message)
            for p in document.problems]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:30", "22:30"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("2026-11-21", "2026-11-21"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("022", 22),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("1.5", 1.5),
        (".5e1", 5.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|-\n  a\n  b", "a\nb"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, expected):
    """``no`` and ``22:30`` are text, octal is ``0o``, quotes always mean text."""
    assert value(f"k: {text}") == {"k": expected}


def test_infinities_are_numbers():
    """``.inf`` is a float in the core schema; the schema of a policy then refuses it."""
    assert value("k: -.INF") == {"k": float("-inf")}


def test_keys_are_always_text():
    """A key ``on`` or ``1`` is the word that stands there."""
    assert value("on: 1\n1: [x, {y: z}]") == {"on": 1, "1": ["x", {"y": "z"}]}


def test_a_byte_order_mark_of_utf8_is_harmless():
    """Editors of other systems write one."""
    document = read_document("f.yaml", b"\xef\xbb\xbfa: 1\n")
    assert plain_value(document.root) == {"a": 1}


def test_an_empty_file_is_an_empty_mapping():
    """So that what is missing gets named."""
    assert plain_value(read_document("f.yaml", b"").root) == {}


@pytest.mark.parametrize(
    ("text", "line", "column", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "twice; first on line 1"),
        ("a: &x 1\n", 1, 4, "anchors"),
        ("a: &x 1\nb: *x\n", 1, 4, "anchors"),
        ("<<: {a: 1}\n", 1, 1, "merge key"),
        ("a: !!python/object/apply:os.system [id]\n", 1, 4, "tags"),
        ("a: !custom x\n", 1, 4, "tags"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("%YAML 1.1\n---\na: 1\n", 1, 1, "directives"),
        ("? [a]\n: 1\n", 1, 3, "a key must be a word"),
        ("a: [1, 2\nb: 3\n", 2, 2, "not YAML"),
        ("a: 'x\n", 2, 1, "not YAML"),
        ("\ta: 1\n", 1, 1, "not YAML"),
        ("a: x\x07y\n", 1, 5, "U+0007"),
        ("a: x\u202ey\n", 1, 5, "U+202E"),
        ("a: x\u2028y\n", 1, 5, "U+2028"),
    ],
)
def test_what_could_deceive_a_reader_is_refused_with_its_place(text, line, column, told):
    """Each refusal names line and column."""
    found = problems(text)
    assert found[0][:2] == (line, column)
    assert told in found[0][2]


def test_all_problems_are_told_at_once():
    """One pass of mending suffices."""
    found = problems("a: &x 1\nb: *x\na: 2\nc: !t 3\n")
    assert [place[0] for place in found] == [1, 2, 3, 4]


def test_bytes_that_are_no_utf8_are_refused_with_their_place():
    """Also UTF-16, which gets a message of its own."""
    assert problems(b"a: 1\nb: \xff\n") == [
        (2, 4, "byte 0xff is not UTF-8; save the file as UTF-8")
    ]
    assert "UTF-16" in problems(b"\xff\xfea\x00")[0][2]


def test_deep_nesting_is_refused_quickly():
    """A hostile file cannot make the reader recurse."""
    for text in ("[" * 100_000, "{a: " * 100_000, "- " * 100_000):
        assert "nested deeper" in problems(text)[0][2]


def test_huge_files_are_refused_unread():
    """A policy is a page; ten megabytes of anything are a mistake or an attack."""
    assert "larger than" in problems(b"a: 1\n" * (LARGEST_FILE // 4))[0][2]


def test_too_many_values_are_refused():
    """A wide file is bounded like a deep one."""
    assert "values" in problems("a: [" + "1," * 200_000 + "]")[0][2]


def test_the_number_of_problems_is_bounded():
    """Garbage does not fill the screen or the memory."""
    assert len(problems("\n".join(f"k{n}: !t 1" for n in range(1000)))) == 50
