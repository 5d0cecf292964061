"""What is left after a backup fails at any of its fault points, and at any request to the store."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from doubles.backups import Machine, new_machine
from doubles.faultpoints import RaiseAt, Recorder
from drkeeper import faults
from drkeeper.errors import DrkeeperError, NoSpaceError, StorageUnavailableError
from drkeeper.operations.backup import back_up
from drkeeper.storage.base import ObjectInfo, ObjectStore

OWN = ("operations.backup.", "repository.writer.", "repository.cache.", "repository.history.")


def fill(machine: Machine) -> None:
    machine.write("small/one", b"1")
    machine.write("small/two", b"22" * 5000)
    machine.write("large", bytes(range(256)) * 40_000)


@contextmanager
def controlled(controller: object) -> Iterator[None]:
    faults.install(controller)
    try:
        yield
    finally:
        faults.install(None)


def second_backup_points(base: Path) -> dict[str, int]:
    """How often each point of ours is reached by a backup after a first one."""
    machine = new_machine(base)
    fill(machine)
    machine.back_up()
    machine.write("small/three", b"333")
    recorder = Recorder()
    with controlled(recorder):
        machine.back_up()
    return {name: hits for name, hits in recorder.hits.items() if name.startswith(OWN)}


def assert_all_is_well(machine: Machine) -> None:
    """Every snapshot there is restores, nothing is left running, and the next run succeeds."""
    assert not [each for each in threading.enumerate() if each.name.startswith("drkeeper-")]
    for commit in machine.repository().live_commits():
        snapshot = machine.snapshot(commit)
        snapshot.contents()
        snapshot.assert_needs_are_stored()
    report = machine.back_up()
    machine.assert_snapshot_is_tree(report.commit)
    repository = machine.repository()
    assert not repository.journal.state.sessions
    assert not repository.journal.voids


def test_a_failure_at_any_point_leaves_a_repository_that_needs_no_repair(tmp_path):
    """Whatever raises, the error comes out, old snapshots restore, and the next run works."""
    points = second_backup_points(tmp_path / "count")
    assert len(points) > 15
    for number, (name, hits) in enumerate(sorted(points.items())):
        for hit in sorted({1, hits}):
            machine = new_machine(tmp_path / f"{number}-{hit}")
            fill(machine)
            machine.back_up()
            machine.write("small/three", b"333")
            with (
                controlled(RaiseAt(name, hit, lambda: NoSpaceError("injected"))),
                pytest.raises(NoSpaceError, match="injected"),
            ):
                machine.back_up()
            assert_all_is_well(machine)


class FailingStore:
    """Passes everything on, until the n-th write of some kind of object, which fails."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.left = -1
        self.prefix = ""
        self.applied = False
        self.error: type[DrkeeperError] = NoSpaceError
        self.lock = threading.Lock()

    def arm(self, prefix: str, nth: int, error: type[DrkeeperError], *, applied: bool) -> None:
        self.prefix, self.left, self.error, self.applied = prefix, nth, error, applied

    def _strikes(self, key: str) -> bool:
        with self.lock:
            if not key.startswith(self.prefix):
                return False
            self.left -= 1
            return self.left == 0

    @property
    def location(self) -> str:
        return self.store.location

    def put(self, key: str, data: bytes) -> None:
        if self._strikes(key):
            if self.applied:
                self.store.put(key, data)
            raise self.error(f"injected at {key}")
        self.store.put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self.store.create(key, data)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self.store.get(key, offset=offset, length=length)

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        self.store.read_into(key, into, offset=offset)

    def info(self, key: str) -> ObjectInfo:
        return self.store.info(key)

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        return self.store.entries(prefix, start_after=start_after)

    def delete(self, key: str) -> None:
        self.store.delete(key)


@pytest.mark.parametrize("error", [NoSpaceError, StorageUnavailableError])
@pytest.mark.parametrize("applied", [False, True], ids=["refused", "reply-lost"])
@pytest.mark.parametrize("prefix", ["keyslots/", "packs/", "meta/", "refs/", "inventory/"])
def test_a_failing_put_ends_the_run_with_that_error(tmp_path, prefix, applied, error):
    """A store that is full, or does not answer, gives one typed error and harms nothing."""
    machine = new_machine(tmp_path, FailingStore)
    fill(machine)
    before = machine.back_up().commit
    machine.write("more", b"more" * 400_000)
    machine.store.arm(prefix, 1, error, applied=applied)
    with pytest.raises(error, match="injected"):
        machine.back_up()
    assert [commit.n for commit in machine.repository().live_commits()] == [before.n]
    assert_all_is_well(machine)


def test_a_full_store_in_the_middle_of_much_data_ends_everything_at_once(tmp_path):
    """With every buffer waiting for the store, its error still ends all threads."""
    machine = new_machine(tmp_path, FailingStore)
    for number in range(6):
        machine.write(f"large{number}", bytes([number]) + os.urandom(12_000_000))
    machine.store.arm("packs/", 2, NoSpaceError, applied=False)
    with pytest.raises(NoSpaceError, match="injected at packs/"):
        machine.back_up()
    assert_all_is_well(machine)


def test_condemned_packs_are_not_used_by_the_second_attempt(tmp_path):
    """When what a snapshot would use is condemned meanwhile, it is stored again at once."""
    machine = new_machine(tmp_path)
    fill(machine)
    first = machine.back_up().commit
    machine.write("small/three", b"333")
    packs = [name.rpartition("/")[2] for name in machine.objects("packs/")]
    done = []

    def collect(progress: object) -> None:
        if progress.phase == "commit" and not done:
            done.append(progress)
            repository = machine.repository()
            janitor = machine.keys.janitor.signing_key
            journal = repository.journal
            journal.append("expire", {"commits": [first.n], "reason": "test"}, janitor)
            journal.append("condemn", {"objects": [f"packs/{pack}" for pack in packs]}, janitor)

    report = back_up(machine.request(), collect)
    assert report.new_bytes > 0
    used = {pack for piece in machine.snapshot(report.commit).pieces() for _, pack in piece.packs}
    assert not used & {bytes.fromhex(pack) for pack in packs}
    machine.assert_snapshot_is_tree(report.commit)
