"""Everything that a network and a store can do wrong, against whole operations.

Each cell ends in success or in one of drkeeper's errors. What was acknowledged is there, once;
what was not is there at most once; and when the store behaves again, a clean run succeeds.
"""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.s3chaos import KINDS, S3Chaos
from doubles.stores import MemoryStore
from drkeeper.app.wiring.births import _for_hint, _probed
from drkeeper.errors import DrkeeperError
from drkeeper.repository.creation import NewRepository, create_repository
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.retrying import Patience, RetryingStore
from faults.invariants import (
    Tree,
    assert_acknowledged,
    assert_equal,
    assert_ledger_sound,
    assert_repository_sound,
    assert_restores,
    describe,
)
from faults.scenarios import restore_over
from faults.worlds import QuickClock, World, fence, noise

VERBS = ("PUT", "GET", "HEAD", "LIST")
LIES = {("bit-flip", "PUT"), ("garbage", "PUT")}
"""The store says that it has something that it has not: found out when it is read."""
PASSING = {"500", "503", "reset-before-apply", "500-after-apply", "reset-after-apply"}
"""What a single one of is ridden out unseen, whatever the request."""
ALIKE = {"307", "501", "502", "empty-page"}
"""What the adapter turns into the same errors as others, or into nothing (test_s3_faults.py)."""


@dataclass
class Cloud:
    """A server, and an installation that has one snapshot in it; the source has changed since.

    Attributes:
        chaos: The server.
        base: Where worlds are.
        one: The installation; never used itself.
        born: The same before its snapshot.
        objects: What its bucket holds.
        old: What the snapshot is of.
        new: What the source is now.
    """

    chaos: S3Chaos
    base: Path
    one: World
    objects: dict[str, bytes]
    old: Tree
    new: Tree
    uses: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def fresh(self, *, empty: bool) -> World:
        """Return a copy of the installation with a part of the bucket to itself."""
        self.uses += 1
        prefix = f"use-{self.uses}"
        if empty:
            world = World(self.base / prefix, self.one.source)
            world.root.mkdir()
            fence(world)
        else:
            world = self.one.copied(self.base / prefix)
            for key, data in self.objects.items():
                self.chaos.tamper(f"{prefix}/{key}", data)
        world.opens = self.opens(prefix)
        return world

    def requests(self, operation: str) -> Counter[str]:
        """Return how many requests an operation makes when nothing goes wrong, by verb."""
        if operation not in self.counts:
            world = self.fresh(empty=operation == "init")
            begun = len(self.chaos.history)
            OPERATIONS[operation](world)
            self.counts[operation] = Counter(each.verb for each in self.chaos.history[begun:])
            self.drop(world)
        return self.counts[operation]

    def opens(self, prefix: str) -> Callable[[], ObjectStore]:
        """Return what opens a store as ``wiring`` composes it, only more quickly tired."""
        store = self.chaos.store(prefix, read_timeout_s=0.25, connect_timeout_s=2)
        patience = Patience(timedelta(seconds=12))
        return lambda: RetryingStore(
            store, clock=QuickClock(), rng=random.Random(1), patience=patience
        )

    def held(self, world: World) -> World:
        """Return the same installation with what its part of the bucket holds, for a close look.

        Thousands of requests that nobody disturbs would show nothing more.
        """
        store = MemoryStore()
        for key, data in self.chaos.objects(world.root.name).items():
            store.put(key, data)
        return replace(world, opens=lambda: store)

    def drop(self, world: World) -> None:
        """Forget a copy."""
        self.chaos.clear()
        for key in list(self.chaos.buckets["bucket"].keys):
            self.chaos.tamper(key, None)
        shutil.rmtree(world.root)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    base = Path(tempfile.mkdtemp(prefix="drkeeper-cloud-"))
    with S3Chaos() as chaos:
        made = Cloud(chaos, base, World(base / "one", base / "source"), {}, {}, {})
        world = made.one
        world.root.mkdir()
        fence(world)
        source(world.source)
        world.opens = made.opens("one")
        make(world)
        world.backup()
        made.objects = chaos.objects("one")
        made.old = describe(world.source)
        (world.source / "folder/letter-1").write_bytes(b"another letter")
        (world.source / "large").write_bytes(noise(5, 400_000))
        made.new = describe(world.source)
        made.drop(world.copied(base / "scrap"))
        yield made
    shutil.rmtree(base)


def source(top: Path) -> None:
    """Fill a small tree: what travels over the wire is the same as with a large one."""
    (top / "folder").mkdir(parents=True)
    for number in range(5):
        (top / "folder" / f"letter-{number}").write_bytes(b"Dear %d\n" % number)
    (top / "large").write_bytes(noise(4, 300_000))


def make(world: World) -> None:
    """Make a repository as ``drkeeper init`` does, but for where the store comes from."""

    def save(new: NewRepository) -> None:
        world.keys.mkdir(parents=True, exist_ok=True)
        for key in (new.host, new.verifier, new.janitor):
            path = world.keys / f"{key.role.value}.key"
            path.write_text(key.to_text())
            path.chmod(0o600)
        (world.keys / "admins").write_text("\n".join(new.admins))

    store = world.open_store()
    capabilities = _probed(store, world.clock)
    create_repository(store, clock=world.clock, save=save, capabilities=_for_hint(capabilities))


OPERATIONS: dict[str, Callable[[World], object]] = {
    "init": make,
    "backup": World.backup,
    "restore": restore_over,
    "check": World.check,
}


def attempt(act: Callable[[World], object], world: World) -> DrkeeperError | None:
    """Do something; return the error it ended with, which must be one of drkeeper's."""
    try:
        act(world)
    except DrkeeperError as error:
        return error
    return None


@pytest.mark.parametrize("kind", sorted(set(KINDS) - ALIKE))
@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_fault_during_an_operation(cloud: Cloud, operation: str, kind: str) -> None:
    """Once early, once later, and from some request on for ever: typed ends, nothing lost or twice."""
    for verb in VERBS:
        for after, times in ((0, 1), (3, 1), (2, None)):
            if after >= cloud.requests(operation)[verb] or (after == 3 and verb != "PUT"):
                continue  # one read is like another
            if times is None and kind.startswith("stall") and verb != "PUT":
                continue  # seconds each, and to the client the same as a reset for ever
            world = cloud.fresh(empty=operation == "init")
            fault = cloud.chaos.fault(verb=verb, kind=kind, after=after, times=times, seconds=0.4)
            error = attempt(OPERATIONS[operation], world)
            assert error is None or "chaos-secret" not in f"{error} {error.hint} {error.context}"
            if times == 1 and kind in PASSING:
                assert error is None, (verb, after, error)
            cloud.chaos.clear()
            assert fault.hits
            settle(cloud, world, operation, lied=(kind, verb) in LIES, error=error)
            cloud.drop(world)


def settle(
    cloud: Cloud, world: World, operation: str, *, lied: bool, error: DrkeeperError | None
) -> None:
    """The store behaves again: what is in it is sound, and the operation succeeds."""
    if operation == "init":
        if error is None:
            follow(cloud, world, lied=lied)
        return
    if lied:
        follow(cloud, world, lied=True)
        return
    if operation != "backup":
        assert cloud.objects == cloud.chaos.objects(world.root.name)
        OPERATIONS[operation](world)
        if operation == "restore":
            top = world.target / str(world.source).lstrip("/")
            assert_equal(cloud.old, describe(top), "the target")
        return
    there, acks = cloud.held(world), world.acks()
    commits = assert_repository_sound(there)
    assert_acknowledged(commits, acks)
    assert len(commits) <= len(acks) + (error is not None)
    for commit in commits:
        tree = cloud.old if commit.n == acks[0].n else cloud.new
        assert_restores(there, commit, tree, path=world.source)
    follow(cloud, world, lied=False)


def follow(cloud: Cloud, world: World, *, lied: bool) -> None:
    """Back up and restore; where the store has lied, a typed error is as good, wrong data never."""
    error = attempt(World.backup, world)
    assert lied or error is None, error
    if error is not None:
        return
    there = cloud.held(world)
    try:
        newest = world.acks()[-1]
        with there.opened() as repository:
            commit = next(each for each in repository.live_commits() if each.n == newest.n)
        assert_restores(there, commit, cloud.new, path=world.source)
    except DrkeeperError:
        assert lied
        return
    if not lied:
        commits = assert_repository_sound(there, read_data=True)
        assert_ledger_sound(there, commits)


@pytest.mark.parametrize("kind", ["500-after-apply", "reset-after-apply", "stall-after-apply"])
def test_lost_reply_to_a_commit_never_commits_twice(cloud: Cloud, kind: str) -> None:
    """Every answer to a journal entry is lost: each backup is in the journal exactly once."""
    world = cloud.fresh(empty=False)
    cloud.chaos.fault(verb="PUT", key_prefix="journal/", kind=kind, times=None, seconds=0.3)
    for _ in range(3):
        world.backup()
    cloud.chaos.clear()
    commits = assert_repository_sound(world)
    assert [commit.n for commit in commits] == [ack.n for ack in world.acks()]
    assert [commit.seq for commit in commits] == [1, 2, 3, 4]
    cloud.drop(world)
