"""The overview as Prometheus reads it: docs/monitoring.md lists every name.

Instants of success rather than words of state, so that an alert still fires when whoever writes
them has died. A metric is absent for as long as the thing it measures has not been: nothing is
ever told as 0 that is not 0.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

import drkeeper
from drkeeper.app.web.markup import visible
from drkeeper.app.web.urgent import urgent
from drkeeper.model.run import Proof, RunState
from drkeeper.model.status import Overview, PolicyStatus

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Source: Prometheus, "Exposition formats"."""

_POLICY: Final = ("policy", "source_kind", "repository")
_ENDS: Final = tuple(state for state in RunState if state.ended)
_CAPTURED: Final = "captured"


def metrics_text(overview: Overview, run_counts: Mapping[RunState, int] | None = None) -> bytes:
    """Return the whole exposition.

    Args:
        overview: What is so now.
        run_counts: How many runs ended each way; without it, ``drkeeper_runs_total`` is left out.
    """
    return generate_latest(_Once(families(overview, run_counts)))


def families(overview: Overview, run_counts: Mapping[RunState, int] | None = None) -> list[Metric]:
    """Return every family that has a sample, in the order of docs/monitoring.md."""
    found = [
        *_policies(overview),
        *_repositories(overview),
        *_daemon(overview),
        *_runs(run_counts),
        _alarms(overview),
    ]
    return [family for family in found if family.samples]


class _Once(Collector):
    """Families that were collected already, in the shape the library asks for."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._found


class _Gauge:
    """One family with a value a policy, where there is one."""

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        self.family = GaugeMetricFamily(name, help_text, labels=(*_POLICY, *labels))

    def add(
        self, status: PolicyStatus, value: datetime | timedelta | int | None, *labels: str
    ) -> None:
        """Add the value of one policy, if it has one."""
        if value is None:
            return
        own = (status.policy, status.source_kind, status.repository, *labels)
        self.family.add_metric([*map(visible, own)], _number(value))


def _number(value: datetime | timedelta | int) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _policies(overview: Overview) -> list[Metric]:
    return [*_attempts(overview), *_promises(overview), *_drills(overview)]


def _attempts(overview: Overview) -> list[Metric]:
    success = _Gauge(
        "drkeeper_backup_last_success_timestamp_seconds", "When the newest good run ended."
    )
    attempt = _Gauge("drkeeper_backup_last_attempt_timestamp_seconds", "When the newest run began.")
    interval = _Gauge(
        "drkeeper_backup_expected_interval_seconds", "Longest pause between runs of the schedule."
    )
    due = _Gauge("drkeeper_backup_next_due_timestamp_seconds", "When the next run is due.")
    paused = _Gauge("drkeeper_backup_paused_until_timestamp_seconds", "End of a pause.")
    duration = _Gauge("drkeeper_backup_duration_seconds", "How long the newest good run took.")
    source = _Gauge("drkeeper_backup_source_bytes", "Logical size of the newest snapshot.")
    stored = _Gauge("drkeeper_backup_stored_bytes", "Bytes the newest snapshot added to the store.")
    for status in overview.policies:
        last = status.last_success
        if last is not None:
            success.add(status, last.ended_at)
            duration.add(status, last.ended_at and max(last.ended_at - last.started_at, _NOTHING))
        attempt.add(status, status.last_attempt.started_at if status.last_attempt else None)
        interval.add(status, status.expected_interval)
        due.add(status, status.next_due)
        paused.add(status, status.paused_until)
        source.add(status, status.source_bytes)
        stored.add(status, status.stored_bytes)
    gauges = (success, attempt, interval, due, paused, duration, source, stored)
    return [gauge.family for gauge in gauges]


_NOTHING: Final = timedelta()


def _promises(overview: Overview) -> list[Metric]:
    point = _Gauge(
        "drkeeper_recovery_point_timestamp_seconds",
        "Newest instant the source can be brought back to.",
        "proof",
    )
    rpo = _Gauge("drkeeper_rpo_seconds", "Age of that instant when this was written.", "proof")
    rpo_target = _Gauge("drkeeper_rpo_target_seconds", "Most data, as time, that may be lost.")
    rto = _Gauge("drkeeper_rto_seconds", "Time to a proven service.", "kind")
    rto_target = _Gauge("drkeeper_rto_target_seconds", "Longest time to a proven service.")
    for status in overview.policies:
        for proof, instant in (
            (_CAPTURED, status.points.captured),
            (Proof.DURABLE.value, status.points.durable),
            (Proof.PROVEN.value, status.points.proven),
        ):
            if instant is not None:
                point.add(status, instant, proof)
                rpo.add(status, max(overview.at - instant, _NOTHING), proof)
        rpo_target.add(status, status.rpo_target)
        rto.add(status, status.rto_achieved, "achieved")
        foretold = status.rto_predicted
        rto.add(status, foretold.expected if foretold else None, "predicted")
        rto_target.add(status, status.rto_target)
    return [gauge.family for gauge in (point, rpo, rpo_target, rto, rto_target)]


def _drills(overview: Overview) -> list[Metric]:
    last = _Gauge(
        "drkeeper_drill_last_timestamp_seconds", "When the newest drill ended so.", "verdict"
    )
    caught = _Gauge(
        "drkeeper_negative_control_last_caught_timestamp_seconds",
        "When the newest drill ended of which every planted fault was caught.",
    )
    for status in overview.policies:
        for verdict, ended_at in status.drills_ended.items():
            last.add(status, ended_at, verdict.value)
        caught.add(status, status.control_caught_at)
    return [last.family, caught.family]


def _repositories(overview: Overview) -> list[Metric]:
    reachable = GaugeMetricFamily(
        "drkeeper_repository_reachable",
        "Whether the store answered when it was last asked.",
        labels=("repository",),
    )
    asked = GaugeMetricFamily(
        "drkeeper_repository_asked_timestamp_seconds", "When that was.", labels=("repository",)
    )
    unverified = GaugeMetricFamily(
        "drkeeper_oldest_unverified_seconds",
        "Time since a check last passed; nothing older is unverified.",
        labels=("repository",),
    )
    for status in overview.repositories:
        labels = [visible(status.name)]
        if status.reachable is not None:
            reachable.add_metric(labels, float(status.reachable))
        if status.asked_at is not None:
            asked.add_metric(labels, status.asked_at.timestamp())
        if status.checked_at is not None:
            age = max(overview.at - status.checked_at, _NOTHING)
            unverified.add_metric(labels, age.total_seconds())
    return [reachable, asked, unverified]


def _daemon(overview: Overview) -> list[Metric]:
    found: list[Metric] = [
        GaugeMetricFamily(
            "drkeeper_queue_depth", "Runs that are due and wait for room.", overview.queue_depth
        )
    ]
    if overview.beat_at is not None:
        found.append(
            GaugeMetricFamily(
                "drkeeper_scheduler_heartbeat_timestamp_seconds",
                "When the daemon last looked at all its policies.",
                overview.beat_at.timestamp(),
            )
        )
    if overview.verified_at is not None:
        found.append(
            GaugeMetricFamily(
                "drkeeper_ledger_verified_timestamp_seconds",
                "When the ledger was last verified.",
                overview.verified_at.timestamp(),
            )
        )
    build = GaugeMetricFamily("drkeeper_build_info", "Always 1.", labels=("version",))
    build.add_metric([drkeeper.__version__], 1)
    return [*found, build]


def _runs(run_counts: Mapping[RunState, int] | None) -> list[Metric]:
    if run_counts is None:
        return []
    family = CounterMetricFamily(
        "drkeeper_runs", "Runs that have ended, by how they did.", labels=("result",)
    )
    for state in _ENDS:  # all of them from the beginning: a rate needs a 0 to grow from
        family.add_metric([state.value], run_counts.get(state, 0))
    return [family]


def _alarms(overview: Overview) -> Metric:
    family = GaugeMetricFamily(
        "drkeeper_alarm", "1 for everything that is wrong now.", labels=("kind", "subject", "level")
    )
    for alarm in urgent(overview):
        condition = alarm.condition
        subject = visible(str(condition.subject))
        family.add_metric([condition.kind.value, subject, condition.level.value], 1)
    return family
