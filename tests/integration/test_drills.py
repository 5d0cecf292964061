"""Drills of real repositories: what is good is proven, and what is measured is what happened."""

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from doubles.databases import make_bank, writers
from doubles.proving import plain_scratch, proving_ground
from drkeeper.clock import SystemClock
from drkeeper.crypto.age import Identity
from drkeeper.errors import LedgerError, ScratchError
from drkeeper.model.drill import Choice, Outcome, Phase, Verdict
from drkeeper.model.probes import CommandProbe, FileProbe, Probes, SqlProbe, Wanted
from drkeeper.repository.repository import open_repository

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


ACCESS = "system.posix_acl_access"


def access_for(user):
    """Return an ACL that lets one more user read. Source: include/uapi/linux/posix_acl_xattr.h."""
    nobody = 0xFFFFFFFF
    rules = [(1, 6, nobody), (2, 4, user), (4, 0, nobody), (16, 4, nobody), (32, 0, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *rule) for rule in rules)


@pytest.fixture
def ground(tmp_path):
    """Return a machine with a tree of every kind of path, and a bank."""
    made = proving_ground(tmp_path)
    made.write("notes/one.txt", b"one\n")
    made.write("notes/six.txt", b"six\n")
    made.write("notes/two.bin", os.urandom(700_000))
    made.write("empty", b"")
    (made.tree / "link").symlink_to("notes/one.txt")
    os.link(made.tree / "notes" / "two.bin", made.tree / "again.bin")
    os.mkfifo(made.tree / "pipe")
    with made.write("holes", b"begin").open("r+b") as file:
        file.truncate(3_000_000)
        file.seek(2_000_000)
        file.write(b"middle")
    guarded = made.write("guarded", b"few may read this\n")
    os.setxattr(guarded, "user.owner", b"finance")
    os.setxattr(guarded, ACCESS, access_for(12345))
    os.setxattr(made.tree / "notes", "user.kept", b"for ever")
    bank = make_bank(made.bank, mode="delete")
    bank.execute("PRAGMA user_version = 7")
    bank.close()
    return made


def restored(ground, path):
    """Return where a path of the source is in scratch."""
    return ground.base / "scratch" / "data" / str(path).lstrip("/")


def at_phase(word, act):
    """Return what does something when a drill comes to a phase."""

    def on_progress(progress):
        if progress.phase == word:
            act()

    return on_progress


def kept_times(path, act):
    """Damage a file so that its times do not tell of it."""
    before = path.stat()
    act()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# ---------------------------------------------------------------- what is good


def test_a_good_tree_is_proven(ground):
    """Every path comes back, a planted fault of each kind is caught, and nothing is left behind."""
    ground.back_up("home")
    drill = ground.drill("home", rpo=HOUR, rto=HOUR)
    assert drill.judgement.verdict is Verdict.PROVEN, (drill.judgement, drill.end)
    assert [each.fault for each in drill.end.controls] == [
        "flipped-byte",
        "truncated-file",
        "missing-path",
    ]
    assert {each.caught_by for each in drill.end.controls} == {("bytes",)}
    assert not (ground.base / "scratch").exists()


def test_a_good_database_is_proven(ground):
    """The engine's own questions are asked as well, and each control is caught by some probe."""
    point = ground.back_up("bank").commit
    drill = ground.drill("bank", rpo=HOUR, rto=HOUR)
    assert drill.judgement.verdict is Verdict.PROVEN, (drill.judgement, drill.end)
    reached = [each.phase for each in drill.end.timeline.reached]
    assert reached == [phase for phase in Phase if phase is not Phase.LOG_REPLAYED]
    assert [each.fault for each in drill.end.controls][-1] == "stale-point"
    with ground.ledger() as ledger:
        assert ledger.proven_through()["bank"] >= point.consistent_at


def test_a_plan_is_written_before_anything_is_known(ground):
    """Criteria and promises stand in the ledger even when nothing else could be done."""
    ground.back_up("home")

    @contextmanager
    def broken():
        raise ScratchError("no place to restore to")
        yield

    drill = ground.drill("home", scratch=broken, rto=HOUR)
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    assert drill.declared_at is None
    assert drill.plan.promised.rto == HOUR
    assert set(drill.plan.criteria["probes"]) == {"bytes"}


def test_an_older_point_is_restored_when_it_is_asked_for(ground):
    """The oldest one comes back as it was, and is held to no RPO."""
    first = ground.back_up("home").commit
    ground.write("notes/one.txt", b"changed\n")
    ground.back_up("home")
    drill = ground.drill("home", choice=Choice.OLDEST, rpo=timedelta(microseconds=1))
    assert drill.judgement.verdict is Verdict.PROVEN, drill.judgement
    assert drill.end.point.commit_number == first.n
    drawn = ground.drill("home", choice=Choice.RANDOM)
    assert drawn.judgement.verdict is Verdict.PROVEN, drawn.judgement


def test_promises_that_were_not_kept_are_told_apart(ground):
    """Sound but too old, and sound but too slow, are no proof of what was promised."""
    ground.back_up("home")
    assert ground.drill("home", rpo=timedelta(microseconds=1)).judgement.verdict is Verdict.TOO_OLD
    assert ground.drill("home", rto=timedelta(microseconds=1)).judgement.verdict is Verdict.TOO_SLOW


def test_a_source_that_is_written_to_raises_no_false_alarm(ground):
    """Programs write, a backup ends while the drill goes on: what is good is proven every time."""
    with writers(ground.bank):
        ground.back_up("bank")
        for _ in range(4):
            backup = threading.Thread(target=ground.back_up, args=["bank"])
            backup.start()
            drill = ground.drill("bank", rpo=HOUR, rto=HOUR)
            backup.join()
            assert drill.judgement.verdict is Verdict.PROVEN, drill.judgement


# ---------------------------------------------------------------- the verifier is verified: files


def flip(path, at=1000):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(one, other):
    aside = one.with_name("aside")
    times = [each.stat().st_mtime_ns for each in (one, other)]
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    for path, time_ns in zip((one, other), times, strict=True):
        os.utime(path, ns=(time_ns, time_ns))


def replace_by_copy(path):
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def fill_hole(path):
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"x")


TREE_DAMAGE = {
    "flipped byte": lambda t: kept_times(t / "notes/two.bin", lambda: flip(t / "notes/two.bin")),
    "truncated file": lambda t: kept_times(
        t / "notes/two.bin", lambda: os.truncate(t / "notes/two.bin", 699_999)
    ),
    "grown file": lambda t: kept_times(t / "empty", lambda: (t / "empty").write_bytes(b"x")),
    "swapped files": lambda t: swap(t / "notes/one.txt", t / "notes/six.txt"),
    "wrong mode": lambda t: (t / "notes/one.txt").chmod(0o666),
    "wrong owner": lambda t: os.chown(t / "notes/one.txt", 4711, 4711),
    "wrong time": lambda t: os.utime(t / "notes/one.txt", (1, 1)),
    "missing file": lambda t: (t / "empty").unlink(),
    "missing folder": lambda t: shutil.rmtree(t / "notes"),
    "file too many": lambda t: (t / "notes/surplus").write_bytes(b"x"),
    "other target": lambda t: ((t / "link").unlink(), (t / "link").symlink_to("empty")),
    "file for a link": lambda t: ((t / "link").unlink(), (t / "link").write_bytes(b"one\n")),
    "folder for a pipe": lambda t: ((t / "pipe").unlink(), (t / "pipe").mkdir()),
    "names of one file apart": lambda t: replace_by_copy(t / "again.bin"),
    "filled hole": lambda t: kept_times(t / "holes", lambda: fill_hole(t / "holes")),
    "empty tree": shutil.rmtree,
    "renamed file": lambda t: (t / "notes/one.txt").rename(t / "notes/seven.txt"),
    "other content of the same length": lambda t: kept_times(
        t / "notes/one.txt", lambda: (t / "notes/one.txt").write_bytes(b"ten\n")
    ),
    "nothing but zeros": lambda t: kept_times(
        t / "notes/two.bin", lambda: (t / "notes/two.bin").write_bytes(bytes(700_000))
    ),
    "wrong mode of a folder": lambda t: (t / "notes").chmod(0o777),
    "set-user-id": lambda t: (t / "notes/two.bin").chmod(0o4755),
    "lost attribute": lambda t: os.removexattr(t / "guarded", "user.owner"),
    "other attribute": lambda t: os.setxattr(t / "guarded", "user.owner", b"anybody"),
    "lost attribute of a folder": lambda t: os.removexattr(t / "notes", "user.kept"),
    "somebody else may read": lambda t: os.setxattr(t / "guarded", ACCESS, access_for(54321)),
}
"""What may be wrong with restored files; each claimed by the comparison with the manifest."""


@pytest.mark.parametrize("damage", TREE_DAMAGE)
def test_damage_to_restored_files_is_caught_by_the_bytes(ground, damage):
    """Whatever is not as the manifest says makes the drill unsound; no probe of the policy is needed."""
    if damage == "wrong owner" and os.geteuid() != 0:
        pytest.skip("only root gives files away, so for nobody else an owner is wrong")
    ground.back_up("home")
    plant = at_phase("compare", lambda: TREE_DAMAGE[damage](restored(ground, ground.tree)))
    drill = ground.drill("home", on_progress=plant)
    assert drill.judgement.verdict is Verdict.UNSOUND, (damage, drill.judgement)
    assert [each.name for each in drill.end.probes if each.outcome is Outcome.FAILED] == ["bytes"]
    assert drill.end.achieved_rto is None


def test_what_was_told_of_one_path_excuses_no_other(ground):
    """A capability that nobody may restore is told once; an attribute lost elsewhere is caught still."""
    if os.geteuid() != 0:
        pytest.skip("only root gives a file a capability")
    capability = struct.pack("<5I", 0x02000000, 1 << 13, 0, 0, 0)  # include/uapi/linux/capability.h
    os.setxattr(ground.tree / "empty", "security.capability", capability)
    ground.back_up("home")
    assert ground.drill("home").judgement.verdict is Verdict.PROVEN
    lose = TREE_DAMAGE["lost attribute"]
    plant = at_phase("compare", lambda: lose(restored(ground, ground.tree)))
    drill = ground.drill("home", on_progress=plant)
    assert drill.end.detail["warnings"] == 1
    assert drill.judgement.verdict is Verdict.UNSOUND


# ---------------------------------------------------------------- the verifier is verified: SQLite


def alter(*statements):
    """Return damage that SQLite itself does."""

    def act(path):
        with closing(sqlite3.connect(path, isolation_level=None)) as bank:
            for statement in statements:
                bank.execute(statement)

    return act


def empty_out(path):
    path.write_bytes(b"")


def no_tables(path):
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as bank:
        bank.execute("VACUUM")


def raw_schema(old, new):
    """Return damage to what SQLite believes of a table: rows may now break a rule of it."""
    change = f"UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}')"
    return alter("PRAGMA writable_schema = ON", change, "PRAGMA writable_schema = RESET")


def unindexed(path):
    """Have an index without the rows that are in its table."""
    with closing(sqlite3.connect(path, isolation_level=None)) as bank:
        (page,) = bank.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'by_account'"
        ).fetchone()
    page_size = 4096
    data = bytearray(path.read_bytes())
    start = (page - 1) * page_size
    # Source: https://www.sqlite.org/fileformat.html, 1.6: an empty leaf of an index.
    data[start : start + 8] = bytes((10, 0, 0, 0, 0, 0x10, 0, 0))
    path.write_bytes(data)


BANK_DAMAGE = {
    "flipped byte in a page": (lambda path: flip(path, 4096 * 3 + 2000), "bytes"),
    "broken page": (lambda path: flip(path, 4096 * 2), "integrity"),
    "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "opens"),
    "no bytes": (empty_out, "rows"),
    "empty dump": (no_tables, "rows"),
    "missing rows": (alter("DELETE FROM movement WHERE id > 190"), "rows"),
    "other rows": (alter("UPDATE account SET balance = 0"), "bytes"),
    "broken foreign key": (
        alter("UPDATE movement SET account = 4711 WHERE id = 3"),
        "foreign-keys",
    ),
    "wrong schema": (alter("DROP INDEX by_account"), "schema"),
    "wrong version": (alter("PRAGMA user_version = 6"), "settings"),
    "a log beside it": (
        lambda path: path.with_name(path.name + "-wal").write_bytes(b"x" * 100),
        "beside",
    ),
    "no fingerprint": (
        lambda path: path.with_name(path.name + ".drkeeper.json").unlink(),
        "fingerprint",
    ),
    "wrong application": (alter("PRAGMA application_id = 7"), "settings"),
    "other page size": (alter("PRAGMA page_size = 1024", "VACUUM"), "settings"),
    "missing table": (alter("DROP TABLE movement"), "schema"),
    "table too many": (alter("CREATE TABLE surplus(a)"), "schema"),
    "trigger too many": (
        alter("CREATE TRIGGER t AFTER INSERT ON account BEGIN DELETE FROM movement; END"),
        "schema",
    ),
    "rows too many": (alter("INSERT INTO account VALUES(4711, 0)"), "rows"),
    "rows twice": (alter("INSERT INTO movement(account) SELECT account FROM movement"), "rows"),
    "other rows in place of others": (
        alter("DELETE FROM movement WHERE id = 200", "INSERT INTO movement VALUES(201, 1, NULL)"),
        "rows",
    ),
    "rows that no index has": (unindexed, "integrity"),
    "a rule that the rows break": (raw_schema("pad BLOB", "pad BLOB CHECK(id < 9)"), "schema"),
    "half a fingerprint": (
        lambda path: path.with_name(path.name + ".drkeeper.json").write_text('{"form": "drk'),
        "fingerprint",
    ),
}
"""What may be wrong with a restored database, and the question of the engine that claims it."""


@pytest.mark.parametrize("damage", BANK_DAMAGE)
def test_damage_to_a_restored_database_is_caught_by_the_engine(ground, damage):
    """The bytes tell, and so does the question of the engine that claims to."""
    ground.back_up("bank")
    plant, claimed = BANK_DAMAGE[damage]
    act = at_phase("compare", lambda: plant(restored(ground, ground.bank)))
    drill = ground.drill("bank", on_progress=act)
    assert drill.judgement.verdict is Verdict.UNSOUND, (damage, drill.judgement)
    failed = {each.name for each in drill.end.probes if each.outcome is Outcome.FAILED}
    assert "bytes" in failed
    assert f"{claimed} {ground.bank}" in failed, (damage, failed)


# ---------------------------------------------------------------- the verifier is verified: store


def object_of(ground, kind):
    return min((ground.base / "store" / kind).rglob("*"), key=lambda each: each.is_dir())


def lose(kind):
    return lambda ground: object_of(ground, kind).unlink()


def corrupt(kind):
    def act(ground):
        path = object_of(ground, kind)
        path.chmod(0o600)
        flip(path, path.stat().st_size // 2)

    return act


def shorten(kind):
    def act(ground):
        path = object_of(ground, kind)
        path.chmod(0o600)
        os.truncate(path, path.stat().st_size - 1)

    return act


def exchange(kind):
    """Give two objects each other's names."""

    def act(ground):
        ground.write("notes/one.txt", os.urandom(2000))
        ground.back_up("home")
        found = sorted(each for each in (ground.base / "store" / kind).rglob("*") if each.is_file())
        one, other = found[0], found[-1]
        assert one != other
        one.rename(one.with_name("aside"))
        other.rename(one)
        one.with_name("aside").rename(other)

    return act


def newest_entry(ground):
    return max((ground.base / "store" / "journal").iterdir())


def corrupt_entry(ground):
    newest_entry(ground).chmod(0o600)
    flip(newest_entry(ground), 100)


STORE_DAMAGE = {
    "missing pack": lose("packs"),
    "flipped byte in a pack": corrupt("packs"),
    "missing manifest": lose("meta"),
    "flipped byte in a manifest": corrupt("meta"),
    "truncated pack": shorten("packs"),
    "truncated manifest": shorten("meta"),
    "exchanged packs": exchange("packs"),
    "exchanged manifests": exchange("meta"),
    "flipped byte in the keys of the session": corrupt("keyslots"),
    "missing entry of the journal": lambda ground: newest_entry(ground).unlink(),
    "flipped byte in the journal": corrupt_entry,
    "missing keys of the session": lambda ground: shutil.rmtree(ground.base / "store" / "keyslots"),
    "everything gone": lambda ground: shutil.rmtree(ground.base / "store"),
}
"""What may be wrong with a store; each claimed by the restore itself."""


@pytest.mark.parametrize("damage", STORE_DAMAGE)
def test_damage_to_the_store_fails_the_drill(ground, damage):
    """What cannot be restored is a failed drill with the reason, however it cannot."""
    ground.back_up("home")
    STORE_DAMAGE[damage](ground)
    drill = ground.drill("home")
    assert drill.judgement.verdict is Verdict.FAILED, (damage, drill.judgement)
    assert drill.judgement.reason
    assert drill.declared_at is not None


def test_a_key_that_opens_nothing_fails_the_drill(ground):
    """Backups that nobody can read are no backups: a genuine key that the repository never knew."""
    ground.back_up("home")

    def with_a_strange_key(keys_opened):
        keys_opened()
        return open_repository(
            ground.store,
            clock=ground.clock,
            identities=[Identity.generate()],
            admins=ground.keys.admins,
        )

    drill = ground.drill("home", open=with_a_strange_key)
    assert drill.judgement.verdict is Verdict.FAILED
    assert drill.judgement.reason.startswith("no identity at hand opens")


def test_yesterdays_store_presented_as_todays_is_found_out(ground):
    """A store that went back in time restores well; this machine's catalogue knows better."""
    ground.back_up("home")
    shutil.copytree(ground.base / "store", ground.base / "yesterday")
    ground.write("notes/one.txt", b"today\n")
    newest = ground.back_up("home").commit
    drill = ground.drill("home", store=type(ground.store)(ground.base / "yesterday"))
    assert drill.judgement.verdict is Verdict.FAILED
    assert drill.judgement.reason.endswith(f"not at snapshot {newest.n}")


def test_yesterdays_database_presented_as_todays_is_found_out(ground):
    """A sound database of yesterday, with yesterday's sound fingerprint, is not what was promised."""
    ground.back_up("bank")
    names = (ground.bank.name, f"{ground.bank.name}.drkeeper.json")
    place = restored(ground, ground.bank).parent
    kept = ground.base / "yesterday"
    kept.mkdir()

    def keep():
        for name in names:
            shutil.copy2(place / name, kept)

    assert ground.drill("bank", on_progress=at_phase("compare", keep)).judgement.verdict.sound
    with closing(sqlite3.connect(ground.bank, isolation_level=None)) as bank:
        bank.execute("UPDATE account SET balance = balance + 1")
    ground.back_up("bank")

    def present():
        for name in names:
            shutil.copy2(kept / name, place)

    drill = ground.drill("bank", on_progress=at_phase("compare", present))
    assert drill.judgement.verdict is Verdict.UNSOUND
    failed = {each.name for each in drill.end.probes if each.outcome is Outcome.FAILED}
    assert failed == {"bytes", f"instant {ground.bank}"}


def test_the_kinds_of_damage_are_many():
    """The tables above plant at least thirty kinds, so that all passing is a score worth a name."""
    kinds = [*TREE_DAMAGE, *BANK_DAMAGE, *STORE_DAMAGE]
    assert len(kinds) == len(set(kinds)) >= 30


# ---------------------------------------------------------------- the policy's own questions


def sql(ground, query, **wanted):
    return Probes(queries=(SqlProbe("asked", query, str(ground.bank), Wanted(**wanted)),))


def test_data_that_was_wrong_before_its_backup_is_caught_by_the_policy(ground):
    """An empty table comes back exactly as it was; only a question of the policy can tell."""
    with closing(sqlite3.connect(ground.bank, isolation_level=None)) as bank:
        bank.execute("DELETE FROM movement")
    ground.back_up("bank")
    assert ground.drill("bank").judgement.verdict is Verdict.PROVEN
    drill = ground.drill("bank", probes=sql(ground, "SELECT count(*) FROM movement", least=1))
    assert drill.judgement.verdict is Verdict.UNSOUND
    assert drill.judgement.reason == "probe asked failed: expected at least 1, found 0"


@pytest.mark.parametrize(
    ("query", "wanted", "passes"),
    [
        ("SELECT count(*) FROM account", {"expect": "100"}, True),
        ("SELECT count(*) FROM account", {"least": 50, "most": 150}, True),
        ("SELECT count(*) FROM account", {"most": 99}, False),
        ("PRAGMA user_version", {"expect": "7"}, True),
        ("PRAGMA user_version", {"expect": "8"}, False),
        ("SELECT strftime('%s', 'now', '-10 minutes')", {"max_age": HOUR}, True),
        ("SELECT datetime('now', '-2 hours')", {"max_age": HOUR}, False),
        ("SELECT 'tomorrow'", {"max_age": HOUR}, False),
        ("SELECT 'many'", {"least": 1}, False),
        ("SELECT balance FROM account WHERE id = -1", {"most": 1}, False),
        ("SELECT * FROM nowhere", {"most": 1}, False),
        ("DELETE FROM account", {"most": 1}, False),
        ("ATTACH '/etc/passwd' AS other", {"most": 1}, False),
    ],
)
def test_questions_in_sql(ground, query, wanted, passes):
    """An answer is right or wrong; what SQLite refuses is wrong, and nothing can be changed."""
    ground.back_up("bank")
    drill = ground.drill("bank", probes=sql(ground, query, **wanted))
    asked = next(each for each in drill.end.probes if each.name == "asked")
    assert (asked.outcome is Outcome.PASSED) is passes, asked
    expected = {True: {Verdict.PROVEN, Verdict.INVALID}, False: {Verdict.UNSOUND}}
    assert drill.judgement.verdict in expected[passes]


def test_a_question_that_needs_no_data_makes_a_drill_invalid(ground):
    """A probe that passes without any data proves nothing, and says so."""
    ground.back_up("home")
    probes = Probes(commands=(CommandProbe("vacuous", ("/bin/true",)),))
    drill = ground.drill("home", probes=probes)
    assert drill.judgement.verdict is Verdict.INVALID
    assert drill.judgement.reason == "planted fault nothing-there was not caught"
    assert "vacuous" in drill.end.controls[-1].detail


def test_commands_and_files_as_questions(ground):
    """Programs find the data through their arguments, files are looked at as they are."""
    (ground.tree / "out").symlink_to("/etc")
    ground.back_up("home")
    one = str(ground.tree / "notes" / "one.txt")
    inside = "{restored}" + one
    probes = Probes(
        commands=(
            CommandProbe("grep", ("/usr/bin/grep", "-c", "one", inside), 0, Wanted(expect="1")),
            CommandProbe("test", ("/usr/bin/test", "-e", inside + "x"), 1),
            CommandProbe("slow", ("/usr/bin/sleep", "30"), timeout=SECOND),
        ),
        files=(
            FileProbe("small", one, least_bytes=1, most_bytes=10, max_age=HOUR),
            FileProbe("gone", one + "x", exists=False),
            FileProbe("there", one, exists=False),
            FileProbe("large", one, least_bytes=5),
            FileProbe("old", one, max_age=timedelta()),
            FileProbe("digest", one, digest="sha256:" + "0" * 64),
            FileProbe("through a link", str(ground.tree / "out" / "passwd")),
            FileProbe("no file", str(ground.tree / "notes")),
        ),
    )
    drill = ground.drill("home", probes=probes)
    passed = {each.name for each in drill.end.probes if each.outcome is Outcome.PASSED}
    assert passed == {"bytes", "grep", "test", "small", "gone"}


# ---------------------------------------------------------------- measured is what happened


class SlowStore:
    """A store that takes its time for the first object of a kind.

    Attributes:
        store: Does the work.
        prefix: Of the objects that are slow.
        seconds: How slow.
    """

    def __init__(self, store, prefix, seconds):
        self.store, self.prefix, self.seconds = store, prefix, seconds

    def __getattr__(self, name):
        return getattr(self.store, name)

    def _wait(self, key):
        if key.startswith(self.prefix):
            seconds, self.seconds = self.seconds, 0
            time.sleep(seconds)

    def get(self, key, **options):
        self._wait(key)
        return self.store.get(key, **options)

    def read_into(self, key, into, **options):
        self._wait(key)
        return self.store.read_into(key, into, **options)


DELAY_S = 1.5


def delayed(ground, phase):
    """Return the options of a drill that is slow in one phase."""
    sleep = lambda: time.sleep(DELAY_S)  # noqa: E731 - handed on
    prefixes = {
        Phase.JOURNAL_READ: "journal/",
        Phase.MANIFEST_AUTHENTICATED: "meta/",
        Phase.FIRST_BYTE: "packs/",
    }
    if phase in prefixes:
        return {"store": SlowStore(ground.store, prefixes[phase], DELAY_S)}
    if phase is Phase.KEYS_OPENED:

        def open_slowly(keys_opened):
            sleep()
            keys_opened()
            return ground.open(ground.store)

        return {"open": open_slowly}
    if phase is Phase.TORN_DOWN:

        @contextmanager
        def slow_scratch():
            with plain_scratch(ground.base / "scratch") as scratch:
                yield scratch
                sleep()

        return {"scratch": slow_scratch}
    word = {Phase.RESTORED: "sync", Phase.PROBES_PASSED: "ask"}[phase]
    return {"on_progress": at_phase(word, sleep)}


@pytest.mark.parametrize(
    "phase", [phase for phase in Phase if phase not in {Phase.ENGINE_STARTED, Phase.LOG_REPLAYED}]
)
def test_a_delay_shows_in_its_phase_and_in_the_rto(ground, phase):
    """Each phase is charged with its own time; tearing down is charged to nobody."""
    ground.back_up("home")
    drill = ground.drill("home", **delayed(ground, phase))
    assert drill.judgement.verdict is Verdict.PROVEN, drill.judgement
    took = drill.end.timeline.took()
    controls_s = drill.end.detail["controls_s"]
    assert took[phase].total_seconds() >= DELAY_S
    for other, spent in took.items():
        if other is not phase:
            extra_s = controls_s if other is Phase.TORN_DOWN else 0.0
            assert spent.total_seconds() - extra_s < DELAY_S, (phase, other)
    is_counted = phase is not Phase.TORN_DOWN
    assert (drill.end.achieved_rto.total_seconds() >= DELAY_S) is is_counted


class SetBack(SystemClock):
    """The clock of a machine on which it is an hour earlier."""

    def now(self):
        return super().now() - timedelta(hours=1)


def test_the_rpo_is_the_age_of_the_newest_row(ground):
    """A writer notes each instant; what the drill says is lost is what is lost, within a second."""
    program = (
        "import sqlite3, sys, time\n"
        "bank = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "bank.execute('CREATE TABLE IF NOT EXISTS beat(at REAL)')\n"
        "while True:\n"
        "    bank.execute('INSERT INTO beat VALUES(?)', (time.time(),))\n"
        "    time.sleep(0.1)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(ground.bank)])
    try:
        time.sleep(1.5)
        ground.back_up("bank")
        time.sleep(2)
        newest = []

        def look():
            with closing(sqlite3.connect(restored(ground, ground.bank))) as bank:
                newest.append(bank.execute("SELECT max(at) FROM beat").fetchone()[0])

        drill = ground.drill("bank", on_progress=at_phase("tear down", look))
    finally:
        writer.kill()
        writer.wait()
    lost = drill.declared_at - datetime.fromtimestamp(newest[0], UTC)
    assert lost > 2 * SECOND
    assert abs(drill.end.achieved_rpo - lost) < SECOND


def test_what_is_backed_up_after_the_declaration_was_lost(ground):
    """A backup that ends in the midst of the drill would not have, had the machine been lost."""
    first = ground.back_up("home").commit

    def open_later(keys_opened):
        ground.write("late", b"too late")
        ground.back_up("home")
        keys_opened()
        return ground.open(ground.store)

    drill = ground.drill("home", open=open_later)
    assert drill.judgement.verdict is Verdict.PROVEN
    assert drill.end.point.commit_number == first.n
    assert drill.end.achieved_rpo == drill.declared_at - first.consistent_at


def test_a_clock_that_was_set_back_hides_no_backup(ground):
    """What the catalogue knew when the drill was planned was there, whatever the clock says."""
    newest = ground.back_up("home").commit
    drill = ground.drill("home", clock=SetBack())
    assert drill.judgement.verdict is Verdict.PROVEN
    assert drill.end.point.commit_number == newest.n
    assert drill.end.achieved_rpo == timedelta()


# ---------------------------------------------------------------- the environment is not the backup


def test_a_scratch_that_breaks_blames_nobody(ground):
    """No room, no program, no folder: inconclusive, and never the backup's fault."""
    ground.back_up("bank")

    def out_of_order():
        raise ScratchError("out of order")

    broken = ground.drill(
        "bank", scratch=lambda: plain_scratch(ground.base / "scratch", breaks=out_of_order)
    )
    assert broken.judgement.verdict is Verdict.INCONCLUSIVE
    assert broken.judgement.reason == "out of order"
    full = ground.drill("bank", needed_bytes=2**62)
    assert full.judgement.verdict is Verdict.INCONCLUSIVE
    assert "bytes free" in full.judgement.reason
    assert full.declared_at is None
    no_program = Probes(commands=(CommandProbe("gone", ("/no/such/program",)),))
    asked = ground.drill("bank", probes=no_program)
    assert asked.judgement.verdict is Verdict.INCONCLUSIVE


def test_whoever_ends_a_drill_leaves_a_row(ground):
    """Ctrl-C in the middle ends it, removes what was restored, and is remembered as such."""
    ground.back_up("home")

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ground.drill("home", on_progress=at_phase("compare", interrupt))
    with ground.ledger() as ledger:
        (drill,) = ledger.drills("home")
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    assert "KeyboardInterrupt" in drill.judgement.reason
    assert not (ground.base / "scratch").exists()


def test_a_ledger_that_cannot_be_written_begins_nothing(ground):
    """What nobody could remember is not begun."""
    ground.back_up("home")

    def refuse(_declared_at):
        raise LedgerError("disk is full")

    with pytest.raises(LedgerError):
        ground.drill("home", declare=refuse)


def test_the_next_drill_is_predicted_and_scored(ground):
    """After three drills the fourth is held to what was foretold of it before it began."""
    ground.back_up("home")
    drills = [ground.drill("home") for _ in range(4)]
    assert [each.plan.prediction is None for each in drills] == [True, True, True, False]
    scored = drills[-1].end.detail["prediction"]
    assert scored["factor"] > 0
    assert scored["hit"] in {"inside", "faster", "slower"}
