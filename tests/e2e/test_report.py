"""``drkeeper report`` as a process: files, forms, words, exit codes, and a bundle for an auditor."""

import csv
import json
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from doubles.installation import Installation, expect
from drkeeper.reports.quarters import quarter_of

pytestmark = pytest.mark.e2e

TOOL = Path(__file__).parents[2] / "tools" / "verify_report.py"


@pytest.fixture
def installed(tmp_path):
    """An installation with one backup."""
    installed = Installation(tmp_path).init()
    installed.done("backup", "files")
    return installed


@pytest.fixture
def quarter():
    """The quarter in which the test runs."""
    return str(quarter_of(datetime.now(UTC)))


def signer(installed):
    """Return the public key of the machine, as the keyring has it."""
    items = installed.lines("key", "list")
    return next(each["key"] for each in items if each.get("kind") == "signer" and each["host"])


def test_a_report_is_written_and_says_what_is_wrong(installed, quarter):
    """One file in the current folder; it says until now, and that nothing was drilled."""
    said = installed.done("report")
    path = installed.home / f"drkeeper-report-{quarter}.html"
    assert f"wrote {path.name}" in said
    assert f"quarter {quarter}, until now (" in said
    assert "not as promised: policy files was not drilled" in said
    assert path.read_bytes().startswith(b"<!doctype html>")
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_forms_tell_the_same(installed, quarter):
    """JSON, CSV and HTML of one instant; computed again it is the same, byte for byte."""
    installed.done("report", "--format", "json", "--output", "one.json")
    report = json.loads((installed.home / "one.json").read_text())
    again = ("report", "--quarter", quarter, "--until", report["until"], "--format")
    installed.done(*again, "json", "--output", "two.json")
    assert (installed.home / "two.json").read_bytes() == (installed.home / "one.json").read_bytes()
    shown = installed.done(*again, "csv", "--output", "-")
    rows = list(csv.reader(shown.splitlines()))
    assert ["identity", "", "", "quarter", quarter, ""] in rows
    (summary,) = installed.lines(*again, "html")
    assert summary["findings"] == report["review"]["findings"]
    (item,) = installed.lines(*again, "json", "--output", "-")
    assert item["report"] == report


def test_a_bundle_is_signed_and_verified_by_a_stranger(installed, quarter):
    """The ledger is signed for it, with the key that the repository's keyring names."""
    installed.done("report", "--bundle")
    path = installed.home / f"drkeeper-report-{quarter}.tar"
    with tarfile.open(path) as tar:
        tar.extractall(installed.home / "unpacked", filter="data")
    (tool,) = (installed.home / "unpacked").rglob("verify_report.py")
    assert tool.read_bytes() == TOOL.read_bytes()
    command = [sys.executable, "-I", str(tool), str(path), "--quarter", quarter]
    command += ["--key", signer(installed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"VERIFIED: report of {quarter}, events 1 to ")
    assert "NOT SIGNED" not in done.stdout


def test_a_report_is_shown_in_another_form_without_a_ledger(installed):
    """What was verified is what is shown: the page of a report.json is the one of its ledger."""
    installed.done("report", "--format", "json", "--output", "report.json")
    until = json.loads((installed.home / "report.json").read_text())["until"]
    installed.done("report", "--until", until, "--output", "one.html")
    (installed.home / "state" / "ledger.sqlite").rename(installed.home / "gone.sqlite")
    installed.done("report", "--from", "report.json", "--output", "two.html")
    assert (installed.home / "one.html").read_bytes() == (installed.home / "two.html").read_bytes()
    (installed.home / "bad.json").write_text(
        '{"form": "drkeeper/report/1", "identity": {"quarter": "2026Q4"}}'
    )
    expect(installed.run("report", "--from", "bad.json"), 13, "report is malformed")
    expect(installed.run("report", "--from", "one.html"), 13, "one.html is not a report")
    expect(installed.run("report", "--from", "report.json", "--bundle"), 2, "--from goes without")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--quarter", "2019Q1"], 16, "has nothing of quarter 2019Q1"),
        (["--quarter", "2999Q1"], 16, "has not begun"),
        (["--quarter", "last"], 2, "is not a quarter such as 2026Q4"),
        (["--until", "tomorrow"], 2, "--until"),
        (["--output", "gone/report.html"], 13, "gone"),
    ],
)
def test_what_cannot_be_reported_is_said(installed, arguments, code, words):
    """In words, with an exit code, and without a file."""
    expect(installed.run("report", *arguments), code, words)
    assert not list(installed.home.glob("drkeeper-report-*"))


def test_pdf_is_made_or_its_extra_is_named(installed, quarter):
    """Whoever lacks the library is told what to install; whoever has it gets a PDF."""
    done = installed.run("report", "--format", "pdf")
    if done.returncode == 0:
        assert (installed.home / f"drkeeper-report-{quarter}.pdf").read_bytes().startswith(b"%PDF-")
    else:
        expect(done, 13, "extra pdf")
        assert "drkeeper[pdf]" in done.stderr


def test_a_hostile_report_names_no_file(installed):
    """The quarter in a report that somebody sent becomes the name of a file only if it is one."""
    text = '{"form": "drkeeper/report/1", "identity": {"quarter": "/../../../x"}}'
    (installed.home / "bad.json").write_text(text)
    expect(installed.run("report", "--from", "bad.json"), 13, "bad.json is not a report")
