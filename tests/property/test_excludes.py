"""Excludes agree with git, and no pattern takes for ever."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from drkeeper.errors import ConfigurationError
from drkeeper.sources.files.excludes import Excludes

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name.strip("."))
TREES = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), min_size=1, max_size=12)
PIECES = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "*",
        "?",
        "**",
        "/",
        "[ab]",
        "[!a]",
        "[^b.]",
        "[a-b]",
        "\\a",
        "[[:alpha:]]",
        "!",
    ]
)
PATTERNS = st.lists(st.lists(PIECES, min_size=1, max_size=7).map("".join), min_size=1, max_size=4)
ROOT = b"srv"


def paths_of(tree) -> dict[str, bool]:
    """Return every path of a tree, and whether it is a directory; files give way to them."""
    directories = {"/".join(path[:depth]) for path in tree for depth in range(1, len(path))}
    return {"/".join(path): False for path in tree} | dict.fromkeys(directories, True)


def left_out(excludes: Excludes, paths: dict[str, bool]) -> set[str]:
    """Decide as the walk does: what is in an excluded directory is never asked about."""
    gone: set[str] = set()
    for path in sorted(paths, key=lambda one: one.split("/")):
        above = path.rpartition("/")[0]
        if above in gone or excludes.match(
            ROOT + b"/" + path.encode(), len(ROOT) + 1, directory=paths[path]
        ):
            gone.add(path)
    return gone


@pytest.fixture(scope="module")
def git(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", folder], check=True, capture_output=True)
    return folder


def ignored(git: Path, patterns: list[str], paths: dict[str, bool]) -> set[str]:
    """Ask git about a real tree."""
    (git / ".git/info").mkdir(exist_ok=True)
    (git / ".git/info/exclude").write_text("".join(f"{pattern}\n" for pattern in patterns))
    for path in sorted(paths, key=len):
        (git / path).mkdir() if paths[path] else (git / path).touch()
    run = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin", "--no-index", "--verbose", "--non-matching"],
        cwd=git, input="\0".join(paths).encode(), capture_output=True, check=False,
    )  # fmt: skip
    for top in {path.split("/")[0] for path in paths}:
        shutil.rmtree(git / top) if paths[top] else (git / top).unlink()
    assert run.returncode in {0, 1}, run.stderr
    fields = run.stdout.decode().split("\0")
    found = {}
    for at in range(0, len(fields) - 3, 4):
        pattern, path = fields[at + 2], fields[at + 3]
        found[path] = bool(pattern) and not pattern.startswith("!")
    gone: set[str] = set()
    for path in sorted(paths, key=lambda one: one.split("/")):
        if path.rpartition("/")[0] in gone or found[path]:
            gone.add(path)
    return gone


@settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(patterns=PATTERNS, tree=TREES)
def test_excludes_agree_with_git(git, patterns, tree):
    """Operators know gitignore; the same patterns leave out the same paths."""
    # Where a pattern goes on after a literal beginning, git forgets what came before the stars, so
    # that "a**/b" takes "ab"; gitignore(5) says otherwise, and so do we.
    assume(not any(re.search(r"[^/*]\*\*+/", pattern) for pattern in patterns))
    paths = paths_of(tree)
    try:
        excludes = Excludes.of(patterns, frozenset({ROOT}))
    except ConfigurationError:
        return  # what can never match is refused here, and ignored by git

    mine = left_out(excludes, paths) if excludes else set()

    assert mine == ignored(git, patterns, paths)


@given(st.lists(st.sampled_from(["a", "*", "?", "**", "/", "[a-z]"]), min_size=1, max_size=60))
@settings(deadline=None, max_examples=60)
def test_no_pattern_takes_for_ever(pieces):
    """A hostile policy cannot stall the walk with stars."""
    try:
        excludes = Excludes.of(["".join(pieces) + "b"], frozenset({ROOT}))
    except ConfigurationError:
        return
    path = ROOT + b"/" + b"/".join([b"a" * 60] * 30)
    began = time.process_time()

    excludes.match(path, len(ROOT) + 1, directory=False)

    assert time.process_time() - began < 1


@given(st.text())
@settings(deadline=None)
def test_every_text_is_a_pattern_or_refused(pattern):
    """Nothing but a configuration error comes out of a malformed pattern."""
    try:
        excludes = Excludes.of([pattern], frozenset({ROOT}))
    except ConfigurationError:
        return
    if excludes is not None:
        assert excludes.match(ROOT + b"/a/b", len(ROOT) + 1, directory=False) in {True, False}
