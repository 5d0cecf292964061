"""From the keys of a policy to the policy, and what no single key can be blamed for."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from drkeeper.app.config.checking import Location, problem_at
from drkeeper.app.config.document import Document
from drkeeper.app.config.probes import drill_terms, wrong_drills
from drkeeper.app.config.problems import Mark, Problem, did_you_mean
from drkeeper.app.config.schema import (
    HookSection,
    HooksSection,
    PauseSection,
    PolicyFile,
    SourceSection,
)
from drkeeper.model.instants import rfc3339
from drkeeper.model.policy import (
    FilesSource,
    Hook,
    Hooks,
    Limits,
    Objectives,
    Pause,
    Policy,
    SqliteSource,
)
from drkeeper.model.quantities import format_duration
from drkeeper.model.retention import Retention
from drkeeper.model.schedule import SHORTEST, Unit, instant_of
from drkeeper.model.slots import offset_of, shortest_pause
from drkeeper.model.windows import never_opens

LONGEST_PAUSE: Final = timedelta(days=366)
"""A policy that is not wanted for longer is better removed."""
_SOME_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Where pauses between slots are measured: the same file is right on every day, or on none."""
_SHORT: Final = {
    Unit.HOURLY: timedelta(minutes=30),
    Unit.DAILY: timedelta(hours=20),
    Unit.WEEKLY: timedelta(days=6),
    Unit.MONTHLY: timedelta(days=27),
    Unit.QUARTERLY: timedelta(days=80),
}
"""No schedule of these has a shorter pause, whatever clocks do."""
_BEFORE: Final = "before_backup"
_HOOKS: Final = (_BEFORE, "after_backup", "after_failure")


class Surroundings(msgspec.Struct, frozen=True):
    """What a policy is read in.

    Attributes:
        host: Name of this machine; decides each policy's part of its jitter.
        zone_name: Zone of policies that name none.
        now: The present.
        repositories: Names of those that are configured; ``None`` when nobody knows.
        channels: Names of those that are configured; ``None`` when nobody knows.
        settings: Where both are configured.
    """

    host: str
    zone_name: str
    now: datetime
    repositories: Collection[str] | None = None
    channels: Collection[str] | None = None
    settings: Path = Path("drkeeper.yaml")


def policy_of(file: PolicyFile, around: Surroundings) -> Policy:
    """Return the policy that the keys mean."""
    zone_name = file.time_zone or around.zone_name
    zone = ZoneInfo(zone_name)
    jitter = file.jitter or timedelta()
    return Policy(
        name=file.policy,
        source=_source(file.source),
        repository=file.repository,
        zone_name=zone_name,
        zone=zone,
        schedule=file.schedule,
        retention=_retention(file),
        objectives=Objectives(rpo=file.objectives.rpo, rto=file.objectives.rto),
        tags=dict(file.tags),
        limits=Limits(
            memory_bytes=file.limits.memory,
            workers=file.limits.workers,
            compression_level=file.limits.compression,
            nice=file.limits.nice,
            upload=file.limits.upload,
            closed=tuple(file.limits.closed),
        ),
        jitter=jitter,
        offset=offset_of(f"{around.host}/{file.policy}", jitter),
        pause=_pause(file.pause, zone),
        hooks=_hooks(file.hooks),
        notify=tuple(file.notify),
        drill=drill_terms(file),
    )


def _source(section: SourceSection) -> FilesSource | SqliteSource:
    if section.sqlite is not None:
        return SqliteSource(tuple(section.sqlite.databases), section.sqlite.busy_timeout)
    files = section.files
    assert files is not None, "one of them is there"  # noqa: S101 - for the types
    return FilesSource(
        paths=tuple(files.paths),
        exclude=tuple(files.exclude),
        exclude_caches=files.exclude_caches,
        one_file_system=files.one_file_system,
        exclude_larger_than=files.exclude_larger_than,
    )


def has_commands(file: PolicyFile) -> bool:
    """Return whether a policy says that anything be run."""
    probed = any(probe.command is not None for probe in file.drill.probes)
    return probed or any(getattr(file.hooks, key) for key in _HOOKS)


def _retention(file: PolicyFile) -> Retention:
    kept = file.retention
    return Retention(
        last=kept.last,
        within=kept.within or timedelta(),
        hourly=kept.hourly,
        daily=kept.daily,
        weekly=kept.weekly,
        monthly=kept.monthly,
        yearly=kept.yearly,
        minimum=kept.minimum,
    )


def _pause(section: PauseSection | None, zone: ZoneInfo) -> Pause | None:
    if section is None:
        return None
    written = section.until
    until = instant_of(written, zone) if written.tzinfo is None else written.astimezone(UTC)
    return Pause(until, section.reason)


def _hooks(section: HooksSection) -> Hooks:
    before, after, failure = (
        tuple(_hook(item, essential=key == _BEFORE) for item in _commands(section, key))
        for key in _HOOKS
    )
    return Hooks(before, after, failure)


def _commands(section: HooksSection, key: str) -> list[HookSection]:
    """Return the commands of one list, of which a plain list of words is one."""
    written = getattr(section, key)
    items = [written] if written and isinstance(written[0], str) else written
    return [item if isinstance(item, HookSection) else HookSection(command=item) for item in items]


def _hook(section: HookSection, *, essential: bool) -> Hook:
    return Hook(
        command=tuple(section.command),
        timeout=section.timeout,
        essential=essential if section.essential is None else section.essential,
    )


def contradictions(file: PolicyFile, document: Document, around: Surroundings) -> list[Problem]:
    """Return what is wrong with a policy whose keys are right one by one, in order of the file."""
    found = [
        problem_at(document, where, message)
        for where, message in (
            *_unknown_names(file, around),
            *_timing(file, around),
            *_keeping(file),
            *_hooking(file),
            *wrong_drills(file),
        )
    ]
    return sorted(found, key=lambda problem: problem.mark or Mark(0, 0))


_Found = Iterator[tuple[Location, str]]


def _unknown_names(file: PolicyFile, around: Surroundings) -> _Found:
    if around.repositories is not None and file.repository not in around.repositories:
        guess = did_you_mean(file.repository, list(around.repositories))
        yield ("repository",), f"no repository {file.repository!r} in {around.settings}{guess}"
    for index, channel in enumerate(file.notify):
        if channel in file.notify[:index]:
            yield ("notify", index), f"channel {channel!r} is here twice"
        elif around.channels is not None and channel not in around.channels:
            guess = did_you_mean(channel, list(around.channels))
            message = f"no channel {channel!r} below notify in {around.settings}{guess}"
            yield ("notify", index), message


def _timing(file: PolicyFile, around: Surroundings) -> _Found:
    zone = ZoneInfo(file.time_zone or around.zone_name)
    if file.jitter is not None and file.schedule is None:
        yield ("jitter",), "jitter spreads a schedule, and there is none; leave it out"
    elif (
        file.jitter is not None
        and file.schedule is not None
        # To look at its pauses takes a while, and most jitters are short.
        and file.jitter > _SHORT.get(file.schedule.unit, SHORTEST)
    ):
        shortest = shortest_pause(file.schedule, zone, _SOME_DAY)
        if file.jitter > shortest:
            message = (
                f"{format_duration(file.jitter)} is longer than the shortest pause of the "
                f"schedule; write at most {format_duration(shortest)}"
            )
            yield ("jitter",), message
    if file.limits.closed and never_opens(tuple(file.limits.closed)):
        message = "these close every minute of the day; leave some time open, or pause the policy"
        yield ("limits", "closed"), message
    pause = _pause(file.pause, zone)
    if pause is not None and pause.until > around.now + LONGEST_PAUSE:
        message = (
            f"{rfc3339(pause.until)} is more than {LONGEST_PAUSE.days} days away; "
            "write an earlier end, or remove the policy"
        )
        yield ("pause", "until"), message


def _keeping(file: PolicyFile) -> _Found:
    if "minimum" in file.retention.model_fields_set and _retention(file).keeps_all:
        message = "without another rule every snapshot is kept; leave minimum out or add a rule"
        yield ("retention", "minimum"), message


def _hooking(file: PolicyFile) -> _Found:
    for key in _HOOKS[1:]:
        for index, hook in enumerate(_commands(file.hooks, key)):
            if hook.essential:
                message = "the backup is over by then, and cannot fail with it; leave essential out"
                yield ("hooks", key, index, "essential"), message
