"""``drkeeper status`` and ``drkeeper plan`` as a process: one screen, exit codes, JSON."""

import os
import pty
import re
import subprocess
import sys

import pytest
from benchmarks.keeping import fill_ledger, load, make_files

from doubles.installation import Installation, expect
from drkeeper.app.config.meaning import WORTH

ESCAPE = "\x1b["


@pytest.fixture
def installed(tmp_path):
    """Return an installation whose policy runs daily, and has run once."""
    made = Installation(tmp_path).init()
    path = made.etc / "policies.d" / "files.yaml"
    text = re.sub(r"(?m)^(schedule|time_zone|objectives):.*\n(?:  .*\n)*", "", path.read_text())
    path.write_text(
        text
        + "schedule: daily at 02:30\ntime_zone: Europe/Berlin\nobjectives: {rpo: 26h, rto: 1h}\n"
    )
    made.done("backup", "files")
    return made


def codes(installed, *options):
    """Return what ``status --check`` ends with."""
    return installed.run("status", "--check", *options).returncode


def test_the_screen_fits_and_says_what_there_is(installed):
    """80 columns, no colour in a pipe; last success, next run, RPO and RTO; no daemon runs."""
    out = installed.done("status")
    assert max(map(len, out.splitlines())) <= 80
    assert ESCAPE not in out
    assert re.search(r"^files +ok +.*(CET|CEST|\d{4}) .*/-/1d2h +-/-/1h$", out, re.MULTILINE), out
    assert "no daemon runs" in out
    assert "systemctl start drkeeper" in out


def test_monitoring_the_wrong_place_is_not_all_well(tmp_path):
    """Another user, or a mistyped --config: nothing was looked at, and nothing is called well."""
    made = Installation(tmp_path)
    for command in (["status", "--check"], ["run", "--due"], ["run", "--due", "--dry-run"]):
        done = made.run(*command)
        expect(done, 13)
        assert f"there is no {made.etc / 'drkeeper.yaml'}" in done.stderr
        assert "--config" in done.stderr
    assert "there is no policy" in made.done("status")


def test_check_says_by_its_code_whether_all_is_well(installed):
    """19 without a daemon; 0 when none is expected; 14 when a promise is broken; 23 unreadable."""
    assert codes(installed) == 19
    assert codes(installed, "--no-daemon") == 0
    assert installed.run("status").returncode == 0
    (installed.source / "one.txt").unlink()
    installed.source.rename(installed.home / "gone")
    expect(installed.run("backup", "files"), 18)
    assert codes(installed, "--no-daemon") == 14
    assert codes(installed) == 14
    shown = installed.done("status")
    assert "failing: policy files: " in shown
    assert "drkeeper backup files" in shown
    (installed.home / "state" / "ledger.sqlite").write_bytes(b"no ledger" * 1000)
    assert codes(installed) == 23
    broken = installed.done("status")
    assert "ledger-trouble" in broken
    assert "drkeeper ledger verify" in broken


def test_status_without_a_ledger_shows_what_waits(tmp_path):
    """Nothing has happened yet, and that is what it says."""
    fresh = Installation(tmp_path).init()
    (fresh.home / "state" / "ledger.sqlite").unlink(missing_ok=True)
    out = fresh.done("status")
    assert re.search(r"^files +(waiting|by-hand) +never", out, re.MULTILINE), out


def test_status_as_json(installed):
    """A policy, a repository, a summary with the code that --check would end with."""
    lines = installed.lines("status")
    policy = next(line for line in lines if line.get("kind") == "policy")
    assert policy["state"] == "ok"
    assert policy["rpo_target_seconds"] == 26 * 3600
    assert 0 <= policy["durable_age_seconds"] < 300
    assert policy["objective_missed"] is False
    assert any(line.get("kind") == "repository" for line in lines)
    assert (lines[-1]["message_type"], lines[-1]["code"]) == ("summary", 19)


def test_an_unknown_policy_is_refused(installed):
    """A typing error must not look like a policy that is well."""
    expect(installed.run("status", "file"), 13, "files")


def test_colour_is_for_terminals(installed):
    """On a terminal the state has a colour; with NO_COLOR it has none."""
    assert ESCAPE in on_terminal(installed, "status")
    installed.variables["NO_COLOR"] = "1"
    assert ESCAPE not in on_terminal(installed, "status")


def on_terminal(installed, *arguments):
    """Run drkeeper with a terminal as its output, and return what it shows."""
    ours, theirs = pty.openpty()
    environment = {**installed.environment(), "TERM": "xterm"}
    command = [sys.executable, "-m", "drkeeper", *arguments]
    with subprocess.Popen(command, env=environment, cwd=installed.home, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_the_plan_of_a_day(installed):
    """When, why then, and the RPO that this achieves against what is promised."""
    out = installed.done("plan")
    assert "files: every day at 02:30 (Europe/Berlin)" in out
    assert re.search(r"^  \d{4}-\d\d-\d\d 02:30:00 CES?T +in ", out, re.MULTILINE), out
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"RPO: at worst .*; 1 d 2 h promised; a run takes .*$", out, re.MULTILINE)
    (line, summary) = installed.lines("plan", "files")
    assert line["next_runs"][0]["why"] == "due"
    assert line["kept"] is True
    assert summary["policies"] == 1


def test_a_calendar_with_outages(installed):
    """Runs, made up, missed, cut off, the worst RPO and when; against what is promised."""
    calm = installed.lines("plan", "--simulate", "90d")[0]
    assert (calm["runs"], calm["missed"], calm["kept"]) == (90, 0, True)
    off = ("--outage", "+2d..+5d", "--outage", "+10d..+11d12h")
    rough = installed.lines("plan", "--simulate", "90d", *off)[0]
    assert rough["missed"] >= 2
    assert rough["kept"] is False
    assert rough["worst_rpo_seconds"] >= 3 * 86400
    table = installed.done("plan", "--simulate", "90d", *off)
    assert "BROKEN" in table
    assert max(map(len, table.splitlines())) <= 100


@pytest.mark.parametrize(
    "options",
    [
        ("--simulate", "soon"),
        ("--simulate", "99w", "--outage", "+2d"),
        ("--outage", "+5d..+2d"),
        ("--outage", "then..now"),
        ("--simulate", "5000d"),
    ],
)
def test_what_cannot_be_simulated_is_refused(installed, options):
    """With the option that is wrong."""
    expect(installed.run("plan", *options), 2, options[-2])


def test_a_source_that_is_nearly_gone_is_told_until_somebody_agrees(installed):
    """Refused, then *shrunk* with what to type; typed, all is well, also after the next run."""
    many = installed.source / "many"
    many.mkdir()
    for number in range(30):
        (many / str(number)).write_text("x" * 50)
    installed.done("backup", "files")
    for path in many.iterdir():
        path.unlink()
    (installed.source / "deep" / "two.bin").unlink()
    expect(installed.run("backup", "files"), 18)
    shown = installed.done("status")
    assert "shrunk: policy files: " in shown
    assert "drkeeper backup files --allow-shrink" in shown
    assert codes(installed, "--no-daemon") == 14
    installed.done("backup", "files", "--allow-shrink")
    assert codes(installed, "--no-daemon") == 0
    installed.done("backup", "files")
    assert codes(installed, "--no-daemon") == 0


def test_paths_name_the_ledger_that_is_used(tmp_path):
    """One on a server is no file; its password is shown nowhere."""
    made = Installation(tmp_path)
    made.etc.mkdir(parents=True, exist_ok=True)
    (made.etc / "drkeeper.yaml").write_text("ledger: postgresql://keeper@db.example.org/backups\n")
    out = made.done("config", "paths")
    assert re.search(r"(?m)^ledger +postgresql://keeper@db\.example\.org/backups$", out)
    said = made.done("config", "paths", "--json")
    assert '"ledger":"postgresql://keeper@db.example.org/backups"' in said


HEAVY = {
    *("sqlalchemy", "alembic", "psycopg", "pydantic", "yaml", "boto3", "cryptography", "zstandard"),
    *("asyncio", "ssl", "http", "email", "logging", "concurrent", "rich", "structlog"),
}


@pytest.mark.parametrize("options", [[], ["--check", "--no-daemon"], ["--json"]], ids=str)
def test_a_status_imports_nothing_that_it_can_do_without(tmp_path, options):
    """SQLAlchemy, pydantic and PyYAML would take most of its time; they wait for files that are new."""
    locations = make_files(tmp_path, WORTH)
    fill_ledger(load(locations), 2)

    def status(*before):
        command = [sys.executable, *before, "-m", "drkeeper", "status", *options]
        variables = {**os.environ, "DRKEEPER_CONFIG": str(locations.settings)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=variables)

    status()  # reads the files, and remembers what they mean
    done = status("-X", "importtime")
    assert "machine-0000" in done.stdout or "--check" in options
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "drkeeper" in loaded
    assert loaded & HEAVY == set()
