"""Back up: hold a source still, compare it with the snapshot before, store what is new, commit."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NoReturn

from drkeeper import __version__, directories
from drkeeper.clock import Clock
from drkeeper.crypto.derive import Domain
from drkeeper.errors import (
    ConfigurationError,
    FencedError,
    NoSpaceError,
    SourceEmptyError,
    SourceShrunkError,
)
from drkeeper.faults import point
from drkeeper.model.shrinking import has_shrunk
from drkeeper.operations.ending import Ending, NeverEnding
from drkeeper.operations.findings import Findings
from drkeeper.operations.hurrying import HurriedSink, UnfinishedError
from drkeeper.operations.merging import Merge, Tally
from drkeeper.operations.progress import OnProgress, Progress, Ticker, ignore
from drkeeper.repository.abandoned import abort_open_sessions
from drkeeper.repository.cache import Cache, CacheOwner
from drkeeper.repository.commit import Commit
from drkeeper.repository.committing import Facts
from drkeeper.repository.history import Historian, History
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.repository import Repository
from drkeeper.repository.session import CondemnedError, Session, open_session
from drkeeper.repository.snapshot_root import RootFinding
from drkeeper.repository.writer import SnapshotWriter, WriterOptions
from drkeeper.sources.base import Finding, Source, View

PARTIAL_EVERY: Final = timedelta(minutes=10)
PARTIAL_BYTES: Final = 50 * 1024**3
"""How much work an interruption may cost. Source: docs/format.md, "Partial commits"."""

FINISH_WITHIN: Final = timedelta(seconds=15)
"""How long a file that is being read may hold up an end. Source: ours; a third of what the command
gives a run, whose packs have to be sent as well."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up, to where, and how.

    Attributes:
        policy: Name of the policy; with the kind of the source it names the lineage.
        source: What to back up.
        repository: Where to; opened with the identities of ``host``.
        host: Key file of this host.
        host_name: For people.
        cache_dir: Where the cache may be; disposable.
        state_dir: Where the lock of the lineage is.
        clock: Dates and measures.
        paths: What the policy names, for people.
        next_due: When the next snapshot of the lineage is promised.
        tags: Free words of the operator.
        allow_shrink: Whether a source that has lost nearly everything is believed.
        options: How much of the machine to take.
        partial_every: Time after which what is complete is committed.
        partial_bytes: Bytes read after which what is complete is committed.
        ending: Asked, between files, whether to commit what is complete and end.
        finish_within: How long a file that is being read may go on then, before it is left out.
    """

    policy: str
    source: Source
    repository: Repository
    host: KeyFile
    host_name: str
    cache_dir: str
    state_dir: str
    clock: Clock
    paths: tuple[bytes, ...] = ()
    next_due: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
    allow_shrink: bool = False
    options: WriterOptions = field(default_factory=WriterOptions)
    partial_every: timedelta = PARTIAL_EVERY
    partial_bytes: int = PARTIAL_BYTES
    ending: Ending = field(default_factory=NeverEnding)
    finish_within: timedelta = FINISH_WITHIN


@dataclass(frozen=True, slots=True)
class BackupReport:
    """How a backup went.

    Attributes:
        commit: The snapshot.
        consistent_at: The instant it describes.
        tally: What was met.
        read_bytes: Content read from the source.
        new_bytes: Of it, what the repository did not have.
        stored_bytes: What the store holds more than before.
        findings: What an operator should know; at most 10,000, warnings first.
        warnings: How many findings are warnings; with any, the snapshot is complete with warnings.
        phases: Seconds spent preparing, reading and committing.
        continued: Entry number of the partial commit that was continued.
    """

    commit: Commit
    consistent_at: datetime
    tally: Tally
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    findings: tuple[Finding, ...]
    warnings: int
    phases: dict[str, float]
    continued: int | None


def back_up(request: BackupRequest, on_progress: OnProgress = ignore) -> BackupReport:
    """Make a snapshot of a source.

    When objects that the snapshot would use are condemned meanwhile, it is made once more without
    them.

    Raises:
        FencedError: Another backup of the lineage runs on this machine, or somebody ended this one.
        SourceError: The source is missing, cannot be read, or has lost nearly everything.
        StorageError: The store did not answer as it should.
        NoSpaceError: The store, or the local disk, is full.
        ConfigurationError: The key may not write here.
        IntegrityError: The journal was rolled back, or metadata is damaged.
    """
    domain = request.host.domain
    if domain is None or request.host.host is None:
        raise ConfigurationError(
            f"a {request.host.role.value} key cannot write snapshots", hint="Use the key of a host."
        )
    lineage = domain.lineage_id(request.policy, request.source.kind)
    repository = request.repository
    with _only_one(request.state_dir, repository.id, lineage):
        owner = CacheOwner(repository.id, request.host.host, domain.chunk_key)
        name = os.path.join(repository.id.hex(), f"{request.host.host.hex()}.sqlite")
        cache = Cache(os.path.join(request.cache_dir, name), owner)
        try:
            try:
                return _Backup(request, domain, lineage, cache, on_progress=on_progress).run()
            except CondemnedError:
                point("operations.backup.again")
                repository.refresh()
                return _Backup(request, domain, lineage, cache, on_progress=on_progress).run()
        finally:
            cache.close()


class _Backup:
    """One attempt."""

    def __init__(
        self,
        request: BackupRequest,
        domain: Domain,
        lineage: bytes,
        cache: Cache,
        *,
        on_progress: OnProgress,
    ) -> None:
        self._request = request
        self._domain = domain
        self._lineage = lineage
        self._cache = cache
        self._on_progress = on_progress
        self._clock = request.clock
        self._ticker = Ticker(request.clock)
        self._findings = Findings()
        self._phases: dict[str, float] = {}
        self._since = request.clock.monotonic()
        self._partial_at = self._since
        self._partial_bytes = 0

    def run(self) -> BackupReport:
        request = self._request
        self._on_progress(Progress("prepare"))
        abort_open_sessions(request.repository, host=request.host, lineage=self._lineage)
        resumes = self._partial_commit()
        point("operations.backup.open")
        with open_session(
            request.repository, host=request.host, lineage=self._lineage, resumes=resumes
        ) as session:
            history = Historian(session, self._cache, self._domain).history()
            self._ended("prepare")
            with request.source.freeze(self._findings.add) as view:
                point("operations.backup.frozen")
                with (
                    self._writer(session, view, history) as writer,
                    request.ending.deferring(),
                ):
                    return self._write(view, writer, history)

    def _partial_commit(self) -> int | None:
        """Return the number of the partial commit that this run continues."""
        commits = self._request.repository.live_commits(self._lineage)
        return commits[-1].n if commits and not commits[-1].complete else None

    def _writer(self, session: Session, view: View, history: History) -> SnapshotWriter:
        return SnapshotWriter(
            session,
            self._cache,
            self._domain,
            owners=view.owners,
            previous=history.previous,
            options=self._request.options,
        )

    def _write(self, view: View, writer: SnapshotWriter, history: History) -> BackupReport:
        merge = self._merge(view, writer, history)
        self._partial_at = self._clock.monotonic()
        try:
            merge.run(lambda path: self._after_batch(path, view, writer, merge))
        except UnfinishedError:
            self._end(view, writer, merge)
        tally = merge.tally
        self._ended("read")
        self._refuse_shrunk(tally, history)
        self._on_progress(self._progress("commit", tally, writer))
        point("operations.backup.commit")
        commit = writer.commit_complete(self._facts(view, tally))
        point("operations.backup.committed")
        self._ended("commit")
        self._on_progress(self._progress("done", tally, writer))
        return BackupReport(
            commit=commit,
            consistent_at=commit.consistent_at,
            tally=tally,
            read_bytes=writer.taken_bytes,
            new_bytes=writer.new_bytes,
            stored_bytes=writer.stored_bytes,
            findings=self._findings.all(),
            warnings=self._findings.warnings,
            phases=self._phases,
            continued=None if history.partial is None else history.partial.n,
        )

    def _merge(self, view: View, writer: SnapshotWriter, history: History) -> Merge:
        request = self._request
        ending = request.ending

        def hurried() -> bool:
            return ending.wanted

        sink = HurriedSink(writer, hurried=hurried, clock=self._clock, within=request.finish_within)
        return Merge(view, writer, iter(history.previous), hurried=hurried, sink=sink)

    def _end(self, view: View, writer: SnapshotWriter, merge: Merge, path: bytes = b"") -> NoReturn:
        """Commit what is complete, and end."""
        self._on_progress(self._progress("checkpoint", merge.tally, writer, path))
        self._commit_partial(view, writer, merge, last=True)
        self._request.ending.end()

    def _after_batch(self, path: bytes, view: View, writer: SnapshotWriter, merge: Merge) -> None:
        tally = merge.tally
        if self._request.ending.wanted:
            self._end(view, writer, merge, path)
        if not self._ticker.due():
            return
        self._on_progress(self._progress("read", tally, writer, path))
        request = self._request
        now = self._clock.monotonic()
        if (
            now - self._partial_at < request.partial_every.total_seconds()
            and writer.taken_bytes - self._partial_bytes < request.partial_bytes
        ):
            return
        self._commit_partial(view, writer, merge)
        self._partial_at = self._clock.monotonic()
        self._partial_bytes = writer.taken_bytes

    def _commit_partial(
        self, view: View, writer: SnapshotWriter, merge: Merge, *, last: bool = False
    ) -> None:
        merge.flush()
        point("operations.backup.partial")
        writer.commit_partial(self._facts(view, merge.tally), last=last)
        point("operations.backup.partial_committed")

    def _facts(self, view: View, tally: Tally) -> Facts:
        request = self._request
        finished_at = self._clock.now()
        return Facts(
            policy=request.policy,
            host=request.host_name,
            kind=request.source.kind,
            drkeeper=__version__,
            paths=request.paths,
            tags=request.tags,
            consistent_at=view.consistent_at,
            finished_at=finished_at,
            next_due=request.next_due,
            consistency=view.consistency.value,
            stats={
                "entries": tally.entries,
                "files": tally.files,
                "directories": tally.directories,
                "others": tally.others,
                "plain_bytes": tally.plain_bytes,
                "unreadable": tally.unreadable,
                "changing": tally.changing,
                "vanished": tally.vanished,
                "warnings": self._findings.warnings,
            },
            findings=tuple(
                RootFinding(each.level.value, each.code, each.path, each.message)
                for each in self._findings.all()
            ),
        )

    def _refuse_shrunk(self, tally: Tally, history: History) -> None:
        if self._request.allow_shrink:
            return
        hint = "Look at the source; when it is as it should be, run again with --allow-shrink."
        if not tally.files and not tally.others:
            raise SourceEmptyError(
                f"the source of policy {self._request.policy} is empty", hint=hint
            )
        if history.root is None:
            return
        before = history.root.stats
        files, plain_bytes = before.get("files", 0), before.get("plain_bytes", 0)
        if has_shrunk(tally.files, tally.plain_bytes, before_files=files, before_bytes=plain_bytes):
            raise SourceShrunkError(
                f"the source of policy {self._request.policy} has shrunk to {tally.files} files, "
                f"{tally.plain_bytes} bytes; it had {files} files, {plain_bytes} bytes",
                hint=hint,
            )

    def _progress(
        self, phase: str, tally: Tally, writer: SnapshotWriter, path: bytes = b""
    ) -> Progress:
        return Progress(
            phase,
            files=tally.entries,
            plain_bytes=tally.plain_bytes,
            stored_bytes=writer.stored_bytes,
            current_path=path,
        )

    def _ended(self, phase: str) -> None:
        now = self._clock.monotonic()
        self._phases[phase] = now - self._since
        self._since = now


@contextmanager
def _only_one(state_dir: str, repository: bytes, lineage: bytes) -> Iterator[None]:
    """Hold the lock of a lineage on this machine; it goes with the process.

    Raises:
        FencedError: Another process holds it.
        NoSpaceError: The local disk is full.
        ConfigurationError: The lock cannot be made.
    """
    folder = os.path.join(state_dir, "locks")
    path = os.path.join(folder, f"{repository.hex()}-{lineage.hex()}.lock")
    try:
        directories.make_private(folder)
        point("operations.backup.lock")
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NoSpaceError(f"no space left in the state directory {state_dir}") from error
        raise ConfigurationError(
            f"cannot use the state directory {state_dir}: {error.strerror}",
            hint="Give a state directory that this user may write.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FencedError(
                "another backup of this policy is running on this machine",
                hint="Wait for it to end.",
            ) from error
        yield
    finally:
        os.close(descriptor)
