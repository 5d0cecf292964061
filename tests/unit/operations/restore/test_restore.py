"""Restoring onto a directory: what is made, kept, replaced, removed and refused."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.crafted import CHUNK, Crafter, file, in_order, link, node
from drkeeper.clock import SystemClock
from drkeeper.errors import IntegrityError, NoSpaceError, TargetError, VerificationError
from drkeeper.model.entry import EntryFlag, Extra, FileType
from drkeeper.operations.progress import Progress
from drkeeper.operations.restore import (
    Overwrite,
    RestoreRequest,
    Severity,
    plan,
    restore,
)
from drkeeper.operations.restore.marker import NAME as MARKER
from drkeeper.repository.places import ObjectKind

LARGE = bytes(range(256)) * 4096 * 7 + b"the end"


@pytest.fixture
def crafter(tmp_path):
    return Crafter(tmp_path / "repository")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


def _request(reader, target: Path, **changes) -> RestoreRequest:
    return RestoreRequest(reader, os.fsencode(target), SystemClock(), workers=2, **changes)


def _tree(crafter: Crafter):
    return crafter.snapshot(
        crafter.piece(
            in_order(
                [
                    node(b"d", mode=0o750),
                    file(b"d/small", b"hello", mode=0o640),
                    file(b"d/empty"),
                    file(b"d/closed", b"secret", mode=0),
                    link(b"d/link", b"small"),
                    node(b"d/fifo", FileType.FIFO, mode=0o600),
                    node(b"e"),
                    file(b"e/one", b"linked", links=2, inode=7),
                    file(b"e/two", b"linked", links=2, inode=7),
                ]
            )
        ),
        crafter.piece([file(b"large", _varied())]),
    )


def _varied() -> bytes:
    """Return content of which no two chunks are equal."""
    return b"".join(bytes([n]) * CHUNK for n in range(9)) + b"the end"


def test_a_whole_tree(crafter, target):
    """Content, types, modes, times, links and names come back, and nothing else is there."""
    report = restore(_request(_tree(crafter), target))
    assert (target / "d/small").read_bytes() == b"hello"
    assert (target / "large").read_bytes() == _varied()
    assert os.readlink(target / "d/link") == "small"
    assert stat.S_ISFIFO((target / "d/fifo").stat().st_mode)
    assert stat.S_IMODE((target / "d/closed").stat().st_mode) == 0
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o750
    assert (target / "e/one").samefile(target / "e/two")
    for name in ("d", "d/small", "e", "large"):
        assert (target / name).stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert sorted(os.listdir(target)) == ["d", "e", "large"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert report.verified
    assert (report.files, report.directories, report.others) == (6, 2, 2)
    assert report.plan.plain_bytes == len(_varied()) + 17


def test_holes_stay_holes(crafter, target):
    """A sparse file takes no more room than its data."""
    extra = Extra(segments=((1 << 30, 4),))
    restore(
        _request(
            crafter.snapshot(crafter.piece([file(b"f", b"data", size=1 << 31, extra=extra)])),
            target,
        )
    )
    assert (target / "f").stat().st_size == 1 << 31
    assert (target / "f").stat().st_blocks * 512 < 1 << 20
    with (target / "f").open("rb") as restored:
        restored.seek(1 << 30)
        assert restored.read(5) == b"data\0"


def test_a_sub_path_brings_what_is_above(crafter, target):
    """A part of a snapshot comes with the directories above it, and with nothing beside it."""
    restore(_request(_tree(crafter), target, paths=(b"e/one",)))
    assert [path.relative_to(target).as_posix() for path in sorted(target.rglob("*"))] == [
        "e",
        "e/one",
    ]


def test_an_unknown_path_is_refused(crafter, target):
    """Asking for what is not in the snapshot is an error that names it."""
    with pytest.raises(TargetError, match="no /nothing"):
        restore(_request(_tree(crafter), target, paths=(b"nothing",)))


def test_a_refused_restore_leaves_no_directory(crafter, target):
    """What is refused before anything is written leaves no target, nor directories above it."""
    with pytest.raises(TargetError, match="no /nothing"):
        restore(_request(_tree(crafter), target / "in" / "here", paths=(b"nothing",)))
    assert not target.exists()


def test_a_refused_restore_leaves_a_directory_that_was_there(crafter, target):
    """An empty target that somebody made before stays."""
    target.mkdir()
    with pytest.raises(TargetError, match="no /nothing"):
        restore(_request(_tree(crafter), target, paths=(b"nothing",)))
    assert target.is_dir()


def test_a_full_directory_is_refused(crafter, target):
    """A target that holds anything is left alone unless something was said about it."""
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(TargetError, match="not empty"):
        restore(_request(_tree(crafter), target))
    assert os.listdir(target) == ["mine"]


def test_a_link_as_target_is_refused(crafter, target, tmp_path):
    """The target itself is not reached through a symbolic link."""
    (tmp_path / "elsewhere").mkdir()
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetError, match="symbolic link"):
        restore(_request(_tree(crafter), target))
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("changes", [{"in_place": True}, {"delete": True}])
def test_a_live_tree_needs_a_confirmation(crafter, target, changes):
    """Replacing or deleting in a live tree needs somebody's word."""
    with pytest.raises(TargetError, match="confirmation"):
        restore(_request(_tree(crafter), target, **changes))
    assert not target.exists()


def test_two_restores_into_one_target(crafter, target):
    """A target that another restore is writing to is refused."""
    seen: list[str] = []

    def second(_: Progress) -> None:
        try:
            restore(_request(_tree(crafter), target, overwrite=Overwrite.ALWAYS))
        except TargetError as error:
            seen.append(str(error))

    restore(_request(_tree(crafter), target), second)
    assert "another restore" in seen[0]


class TestOverwrite:
    """What happens to files that are there."""

    def test_never(self, crafter, target):
        """Files that are there stay; what is missing is restored."""
        target.joinpath("d").mkdir(parents=True)
        (target / "d/small").write_text("mine")
        report = restore(_request(_tree(crafter), target, overwrite=Overwrite.NEVER))
        assert (target / "d/small").read_text() == "mine"
        assert (target / "large").read_bytes() == _varied()
        assert report.skipped >= 1

    def test_always(self, crafter, target):
        """Files that are there are replaced; others stay."""
        target.joinpath("d").mkdir(parents=True)
        (target / "d/small").write_text("mine")
        (target / "d/other").write_text("mine")
        restore(_request(_tree(crafter), target, overwrite=Overwrite.ALWAYS))
        assert (target / "d/small").read_text() == "hello"
        assert (target / "d/other").read_text() == "mine"

    def test_only_what_differs_is_fetched(self, crafter, target):
        """Of a large file that differs in one place, one chunk is fetched; the equal rest is kept."""
        reader = _tree(crafter)
        restore(_request(reader, target))
        changed = bytearray(_varied())
        changed[4 * CHUNK + 5] ^= 1
        (target / "large").write_bytes(changed)
        report = restore(_request(reader, target, overwrite=Overwrite.IF_CHANGED))
        assert (target / "large").read_bytes() == _varied()
        assert report.plain_bytes == CHUNK
        assert report.kept_bytes >= 8 * CHUNK

    def test_equal_files_are_not_fetched(self, crafter, target):
        """A second run over an equal tree fetches nothing, and mends metadata."""
        reader = _tree(crafter)
        restore(_request(reader, target))
        (target / "d/small").chmod(0o777)
        before = (target / "large").stat()
        report = restore(_request(reader, target, overwrite=Overwrite.IF_CHANGED))
        assert report.fetched_bytes == 0
        assert (target / "large").stat().st_ino == before.st_ino
        assert stat.S_IMODE((target / "d/small").stat().st_mode) == 0o640

    def test_times_prove_nothing(self, crafter, target):
        """Other content of the same length and time is found and replaced."""
        reader = _tree(crafter)
        restore(_request(reader, target))
        status = (target / "d/small").stat()
        (target / "d/small").write_text("HELLO")
        os.utime(target / "d/small", ns=(status.st_mtime_ns, status.st_mtime_ns))
        restore(_request(reader, target, overwrite=Overwrite.IF_CHANGED))
        assert (target / "d/small").read_text() == "hello"

    def test_delete_removes_what_the_snapshot_lacks(self, crafter, target, tmp_path):
        """Deleting removes files and trees in restored directories, and follows no link."""
        reader = _tree(crafter)
        restore(_request(reader, target))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/file").write_text("kept")
        (target / "d/extra/deep").mkdir(parents=True)
        (target / "d/extra/deep/file").write_text("x")
        (target / "d/link-out").symlink_to(tmp_path / "elsewhere")
        (target / "beside").write_text("above what is restored")
        request = _request(
            reader, target, overwrite=Overwrite.IF_CHANGED, delete=True, confirmed=True
        )
        report = restore(request)
        assert not (target / "d/extra").exists()
        assert not (target / "d/link-out").is_symlink()
        assert (tmp_path / "elsewhere/file").read_text() == "kept"
        assert (target / "beside").exists()
        assert report.removed == 2

    def test_nothing_is_deleted_by_a_damaged_manifest(self, crafter, target):
        """When a piece of the manifest is unreadable, what it may have named is not deleted."""
        good = crafter.piece([node(b"d"), file(b"d/a", b"1")])
        reader = crafter.snapshot(good, b"\xc1", firsts=[b"d", b"d/b"])
        (target / "d").mkdir(parents=True)
        (target / "d/b").write_text("precious")
        request = _request(reader, target, overwrite=Overwrite.ALWAYS, delete=True, confirmed=True)
        with pytest.raises(IntegrityError):
            restore(request)
        assert (target / "d/b").read_text() == "precious"
        assert (target / "d/a").read_text() == "1"

    def test_a_file_gives_way_to_a_directory(self, crafter, target):
        """Where the snapshot has a directory, a file or a link is replaced, and not followed."""
        target.mkdir()
        (target / "elsewhere").mkdir()
        (target / "d").symlink_to(target / "elsewhere")
        restore(_request(_tree(crafter), target, overwrite=Overwrite.ALWAYS))
        assert (target / "d/small").read_text() == "hello"
        assert os.listdir(target / "elsewhere") == []


class TestDamage:
    """What is damaged is told, and everything else comes back."""

    def test_a_missing_pack(self, crafter, target):
        """Files of a missing pack are listed; the others are restored and the error says so."""
        reader = crafter.snapshot(
            crafter.piece([file(b"a", b"x" * 100)]), crafter.piece([file(b"b", b"y" * 100)])
        )
        pack = reader.piece(0).packs[0][1]
        crafter.repository.store.delete(f"{ObjectKind.PACKS.value}/{pack.hex()[:2]}/{pack.hex()}")
        with pytest.raises(IntegrityError, match=pack.hex()) as caught:
            restore(_request(reader, target))
        report = caught.value.context["report"]
        assert [(p.severity, p.path) for p in report.problems] == [(Severity.DAMAGED, b"a")]
        assert sorted(os.listdir(target)) == ["b"]

    def test_a_wrong_digest(self, crafter, target):
        """A file that reads back as something else is a failed verification."""
        entry, content = file(b"f", b"hello")
        entry.digest = bytes(32)
        with pytest.raises(VerificationError):
            restore(_request(crafter.snapshot(crafter.piece([(entry, content)])), target))

    def test_unreadable_at_the_source(self, crafter, target):
        """A file whose content was never read is not made up; the report warns."""
        entry = node(b"f", FileType.FILE, size=5, extra=Extra(flags=int(EntryFlag.UNREADABLE)))
        report = restore(_request(crafter.snapshot(crafter.piece([entry])), target))
        assert report.warnings == 1
        assert os.listdir(target) == []

    def test_too_little_room(self, crafter, target):
        """A snapshot that cannot fit is refused before anything is written."""
        entry = node(
            b"f", FileType.FILE, size=2**50, digest=bytes(32), extra=Extra(segments=((0, 2**50),))
        )
        other = file(b"a", b"x")[0]
        reader = crafter.snapshot(
            crafter.tables([other, replace_flags(entry)], []), crafter.tables([node(b"g")], [])
        )
        with pytest.raises((NoSpaceError, IntegrityError)):
            restore(_request(reader, target))
        assert not (target / "a").exists()


def replace_flags(entry):
    """Return the entry as the beginning of a longer one, so that it may be incomplete."""
    entry.extra = Extra(flags=int(EntryFlag.CONTINUED))
    return entry


class TestContinuing:
    """An unfinished restore is continued by the same command."""

    def test_continues(self, crafter, target):
        """After an interruption the same request fetches only what is missing, and tidies up."""
        reader = _tree(crafter)
        asked = []

        def cancelled() -> bool:
            asked.append(1)
            return len(asked) == 2

        with pytest.raises(TargetError, match="cancelled"):
            restore(_request(reader, target, batch_bytes=CHUNK, cancelled=cancelled))
        assert MARKER in os.listdir(os.fsencode(target))
        run = (target / MARKER.decode()).read_text().split('"runs": ["')[1][:8]
        (target / f".drkeeper-{run}00000000").write_text("left by the dead run")
        report = restore(_request(reader, target))
        assert report.resumed
        assert report.unchanged >= 2
        assert (target / "large").read_bytes() == _varied()
        assert sorted(os.listdir(target)) == ["d", "e", "large"]

    def test_another_snapshot_does_not_continue(self, crafter, target):
        """What another snapshot left unfinished is not taken for one's own."""
        with pytest.raises(TargetError, match="cancelled"):
            restore(_request(_tree(crafter), target, cancelled=lambda: True))
        with pytest.raises(TargetError, match="not empty"):
            restore(_request(crafter.snapshot(crafter.piece([file(b"a", b"1")])), target))


class TestPlan:
    """A plan says what would happen and does nothing."""

    def test_nothing_is_written(self, crafter, target):
        """Planning counts files, bytes and requests, and makes no target."""
        planned = plan(_request(_tree(crafter), target))
        assert planned.files == 10
        assert planned.plain_bytes == len(_varied()) + 17
        assert planned.requests > 2
        assert planned.space_bytes >= planned.plain_bytes
        assert not target.exists()

    def test_equal_files_cost_nothing(self, crafter, target):
        """A plan over an equal tree fetches nothing."""
        reader = _tree(crafter)
        restore(_request(reader, target))
        planned = plan(_request(reader, target, overwrite=Overwrite.IF_CHANGED))
        assert planned.fetch_bytes == 0
        assert planned.unchanged == 5


def test_progress_knows_the_whole_from_the_start(crafter, target):
    """The first report already has the totals; the last one has reached them."""
    seen: list[Progress] = []
    restore(_request(_tree(crafter), target), seen.append)
    assert seen[0].files_total == 10
    assert seen[0].plain_bytes == 0
    assert seen[0].remaining_s(1.0) is None
    assert seen[-1].fraction == 1.0


def test_progress_counts_what_is_left_alone(crafter, target):
    """Files that stay as they are, or cannot be restored, are not waited for."""
    reader = _tree(crafter)
    restore(_request(reader, target))
    seen: list[Progress] = []
    restore(_request(reader, target, overwrite=Overwrite.NEVER), seen.append)
    assert seen[-1].fraction == 1.0


def test_rights_are_left_out_and_told(crafter, target):
    """Set-user-id bits, devices and trusted attributes need to be asked for; the report says so."""
    reader = crafter.snapshot(
        crafter.piece(
            [
                node(b"dev", FileType.CHARACTER, extra=Extra(major=1, minor=3)),
                file(b"sh", b"x", mode=0o4755),
                file(b"t", b"x", extra=Extra(xattrs=((b"trusted.a", b"b"),))),
            ]
        )
    )
    report = restore(_request(reader, target))
    assert {problem.code for problem in report.problems} == {"device", "setuid", "xattr"}
    assert report.warnings == 3
    assert stat.S_IMODE((target / "sh").stat().st_mode) == 0o755


def test_without_verification_nothing_is_read_back(crafter, target):
    """Verification can be left out, and the report does not claim it then."""
    report = restore(replace(_request(_tree(crafter), target), verify=False))
    assert not report.verified
    assert report.files == 6


def test_a_file_that_is_cut_short_meanwhile_fails_alone(crafter, target):
    """Whoever shortens a file while its equal parts are taken over breaks that restore of it only."""
    reader = crafter.snapshot(crafter.piece([file(b"large", _varied()), file(b"small", b"here")]))
    target.mkdir()
    (target / "large").write_bytes(_varied()[:-1] + b"!")

    def cut() -> bool:
        os.truncate(target / "large", 10)
        return False

    request = _request(
        reader, target, overwrite=Overwrite.IF_CHANGED, batch_bytes=CHUNK, cancelled=cut
    )
    with pytest.raises(TargetError, match="1 paths could not be restored here"):
        restore(request)
    assert (target / "small").read_bytes() == b"here"
