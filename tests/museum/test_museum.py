"""What any released version has written, this one checks, restores and decodes; broken pieces, too."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from doubles.real_repository import Facts, tree_facts
from drkeeper.clock import SystemClock
from drkeeper.model.entry import sort_key
from drkeeper.operations.check import (
    CheckReport,
    CheckRequest,
    Severity,
    Slice,
    check,
    open_for_check,
)
from drkeeper.operations.restore import RestoreRequest, restore
from drkeeper.repository.keyfile import KeyFile, parse_key_file
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository
from drkeeper.storage.folder import FolderStore
from museum.make import as_json

MUSEUM = Path(__file__).parent
PIECES = sorted(path.name for path in MUSEUM.glob("format-*"))
DECODER = MUSEUM.parents[1] / "tools" / "decode_repository.py"


@dataclass(frozen=True)
class Piece:
    """A repository on show; its store is a copy."""

    folder: Path
    store: Path

    @property
    def expected(self) -> dict:
        """What it holds."""
        return json.loads((self.folder / "expected.json").read_text(encoding="utf-8"))

    def key(self, name: str) -> KeyFile:
        """Return one of its keys."""
        return parse_key_file((self.folder / "keys" / f"{name}.key").read_bytes())

    def open(self) -> Repository:
        """Open it with the recovery key."""
        return open_for_check(
            FolderStore(self.store),
            clock=SystemClock(),
            identities=self.key("recovery").identities,
            admins=self.expected["admins"],
        )

    def check(self) -> CheckReport:
        """Check all of it."""
        return check(self.open(), CheckRequest(read=Slice(0, 1)))

    def files(self, kind: str) -> list[Path]:
        """Return the objects of a kind."""
        return sorted(path for path in (self.store / kind).rglob("*") if path.is_file())


@pytest.fixture(params=PIECES)
def piece(request: pytest.FixtureRequest, tmp_path: Path) -> Piece:
    """Each piece in turn."""
    store = tmp_path / "store"
    shutil.copytree(MUSEUM / request.param / "store", store)
    return Piece(MUSEUM / request.param, store)


def same(facts: Facts, snapshot: dict, expected: dict) -> bool:
    """Whether a restored tree is what the snapshot should hold; only root restores owners."""
    found, wanted = as_json(facts), expected["trees"][snapshot["tree"]]
    if not snapshot["complete"]:
        order = sorted(map(bytes.fromhex, wanted), key=sort_key)
        assert 1 < len(found) < len(order)
        wanted = {path.hex(): wanted[path.hex()] for path in order[: len(found)]}
        # A directory that was cut through had other times when it was whole; so had its mode.
        assert found.keys() == wanted.keys()
    if os.geteuid() != 0:
        for each in (*found.values(), *wanted.values()):
            each[1] = None
    return json.loads(json.dumps(found)) == wanted


def test_there_is_something_on_show():
    """The first format has a piece."""
    assert "format-1" in PIECES


def test_it_is_sound(piece):
    """A check that reads everything finds no error, and all snapshots."""
    report = piece.check()
    assert report.sound
    assert report.snapshots == len(piece.expected["snapshots"])
    assert {f.code for f in report.findings} <= {"void-entry", "late"}


def test_it_is_restored(piece, tmp_path):
    """Every snapshot comes back as its source was."""
    repository = piece.open()
    commits = {commit.n: commit for commit in repository.live_commits()}
    expected = piece.expected
    for snapshot in expected["snapshots"]:
        target = os.fsencode(tmp_path / str(snapshot["n"]))
        reader = SnapshotReader(repository, commits[snapshot["n"]])
        restore(RestoreRequest(reader, target, SystemClock(), numeric_ids=True, privileged=True))
        root = os.path.join(target, bytes.fromhex(snapshot["root"]).lstrip(b"/"))
        assert same(tree_facts(root), snapshot, expected)


def test_it_is_decoded_without_drkeeper(piece, tmp_path):
    """The decoder, written from the format page alone, restores the same."""
    expected = piece.expected
    for snapshot in expected["snapshots"]:
        target = tmp_path / str(snapshot["n"])
        subprocess.run(
            [
                *(sys.executable, DECODER, piece.store),
                *("--identity", piece.folder / "keys" / "recovery.key"),
                *("--admin", expected["admins"][0]),
                *("restore", str(snapshot["n"]), target),
            ],
            check=True,
        )
        root = os.fsencode(target) + bytes.fromhex(snapshot["root"])
        assert same(tree_facts(root), snapshot, expected)


@pytest.mark.parametrize("name", ["host", "other-host", "janitor", "verifier", "recovery", "admin"])
def test_its_key_files_are_read(piece, name):
    """Key files keep their form, too."""
    key = piece.key(name)
    assert key.repository == piece.open().id
    assert key.to_text() == (piece.folder / "keys" / f"{name}.key").read_text(encoding="utf-8")


# -- broken pieces


def errors(report: CheckReport) -> set[str]:
    """Return the codes of the errors."""
    return {f.code for f in report.findings if f.severity is Severity.ERROR}


@pytest.mark.parametrize("kind", ["packs", "meta", "refs"])
def test_with_everything_of_a_kind_missing(piece, kind):
    """All that is missing is named, with every snapshot."""
    lost = piece.files(kind)
    for path in lost:
        path.unlink()
    report = piece.check()
    assert "missing" in errors(report)
    assert report.damaged_snapshots == tuple(s["n"] for s in piece.expected["snapshots"])


def test_with_packs_of_another_repository(piece):
    """Packs that were exchanged among each other are all altered."""
    packs = piece.files("packs")
    contents = [path.read_bytes() for path in packs]
    for path, content in zip(packs, [*contents[1:], contents[0]], strict=True):
        path.chmod(0o600)
        path.write_bytes(content)
    assert "altered" in errors(piece.check())


def test_with_an_entry_lost_from_the_middle(piece):
    """The journal has a hole, and it is named."""
    entries = piece.files("journal")
    entries[len(entries) // 2].unlink()
    assert "missing" in errors(piece.check())


def test_with_an_old_journal(piece):
    """A journal cut back to its beginning is given away by what was stored later."""
    for path in piece.files("journal")[4:]:
        path.unlink()
    assert "rollback" in errors(piece.check())
