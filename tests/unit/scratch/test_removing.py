"""Removing directories that were made to be hard to remove."""

import os
from pathlib import Path

from drkeeper.scratch.removing import remove_tree


def test_what_is_not_there_is_removed(tmp_path: Path) -> None:
    """Nothing to do is no error."""
    remove_tree(tmp_path / "nothing")


def test_links_are_not_followed(tmp_path: Path) -> None:
    """What a link points to stays, files and directories."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "link").symlink_to(outside)
    (tree / "file").symlink_to(outside / "file")
    os.link(outside / "file", tree / "second name")
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "file").read_text() == "mine"


def test_names_that_it_would_give_itself(tmp_path: Path) -> None:
    """Directories that are called as it would call them are not mixed up."""
    tree = tmp_path / "tree"
    for number in range(1, 5):
        (tree / f".removing-{number}" / f".removing-{number + 1}" / "x").mkdir(parents=True)
    remove_tree(tree)
    assert not tree.exists()


def test_deeper_than_any_path(tmp_path: Path) -> None:
    """A tree that no path reaches the end of, and without rights on the way."""
    tree = tmp_path / "tree"
    tree.mkdir()
    there = os.open(tree, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d" * 50, dir_fd=there)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=there)
        os.fchmod(there, 0o500)
        os.close(there)
        there = below
    os.close(there)
    remove_tree(tree)
    assert not tree.exists()
