"""Policies as the rest of drkeeper sees them: read, checked, complete."""

from datetime import datetime, timedelta, tzinfo

import msgspec

from drkeeper.model.probes import DrillTerms
from drkeeper.model.retention import Retention
from drkeeper.model.schedule import Schedule, longest_gap, next_run
from drkeeper.model.windows import Window, closed_until


class FilesSource(msgspec.Struct, frozen=True, tag="files"):
    """A file tree to protect.

    Attributes:
        paths: Absolute paths, as the policy names them.
        exclude: Patterns in the manner of gitignore.
        exclude_caches: Whether directories marked by ``CACHEDIR.TAG`` are left out.
        one_file_system: Whether mount points below a path are left out.
        exclude_larger_than: Files of more bytes are left out; ``None`` for no limit.
    """

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    exclude_caches: bool = False
    one_file_system: bool = True
    exclude_larger_than: int | None = None

    @property
    def kind(self) -> str:
        """The word for this kind of source in policies and snapshots."""
        return "files"


class SqliteSource(msgspec.Struct, frozen=True, tag="sqlite"):
    """SQLite databases to protect.

    Attributes:
        databases: Absolute paths of database files, as the policy names them.
        busy_timeout: How long another program's lock is waited for.
    """

    databases: tuple[str, ...]
    busy_timeout: timedelta

    @property
    def kind(self) -> str:
        """The word for this kind of source in policies and snapshots."""
        return "sqlite"

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected, for people."""
        return self.databases


class Objectives(msgspec.Struct, frozen=True):
    """What the policy promises.

    Attributes:
        rpo: Most data, as time, that may be lost; ``None`` when nothing is promised.
        rto: Longest time from declaring a disaster to a proven service; ``None`` likewise.
    """

    rpo: timedelta | None = None
    rto: timedelta | None = None


class Limits(msgspec.Struct, frozen=True):
    """What one backup may use of the machine; ``None`` leaves the choice to drkeeper.

    Attributes:
        memory_bytes: Memory for content on its way.
        workers: Threads that compress and seal.
        compression_level: zstd level, 1 to 19.
        nice: Added to the priority number of the process, 0 to 19.
        upload: Most bytes a second sent, shared with nobody.
        closed: Times of day in which no run is started; what runs goes on.
    """

    memory_bytes: int | None = None
    workers: int | None = None
    compression_level: int | None = None
    nice: int | None = None
    upload: int | None = None
    closed: tuple[Window, ...] = ()


class Pause(msgspec.Struct, frozen=True):
    """Runs are not wanted for a while.

    Attributes:
        until: When they are wanted again.
        reason: Why, for those who wonder.
    """

    until: datetime
    reason: str


class Hook(msgspec.Struct, frozen=True):
    """A command around a run.

    Attributes:
        command: Program and arguments; no shell.
        timeout: How long it may take.
        essential: Whether the run fails with it; only what comes before the backup can be.
    """

    command: tuple[str, ...]
    timeout: timedelta
    essential: bool = True


class Hooks(msgspec.Struct, frozen=True):
    """Commands around a backup, each in order.

    Attributes:
        before_backup: Before the source is read.
        after_backup: After it, however it ended.
        after_failure: When it failed.
    """

    before_backup: tuple[Hook, ...] = ()
    after_backup: tuple[Hook, ...] = ()
    after_failure: tuple[Hook, ...] = ()


class Policy(msgspec.Struct, frozen=True):
    """What is promised for a source, and how.

    Attributes:
        name: Unique in one configuration; with the kind of source it names the lineage.
        source: What is protected.
        repository: Name of the repository in the configuration.
        zone_name: IANA name of ``zone``.
        zone: The zone in which the schedule and local times are read.
        schedule: When it runs; ``None`` when it only runs by hand.
        retention: What is kept.
        objectives: What is promised.
        tags: Carried by every snapshot.
        limits: What a run may use.
        jitter: How far runs are spread.
        offset: This policy's part of ``jitter`` on this host.
        pause: Until when it does not run.
        hooks: Commands around a backup.
        notify: Channels that are told about it.
        drill: How it is proven.
    """

    name: str
    source: FilesSource | SqliteSource
    repository: str
    zone_name: str
    zone: tzinfo
    schedule: Schedule | None = None
    retention: Retention = msgspec.field(default_factory=Retention)
    objectives: Objectives = msgspec.field(default_factory=Objectives)
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    limits: Limits = msgspec.field(default_factory=Limits)
    jitter: timedelta = timedelta()
    offset: timedelta = timedelta()
    pause: Pause | None = None
    hooks: Hooks = msgspec.field(default_factory=Hooks)
    notify: tuple[str, ...] = ()
    drill: DrillTerms = msgspec.field(default_factory=DrillTerms)

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the next snapshot is promised, or ``None`` when no promise is made.

        The next slot of the schedule; without a schedule, one RPO from now. Later where a pause or
        closed windows, as far as they are known now, put it off.
        """
        if self.schedule is not None:
            due = next_run(self.schedule, self.zone, now - self.offset) + self.offset
        elif self.objectives.rpo is not None:
            due = now + self.objectives.rpo
        else:
            return None
        if self.pause is not None:
            due = max(due, self.pause.until)
        return closed_until(self.limits.closed, self.zone, due) or due

    def worst_rpo(self, now: datetime) -> timedelta | None:
        """Return the age a newest recovery point can reach just before the next run begins.

        The time a run takes comes on top of it. ``None`` without a schedule.
        """
        if self.schedule is None:
            return None
        return longest_gap(self.schedule, self.zone, now)
