"""The page over a real ledger, a real configuration and real runs: nothing in between is made up."""

import http.client
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from doubles.installation import Installation
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.daemon.reading import LedgerReader
from drkeeper.app.web.server import Listener
from drkeeper.app.wiring.overview import overview
from drkeeper.clock import SystemClock
from drkeeper.ledger.ledger import open_ledger
from drkeeper.ledger.process import this_process

pytestmark = pytest.mark.e2e

POLICY = """\
policy: {name}
source: {{files: {{paths: [{source}]}}}}
repository: primary
time_zone: Europe/Berlin
schedule: hourly at :05
objectives: {{rpo: 2h, rto: 30m}}
retention: {{hourly: 24, daily: 7}}
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory) -> Installation:
    """An installation with one policy that ran, one that failed, and one that never ran."""
    made = Installation(tmp_path_factory.mktemp("home"))
    made.source.mkdir()
    (made.source / "letter.txt").write_text("Dear reader\n")
    made.done("init", str(made.store), "--kit-file", str(made.kit))
    for name, source in (
        ("kept", made.source),
        ("failing", made.home / "absent"),
        ("new", made.source),
    ):
        (made.etc / "policies.d" / f"{name}.yaml").write_text(
            POLICY.format(name=name, source=source)
        )
    made.done("backup", "kept")
    made.done("backup", "kept")
    assert made.run("backup", "failing").returncode == 18
    return made


@contextmanager
def serving(installation: Installation) -> Iterator[str]:
    """Serve it as the daemon does."""
    clock = SystemClock()
    configuration = load_configuration(find_locations(installation.environment(), root=False))
    with open_ledger(
        configuration.locations.ledger, clock=clock, me=lambda: this_process("here"), read_only=True
    ) as ledger:
        listener = Listener(
            "127.0.0.1:0",
            overview=lambda: overview(configuration, ledger, clock),
            reader=LedgerReader(lambda: configuration, lambda: ledger, clock),
            clock=clock,
        )
        listener.start()
        try:
            yield listener.address
        finally:
            assert listener.stop()


def get(address: str, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection(address, timeout=20)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()


def test_every_link_of_the_page_leads_somewhere(installation):
    """A reader who follows every link from the overview never meets an error."""
    with serving(installation) as address:
        seen: dict[str, str] = {}
        waiting = ["/"]
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            status, seen[path] = get(address, path)
            assert status == 200, (path, seen[path])
            waiting += [
                found.replace("&amp;", "&") for found in re.findall(r'href="(/[^"]*)"', seen[path])
            ]
    assert {"/", "/runs", "/alarms", "/policy/kept", "/policy/failing", "/policy/new"} <= set(seen)
    assert sum(path.startswith("/run/") for path in seen) == 3
    assert "recovery points since" in seen["/policy/kept"]
    assert "It has not run yet" in seen["/policy/new"]
    failed = next(
        page for path, page in seen.items() if path.startswith("/run/") and "absent" in page
    )
    assert "exit status 18" in failed
    assert "Next: " in failed


def test_the_metrics_of_a_real_ledger_are_its_facts(installation):
    """Successes, failures and promises as they were made."""
    with serving(installation) as address:
        status, text = get(address, "/metrics")
        assert status == 200
        found = {
            (sample.name, sample.labels.get("policy") or sample.labels.get("result")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["drkeeper_runs_total", "succeeded"] == 2
        assert found["drkeeper_runs_total", "failed"] == 1
        assert found["drkeeper_rpo_target_seconds", "kept"] == 7200
        assert found["drkeeper_backup_source_bytes", "kept"] == 12
        assert ("drkeeper_backup_last_success_timestamp_seconds", "failing") not in found
        assert get(address, "/health/live")[0] == 200


def test_a_timer_gets_the_same_metrics_from_the_command(installation):
    """Those who run no daemon write them into a file themselves."""
    text = installation.done("status", "--metrics")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"drkeeper_rpo_target_seconds", "drkeeper_alarm", "drkeeper_build_info"} <= names
    with serving(installation) as address:
        served = {f.name for f in text_string_to_metric_families(get(address, "/metrics")[1])}
    assert served - names == {"drkeeper_runs"}
