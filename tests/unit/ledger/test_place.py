import os
import sqlite3
import stat
from contextlib import closing

import pytest

from doubles.ledgers import ledger_at
from drkeeper.errors import LedgerError, NoSpaceError
from drkeeper.ledger import place

TABLE = b"""\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:40 / /mnt/share rw - nfs4 server:/x rw
31 30 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
32 21 0:41 / /mnt/with\\040blank rw - cifs //server/x rw
33 21 0:42 / /mnt/fuse rw shared:9 master:2 - fuse.sshfs host: rw
34 21 0:43 / /mnt/image rw - fuse.fuse-overlayfs overlay rw
35 21 0:44 / /mnt/over rw - ext4 /dev/vdc rw
36 35 0:45 / /mnt/over rw - 9p share rw
37 21 0:46 / /mnt/plain rw - fuse whatever rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/var/lib/drkeeper", None),
        (b"/mnt/share", "nfs4"),
        (b"/mnt/share/deep/er", "nfs4"),
        (b"/mnt/shared", None),
        (b"/mnt/share/local/x", None),
        (b"/mnt/with blank/x", "cifs"),
        (b"/mnt/fuse/x", "fuse.sshfs"),
        (b"/mnt/image/x", None),
        (b"/mnt/over/x", "9p"),
        (b"/mnt/plain", "fuse"),
    ],
)
def test_network_file_systems_are_recognised(path, kind):
    """The mount that holds a path decides, the innermost and topmost one, by its type."""
    assert place.network_file_system(TABLE, path) == kind


def test_every_directory_that_is_made_is_private(tmp_path):
    """Also those above the ledger's own: who may write there could put another in its place."""
    before = os.umask(0o002)
    try:
        ledger_at(tmp_path / "a" / "b" / "ledger.sqlite").close()
    finally:
        os.umask(before)
    for name in ("a", "a/b"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_a_ledger_on_a_network_file_system_is_refused(tmp_path):
    """Locks of network file systems do not hold, so a ledger there is refused by name."""
    tmp_path.chmod(0o700)
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(b"21 1 0:40 / / rw - nfs4 server:/ rw\n")
    with pytest.raises(LedgerError, match=r"network file system \(nfs4\)") as caught:
        place.check(str(tmp_path / "ledger.sqlite"), mounts=str(mounts))
    assert caught.value.hint == "Put the state directory on a local disk."


def test_without_a_mount_table_nothing_is_suspected(tmp_path):
    """Where /proc is not mounted, a ledger can still be kept."""
    tmp_path.chmod(0o700)
    assert not place.check(str(tmp_path / "ledger.sqlite"), mounts=str(tmp_path / "absent"))


def test_a_symbolic_link_is_refused(tmp_path):
    """A link in the ledger's place, even to a good ledger, is not followed."""
    tmp_path.chmod(0o700)
    ledger_at(tmp_path / "real.db").close()
    (tmp_path / "ledger.sqlite").symlink_to("real.db")
    with pytest.raises(LedgerError, match="not a plain file"):
        ledger_at(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(tmp_path, make):
    """A directory or a FIFO in the ledger's place is refused at once, not waited for."""
    tmp_path.chmod(0o700)
    make(tmp_path / "ledger.sqlite")
    with pytest.raises(LedgerError, match="not a plain file"):
        ledger_at(tmp_path / "ledger.sqlite")


def test_a_directory_open_to_others_is_refused(tmp_path):
    """Where others may put files, they may put a false ledger."""
    tmp_path.chmod(0o770)
    with pytest.raises(LedgerError, match="written to by other users") as caught:
        ledger_at(tmp_path / "ledger.sqlite")
    assert caught.value.hint == f"Run chmod 700 {tmp_path}."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "its content was lost"),
        (b"not a database, but long enough to be looked at" * 100, "not a database"),
        (b"SQLite format 3\0", "not a database|damaged|not a ledger"),
    ],
)
def test_garbage_is_refused_and_kept(tmp_path, content, words):
    """A file that is no ledger is never overwritten; the error says what to do."""
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(LedgerError, match=words) as caught:
        ledger_at(path)
    assert caught.value.exit_code == 23
    assert caught.value.hint
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_kept(tmp_path):
    """A sound SQLite file of somebody else is not turned into a ledger."""
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE event (seq)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger of drkeeper"):
        ledger_at(path)
    assert path.read_bytes() == before


def test_a_missing_ledger_is_not_made_to_be_looked_at(tmp_path):
    """Opening read-only never makes anything."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        ledger_at(tmp_path / "ledger.sqlite", read_only=True)
    with pytest.raises(LedgerError, match="cannot be looked at"):
        ledger_at(tmp_path / "absent" / "ledger.sqlite", read_only=True)
    assert os.listdir(tmp_path) == []


def test_a_journal_without_its_ledger_is_not_played_into_a_new_one(tmp_path):
    """A left-over rollback journal would be written into the new file, so it is refused."""
    tmp_path.chmod(0o700)
    (tmp_path / "ledger.sqlite-journal").write_bytes(b"what is left")
    with pytest.raises(LedgerError, match="ledger is missing, but its journal file is there"):
        ledger_at(tmp_path / "ledger.sqlite")
    assert os.listdir(tmp_path) == ["ledger.sqlite-journal"]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    """A file in the way of the state directory is named in the error."""
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(LedgerError, match="directory of the ledger cannot be made"):
        ledger_at(tmp_path / "state" / "ledger.sqlite")


def test_a_full_disk_is_no_space():
    """What the system calls full is our error for it, with its own exit code."""
    with pytest.raises(NoSpaceError):
        place.refuse("ledger cannot be made", "/x", OSError(28, "No space left on device"))


def test_a_path_with_special_characters_works(tmp_path):
    """Characters that mean something in a URI or a configuration file are plain in a path."""
    path = tmp_path / "50%? #ä" / "led ger.db"
    ledger_at(path).close()
    with ledger_at(path) as ledger:
        assert ledger.verify().ok
