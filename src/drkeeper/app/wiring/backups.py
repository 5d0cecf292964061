"""Put a backup together from a policy: source, repository, ledger."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drkeeper.app.config.configuration import Configuration, RepositorySettings
from drkeeper.app.config.files import is_there, make_private
from drkeeper.app.wiring.repositories import Passphrase, open_for_backup
from drkeeper.app.wiring.runs import RunRecord, open_run_ledger
from drkeeper.app.wiring.stores import folder_of, traffic
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.policy import Policy
from drkeeper.model.run import Consistency, Operation, RecoveryPoint, RunState
from drkeeper.operations.backup import BackupReport, BackupRequest, back_up
from drkeeper.operations.progress import OnProgress
from drkeeper.repository.writer import WriterOptions
from drkeeper.sources.base import Source
from drkeeper.sources.files.source import FilesSource
from drkeeper.sources.files.spec import FilesSpec


@dataclass(frozen=True, slots=True)
class BackupChoices:
    """What the caller decides for one run.

    Attributes:
        tags: Added to the policy's own.
        allow_shrink: Believe a source that has lost nearly everything.
    """

    tags: dict[str, str]
    allow_shrink: bool = False


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """What a backup did.

    Attributes:
        report: The operation's own words.
        ledger_intact: Whether the ledger could record it.
        seconds: Duration of the whole run.
        traffic: What the store was asked.
    """

    report: BackupReport
    ledger_intact: bool
    seconds: float
    traffic: dict[str, object]


def open_source(
    policy: Policy, configuration: Configuration, settings: RepositorySettings, clock: Clock
) -> Source:
    """Open what a policy protects, without drkeeper's own repository, cache and state.

    Raises:
        ConfigurationError: A path or pattern is malformed.
    """
    places = [configuration.locations.cache, configuration.locations.state]
    folder = folder_of(settings)
    if folder is not None:
        places.append(Path(folder))
    return FilesSource(
        FilesSpec(
            paths=tuple(path.encode() for path in policy.source.paths),
            exclude=policy.source.exclude,
            exclude_caches=policy.source.exclude_caches,
            one_file_system=policy.source.one_file_system,
            exclude_larger_than=policy.source.exclude_larger_than,
            skip_inodes=frozenset(_inodes(places)),
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


def run_backup(  # noqa: PLR0913 - what a run is made of, by name
    policy: Policy,
    configuration: Configuration,
    choices: BackupChoices,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> BackupOutcome:
    """Back a policy up and record the run; the ledger's troubles are warnings.

    Raises:
        DrkeeperError: As ``operations.backup.back_up``; recorded as well.
    """
    locations = configuration.locations
    begun_at = clock.monotonic()
    record = RunRecord(locations.ledger, host=configuration.host, clock=clock, warn=warn)
    record.begin(policy.name, Operation.BACKUP)
    try:
        settings = configuration.repository(policy.repository)
        for folder in (locations.cache, locations.state):
            make_private(folder)
        repository, key = open_for_backup(settings, locations.state, clock, passphrase)
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
                tags={**policy.tags, **choices.tags},
                allow_shrink=choices.allow_shrink,
                options=_options(policy, local=folder_of(settings) is not None),
            ),
            on_progress,
        )
    except BaseException as error:
        record.failed(error)
        raise
    point = _recovery_point(policy, repository.id, report, record)
    state = RunState.WARNINGS if report.warnings else RunState.SUCCEEDED
    record.end(state, result=_result(report), made=[point])
    seconds = clock.monotonic() - begun_at
    return BackupOutcome(report, record.intact, seconds, traffic(repository.store))


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


def _result(report: BackupReport) -> dict[str, object]:
    return {
        "commit": report.commit.n,
        "files": report.tally.files,
        "plain_bytes": report.tally.plain_bytes,
        "read_bytes": report.read_bytes,
        "new_bytes": report.new_bytes,
        "stored_bytes": report.stored_bytes,
        "warnings": report.warnings,
        "phases": {name: round(seconds, 3) for name, seconds in report.phases.items()},
    }


def last_size(configuration: Configuration, policy: str, clock: Clock) -> tuple[int, int] | None:
    """Return entries and bytes of a policy's newest recovery point, to estimate the time left."""
    path = configuration.locations.ledger
    try:
        if not is_there(path):
            return None
        with open_run_ledger(path, host=configuration.host, clock=clock, read_only=True) as ledger:
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
