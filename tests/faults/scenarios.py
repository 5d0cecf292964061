"""Every operation in every situation that takes it along another way, and the worlds for it.

Functions that take a world are operations: ``forking`` calls them by name, in a child.
"""

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drkeeper.clock import SystemClock
from drkeeper.operations.progress import Progress
from drkeeper.operations.restore import Overwrite
from drkeeper.repository.commit import Commit
from drkeeper.repository.journal_draft import Draft
from drkeeper.repository.keyfile import parse_key_file
from faults.forking import Forker
from faults.invariants import (
    Tree,
    assert_acknowledged,
    assert_equal,
    assert_ledger_sound,
    assert_repository_sound,
    assert_restores,
    assert_tidy,
    describe,
)
from faults.worlds import LosingStore, World, change, fence, grow

__all__ = ["SCENARIOS", "Scenario", "Worlds", "world_at"]


REAL_TIME = "real-time"
"""A file of this name in a world says that its clock is the machine's."""


def world_at(root: str, source: str, policy: str) -> World:
    """Return the world that somebody told of; with the machine's own clock if it says so."""
    world = World(Path(root), Path(source), policy)
    if (world.root / REAL_TIME).exists():
        world.clock = SystemClock()
    return world


# ---------------------------------------------------------------------- operations


def init(world: World) -> None:
    """Make the repository."""
    world.init()


def backup(world: World) -> None:
    """Back up."""
    world.backup()


def backup_in_parts(world: World) -> None:
    """Back up, committing after every batch."""
    world.backup(partial=True)


def backup_unheard(world: World) -> None:
    """Back up into a store of which no answer to a creation arrives."""
    inner = world.open_store()
    world.opens = lambda: LosingStore(inner)
    world.backup()


def backup_while_condemned(world: World) -> None:
    """Back up while a janitor condemns what the new snapshot is going to use."""
    janitor = parse_key_file((world.keys / "janitor.key").read_bytes())
    done = []

    def condemn(progress: Progress) -> None:
        if progress.phase != "commit" or done:
            return
        done.append(True)
        with world.opened() as repository:
            old = [commit.n for commit in repository.live_commits()]
            packs = [info.key for info in repository.store.entries("packs/")]
            names = sorted(f"packs/{name.rpartition('/')[2]}" for name in packs)
            expire = Draft("expire", {"commits": old, "reason": "test"})
            repository.journal.append_when(lambda _state: expire, janitor.signing_key)
            condemned = Draft("condemn", {"objects": names})
            repository.journal.append_when(lambda _state: condemned, janitor.signing_key)

    world.backup(on_progress=condemn)


def restore(world: World) -> None:
    """Restore into the target."""
    world.recorded_restore()


def restore_again(world: World) -> None:
    """Give the command again; or, when the target was complete but for the report, look it over."""
    complete = world.target.exists() and not (world.target / ".drkeeper-restore").exists()
    if complete and any(world.target.iterdir()):
        top = world.target / str(world.source).lstrip("/")
        assert_equal(describe(world.source), describe(top), "a target without a note")
        world.recorded_restore(overwrite=Overwrite.IF_CHANGED)
    else:
        world.recorded_restore()


def restore_in_place(world: World) -> None:
    """Make the target what the snapshot says, deleting the rest."""
    world.recorded_restore(
        in_place=True, confirmed=True, overwrite=Overwrite.IF_CHANGED, delete=True
    )


def restore_over(world: World) -> None:
    """Make the target what the newest snapshot says, whatever is there."""
    world.recorded_restore(overwrite=Overwrite.IF_CHANGED, delete=True, confirmed=True)


def check(world: World) -> None:
    """Check everything."""
    world.check()


# ---------------------------------------------------------------------- situations


@dataclass(frozen=True, slots=True)
class Scenario:
    """An operation in a situation.

    Attributes:
        world: Name of the prepared world.
        operation: What is done, and cut off.
        again: The next run; the same by default.
        makes: What the next run leaves: a ``snapshot`` of the source, a ``target`` like it, or
            ``nothing`` new.
        ends_with: Exit code, when it fails by itself.
        forgets: Whether earlier snapshots are expired on the way.
        rare: Only for what no other scenario reaches; in full in `make soak`.
    """

    world: str
    operation: Callable[[World], None]
    again: Callable[[World], None] | None = None
    makes: str = "nothing"
    ends_with: int | None = None
    forgets: bool = False
    rare: bool = False

    @property
    def reads(self) -> bool:
        """Whether the repository is only read."""
        return self.operation in {restore, restore_in_place, check}


SCENARIOS = {
    "first": Scenario("born", backup, makes="snapshot"),
    "unchanged": Scenario("one", backup, makes="snapshot"),
    "changed": Scenario("changed", backup, makes="snapshot"),
    "in-parts": Scenario("wide", backup_in_parts, makes="snapshot"),
    "continued": Scenario("partial", backup, makes="snapshot"),
    "restore": Scenario("one", restore, again=restore_again, makes="target"),
    "restore-in-place": Scenario("damaged", restore_in_place, makes="target"),
    "check": Scenario("one", check),
    "init": Scenario("empty", init),
    "init-again": Scenario("half-born", init, rare=True),
    "restore-continued": Scenario(
        "restoring", restore, again=restore_again, makes="target", rare=True
    ),
    "unheard": Scenario("born", backup_unheard, again=backup, makes="snapshot", rare=True),
    "condemned": Scenario(
        "one", backup_while_condemned, again=backup, makes="snapshot", forgets=True, rare=True
    ),
    "refused": Scenario("emptied", backup, ends_with=18, rare=True),
    "lost-cache": Scenario("lost-cache", backup, makes="snapshot", rare=True),
    "aged": Scenario("aged", backup, makes="snapshot", rare=True),
    "lost-state": Scenario("lost-state", backup, makes="snapshot", rare=True),
}


@dataclass
class Worlds:
    """Prepared worlds, each made once and copied for every use.

    Attributes:
        base: Where they are; sources, too.
        forker: Cuts operations off in the middle.
        older: For worlds whose source has changed: commit number to what it was like.
    """

    base: Path
    forker: Forker
    older: dict[str, dict[int, Tree]] = field(default_factory=dict)
    _made: dict[str, World] = field(default_factory=dict)
    _trees: dict[Path, Tree] = field(default_factory=dict)
    _uses: int = 0

    def fresh(self, name: str) -> World:
        """Return a copy of a prepared world that may be harmed."""
        self._uses += 1
        made = self.made(name)
        world = made.copied(self.base / f"use-{self._uses}")
        if (note := world.keys / "unfinished").exists():  # it says where everything is
            note.write_text(note.read_text().replace(str(made.root), str(world.root)))
        return world

    def drop(self, world: World) -> None:
        """Remove a copy."""
        shutil.rmtree(world.root)

    def made(self, name: str) -> World:
        """Return the prepared world itself, making it if need be."""
        if name not in self._made:
            self._made[name] = getattr(self, "_" + name.replace("-", "_"))()
        return self._made[name]

    def tree(self, world: World) -> Tree:
        """Return what the source of a world is like; sources stay as they are once prepared."""
        if world.source not in self._trees:
            self._trees[world.source] = describe(world.source)
        return self._trees[world.source]

    def _empty(self) -> World:
        source = self.base / "source"
        grow(source)
        return self._on(source, "empty")

    def _on(self, source: Path, name: str) -> World:
        world = World(self.base / name, source)
        world.root.mkdir()
        fence(world)
        return world

    def _like(self, name: str, new: str) -> World:
        return self.made(name).copied(self.base / new)

    def _born(self) -> World:
        world = self._like("empty", "born")
        world.init()
        return world

    def _half_born(self) -> World:
        world = self._like("empty", "half-born")
        outcome = self.forker.run("init", world, crash=("repository.creation.create", 1))
        assert outcome.status == "crashed", outcome
        return world

    def _one(self) -> World:
        world = self._like("born", "one")
        world.backup()
        return world

    def _changed(self) -> World:
        world = self._like("born", "changed")
        world.source = self.base / "changing-source"
        grow(world.source)
        report = world.backup()
        self.older["changed"] = {report.commit.n: describe(world.source)}
        change(world.source)
        return world

    def _wide(self) -> World:
        world = self._like("born", "wide")
        world.source = self.base / "wide-source"
        spread(world.source)
        return world

    def _partial(self) -> World:
        world = self._like("wide", "partial")
        outcome = self.forker.run(
            "backup_in_parts", world, crash=("operations.backup.partial_committed", 1)
        )
        assert outcome.status == "crashed", outcome
        return world

    def _emptied(self) -> World:
        world = self._like("born", "emptied")
        world.source = self.base / "emptied-source"
        world.source.mkdir()
        world.policy = "emptied"
        return world

    def _lost_cache(self) -> World:
        world = self._like("one", "lost-cache")
        shutil.rmtree(world.root / "cache")
        return world

    def _aged(self) -> World:
        # One entry before the copy of the state is renewed; and a dead writer's leftover.
        world = self._like("born", "aged")
        for _ in range(15):
            world.backup()
        (world.store_folder / "+tmp" / ("0" * 32)).write_bytes(b"half an object")
        return world

    def _lost_state(self) -> World:
        world = self._like("aged", "lost-state")
        shutil.rmtree(world.state)
        return world

    def _restoring(self) -> World:
        world = self._like("one", "restoring")
        outcome = self.forker.run("restore", world, crash=("operations.restore.rename", 12))
        assert outcome.status == "crashed", outcome
        return world

    def _damaged(self) -> World:
        world = self._like("one", "damaged")
        world.restore()
        top = world.target / str(world.source).lstrip("/")
        change(top)
        (top / "more" / "of" / "it").mkdir(parents=True)
        return world

    # -- what must be true

    def examine(self, name: str, world: World, *, idle: bool = True) -> list[Commit]:
        """Assert the invariants on a world that something was done to; return its commits."""
        scenario = SCENARIOS[name]
        pristine = self.made(scenario.world)
        assert_equal(describe(pristine.outside), describe(world.outside), "outside")
        assert_equal(self.tree(world), describe(world.source), "the source")
        if scenario.reads:
            assert listing(world.store_folder) == listing(pristine.store_folder)
        elif not any((world.store_folder / "journal").glob("*")):
            return []
        commits = assert_repository_sound(world)
        acks = world.acks()
        if scenario.forgets:
            live = {commit.n for commit in commits}
            first = min((commit.n for commit in commits), default=0)
            acks = [ack for ack in acks if ack.n in live or ack.n >= first > 0]
        assert_acknowledged(commits, acks)
        older = self.older.get(scenario.world, {})
        for commit in [] if scenario.reads else commits[-2:]:
            tree = older.get(commit.n) or self.tree(world)
            assert_restores(world, commit, tree, path=world.source)
        if not scenario.forgets:
            assert_ledger_sound(world, commits, idle=idle)
        return commits

    def examine_end(self, name: str, world: World, before: int) -> None:
        """Assert what is to be true once the next run has succeeded.

        Args:
            name: Of the scenario.
            world: Where it ran.
            before: Number of the newest commit before that run.
        """
        scenario = SCENARIOS[name]
        commits = self.examine(name, world)
        assert_tidy(world)
        if scenario.makes == "snapshot":
            assert commits[-1].complete
            assert commits[-1].n > before
            assert world.acks()[-1].n == commits[-1].n
        if scenario.makes == "target":
            top = world.target / str(world.source).lstrip("/")
            assert_equal(self.tree(world), describe(top), "the target")
        if name.startswith("init"):
            world.backup()
            commits = assert_repository_sound(world)
            assert_restores(world, commits[-1], self.tree(world), path=world.source)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return length and time of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def spread(top: Path) -> None:
    """Fill a new directory so that a walk takes two batches, and the manifest three pieces."""
    top.mkdir()
    prefix = os.fsencode(top).lstrip(b"/") + b"/"
    for number in range(1100):
        name = b"%04d" % number
        if number in {300, 800}:  # docs/format.md 6.1: where drkeeper cuts
            salts = (b"%b-%d" % (name, salt) for salt in range(100_000))
            name = next(salt for salt in salts if zlib.crc32(prefix + salt) % 1024 == 0)
        with open(os.fsencode(top) + b"/" + name, "wb") as file:
            file.write(name if number % 100 == 0 else b"")
    subprocess.run(["touch", "-d", "2020-01-02", top], check=True)
