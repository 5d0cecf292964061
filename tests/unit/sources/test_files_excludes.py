"""What patterns leave out, by example; tests/property/test_excludes.py compares them with git."""

import pytest

from drkeeper.errors import ConfigurationError
from drkeeper.sources.files.excludes import Excludes

SOURCES = frozenset({b"srv/www", b"home/me"})


def left_out(patterns: list[str], path: str, sources: frozenset[bytes] = SOURCES) -> bool:
    """Ask about a path; a slash at the end makes it a directory."""
    plain = path.strip("/").encode()
    inside = max((root for root in sources if plain.startswith(root + b"/")), key=len, default=b"")
    base = len(inside) + 1 if inside else 0
    excludes = Excludes.of(patterns, sources)
    return excludes is not None and excludes.match(plain, base, directory=path.endswith("/"))


@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        (["*.tmp"], ["/srv/www/x.tmp", "/home/me/a/b.tmp/"], ["/srv/www/tmp", "/srv/www/x.tmpx"]),
        (["cache/"], ["/srv/www/cache/", "/srv/www/a/cache/"], ["/srv/www/cache"]),
        (["/cache"], ["/srv/www/cache"], ["/srv/www/a/cache"]),
        (["a/cache"], ["/home/me/a/cache"], ["/home/me/b/a/cache"]),
        (["/srv/www/log"], ["/srv/www/log"], ["/srv/www/srv/www/log", "/home/me/srv/www/log"]),
        (["/home/*/log"], ["/home/me/log"], ["/srv/www/log"]),
        (["/www/log"], ["/srv/www/www/log"], ["/srv/www/log"]),
        (["**/a/*.o"], ["/srv/www/a/x.o", "/srv/www/b/c/a/x.o"], ["/srv/www/a/b/x.o"]),
        (["a/**"], ["/srv/www/a/b", "/srv/www/a/b/c"], ["/srv/www/a/"]),
        (["a/**/z"], ["/srv/www/a/z", "/srv/www/a/b/c/z"], ["/srv/www/z"]),
        (["*.log", "!keep.log"], ["/srv/www/x.log"], ["/srv/www/keep.log"]),
        (["!keep.log", "*.log"], ["/srv/www/keep.log"], []),
        (["file[0-9]"], ["/srv/www/file7"], ["/srv/www/filex", "/srv/www/file10"]),
        (["ol?"], ["/srv/www/olé", "/srv/www/ole"], ["/srv/www/ol"]),
        ([r"\!x", r"\#y", r"z\ ", r"\*"], ["/srv/www/!x", "/srv/www/#y", "/srv/www/z ", "/srv/www/*"], ["/srv/www/q"]),
        (["# comment", "", "   "], [], ["/srv/www/# comment"]),
        (["a.b"], ["/srv/www/a.b"], ["/srv/www/axb"]),
        (["new\nline"], ["/srv/www/new\nline"], []),
    ],
)  # fmt: skip
def test_examples(patterns, out, kept):
    """Each way to write a pattern leaves out what docs/sources-files.md says, and nothing else."""
    assert [path for path in out if not left_out(patterns, path)] == []
    assert [path for path in kept if left_out(patterns, path)] == []


def test_below_the_root_both_readings_of_a_leading_slash_are_one():
    """With ``/`` as the source, a pattern is absolute and relative at once."""
    assert left_out(["/var/cache"], "/var/cache/", frozenset({b""}))


@pytest.mark.parametrize(
    "pattern",
    ["[", "a[b", "[z", "x\\", "/", "!/", "a//b", "[[:nothing:]]", "[é]", "a" * 5000, "nul\0"],
)
def test_a_pattern_that_can_never_match_is_refused_by_name(pattern):
    """A mistyped pattern must not silently exclude nothing, or anything else."""
    with pytest.raises(ConfigurationError, match="exclude pattern") as caught:
        Excludes.of(["*.ok", pattern], SOURCES)

    assert repr(pattern)[:60] in str(caught.value)


def test_names_that_are_not_utf_8_can_be_left_out():
    """Patterns come as text that may carry any byte."""
    assert left_out([b"\xff*".decode("utf-8", "surrogateescape")], "/srv/www/x") is False
    excludes = Excludes.of([b"\xff*".decode("utf-8", "surrogateescape")], SOURCES)
    assert excludes.match(b"srv/www/\xff\xfe", 8, directory=False)
