"""The daily commands as a process: text, JSON, exit codes, signals, secrets."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from doubles.installation import Installation, expect


@pytest.fixture
def installed(tmp_path):
    """Return an installation with a repository and no snapshot yet."""
    return Installation(tmp_path).init()


def restored(installation, target, name):
    """Return where a file of the source was restored to."""
    return installation.home / target / str(installation.source).lstrip("/") / name


def test_what_was_backed_up_comes_back_as_it_was_at_an_instant(installed):
    """The main job, through the command: back up, change, back up, go back in between."""
    installed.done("backup", "files")
    between = installed.lines("snapshots", "files")[0]["finished_at"]
    (installed.source / "one.txt").write_text("changed\n")
    (installed.source / "deep" / "two.bin").unlink()
    installed.done("backup", "files")
    installed.done("restore", "files", "--point-in-time", between, "--to", "before")
    installed.done("restore", "files", "--to", "latest")
    assert restored(installed, "before", "one.txt").read_text() == "one\n"
    assert restored(installed, "before", "deep/two.bin").stat().st_size == 300_000
    assert restored(installed, "before", "link").readlink().name == "one.txt"
    assert restored(installed, "latest", "one.txt").read_text() == "changed\n"
    assert not restored(installed, "latest", "deep/two.bin").exists()


def test_the_kit_and_the_store_suffice_on_an_empty_machine(installed, tmp_path):
    """No configuration, no state, no keys: only the page and the store."""
    installed.done("backup", "files")
    bare = Installation(tmp_path / "bare")
    bare.home.mkdir()
    (bare.home / "kit.txt").write_bytes(installed.kit.read_bytes())
    bare.kit.chmod(0o600)
    assert "files" in bare.done("snapshots", "--identity", bare.kit)
    bare.done("restore", "files", "--identity", bare.kit, "--to", "out")
    inside = bare.home / "out" / str(installed.source).lstrip("/")
    assert (inside / "one.txt").read_text() == "one\n"


def test_a_write_only_host_cannot_read_back(tmp_path):
    """Exit 12 with the hint to the kit, which opens it; nothing here can read or delete."""
    installed = Installation(tmp_path).init("--write-only")
    installed.done("backup", "files")
    keys = {path.name for path in (installed.etc / "keys" / "primary").iterdir()}
    assert keys == {"host.key", "admins"}
    expect(installed.run("restore", "files", "--to", "out"), 12)
    installed.done("restore", "files", "--identity", installed.kit, "--to", "kit")
    assert restored(installed, "kit", "one.txt").read_text() == "one\n"


def test_every_result_is_also_json(installed):
    """JSON lines with a type each, RFC 3339 instants, and nothing else on standard output."""
    first = installed.lines("backup", "files")
    assert first[-1]["message_type"] == "summary"
    assert first[-1]["result"] == "succeeded"
    assert first[-1]["files"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", first[-1]["consistent_at"])
    installed.done("backup", "files")
    for arguments in (
        ["snapshots"],
        ["ls", "files", "-r"],
        ["find", "files", "*.txt"],
        ["diff", "files"],
        ["check"],
        ["policy", "check"],
        ["policy", "explain", "files"],
        ["key", "list"],
        ["config", "paths"],
        ["config", "show"],
        ["ledger", "verify"],
        ["restore", "files", "--to", "dry", "--dry-run"],
        ["restore", "files", "--to", "wet"],
        ["backup", "files", "--dry-run"],
    ):
        lines = installed.lines(*arguments)
        assert lines[-1]["message_type"] == "summary", arguments
        if arguments in (["check"], ["restore", "files", "--to", "wet"]):
            assert lines[-1]["requests"]["get"] > 0
            assert lines[-1]["received_bytes"] > 0
    assert first[-1]["requests"]["put"] > 5
    assert first[-1]["sent_bytes"] > 300_000
    assert first[-1]["failed_requests"].keys() <= {"get", "info"}
    assert not (installed.home / "dry").exists()


def test_a_damaged_snapshot_does_not_hide_the_others(installed):
    """Looking through all snapshots, and comparing the newest two, tells of a third that is damaged,
    and goes on.
    """
    for name in ("first", "second", "third"):
        (installed.source / name).write_text(name)
        before = set(installed.store.glob("meta/*/*"))
        installed.done("backup", "files")
        if name == "first":
            (only,) = set(installed.store.glob("meta/*/*")) - before
    only.unlink()
    numbers = [line["snapshot"] for line in installed.lines("snapshots", "files")[1:-1]]
    assert len(numbers) == 2
    for command in (["find", "files", "*.txt", "--all"], ["snapshots"]):
        result = installed.run(*command)
        assert result.returncode == 0, result
        assert result.stderr.count("warning: ") == 1, result.stderr
        assert [line.split()[0] for line in result.stdout.splitlines()[-2:]] == list(
            map(str, numbers)
        )
    assert [line["change"] for line in installed.lines("diff", "files")[:-1]] == ["added"]


def test_errors_are_json_too(installed):
    """The same facts as for people: code, class, message, hint, places."""
    installed.policy("bad", "policy: bad\nsource: {}\n")
    result = installed.run("policy", "check", "--json")
    error = json.loads(result.stdout.splitlines()[-1])
    assert result.returncode == error["code"] == 13
    assert error["message_type"] == "error"
    assert error["problems"][0]["line"] == 2
    assert not result.stderr
    refused = installed.run("init", "/nonexistent", "--json")
    assert refused.returncode == 2
    assert "--kit-file" in json.loads(refused.stdout)["message"]


def test_names_cannot_command_a_terminal(installed):
    """Control bytes, line ends and marks that reorder text are shown as escapes."""
    evil = os.fsencode(installed.source) + b"/\x1b]0;pwned\x07\n\xff\xe2\x80\xae.txt"
    with open(evil, "w"):
        pass
    installed.done("backup", "files")
    shown = installed.done("ls", "files", "-r", "-l")
    assert "\x1b" not in shown
    assert r"\x1b]0;pwned\x07\x0a\xff\u202e.txt" in shown
    hexes = [line.get("path_hex", "") for line in installed.lines("ls", "files", "-r")]
    assert evil[1:].hex() in hexes


def test_quiet_says_nothing_but_results(installed):
    """For cron: silence means success."""
    result = installed.run("-q", "backup", "files")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_files_of_a_snapshot_can_be_read_alone(installed):
    """``cat`` writes the exact bytes."""
    installed.done("backup", "files")
    path = installed.source / "deep" / "two.bin"
    whole = subprocess.run(
        [sys.executable, "-m", "drkeeper", "cat", "files", str(path)],
        env=installed.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert whole.stdout == path.read_bytes()


def test_a_reader_that_leaves_is_no_defect(installed):
    """``drkeeper ls | head`` ends with 141 and in silence."""
    for number in range(3000):
        (installed.source / f"file-{number:06d}-with-a-long-name-to-fill-the-pipe").touch()
    installed.done("backup", "files")
    process = installed.start("ls", "files", "-r", "-q")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_signal_ends_a_backup_cleanly(installed, number, code):
    """The session is aborted, the ledger says interrupted, and the next run needs no repair.

    What waits for the bandwidth limit, here for most of a minute, does not keep it from ending.
    """
    for each in range(3):
        (installed.source / f"big-{each}").write_bytes(os.urandom(1_000_000))
    with installed.uploading_at("64 KiB/s"), installed.start("backup", "files") as process:
        packs = installed.store / "packs"
        while process.poll() is None and not packs.exists():
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code, (out, err)
    assert "error: " in err
    assert "Traceback" not in err
    newest = max((installed.store / "journal").rglob("*[0-9]"))
    assert b"abort" in newest.read_bytes()
    installed.done("backup", "files")
    installed.done("check", "--read-data")
    installed.done("ledger", "verify")


def test_no_secret_is_shown_kept_or_inherited(tmp_path):
    """The canaries: passphrase, key files and credentials are in no output, log, ledger or argv."""
    canary = "canary-correct-horse-battery"
    script = tmp_path / "give"
    seen = tmp_path / "seen"
    script.write_text(
        f"#!/bin/sh\nenv > {seen}\ntr '\\0' ' ' < /proc/$$/cmdline >> {seen}\necho {canary}\n"
    )
    script.chmod(0o700)
    variables = {
        "DRKEEPER_PASSPHRASE_COMMAND": str(script),
        "AWS_SECRET_ACCESS_KEY": "canary-aws-secret",
    }
    installed = Installation(tmp_path / "home", variables)
    installed.home.mkdir()
    said = [installed.run("init", installed.store, "--kit-file", installed.kit, "--protect-kit",
                          "--protect", "/etc/hostname", "--debug", "-v")]  # fmt: skip
    said.append(installed.run("backup", "files", "--debug", "-v"))
    said.append(installed.run("backup", "files", "--json"))
    said.append(
        installed.run("restore", "files", "--identity", installed.kit, "--to", "out", "--debug")
    )
    said.append(installed.run("key", "list", "--debug"))
    said.append(installed.run("doctor", "--no-probe", "--json"))
    said.append(installed.run("config", "show", "--json"))
    assert all(result.returncode in {0, 3} for result in said), said
    secrets = [canary, "canary-aws-secret"]
    for path in (installed.etc / "keys" / "primary").glob("*.key"):
        secrets += re.findall(r"(?:AGE-SECRET-KEY-PQ-1|DRK-SIGNING-KEY-1)(\w+)", path.read_text())
    shown = "".join(result.stdout + result.stderr for result in said)
    assert not [secret for secret in secrets if secret in shown]
    kept = b"".join(
        path.read_bytes() for path in (installed.home / "state").rglob("*") if path.is_file()
    )
    assert not [secret for secret in secrets if secret.encode() in kept]
    inherited = seen.read_text()
    assert "canary-aws-secret" not in inherited
    assert "DRKEEPER_PASSPHRASE" not in inherited


def test_help_answers_at_once(installed):
    """150 ms at most, the best of several, interpreter included."""
    times = []
    for _ in range(7):
        begun = time.monotonic()
        installed.done("--help")
        times.append(time.monotonic() - begun)
    assert min(times) <= 0.15


def test_help_imports_nothing_heavy():
    """Neither pydantic nor boto3 nor SQLAlchemy nor the repository is needed to show help."""
    code = (
        "import sys; from drkeeper.app.cli.program import run; run(['--help']);"
        "print([m for m in sys.modules if m in ('pydantic','boto3','sqlalchemy','yaml','rich',"
        "'drkeeper.repository')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_completion_offers_policies_and_never_fails(installed):
    """Also with a broken configuration, and quickly."""
    assert "_drkeeper_completion" in installed.done("completion", "bash")
    installed.variables.update(
        {
            "_DRKEEPER_COMPLETE": "bash_complete",
            "COMP_WORDS": "drkeeper backup f",
            "COMP_CWORD": "2",
        }
    )
    assert "files" in installed.run().stdout
    (installed.etc / "drkeeper.yaml").write_text("][")
    result = installed.run()
    assert "files" in result.stdout
    assert not result.stderr


def test_doctor_finds_what_is_wrong(installed):
    """Every line has a verdict; a failing line makes the exit code 1."""
    installed.done("backup", "files")
    fine = installed.run("doctor", "--json")
    assert fine.returncode in {0, 3}
    (installed.etc / "keys" / "primary" / "verifier.key").chmod(0o644)
    result = installed.run("doctor", "--no-probe")
    assert result.returncode == 1
    assert "chmod 600" in result.stdout
