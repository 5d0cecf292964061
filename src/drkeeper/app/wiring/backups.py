"""Put a backup together from a policy: source, repository, ledger."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from drkeeper.app.config.configuration import Configuration, RepositorySettings
from drkeeper.app.config.files import is_there, make_private
from drkeeper.app.wiring.hooks import IN_A_HURRY, RunHooks
from drkeeper.app.wiring.niceness import niced
from drkeeper.app.wiring.pulse import Pulse
from drkeeper.app.wiring.repositories import Passphrase, open_for_backup
from drkeeper.app.wiring.rescue import keep_quietly
from drkeeper.app.wiring.runs import RunRecord, ledger_place, open_run_ledger
from drkeeper.app.wiring.stores import folder_of, traffic
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, FencedError
from drkeeper.model import policy as policies
from drkeeper.model.policy import Policy
from drkeeper.model.run import Consistency, Operation, RecoveryPoint, RunId, RunState
from drkeeper.operations.backup import BackupReport, BackupRequest, back_up
from drkeeper.operations.ending import Ending, NeverEnding
from drkeeper.operations.hooks import RunFacts
from drkeeper.operations.progress import OnProgress, Progress
from drkeeper.repository.repository import Repository
from drkeeper.repository.writer import WriterOptions
from drkeeper.sources.base import Source
from drkeeper.sources.files.source import FilesSource
from drkeeper.sources.files.spec import FilesSpec
from drkeeper.sources.sqlite.source import SqliteSource
from drkeeper.sources.sqlite.spec import SqliteSpec


@dataclass(frozen=True, slots=True)
class BackupChoices:
    """What the caller decides for one run.

    Attributes:
        tags: Added to the policy's own.
        allow_shrink: Believe a source that has lost nearly everything.
        run: The queued run to claim; ``None`` to begin one of its own.
        ending: Asked whether to bring what is done to safety, and end.
    """

    tags: dict[str, str]
    allow_shrink: bool = False
    run: RunId | None = None
    ending: Ending = field(default_factory=NeverEnding)


@dataclass(frozen=True, slots=True)
class Voice:
    """How a run speaks.

    Attributes:
        warn: What is not as it should be, though the run goes on.
        say: Further lines for whoever reads along, such as the output of hooks.
        progress: How far it is.
    """

    warn: Callable[[str], None]
    say: Callable[[str], None]
    progress: OnProgress


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """What a backup did.

    Attributes:
        report: The operation's own words.
        ledger_intact: Whether the ledger could record it.
        seconds: Duration of the whole run.
        traffic: What the store was asked.
        run: The run in the ledger; ``None`` when it could not be recorded.
        failed_hooks: How many hooks failed without failing the run.
    """

    report: BackupReport
    ledger_intact: bool
    seconds: float
    traffic: dict[str, object]
    run: RunId | None = None
    failed_hooks: int = 0

    @property
    def state(self) -> RunState:
        """How the run ended."""
        warned = self.report.warnings or self.failed_hooks
        return RunState.WARNINGS if warned else RunState.SUCCEEDED


def open_source(
    policy: Policy, configuration: Configuration, settings: RepositorySettings, clock: Clock
) -> Source:
    """Open what a policy protects, without drkeeper's own repository, cache and state.

    Raises:
        ConfigurationError: A path or pattern is malformed.
    """
    match policy.source:
        case policies.FilesSource() as files:
            places = [configuration.locations.cache, configuration.locations.state]
            folder = folder_of(settings)
            if folder is not None:
                places.append(Path(folder))
            return FilesSource(
                FilesSpec(
                    paths=tuple(path.encode() for path in files.paths),
                    exclude=files.exclude,
                    exclude_caches=files.exclude_caches,
                    one_file_system=files.one_file_system,
                    exclude_larger_than=files.exclude_larger_than,
                    skip_inodes=frozenset(_inodes(places)),
                ),
                clock=clock,
            )
        case policies.SqliteSource() as sqlite:
            return SqliteSource(
                SqliteSpec(
                    databases=tuple(path.encode() for path in sqlite.databases),
                    spool=os.fsencode(configuration.locations.cache / "copies"),
                    busy_timeout=sqlite.busy_timeout,
                ),
                clock=clock,
            )


def _inodes(places: list[Path]) -> list[tuple[int, int]]:
    found = []
    for place in places:
        try:
            status = os.stat(place)
        except OSError:
            continue
        found.append((status.st_dev, status.st_ino))
    return found


def run_backup(
    policy: Policy,
    configuration: Configuration,
    choices: BackupChoices,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
    voice: Voice,
) -> BackupOutcome:
    """Back a policy up, hooks and all, and record the run; the ledger's troubles are warnings.

    Raises:
        RunningError: A living run of the policy does this already, or the run to claim is not
            queued any more; nothing was begun.
        DrkeeperError: As ``operations.backup.back_up``; recorded as well.
    """
    run = _Run(policy, configuration, choices, clock, passphrase=passphrase, voice=voice)
    with niced(policy.limits.nice):
        return run.run()


class _Run:
    """One run of a policy in this process."""

    def __init__(
        self,
        policy: Policy,
        configuration: Configuration,
        choices: BackupChoices,
        clock: Clock,
        *,
        passphrase: Passphrase | None,
        voice: Voice,
    ) -> None:
        self._policy = policy
        self._configuration = configuration
        self._choices = choices
        self._clock = clock
        self._passphrase = passphrase
        self._voice = voice
        self._pulse = Pulse()
        self._record = RunRecord(
            ledger_place(configuration),
            host=configuration.host,
            clock=clock,
            warn=voice.warn,
        )

    def run(self) -> BackupOutcome:
        policy, record, clock = self._policy, self._record, self._clock
        begun_at = clock.monotonic()
        started_at = clock.now()
        record.begin(
            policy.name, Operation.BACKUP, self._choices.run, progress=self._pulse.progress
        )
        facts = RunFacts(policy.name, record.id or "", policy.repository, started_at)
        hooks = RunHooks(policy, clock, facts, self._voice.say, self._voice.warn)
        try:
            self._pulse.phase("before_backup")
            hooks.before()
            report, repository = self._back_up()
        except BaseException as error:
            self._clean_up(hooks, error)
            record.failed(error)
            raise
        made = BackupOutcome(report, record.intact, 0.0, {}, run=record.id)
        try:
            self._pulse.phase("after_backup")
            hurry = IN_A_HURRY if self._choices.ending.wanted else None
            hooks.after(made.state.value, snapshot=report.commit.n, within=hurry)
        except BaseException:
            hooks.failures += 1
            raise
        finally:
            # The snapshot exists, whatever cut its hooks off.
            made = dataclasses.replace(made, failed_hooks=hooks.failures)
            point = _recovery_point(policy, repository.id, report, record)
            figures = _result(report, made)
            if self._choices.allow_shrink:
                figures["shrink_allowed"] = True  # a status measures later runs by this one
            record.end(made.state, result=figures, made=[point])
        return dataclasses.replace(
            made,
            ledger_intact=record.intact,
            seconds=clock.monotonic() - begun_at,
            traffic=traffic(repository.store),
        )

    def _back_up(self) -> tuple[BackupReport, Repository]:
        policy, configuration, clock = self._policy, self._configuration, self._clock
        locations = configuration.locations
        settings = _limited(configuration.repository(policy.repository), policy)
        for folder in (locations.cache, locations.state):
            make_private(folder)
        ending = self._choices.ending
        repository, key = open_for_backup(
            settings,
            locations.state,
            clock,
            self._passphrase,
            # Who ends the run waits for what is on its way, and not for as long as a limit would.
            hurried=lambda: ending.wanted,
        )
        report = back_up(
            BackupRequest(
                policy=policy.name,
                source=open_source(policy, configuration, settings, clock),
                repository=repository,
                host=key,
                host_name=configuration.host,
                cache_dir=str(locations.cache),
                state_dir=str(locations.state),
                clock=clock,
                paths=tuple(path.encode() for path in policy.source.paths),
                next_due=policy.next_due(clock.now()),
                tags={**policy.tags, **self._choices.tags},
                allow_shrink=self._choices.allow_shrink,
                options=_options(policy, local=folder_of(settings) is not None),
                ending=ending,
            ),
            self._on_progress,
        )
        keep_quietly(repository, key, configuration, clock, warn=self._voice.warn)
        return report, repository

    def _on_progress(self, progress: Progress) -> None:
        if self._record.lost:
            raise FencedError(
                f"another machine took the run of policy {self._policy.name!r} for dead",
                hint="Look whether the ledger answers in time.",
            )
        self._pulse.beat(progress)
        self._voice.progress(progress)

    def _clean_up(self, hooks: RunHooks, error: BaseException) -> None:
        self._pulse.phase("after_failure")
        try:
            hooks.failed(error)
        except Exception as another:  # noqa: BLE001 - the first error is the one that counts
            self._voice.warn(f"the hooks after the run failed: {type(another).__name__}")


def _limited(settings: RepositorySettings, policy: Policy) -> RepositorySettings:
    """Return the repository's settings with the lower of its limit and the policy's."""
    rates = [rate for rate in (settings.upload_rate, policy.limits.upload) if rate]
    return replace(settings, upload_rate=min(rates, default=None))


_LOCAL_UPLOADS: Final = 2
"""A folder answers at once: one object is sealed while the other is written and flushed; a third
would only take two buffers more."""


def _options(policy: Policy, *, local: bool) -> WriterOptions:
    limits = policy.limits
    default = WriterOptions()
    return WriterOptions(
        memory_bytes=limits.memory_bytes or default.memory_bytes,
        workers=limits.workers or default.workers,
        uploads=_LOCAL_UPLOADS if local else default.uploads,
        level=limits.compression_level or default.level,
    )


def _recovery_point(
    policy: Policy, repository: bytes, report: BackupReport, record: RunRecord
) -> RecoveryPoint:
    commit, tally = report.commit, report.tally
    return RecoveryPoint(
        repository=repository.hex(),
        lineage=commit.lineage.hex(),
        commit_number=commit.n,
        session=commit.session.hex(),
        policy=policy.name,
        run=record.id,
        consistent_at=commit.consistent_at,
        finished_at=commit.finished_at,
        plain_bytes=tally.plain_bytes,
        stored_bytes=report.stored_bytes,
        new_bytes=report.new_bytes,
        files=tally.files,
        entries=tally.entries,
        unreadable=tally.unreadable,
        changed=tally.changing,
        complete=commit.complete,
        consistency=Consistency(commit.consistency),
    )


def _result(report: BackupReport, outcome: BackupOutcome) -> dict[str, object]:
    return {
        "commit": report.commit.n,
        "files": report.tally.files,
        "plain_bytes": report.tally.plain_bytes,
        "read_bytes": report.read_bytes,
        "new_bytes": report.new_bytes,
        "stored_bytes": report.stored_bytes,
        "warnings": report.warnings,
        "failed_hooks": outcome.failed_hooks,
        "continued": report.continued,
        "phases": {name: round(seconds, 3) for name, seconds in report.phases.items()},
    }


def last_size(configuration: Configuration, policy: str, clock: Clock) -> tuple[int, int] | None:
    """Return entries and bytes of a policy's newest recovery point, to estimate the time left."""
    try:
        if configuration.ledger is None and not is_there(configuration.locations.ledger):
            return None
        place = ledger_place(configuration)
        # A ledger that is kept busy must not hold up the backup for the sake of an estimate.
        patience, host = timedelta(seconds=1), configuration.host
        with open_run_ledger(
            place, host=host, clock=clock, read_only=True, patience=patience
        ) as ledger:
            points = ledger.recovery_points(policy, limit=1)
    except DrkeeperError:
        return None
    return (points[0].entries, points[0].plain_bytes) if points else None


@dataclass(frozen=True, slots=True)
class SourceSize:
    """What a walk over a source met.

    Attributes:
        entries: Paths.
        plain_bytes: Bytes of regular files.
        warnings: Findings that would be warnings.
    """

    entries: int
    plain_bytes: int
    warnings: tuple[str, ...]


def measure_source(
    policy: Policy, configuration: Configuration, settings: RepositorySettings, clock: Clock
) -> SourceSize:
    """Walk over what a backup would read, reading nothing.

    Raises:
        SourceError: It is missing or cannot be read.
    """
    import stat  # noqa: PLC0415 - for this function only

    entries = plain_bytes = 0
    warnings: list[str] = []
    source = open_source(policy, configuration, settings, clock)
    with source.freeze(lambda finding: warnings.append(finding.message)) as view:
        for batch in view.walk():
            entries += len(batch)
            plain_bytes += sum(
                candidate.stat.st_size
                for candidate in batch
                if stat.S_ISREG(candidate.stat.st_mode)
            )
    return SourceSize(entries, plain_bytes, tuple(warnings))
