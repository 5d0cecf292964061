"""The alerts and the dashboard that come with drkeeper: right, complete, and about what there is."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from doubles.pages import kept_machine, troubled_machine
from drkeeper.app.cli.table import COMMANDS
from drkeeper.app.web.metrics import metrics_text
from drkeeper.model.alarm import LEVELS, AlarmKind, Level
from drkeeper.model.run import RunState

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "drkeeper.json"
METRIC = re.compile(r"drkeeper_[a-z_]+")
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        message = "no promtool; run scripts/install-test-services (apt-get install prometheus)"
        if os.environ.get("DRKEEPER_TESTS_REQUIRE_SERVICES"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def run(promtool: str, *arguments: str) -> str:
    done = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exposition() -> str:
    """Return metrics of a machine on which everything has happened."""
    wrong, well = troubled_machine(), kept_machine()
    policies = (*well.overview.policies, *wrong.overview.policies)
    both = replace(wrong.overview, policies=tuple({p.policy: p for p in policies}.values()))
    return metrics_text(both, {RunState.FAILED: 3}).decode()


def names_there() -> set[str]:
    return set(re.findall(r"^# TYPE (\S+)", exposition(), re.MULTILINE))


def test_the_metrics_are_as_prometheus_wants_them(promtool):
    """promtool's own lint has nothing to say about the exposition."""
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposition(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_rules_are_valid(promtool):
    """promtool reads them all."""
    assert f"{len(RULES)} rules found" in run(promtool, "check", "rules", str(ALERTS))


def test_every_metric_that_an_alert_or_panel_names_exists():
    """An alert on a metric that is never told would never fire."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [rule["expr"] for rule in RULES]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    asked.append(json.dumps(json.loads(DASHBOARD.read_text())["templating"]))
    for expression in asked:
        assert set(METRIC.findall(expression)) <= names_there(), expression
    assert len(panels) >= 15


def test_every_kind_of_alarm_has_an_alert_of_its_urgency():
    """Each line of the absence taxonomy, and everything else drkeeper finds wrong."""
    severities = {Level.FAILURE: "critical", Level.WARNING: "warning"}
    for kind in AlarmKind:
        found = [rule for rule in RULES if f'kind="{kind.value}"' in rule["expr"]]
        assert len(found) == 1, kind
        assert found[0]["labels"]["severity"] == severities[LEVELS[kind]], kind


def test_every_alert_says_what_to_type():
    """The runbook names commands, and every drkeeper command in it is one."""
    for rule in RULES:
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "description", "runbook"}, rule["alert"]
        assert annotations["runbook"].startswith("Type: "), rule["alert"]
        assert re.search(
            r"\b(drkeeper|systemctl|journalctl|df|timedatectl) ", annotations["runbook"]
        )
        for command in re.findall(r"\bdrkeeper ([a-z]+)", annotations["runbook"]):
            assert command in COMMANDS or command in {"status", "plan", "notify"}, command


POLICY = 'policy="shop",source_kind="files",repository="primary"'
HEARTBEAT = {"series": "drkeeper_scheduler_heartbeat_timestamp_seconds", "values": "0+60x600"}
BUILD = {"series": 'drkeeper_build_info{version="1"}', "values": "1x600"}
FAR = "300m"


def series(name: str, values: str, extra: str = "") -> dict[str, str]:
    labels = f"{{{POLICY}{',' + extra if extra else ''}}}"
    return {"series": f"{name}{labels}", "values": values}


POINT = "drkeeper_recovery_point_timestamp_seconds"
SUCCESS = "drkeeper_backup_last_success_timestamp_seconds"
EVERY = series("drkeeper_backup_expected_interval_seconds", "3600x600")
CASES = {
    "well: nothing fires": (
        [
            HEARTBEAT, BUILD, EVERY,
            series(POINT, "0+60x600", 'proof="durable"'),
            series("drkeeper_rpo_target_seconds", "7200x600"),
            series(SUCCESS, "0+60x600"),
            {"series": 'drkeeper_repository_reachable{repository="primary"}', "values": "1x600"},
            {"series": 'up{job="drkeeper",instance="a"}', "values": "1x600"},
            {"series": "drkeeper_queue_depth", "values": "0 1x3 0x600"},
        ],
        [],
    ),
    "gone": ([], ["DrkeeperAbsent"]),
    "down": (
        [BUILD, HEARTBEAT, {"series": 'up{job="drkeeper",instance="a"}', "values": "0x600"}],
        ["DrkeeperDown"],
    ),
    "clockwork stands still": (
        [BUILD, {"series": HEARTBEAT["series"], "values": "0+60x100 6000x500"}],
        ["DrkeeperSchedulerStalled"],
    ),
    "recovery point too old": (
        [
            BUILD, HEARTBEAT, series(POINT, "0x600", 'proof="durable"'),
            series("drkeeper_rpo_target_seconds", "7200x600"),
        ],
        ["DrkeeperRpoViolated"],
    ),
    "only the proven point is old": (
        [
            BUILD, HEARTBEAT, series(POINT, "0x600", 'proof="proven"'),
            series(POINT, "0+60x600", 'proof="durable"'),
            series("drkeeper_rpo_target_seconds", "7200x600"),
        ],
        [],
    ),
    "no success for twice the schedule": (
        [BUILD, HEARTBEAT, EVERY, series(SUCCESS, "0x600")],
        ["DrkeeperSuccessTooOld"],
    ),
    "paused on purpose": (
        [
            BUILD, HEARTBEAT, EVERY, series(SUCCESS, "0x600"),
            series("drkeeper_backup_paused_until_timestamp_seconds", "99999x600"),
        ],
        [],
    ),
    "drill too slow": (
        [
            BUILD, HEARTBEAT, series("drkeeper_rto_seconds", "3600x600", 'kind="achieved"'),
            series("drkeeper_rto_target_seconds", "1800x600"),
        ],
        ["DrkeeperRtoMissed"],
    ),
    "store away": (
        [
            BUILD, HEARTBEAT,
            {"series": 'drkeeper_repository_reachable{repository="primary"}', "values": "0x600"},
        ],
        ["DrkeeperStorageUnreachable"],
    ),
    "queue stuck": (
        [BUILD, HEARTBEAT, {"series": "drkeeper_queue_depth", "values": "2x600"}],
        ["DrkeeperQueueStuck"],
    ),
}  # fmt: skip


def alert_of(kind: AlarmKind) -> str:
    (found,) = [rule["alert"] for rule in RULES if f'kind="{kind.value}"' in rule["expr"]]
    return str(found)


def alarm_case(kind: AlarmKind) -> tuple[list[dict[str, str]], list[str]]:
    labels = f'kind="{kind.value}",subject="policy/shop",level="{LEVELS[kind].value}"'
    raised = {"series": f"drkeeper_alarm{{{labels}}}", "values": "1x600"}
    return [BUILD, HEARTBEAT, raised], [alert_of(kind)]


def test_each_alert_fires_when_it_must_and_only_then(promtool, tmp_path):
    """promtool lives through five hours of each case, one minute at a time."""
    cases = CASES | {kind.value: alarm_case(kind) for kind in AlarmKind}
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": given,
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": FAR,
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts
                    ],
                }
            ],
        }
        for name, (given, alerts) in cases.items()
    ]
    fired = {alert for _, alerts in cases.values() for alert in alerts}
    assert fired == {rule["alert"] for rule in RULES}
    file = tmp_path / "test.yaml"
    whole = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(whole))
    assert "SUCCESS" in run(promtool, "test", "rules", str(file))


def test_an_alert_reads_well(promtool, tmp_path):
    """The words that reach somebody's telephone name the policy and the command for it."""
    given, _ = alarm_case(AlarmKind.OVERDUE)
    (rule,) = [rule for rule in RULES if rule["alert"] == "DrkeeperOverdue"]
    expected = {
        "summary": "policy/shop is overdue",
        "description": rule["annotations"]["description"],
        "runbook": "Type: drkeeper status; drkeeper plan; drkeeper backup shop.",
    }
    labels = {
        "severity": "critical", "kind": "overdue", "subject": "policy/shop", "level": "failure",
    }  # fmt: skip
    one = {
        "interval": "1m",
        "input_series": given,
        "alert_rule_test": [
            {
                "eval_time": FAR,
                "alertname": "DrkeeperOverdue",
                "exp_alerts": [{"exp_labels": labels, "exp_annotations": expected}],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    whole = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [one]}
    file.write_text(yaml.safe_dump(whole))
    run(promtool, "test", "rules", str(file))


def test_the_dashboard_is_one_that_grafana_takes():
    """Every panel has a title, a description and queries; none lies over another."""
    board = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["targets"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
