"""A policy in plain words: everything that it says, and what follows from that."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.cli.explaining import Explained
from drkeeper.app.cli.output import json_line
from drkeeper.app.config.configuration import load_policy_file
from drkeeper.model.forecast import forecast
from drkeeper.model.planner import History

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = "policy: shop\nsource: {files: {paths: [/srv/shop]}}\ntime_zone: Europe/Berlin\n"


@pytest.fixture
def explain(tmp_path):
    """Return a function that explains a policy of some lines."""

    def explained(*lines, here=False, **history):
        path = tmp_path / "shop.yaml"
        path.write_text(POLICY + "".join(f"{line}\n" for line in lines))
        policy = load_policy_file(path, host="db1", clock=FakeClock(NOW))
        known = History(known_since=NOW, **history) if history else None
        return Explained(policy, NOW, forecast(policy, NOW, 10, known), here=here)

    return explained


def test_what_is_protected_is_said_with_what_is_not(tmp_path):
    """Every key of a file tree."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "policy: p\nsource:\n  files: {paths: [/a, /b], exclude: ['*.o'], exclude_caches: true,"
        " one_file_system: false, exclude_larger_than: 5 GiB}\n"
    )
    policy = load_policy_file(path, clock=FakeClock(NOW))
    lines = list(Explained(policy, NOW, forecast(policy, NOW, 10), here=False).lines())
    assert lines[:6] == [
        "p protects, in repository primary:",
        "  /a",
        "  /b",
        "  without what matches: *.o",
        "  without the content of directories marked by CACHEDIR.TAG",
        "  without files larger than 5.00 GiB",
    ]
    assert not any("mounted" in line for line in lines)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("schedule: daily at 02:30", "It is due every day at 02:30 (Europe/Berlin)."),
        ("retention: {daily: 7}", "one a day for 7 days"),
        ("retention: {daily: 7, minimum: 3}", "The newest 3 always"),
        ("retention: {}", "It keeps every snapshot."),
        ("pause: {until: 2026-12-24, reason: moving}", "PAUSED until 2026-12-24 00:00:00 CET"),
        ("pause: {until: 2026-12-24, reason: moving}", ": moving"),
        ("pause: {until: 2026-11-01}", "A pause of it ended at 2026-11-01 00:00:00 CET"),
        ("limits: {closed: [08:00-18:00]}", "No run begins in 08:00-18:00 (Europe/Berlin)"),
        ("limits: {nice: 10}", "priority lowered by 10"),
        ("limits: {upload: 5 MiB/s}", "at most 5.00 MiB sent a second"),
        ("limits: {memory: 512 MiB}", "at most 512 MiB of memory"),
        ("limits: {workers: 2, compression: 3}", "2 threads to compress and seal, zstd level 3"),
        ("notify: [ops, boss]", "It tells: ops, boss."),
        ("notify: []", "It names no channel, so all but heartbeats are told"),
        ("tags: {team: web}", "Tags: team=web"),
        ("objectives: {rto: 4h}", "It promises to be back within 4 h."),
        ("hooks: {before_backup: [/bin/q, a b]}", "/bin/q 'a b' (at most 5 min; without it"),
        ("hooks: {after_backup: [/bin/q]}", "/bin/q (at most 5 min; its failure is a warning)"),
        ("hooks: {after_failure: [{command: [/q], timeout: 9s}]}", "/q (at most 9 s;"),
        ("repository: primary", "it runs when somebody runs drkeeper backup"),
    ],
)
def test_every_key_is_said(explain, line, told):
    """In words, with its unit."""
    assert told in "\n".join(explain(line).lines())


def test_without_channels_nobody_is_told(explain):
    """Silence is said, so that it is nobody's surprise."""
    shop = replace(explain("notify: []"), has_channels=False)
    assert any(line.startswith("It tells nobody of trouble") for line in shop.lines())


def test_the_next_runs_are_those_that_will_be(explain):
    """With the delay of this host, and without those that a window keeps from beginning."""
    shop = explain("schedule: hourly at :05", "jitter: 10m", "limits: {closed: [08:00-18:00]}")
    text = "\n".join(shop.lines())
    offset = shop.policy.offset
    assert timedelta() < offset < timedelta(minutes=10)
    assert "its own part of a jitter of 10 min" in text
    runs = shop.forecast.runs
    assert len(runs) == 10
    assert runs[0] == datetime(2026, 11, 21, 17, 5, tzinfo=UTC) + offset
    assert "The worst RPO this can achieve is 11 h and the time a run takes." in text


@pytest.mark.parametrize(
    ("rpo", "took", "told"),
    [
        ("25h", None, "It promises 1 d 1 h, WHICH IT CANNOT KEEP; run it more often."),
        ("26h", None, "which it can keep if a run takes no longer than 1 h."),
        ("26h", 30, "which it can keep."),
        ("26h", 90, "WHICH IT CANNOT KEEP"),
    ],
)
def test_the_promise_is_weighed_against_what_can_be(explain, rpo, took, told):
    """With the time that runs took, when it is known; the day of 25 hours is counted in."""
    durations = {"durations": (timedelta(minutes=took),) * 20} if took else {}
    shop = explain("schedule: daily at 02:30", f"objectives: {{rpo: {rpo}}}", **durations)
    text = "\n".join(shop.lines())
    assert told in text
    assert ("which few runs have exceeded" in text) == (took is not None)


def test_a_derived_schedule_is_explained(explain):
    """How often, and why as often as that."""
    durations = (timedelta(minutes=3),) * 20
    text = "\n".join(explain("objectives: {rpo: 1h}", durations=durations).lines())
    assert "runs as often as its RPO needs: 54 min after the last one began" in text
    assert "less the time a run takes (3 min) and a margin of a twentieth" in text
    assert "The worst RPO this can achieve is 57 min" in text


def test_windows_that_break_a_derived_promise_are_named(explain):
    """No schedule could mend it."""
    shop = explain("objectives: {rpo: 1h}", "limits: {closed: [08:00-18:00]}")
    assert "WHICH IT CANNOT KEEP; open the windows" in "\n".join(shop.lines())


def test_a_program_that_is_not_there_is_noticed(explain):
    """On the machine that the policy is for; continuous integration is another one."""
    line = "hooks: {before_backup: [/nonexistent/quiesce]}"
    assert "WARNING: there is no program" in "\n".join(explain(line, here=True).lines())
    assert "WARNING" not in "\n".join(explain(line).lines())
    assert "WARNING" not in "\n".join(
        explain("hooks: {before_backup: [/bin/sh]}", here=True).lines()
    )


def test_nothing_a_policy_says_commands_a_terminal(explain):
    """A reason is anybody's text."""
    shop = explain(
        r'pause: {until: 2026-12-24, reason: "\e[2J"}', r'hooks: {after_backup: [/bin/q, "\e[2J"]}'
    )
    assert "\x1b" not in "\n".join(shop.lines())


def test_json_says_the_same(explain):
    """Durations are seconds, instants RFC 3339."""
    shop = explain(
        "schedule: every 6h",
        "jitter: 10m",
        "retention: {within: 2d, minimum: 2}",
        "pause: {until: 2026-12-24, reason: moving}",
        "hooks: {before_backup: [/bin/q]}",
        "notify: [ops]",
    )
    facts = json.loads(json_line(shop.facts()))
    assert facts["jitter_seconds"] == 600
    assert facts["paused_until"] == "2026-12-23T23:00:00Z"
    assert facts["paused_because"] == "moving"
    assert facts["retention"] == {"within_seconds": 172800, "minimum": 2}
    assert facts["hooks"]["before_backup"] == [
        {"command": ["/bin/q"], "timeout_seconds": 300, "essential": True}
    ]
    assert facts["notify"] == ["ops"]
    assert facts["worst_rpo_seconds"] == 21600
    assert len(facts["next_runs"]) == 10
