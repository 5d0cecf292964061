"""Metrics that Prometheus understands, and that say nothing that is not so."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from doubles.pages import NOW, empty_machine, hostile_machine, kept_machine, troubled_machine
from drkeeper.app.web.markup import visible
from drkeeper.app.web.metrics import metrics_text
from drkeeper.app.web.textfile import write_textfile
from drkeeper.errors import ConfigurationError
from drkeeper.model.alarm import AlarmKind
from drkeeper.model.run import RunState
from drkeeper.model.status import Points, PolicyState, PolicyStatus

MONITORING = Path(__file__).parents[4] / "docs" / "monitoring.md"


def parsed(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by its name and labels; fails on two of the same."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def of(machine, name, **labels):
    text = metrics_text(machine.overview, machine.reader.run_counts())
    return parsed(text).get((name, frozenset(labels.items())))


SHOP = {"policy": "shop-database", "source_kind": "files", "repository": "primary"}


def test_instants_are_told_to_the_second():
    """The newest success, the next run and the recovery points are Unix times."""
    machine = kept_machine()
    status = next(p for p in machine.overview.policies if p.policy == "shop-database")
    at = status.last_success.ended_at.timestamp()
    assert of(machine, "drkeeper_backup_last_success_timestamp_seconds", **SHOP) == at
    point = status.points.durable.timestamp()
    name = "drkeeper_recovery_point_timestamp_seconds"
    assert of(machine, name, **SHOP, proof="durable") == point
    assert of(machine, "drkeeper_rpo_seconds", **SHOP, proof="durable") == pytest.approx(
        NOW.timestamp() - point
    )
    assert of(machine, "drkeeper_rto_seconds", **SHOP, kind="achieved") == 720
    assert of(machine, "drkeeper_rpo_target_seconds", **SHOP) == 7200


def test_runs_are_counted_from_the_ledger():
    """Each way to end has its count from the first scrape on, so that a rate can grow from 0."""
    machine = kept_machine()
    assert of(machine, "drkeeper_runs_total", result="succeeded") == 121
    assert of(machine, "drkeeper_runs_total", result="interrupted") == 0
    assert of(machine, "drkeeper_runs_total", result="running") is None


def test_alarms_are_told_with_kind_subject_and_level():
    """One sample for each thing that is wrong, and none for what is not."""
    labels = {"kind": "rpo-violated", "subject": "policy/mail", "level": "failure"}
    assert of(troubled_machine(), "drkeeper_alarm", **labels) == 1
    assert b"drkeeper_alarm" not in metrics_text(kept_machine().overview)


def test_what_has_not_been_is_absent():
    """A policy that never ran has no time of success, rather than 1970."""
    text = metrics_text(troubled_machine().overview)
    assert b'drkeeper_backup_last_success_timestamp_seconds{policy="music"' not in text
    assert b"drkeeper_runs_total" not in text
    names = {name for name, _ in parsed(metrics_text(empty_machine().overview))}
    assert names == {"drkeeper_build_info", "drkeeper_queue_depth"}
    wiki = [line for line in metrics_text(kept_machine().overview).splitlines() if b"wiki" in line]
    assert wiki
    assert not [
        line for line in wiki if b"drill" in line or b"control" in line or b"predict" in line
    ]


def test_drills_are_told_by_how_they_ended():
    """When the newest of each verdict ended, when all planted faults were last caught, and how long a
    restore would take today."""
    machine = kept_machine()
    ended = "drkeeper_drill_last_timestamp_seconds"
    at = (NOW - timedelta(days=6)).timestamp()
    assert of(machine, ended, **SHOP, verdict="proven") == at
    assert of(machine, ended, **SHOP, verdict="inconclusive") == at - 14 * 86400
    assert of(machine, ended, **SHOP, verdict="failed") is None
    assert of(machine, "drkeeper_negative_control_last_caught_timestamp_seconds", **SHOP) == at
    assert of(machine, "drkeeper_rto_seconds", **SHOP, kind="predicted") == 780


def test_the_daemon_of_this_host_tells_its_own_heartbeat():
    """A daemon elsewhere on the same ledger does not hide that ours is dead."""
    overview = kept_machine().overview
    (own,) = overview.daemons
    other = replace(own, process=replace(own.process, host="elsewhere"), beat_at=NOW)
    text = metrics_text(replace(overview, daemons=(other, own)))
    name = "drkeeper_scheduler_heartbeat_timestamp_seconds"
    assert parsed(text)[name, frozenset()] == own.beat_at.timestamp()


def test_hostile_names_are_labels():
    """Quotes, line ends and bytes that are no UTF-8 cannot leave their label."""
    machine = hostile_machine()
    found = {dict(labels).get("policy") for _, labels in parsed(metrics_text(machine.overview))}
    assert {visible(one.policy) for one in machine.overview.policies} <= found


NAMES = st.text(st.characters(), min_size=1, max_size=20)
SPANS = st.none() | st.timedeltas(timedelta(), timedelta(days=5000))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, SPANS, SPANS, st.integers(0, 2**62)), max_size=5))
def test_whatever_is_told_is_read_back(rows):
    """Any names and any figures come out of Prometheus' own parser as they went in."""
    unique = {visible(row[0]): row for row in rows}
    policies = tuple(
        PolicyStatus(
            policy=name, source_kind=kind, repository=kind, zone_name="UTC", state=PolicyState.OK,
            why="", points=Points(durable=NOW - old if old is not None else None),
            rpo_target=promise, source_bytes=count,
        )
        for name, kind, old, promise, count in unique.values()
    )  # fmt: skip
    overview = replace(kept_machine().overview, policies=policies)
    found = parsed(metrics_text(overview))
    for name, kind, old, promise, count in unique.values():
        shown = visible(kind)
        labels = {"policy": visible(name), "source_kind": shown, "repository": shown}
        key = frozenset(labels.items())
        assert found["drkeeper_backup_source_bytes", key] == float(count)
        target = found.get(("drkeeper_rpo_target_seconds", key))
        assert target == (promise.total_seconds() if promise is not None else None)
        durable = frozenset((labels | {"proof": "durable"}).items())
        age = found.get(("drkeeper_rpo_seconds", durable))
        assert age == (old.total_seconds() if old is not None else None)


def test_every_metric_is_documented():
    """docs/monitoring.md names each one, and none that there is not."""
    machine = troubled_machine()
    told = kept_machine().overview
    both = replace(machine.overview, policies=(*machine.overview.policies, *told.policies))
    text = metrics_text(both, {RunState.SUCCEEDED: 1}).decode()
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    documented = set(re.findall(r"`(drkeeper_[a-z_]+)", MONITORING.read_text()))
    assert there == documented


def test_every_kind_of_alarm_is_documented():
    """docs/monitoring.md says what each kind means."""
    page = MONITORING.read_text()
    assert [kind for kind in AlarmKind if f"`{kind.value}`" not in page] == []


def test_a_textfile_is_replaced_as_a_whole(tmp_path):
    """node_exporter, another user, reads the old text or the new one; no draft stays behind."""
    path = tmp_path / "drkeeper.prom"
    write_textfile(path, b"one 1\n")
    before = path.stat().st_ino
    write_textfile(path, b"two 2\n")
    assert path.read_bytes() == b"two 2\n"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["drkeeper.prom"]


def test_a_textfile_that_cannot_be_written_is_said(tmp_path):
    """The error names the file, and what was there stays."""
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_textfile(tmp_path / "absent" / "drkeeper.prom", b"")
    (tmp_path / "a.prom").mkdir()
    with pytest.raises(ConfigurationError, match=r"a\.prom"):
        write_textfile(tmp_path / "a.prom", b"")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.prom"]
