"""Policies as an operator meets them: the samples, what is said of them, and what is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from doubles.installation import Installation, expect
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.reloading import Reloader
from drkeeper.clock import SystemClock

POLICIES = Path(__file__).parents[2] / "policies"
SAMPLES = sorted(POLICIES.glob("*.yaml"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return an installation with a repository, made once; each test adds policies of its own."""
    return Installation(tmp_path_factory.mktemp("policies")).init()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_works_as_it_stands(installed, path):
    """Checked, explained and run; only its paths are made to lie in a folder of the test."""
    text = path.read_text()
    source = yaml.safe_load(text)["source"]
    for protected in source.get("files", {}).get("paths", []):
        below = installed.home / path.stem / protected.strip("/")
        below.mkdir(parents=True, exist_ok=True)
        (below / "something.txt").write_text("something\n")
    for protected in source.get("sqlite", {}).get("databases", []):
        place = installed.home / path.stem / protected.strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(place)) as database:
            database.execute("CREATE TABLE something(id INTEGER PRIMARY KEY)")
    keys = ("paths: [", "databases: [")
    listed = next(line for line in text.splitlines() if line.strip().startswith(keys))
    moved = listed.replace("[/", f"[{installed.home / path.stem}/")
    moved = moved.replace(", /", f", {installed.home / path.stem}/")
    text = text.replace("database: /", f"database: {installed.home / path.stem}/")
    installed.policy(path.stem, text.replace(listed, moved))
    installed.done("policy", "check")
    told = installed.done("policy", "explain", path.stem)
    assert "which it can keep" in told
    assert "CANNOT" not in told
    assert "WARNING" not in told  # its programs are on every machine
    installed.done("backup", path.stem)
    newest = installed.lines("snapshots", path.stem)[-2]
    assert newest["files"] >= 1
    assert any(reason.startswith("daily ") for reason in newest["kept"])


def test_a_promise_that_no_run_can_keep_is_told_by_the_check(installed, tmp_path):
    """It is no mistake in the file, so the check passes; but it is said, for one file as well."""
    text = (
        f"policy: seldom\nsource: {{files: {{paths: [{installed.source}]}}}}\n"
        "schedule: daily at 02:30\nobjectives: {rpo: 1h}\n"
    )
    installed.policy("seldom", text)
    alone = tmp_path / "seldom.yaml"
    alone.write_text(text)
    for arguments in ([], [alone]):
        result = installed.run("policy", "check", *arguments)
        assert result.returncode == 0
        assert "seldom promises an RPO of 1 h" in result.stderr
        assert "up to 1 d between runs" in result.stderr


@pytest.mark.parametrize(
    ("address", "token", "told"),
    [
        ("0.0.0.0:8970", None, "can be reached from other machines, and there is no token"),
        ("0.0.0.0:8970", "secret-of-the-page", None),
        ("keeper.example:8970", "secret-of-the-page", "is no number of an address"),
        ("127.0.0.1:8970", None, None),
    ],
)
def test_an_address_that_the_daemon_would_refuse_is_told_by_the_check(
    tmp_path, address, token, told
):
    """The page would not be served, and an alarm raised; the check says it before, and what to do."""
    installed = Installation(tmp_path)
    installed.etc.mkdir(exist_ok=True)
    (installed.etc / "drkeeper.yaml").write_text(f"web: {{listen: '{address}'}}\n")
    if token:
        installed.variables["DRKEEPER_WEB_TOKEN"] = token
    result = installed.run("policy", "check")
    assert result.returncode == 0, result.stderr
    if told is None:
        assert "page" not in result.stderr
        return
    assert f"the page cannot be served at {address}: " in result.stderr
    assert told in result.stderr
    assert "127.0.0.1" in result.stderr


def test_a_snapshot_says_why_it_is_kept(installed):
    """In the list, and as JSON with the span that each rule means; in the policy's own zone."""
    installed.policy(
        "why",
        f"policy: why\nsource: {{files: {{paths: [{installed.source}]}}}}\n"
        "time_zone: Pacific/Kiritimati\nretention: {daily: 1, last: 1}\n",
    )
    for _ in range(2):
        installed.done("backup", "why")
    first, second = installed.lines("snapshots", "why")[:2]
    assert first["kept"] == []
    assert second["kept"][0] == "last 1"
    assert second["kept"][1].startswith("daily 20")
    head, *rows = installed.done("snapshots", "why").splitlines()
    assert head.endswith("kept by")
    assert [row.split()[-2:] for row in rows][-1] == ["1,", "daily"]
    assert rows[0].endswith("-")
    assert "+14" in rows[0]


def test_nobody_guesses_why_another_machine_keeps_something(installed, tmp_path):
    """A machine that does not know the policy says nothing about it."""
    installed.done("backup", "files")
    bare = Installation(tmp_path)
    found = bare.lines("snapshots", "--store", installed.store, "--identity", installed.kit)
    assert {line["kept"] for line in found[:-1]} == {None}


def test_what_a_policy_took_is_known_when_it_is_explained(installed):
    """The ledger's durations are part of the RPO that can be achieved."""
    installed.policy(
        "timed",
        f"policy: timed\nsource: {{files: {{paths: [{installed.source}]}}}}\n"
        "objectives: {rpo: 1h}\n",
    )
    before = installed.lines("policy", "explain", "timed")[0]
    installed.done("backup", "timed")
    after = installed.lines("policy", "explain", "timed")[0]
    assert before["duration_seconds"] is None
    assert 0 <= after["duration_seconds"] < 60
    assert after["next_runs"][0] > before["next_runs"][0]


def test_a_channel_that_is_not_there_is_refused(tmp_path):
    """Exit 13 with the place and a guess; a policy that tells nobody would be found out too late."""
    installed = Installation(tmp_path).init()
    settings = installed.etc / "drkeeper.yaml"
    settings.write_text(settings.read_text() + "notify:\n  ops: {apprise: {}}\n")
    path = installed.policy(
        "p", f"policy: p\nsource: {{files: {{paths: [{installed.source}]}}}}\nnotify: [opz]\n"
    )
    expect(installed.run("policy", "check"), 13, f"{path}:3:10: ", "did you mean 'ops'")
    path.write_text(path.read_text().replace("opz", "ops"))
    installed.done("policy", "check")
    installed.done("backup", "p")  # which needs no secret of a channel


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"DRKEEPER_DAEMON_WORKERS": "many"}, "DRKEEPER_DAEMON_WORKERS"),
        ({"DRKEEPER_LOG_LEVEL": "loud"}, "DRKEEPER_LOG_LEVEL"),
        ({"DRKEEPER_WEB_TOKEN_FILE": "/nonexistent"}, "/nonexistent"),
    ],
)
def test_a_wrong_variable_is_named(installed, variables, told):
    """Exit 13 and one hint."""
    other = Installation(installed.home, variables)
    expect(other.run("policy", "check"), 13, told)


def test_the_doctor_looks_for_secrets_and_programs(tmp_path):
    """What would fail tonight is said today."""
    installed = Installation(tmp_path).init()
    settings = installed.etc / "drkeeper.yaml"
    settings.write_text(settings.read_text() + "notify:\n  ops: {apprise: {}}\n")
    installed.policy(
        "p",
        f"policy: p\nsource: {{files: {{paths: [{installed.source}]}}}}\nnotify: [ops]\n"
        "hooks: {before_backup: [/nonexistent/quiesce]}\n",
    )
    told = installed.run("doctor").stdout
    assert "channel 'ops' has no URLS" in told
    assert "/nonexistent/quiesce is no program here" in told
    installed.variables["DRKEEPER_NOTIFY_OPS_URLS"] = "json://127.0.0.1/hunter2"
    told = installed.run("doctor").stdout
    assert "told about p" in told
    assert "hunter2" not in told


def test_status_shows_what_is_in_force(tmp_path):
    """A file that was broken since does not make its policy look as if it were not there."""
    installed = Installation(tmp_path).init()
    clock, locations = SystemClock(), find_locations(installed.environment())
    Reloader(locations, clock=clock, variables=installed.environment()).reload()
    installed.policy("files", "policy: [")
    for command in ("status", "plan"):
        result = installed.run(command)
        assert "files" in result.stdout, result
        assert "files.yaml is wrong; run drkeeper policy check" in result.stderr
    expect(installed.run("backup", "files"), 13, "not YAML")
