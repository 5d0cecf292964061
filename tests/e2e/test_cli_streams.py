"""The command among other programs: streams that are closed, full or not UTF-8, and variables."""

import os
import signal
import subprocess
import sys

import pytest

from doubles.installation import Installation, expect


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return an installation with one snapshot; what these tests add to it hurts none of them."""
    installation = Installation(tmp_path_factory.mktemp("streams")).init()
    installation.done("backup", "files")
    return installation


def shell(installed: Installation, text: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a line of shell in which ``$drkeeper`` is the command."""
    environment = {
        **installed.environment(),
        **variables,
        "drkeeper": f"{sys.executable} -m drkeeper",
    }
    return subprocess.run(
        ["/bin/sh", "-c", text],
        env=environment,
        cwd=installed.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "command", ["snapshots", "policy schema", "completion bash", "cat files $PWD/source/one.txt"]
)
def test_results_that_cannot_be_written_are_an_error(installed, command):
    """A full disk behind standard output is exit 21, a closed one exit 1; neither is a defect."""
    expect(shell(installed, f"$drkeeper {command} > /dev/full"), 21, "no space", "standard output")
    expect(shell(installed, f"$drkeeper {command} >&-"), 1, "standard output")


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_backup_is_done_whoever_can_be_told(installed, redirection):
    """What cannot be said is no reason to fail, or to leave the next policy out."""
    before = len(installed.lines("snapshots"))
    result = shell(installed, f"$drkeeper backup files {redirection}")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert len(installed.lines("snapshots")) == before + 1


def test_the_words_go_nowhere_else_when_a_stream_is_closed(installed):
    """A file that is opened in the place of a closed stream never receives messages."""
    result = shell(installed, "$drkeeper check --read-data >&- 2>&-")
    assert result.returncode == 1
    installed.done("check", "--read-data")
    installed.done("ledger", "verify")


def test_names_can_be_shown_in_any_locale(installed):
    """Where the terminal is not UTF-8, what it cannot show is escaped."""
    (installed.source / "naïve 日本").write_text("x")
    installed.done("backup", "files")
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = shell(installed, "$drkeeper ls files -r", **old)
    assert result.returncode == 0, result.stderr
    assert r"na\xefve \u65e5\u672c" in result.stdout
    assert shell(installed, "$drkeeper ls files -r").stdout.count("naïve 日本") == 1


def test_a_store_whose_name_is_no_text_is_refused(installed):
    """Configuration files are UTF-8; a name that is not cannot stand in one."""
    store = os.fsdecode(os.fsencode(installed.home) + b"/\xe9\xe9")
    result = installed.run("init", store, "--name", "other", "--kit-file", "other-kit")
    expect(result, 13, "not UTF-8")


def test_each_option_has_its_variable(installed):
    """DRKEEPER_, the command, the option: and no shorter one that would reach other commands."""
    result = shell(installed, "$drkeeper backup files", DRKEEPER_BACKUP_DRY_RUN="1")
    assert "would read" in result.stdout
    result = shell(installed, "$drkeeper backup files", DRKEEPER_DRY_RUN="1")
    assert "would read" not in result.stdout


def test_the_command_line_wins_over_variables(installed, tmp_path):
    """``--config`` before or after the command's name counts more than ``DRKEEPER_CONFIG``."""
    for line in (f"--config {tmp_path} config paths", f"config paths --config {tmp_path}"):
        result = shell(installed, f"$drkeeper {line}", DRKEEPER_CONFIG_PATHS_CONFIG="/elsewhere")
        assert f"{tmp_path}/drkeeper.yaml" in result.stdout, result.stderr
        assert "chosen by --config" in result.stdout


@pytest.mark.parametrize("value", ["0", "1"])
def test_variables_can_turn_shared_options_off(installed, value):
    """``DRKEEPER_JSON=0`` is not JSON, and ``DRKEEPER_DEBUG=0`` shows no traceback."""
    result = shell(installed, "$drkeeper backup nope", DRKEEPER_JSON=value)
    assert bool(result.stdout) == (value == "1")
    result = shell(installed, "$drkeeper backup nope", DRKEEPER_DEBUG=value)
    assert ("Traceback" in result.stderr) == (value == "1")


def test_text_is_an_object_where_json_is_asked_for(installed):
    """``--json`` means one object a line, also for what is a text of its own."""
    assert installed.lines("policy", "schema")[0]["schema"]["title"]
    assert "_drkeeper_completion" in installed.lines("completion", "bash")[0]["script"]
    assert "#kit store:" in installed.lines("key", "kit")[0]["page"]


def test_a_second_interrupt_ends_at_once(installed):
    """Nobody has to wait for the cleaning up after the first one, and there is no traceback."""
    for pause in (0.3, 0.6, 0.9):
        (installed.source / "large").write_bytes(os.urandom(300_000))
        # 300,000 bytes are worth 4.5 seconds, for which the manifest has to wait.
        with installed.uploading_at("64 KiB/s"), installed.start("backup", "files") as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=pause)
            for _ in range(5):
                process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode in {130, -signal.SIGINT}
        assert "Traceback" not in said
    installed.done("backup", "files")
    installed.done("check")
