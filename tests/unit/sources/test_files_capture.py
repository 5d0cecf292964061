"""What is read of one path, and what is said when it cannot be read as it should."""

import os
import pwd
import stat
import struct
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from blake3 import blake3

import trees
from doubles.sinks import KeepingSink
from drkeeper.model.entry import NO_EXTRA, EntryFlag, FileType
from drkeeper.sources.base import SMALL_BYTES
from drkeeper.sources.files.owners import SystemOwners
from drkeeper.sources.files.reading import segments_of
from unit.sources.running import LateClock, save, unprivileged


def contents(saved, path: bytes, name: bytes) -> bytes:
    """Put a file together again from its data and its segments."""
    entry, data = saved[name], saved.data[path[1:] + b"/" + name]
    if entry.extra.segments is None:
        return data
    whole, at = bytearray(entry.size), 0
    for offset, length in entry.extra.segments:
        whole[offset : offset + length] = data[at : at + length]
        at += length
    assert at == len(data)
    return bytes(whole)


def test_an_entry_holds_all_that_stat_tells(tmp_path):
    """Type, mode, owner, times to the nanosecond, inode and links come back as they are."""
    trees.build_everything(tmp_path, privileged=os.geteuid() == 0)

    saved = save(tmp_path)

    for name in saved.names():
        entry = saved[name]
        if len(entry.path) > 4000:
            continue
        status = os.lstat(b"/" + entry.path)
        assert (entry.mode, entry.uid, entry.gid) == (
            stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
        )  # fmt: skip
        assert (entry.mtime_ns, entry.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
        assert (entry.device, entry.inode, entry.links) == (
            status.st_dev, status.st_ino, status.st_nlink,
        )  # fmt: skip
        if stat.S_ISREG(status.st_mode):
            assert (entry.type, entry.size) == (FileType.FILE, status.st_size)
            assert entry.digest == blake3(saved.data[entry.path]).digest()
        else:
            assert (entry.size, entry.digest) == (0, b"")


def test_times_before_1970_and_single_nanoseconds_are_kept(tmp_path):
    """A time is a number of nanoseconds, and may be negative."""
    (tmp_path / "old").write_bytes(b"")
    os.utime(tmp_path / "old", ns=(0, trees.YEAR_1965_NS))

    assert save(tmp_path)[b"old"].mtime_ns == trees.YEAR_1965_NS


def test_types_and_targets_and_numbers(tmp_path):
    """Links keep their target byte for byte, devices their numbers; neither is opened."""
    missing = trees.build_everything(tmp_path, privileged=os.geteuid() == 0)

    saved = save(tmp_path)

    assert saved[b"fifo"].type == FileType.FIFO
    assert saved[b"socket"].type == FileType.SOCKET
    assert saved[b"symlinks/any-bytes"].extra.target == b"\xff\n " + trees.EVERY_BYTE
    assert len(saved[b"symlinks/long"].extra.target) == 1023
    if not any("as long as" in line for line in missing):
        assert len(saved[b"longest-symlink"].extra.target) == 4095
    if os.geteuid() == 0 and not any(line.startswith("devices") for line in missing):
        block = saved[b"devices/block"]
        assert (block.type, block.extra.major, block.extra.minor) == (
            FileType.BLOCK, 259, 1_000_001,
        )  # fmt: skip
        assert saved[b"devices/null"].type == FileType.CHARACTER


def test_content_around_every_limit_is_read_exactly(tmp_path):
    """Empty, small, just small, no longer small, large: the bytes are the file's."""
    for size in (0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * 1024 * 1024 + 7):
        (tmp_path / str(size)).write_bytes(os.urandom(size))
    sink = KeepingSink(buffer_bytes=64 * 1024)

    saved = save(tmp_path, sink=sink)

    for file in tmp_path.iterdir():
        assert saved.data[os.fsencode(file)[1:]] == file.read_bytes()
        assert saved[os.fsencode(file.name)].extra is NO_EXTRA


@pytest.mark.parametrize(
    ("name", "segments"),
    [
        (b"leading", ((2 << 20, 1 << 20),)),
        (b"trailing", ((0, 1 << 20),)),
        (b"only", ()),
        (b"small", ((65536, 4096),)),
        (b"huge", ((2**39, 4096),)),
    ],
)
def test_holes_are_found_and_not_read(tmp_path, name, segments):
    """A terabyte of nothing costs nothing, and comes back as nothing."""
    trees._holes(os.fsencode(tmp_path))

    saved = save(tmp_path)

    entry = saved[b"holes/" + name]
    assert entry.extra.segments == segments
    assert len(saved.data[entry.path]) == sum(length for _, length in segments)


def test_files_with_holes_come_back_whole(tmp_path):
    """Segments and data together are the file."""
    trees._holes(os.fsencode(tmp_path))

    saved = save(tmp_path)

    for file in (tmp_path / "holes").iterdir():
        if file.stat().st_size < 2**30:
            name = b"holes/" + os.fsencode(file.name)
            assert contents(saved, os.fsencode(tmp_path), name) == file.read_bytes()


def test_a_comb_of_holes_does_not_fill_the_memory(tmp_path):
    """A hostile file can have as many holes as it has blocks; small ones are then read as data."""
    teeth, block = 100, 8192
    trees.hole(
        os.fsencode(tmp_path / "comb"), teeth * block, [(at * block, 1) for at in range(teeth)]
    )

    with (tmp_path / "comb").open("rb") as file:
        exact = segments_of(file.fileno(), teeth * block)
        coarse = segments_of(file.fileno(), teeth * block, limit=10)

    assert len(exact) == teeth
    assert len(coarse) <= 10
    assert all(any(a <= b < a + length for a, length in coarse) for b, _ in exact)


def test_content_of_several_names_is_read_once(tmp_path):
    """Hard links share an inode, so they share their reading."""
    trees._hard_links(os.fsencode(tmp_path))
    sink = KeepingSink()

    saved = save(tmp_path, sink=sink)

    names = [b"hard-links/small", b"hard-links/small-again", b"hard-links/further/small"]
    assert len({saved[name].inode for name in names}) == 1
    assert {saved[name].links for name in names} == {3}
    assert len({saved[name].digest for name in names}) == 1
    assert len(sink.kept) == 3


def test_extended_attributes_are_kept_byte_for_byte(tmp_path):
    """Names and values may be any bytes; they are sorted by name."""
    trees._user_xattrs(os.fsencode(tmp_path))

    saved = save(tmp_path)

    assert saved[b"xattrs/file"].extra.xattrs == (
        (b"user.bytes", bytes(range(256))),
        (b"user.empty", b""),
        (b"user.long", b"l" * 2000),
        (b"user.\xff\xfe", b"a name of any bytes"),
    )
    assert saved[b"xattrs"].extra.xattrs == ((b"user.on-directory", b"yes"),)


def test_acls_and_capabilities_are_extended_attributes(tmp_path):
    """What the kernel stores for them is what a restore must set again."""
    missing = trees.build_everything(tmp_path, privileged=os.geteuid() == 0)

    saved = save(tmp_path)

    found = dict(saved[b"acls"].extra.xattrs)
    assert set(found) == {b"system.posix_acl_access", b"system.posix_acl_default"}
    assert dict(saved[b"acls/file"].extra.xattrs)[b"system.posix_acl_access"]
    if os.geteuid() == 0:
        assert not [line for line in missing if line.startswith(("capab", "privileged"))]
        assert dict(saved[b"capable"].extra.xattrs)[b"security.capability"]
        assert saved[b"trusted/link"].extra.xattrs == ((b"trusted.on-link", b"x"),)


def test_inode_flags_that_a_user_can_set_are_kept(tmp_path):
    """What only says how ext4 stores the file is not."""
    try:
        trees._inode_flags(os.fsencode(tmp_path))
    except (OSError, subprocess.CalledProcessError, LookupError) as error:
        pytest.skip(f"no inode flags here: {error}")

    saved = save(tmp_path)

    assert saved[b"inode-flags/no-dump"].extra.fsflags == 0x40 | 0x80
    assert saved[b"inode-flags/directory"].extra.fsflags == 0x40


def test_a_young_file_is_flagged_because_its_times_prove_nothing_yet(tmp_path):
    """A write through a memory map may leave no trace for a while (60 s)."""
    (tmp_path / "young").write_bytes(b"x")

    late = save(tmp_path, clock=LateClock(timedelta(seconds=61)))
    soon = save(tmp_path, clock=LateClock(timedelta(seconds=55)))

    assert not late[b"young"].extra.flags
    assert soon[b"young"].extra.flags == EntryFlag.RACY


def test_a_file_that_changes_once_is_read_again(tmp_path):
    """The second reading is of a file that holds still, so nothing is flagged."""
    target = tmp_path / "file"
    target.write_bytes(b"a" * 2 * SMALL_BYTES)

    class WritingSink(KeepingSink):
        writes = 1

        def stream(self):
            if self.writes:
                self.writes -= 1
                target.write_bytes(b"b" * 3 * SMALL_BYTES)
            return super().stream()

    sink = WritingSink()
    saved = save(tmp_path, sink=sink)

    assert saved.data[os.fsencode(target)[1:]] == b"b" * 3 * SMALL_BYTES
    assert (sink.discarded, saved[b"file"].extra.flags, saved.findings) == (1, 0, [])


def test_a_file_that_never_holds_still_is_kept_with_a_warning(tmp_path):
    """Four readings are enough; the last one is kept whole and flagged."""
    target = tmp_path / "file"
    target.write_bytes(b"a" * 2 * SMALL_BYTES)

    class GrowingSink(KeepingSink):
        readings = 0

        def stream(self):
            self.readings += 1
            with target.open("ab") as file:
                file.write(b"b")
            return super().stream()

    sink = GrowingSink()
    saved = save(tmp_path, sink=sink)

    entry = saved[b"file"]
    assert sink.readings == 4
    assert entry.extra.flags & EntryFlag.CHANGED
    assert ("changed", b"file") in saved.codes()
    assert len(saved.data[entry.path]) == entry.size


def test_a_small_file_that_grows_is_never_kept_torn(tmp_path):
    """What is kept is a state that the file had, or it is flagged."""
    target = tmp_path / "file"
    target.write_bytes(b"")
    done = threading.Event()

    def grow():
        with target.open("ab", buffering=0) as file:
            for number in range(20_000):
                if done.is_set():
                    break
                file.write(b"%07d\n" % number)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(50):
            saved = save(tmp_path)
            data = saved.data[saved[b"file"].path]
            assert data == b"".join(b"%07d\n" % number for number in range(len(data) // 8))
            assert saved[b"file"].size == len(data)
    finally:
        done.set()
        writer.join()


def test_a_file_that_shrinks_while_it_is_read_ends_where_it_ends(tmp_path):
    """Size, content and segments of the last reading agree with each other."""
    target = tmp_path / "file"
    target.write_bytes(b"x" * 8 * SMALL_BYTES)

    class ShrinkingSink(KeepingSink):
        def stream(self):
            os.truncate(target, max(target.stat().st_size - SMALL_BYTES, 0))
            return super().stream()

    sink = ShrinkingSink()
    saved = save(tmp_path, sink=sink)

    entry = saved[b"file"]
    assert entry.extra.flags == EntryFlag.CHANGED
    assert entry.size == len(saved.data[entry.path]) == target.stat().st_size
    assert sink.discarded == 3


def test_what_vanishes_before_it_is_read_is_a_note(tmp_path):
    """There is nothing to keep of a file that is gone."""
    (tmp_path / "file").write_bytes(b"x")
    saved = save(tmp_path, before_capture=lambda _: (tmp_path / "file").unlink(missing_ok=True))

    assert saved.names() == []
    assert saved.codes() == [("vanished", b"file")]


@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "directory"])
def test_a_file_replaced_by_something_else_is_not_followed(tmp_path, kind):
    """What is opened is what was listed, or nothing."""
    victim, secret = tmp_path / "source/file", tmp_path / "secret"
    victim.parent.mkdir()
    victim.write_bytes(b"x")
    secret.write_bytes(b"not yours")

    def replace(candidate):
        if candidate.path.endswith(b"/file"):
            victim.unlink()
            match kind:
                case "link":
                    victim.symlink_to(secret)
                case "fifo":
                    os.mkfifo(victim)
                case "socket":
                    os.mknod(victim, stat.S_IFSOCK | 0o600)
                case "directory":
                    victim.mkdir()

    saved = save(victim.parent, before_capture=replace)

    assert saved.names() == []
    assert saved.codes() == [("replaced", b"file")]


def test_a_link_replaced_by_a_file_is_not_read(tmp_path):
    """It is reported, and read in the next run."""
    (tmp_path / "link").symlink_to("x")

    def replace(candidate):
        if candidate.path.endswith(b"/link"):
            (tmp_path / "link").unlink()
            (tmp_path / "link").write_bytes(b"x")

    assert save(tmp_path, before_capture=replace).codes() == [("replaced", b"link")]


def test_an_unreadable_file_is_listed_and_flagged(public: Path):
    """Its metadata is kept, its absence is reported, and the rest goes on."""
    (public / "closed").write_bytes(b"secret")
    (public / "closed").chmod(0)
    (public / "open").write_bytes(b"x")

    with unprivileged():
        saved = save(public)

    entry = saved[b"closed"]
    assert entry.extra.flags & EntryFlag.UNREADABLE
    assert (entry.size, entry.digest) == (6, b"")
    assert saved.codes() == [("unreadable", b"closed")]
    assert saved.data[saved[b"open"].path] == b"x"


def test_files_of_others_are_read_without_their_access_time_being_ours_to_spare(public: Path):
    """O_NOATIME is for owners; where it is refused, the file is read anyway."""
    for name in ("a", "b"):
        (public / name).write_bytes(b"x")

    with unprivileged():
        saved = save(public)

    assert saved.names() == [b"a", b"b"]
    assert not saved.findings


def test_reading_leaves_access_times_alone(tmp_path):
    """A backup must not make every file look used."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/file").write_bytes(b"x")
    long_ago = 1_000_000_000_000_000_000
    for path in (tmp_path / "directory/file", tmp_path / "directory"):
        os.utime(path, ns=(long_ago, long_ago * 2))

    save(tmp_path)

    assert (tmp_path / "directory/file").stat().st_atime_ns == long_ago
    assert (tmp_path / "directory").stat().st_atime_ns == long_ago


def test_names_of_owners_are_looked_up_and_may_be_missing():
    """Numbers are kept in any case; a name is a help for another machine."""
    owners = SystemOwners()

    assert owners.user(0) == pwd.getpwuid(0).pw_name
    assert (owners.user(4_000_000_000), owners.group(4_000_000_000)) == ("", "")


def test_a_project_id_is_kept_where_the_file_system_has_them(tmp_path):
    """Quotas by project survive a restore."""
    try:
        trees._project(os.fsencode(tmp_path))
    except (OSError, struct.error) as error:
        pytest.skip(f"no project ids on this file system: {error}")

    assert save(tmp_path)[b"in-project"].extra.project == 4711
