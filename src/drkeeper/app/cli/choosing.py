"""Which snapshot is meant: by instant, by number, by id, or the newest; never a substitute."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click

from drkeeper.app.cli.completing import snapshot_ids
from drkeeper.app.cli.invocation import Invocation
from drkeeper.model.instants import Asked, distance, local_text, parse_instant, rfc3339
from drkeeper.model.quantities import format_duration
from drkeeper.operations.snapshots import choose
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which snapshot of a policy.

    Attributes:
        policy: Whose; ``None`` only with a snapshot's id.
        instant: As it was written, or ``None`` for the newest.
        snapshot: Number or id, or ``None``.
    """

    policy: str | None
    instant: str | None = None
    snapshot: str | None = None


def choosing_options(function: _F) -> _F:
    """Add the options that choose a snapshot."""
    function = click.option(
        "--snapshot",
        metavar="ID",
        shell_complete=snapshot_ids,
        help="This snapshot: its number, or the beginning of its id.",
    )(function)
    return click.option(
        "--point-in-time",
        "instant",
        metavar="T",
        help="The state at this instant: 2026-11-20T14:30:00Z, '2026-11-20 14:30', -2h, latest.",
    )(function)


def zone_of(called: Invocation, policy: str | None) -> tzinfo:
    """Return the zone in which local times of a policy are read; UTC when it is not configured."""
    known = called.configuration.policies.get(policy or "")
    return known.zone if known is not None else ZoneInfo(called.configuration.zone_name)


def find_snapshot(called: Invocation, repository: Repository, wanted: Wanted) -> Commit:
    """Return the snapshot that is meant, and say which one that is.

    Raises:
        click.UsageError: Both an instant and a snapshot are named, or the instant is no instant.
        InstantNotReachableError: There is no such snapshot.
    """
    if wanted.instant is not None and wanted.snapshot is not None:
        raise click.UsageError("--point-in-time and --snapshot exclude each other")
    zone = zone_of(called, wanted.policy)
    if wanted.snapshot is not None:
        commit = choose(repository, wanted.policy, wanted.snapshot)
        asked = None
    else:
        asked = _asked(
            "latest" if wanted.instant is None else wanted.instant, zone, called.clock.now()
        )
        host = called.configuration.host
        commit = choose(repository, wanted.policy, asked.instant, host=host)
    _echo(called, commit, asked, zone)
    return commit


def _asked(text: str, zone: tzinfo, now: datetime) -> Asked:
    try:
        return parse_instant(text, zone, now)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--point-in-time") from error


def _echo(called: Invocation, commit: Commit, asked: Asked | None, zone: tzinfo) -> None:
    at = commit.consistent_at
    said = f"snapshot {commit.n}: {rfc3339(at)}, {local_text(at, zone)}"
    if asked is not None and not asked.latest:
        called.output.note(f"asked for {rfc3339(asked.instant)}, {local_text(asked.instant, zone)}")
        said += f", {format_duration(distance(at, asked.instant))} before the instant asked for"
    called.output.note(said)
