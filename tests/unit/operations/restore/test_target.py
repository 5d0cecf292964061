"""The only way into a target: no name leads out of it."""

import errno
import os

import pytest

from drkeeper.errors import TargetError
from drkeeper.operations.restore import syscalls
from drkeeper.operations.restore.target import (
    TEMPORARY,
    Names,
    Target,
    remove_tree,
    resolve_by_component,
    resolve_by_kernel,
)

RESOLVERS = [
    pytest.param(resolve_by_component, id="by component"),
    pytest.param(
        resolve_by_kernel,
        id="by kernel",
        marks=pytest.mark.skipif(not syscalls.has_openat2(), reason="openat2 needs Linux 5.6"),
    ),
]


@pytest.fixture
def tree(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_text("inside")
    (root / "a/out").symlink_to(outside)
    (root / "a/up").symlink_to("..")
    (root / "a/file").symlink_to(outside / "file")
    (root / "a/proc").symlink_to("/proc/self/root")
    return root


@pytest.fixture(params=RESOLVERS)
def target(request, tree):
    with Target.open(os.fsencode(tree), resolver=request.param) as opened:
        yield opened


def test_what_is_inside_is_found(target):
    """A path of real directories leads to the file."""
    fd = target.open_file(b"a/b/file")
    assert fd is not None
    assert os.read(fd, 10) == b"inside"
    os.close(fd)


@pytest.mark.parametrize(
    "path",
    [
        b"../outside/file",
        b"a/../../outside/file",
        b"a/out/file",
        b"a/up/a/b/file",
        b"a/file",
        b"a/proc/etc/passwd",
        b"/etc/passwd",
    ],
)
def test_nothing_else_is(target, path):
    """Parents, links, links in the middle, magic links and absolute paths lead nowhere."""
    with pytest.raises(OSError, match="Errno") as caught:
        os.close(target.open_path(path, os.O_RDONLY))
    assert caught.value.errno in {errno.EXDEV, errno.ELOOP, errno.ENOTDIR}


def test_paths_longer_than_the_kernel_takes(target, tree):
    """A path beyond PATH_MAX is followed component by component."""
    fd = os.open(tree, os.O_RDONLY)
    names = [b"n" * 200] * 30
    for name in names:
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    found = target.open_file(b"/".join([*names, b"end"]))
    assert found is not None
    os.close(found)


@pytest.mark.usefixtures("target")
def test_only_one_restore_at_a_time(tree):
    """A target is locked while it is open."""
    with pytest.raises(TargetError, match="another restore"):
        Target.open(os.fsencode(tree))


def test_temporary_names_do_not_repeat():
    """Names of one run carry its number and differ; two runs have different numbers."""
    names = Names()
    made = {names.next() for _ in range(1000)}
    assert len(made) == 1000
    assert all(name.startswith(TEMPORARY + names.run) for name in made)
    assert Names().run != names.run


def test_removing_a_tree_follows_no_link(target, tree):
    """Removing a tree removes its links and not what they point to."""
    remove_tree(target.root, b"a", os.fstat(target.root).st_dev)
    assert not (tree / "a").exists()
    assert (tree.parent / "outside/file").read_text() == "outside"


def test_a_file_cannot_be_a_target(tmp_path):
    """A target that is a file is refused with a hint."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(TargetError) as caught:
        Target.open(os.fsencode(tmp_path / "file"))
    assert caught.value.hint
