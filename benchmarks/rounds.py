"""One round: every tool through the steps over one tree, and what lies around afterwards."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import data
from benchmarks.budgets import CHANGED, COLD, FIRST, SAME, WARM
from benchmarks.disk import drop_from_cache
from benchmarks.results import Sample
from benchmarks.tools import Tool

# An ext4 without a journal passes over inodes that were freed in the last five minutes, one by one:
# whoever creates files then pays for the search, up to three times the whole step. Others are slow
# for a minute, until the discarded blocks are dealt with. Source: fs/ext4/ialloc.c, recently_deleted.
QUIET_S = 310
# As many deletions as nobody notices afterwards.
FEW = 2_000


@dataclass
class Rubbish:
    """What rounds leave behind, removed where no measurement can feel it."""

    folders: list[Path] = field(default_factory=list)
    emptied: list[Path] = field(default_factory=list)
    quiet_at: float = 0.0

    def leave(self, folder: Path) -> None:
        """Have a folder removed later."""
        self.folders.append(folder)

    def empty(self) -> None:
        """Give back the room of what was left, but none of its inodes."""
        for folder in self.folders:
            for path in data.files(folder):
                os.chmod(path, 0o600)
                os.truncate(path, 0)
        self.emptied += self.folders
        self.folders.clear()
        os.sync()

    def remove(self) -> None:
        """Remove all that was left."""
        folders = self.emptied + self.folders
        count = sum(sum(1 for _ in data.files(folder)) for folder in folders)
        for folder in folders:
            data.remove(folder)
        self.folders.clear()
        self.emptied.clear()
        os.sync()
        if count > FEW:
            self.quiet_at = time.monotonic() + QUIET_S

    def wait(self) -> None:
        """Return when the file system has got over the last removal."""
        time.sleep(max(0.0, self.quiet_at - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Round:
    """One pass of every tool over one tree, step by step, so that the tools alternate.

    Attributes:
        name: Of the data, in the table.
        tree: What is backed up.
        number: Decides who begins, and what is changed.
        steps: What is done, in this order.
        work: An empty place for the repositories and what is restored.
        rubbish: Takes over ``work`` when all is done.
        record: Receives every sample.
        wait_until_old: Returns when nothing in the tree looks new.
    """

    name: str
    tree: Path
    number: int
    steps: tuple[str, ...]
    work: Path
    rubbish: Rubbish
    record: Callable[[Sample], None]
    wait_until_old: Callable[[Path], None] = data.wait_until_old

    def run(self, tools: list[Tool]) -> None:
        """Begin with new repositories and go through the steps."""
        begins = self.number % len(tools)
        tools = tools[begins:] + tools[:begins]
        self.rubbish.leave(self.work)
        for tool in tools:
            tool.init()
        self.rubbish.wait()
        if SAME in self.steps or CHANGED in self.steps:
            self.wait_until_old(self.tree)
        data.warm(self.tree)
        for step in self.steps:
            if step == CHANGED:
                data.change(self.tree, 100 + self.number)
            for tool in tools:
                sample = (
                    self._restore(tool, step) if step in (WARM, COLD) else self._save(tool, step)
                )
                self.record(sample)

    def _save(self, tool: Tool, step: str) -> Sample:
        os.sync()
        sample = Sample(self.name, step, tool.name, self.number, tool.back_up(self.tree))
        if step == FIRST and tool.repository:
            return replace(sample, stored_bytes=data.extent(tool.repository)[1])
        return sample

    def _restore(self, tool: Tool, step: str) -> Sample:
        """Restore with the whole store in the page cache, or none of it, whoever wrote it how."""
        os.sync()
        left = None
        if tool.repository:
            if step == COLD:
                left = drop_from_cache(tool.repository)
            else:
                data.warm(tool.repository)
        target = self.work / f"restored-{tool.name}-{step == COLD:d}"
        sample = Sample(self.name, step, tool.name, self.number, tool.restore(target), None, left)
        if data.extent(target) != data.extent(self.tree):
            raise SystemExit(f"{tool.name} restored something else than {self.tree}")
        return sample
