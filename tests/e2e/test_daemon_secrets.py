"""Secrets that the daemon was given, and that come back at it from all sides, are written nowhere."""

import pytest

from doubles.daemons import Keeper, configure, keeping, needs

pytestmark = [pytest.mark.e2e]

ID = "5fc2a3de-canary-4d6c-8d0e-2f4f2f8f3c11"
TOKEN = "canary-token-41e88c"
PASSWORD = "canary p@ssword/7"
COMMANDED = "canary-from-a-command-9b1"
TOLD = "canary-that-nobody-registered"


@pytest.fixture
def made(tmp_path):
    """A daemon with a heartbeat that nobody answers and a policy whose hook tells all it knows."""
    made = keeping(tmp_path, rpo="6h")
    hook = made.home / "blabbing"
    hook.write_text(
        "#!/bin/sh\n"
        f"echo 'cannot reach http://127.0.0.1:9/{ID}' >&2\n"
        f"echo 'sent token {TOKEN}, header b64 Y2FuYXJ5LXRva2VuLTQxZTg4Yw==' >&2\n"
        f"echo 'api_key={TOLD}'\n"
        f"echo 'postgresql://me:{TOLD}@host/db'\n"
    )
    hook.chmod(0o755)
    configure(made, "notify:\n  beat:\n    heartbeat: {}\nlog: {level: debug}\n")
    needs(made, "files", rpo="6h", more=f"notify: [beat]\nhooks: {{before_backup: [{hook}]}}\n")
    return made


def test_no_secret_comes_back_in_logs(made) -> None:
    """Not in the daemon's log, not in a run's log, not in the ledger: by value and by name, encoded too."""
    variables = {
        "DRKEEPER_NOTIFY_BEAT_URL": f"http://127.0.0.1:9/{ID}",
        "DRKEEPER_WEB_TOKEN": TOKEN,
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "HTTPS_PROXY": f"http://me:{COMMANDED}@127.0.0.1:9",
    }
    with Keeper(made, **variables) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", policy="files")
        keeper.end()
        log = keeper.text()
    runs = "".join(path.read_text() for path in (made.home / "state" / "runs").iterdir())
    assert "[redacted]" in runs
    assert "api_key=[redacted]" in runs
    ledger = (made.home / "state" / "ledger.sqlite").read_bytes().decode(errors="replace")
    for secret in (ID, TOKEN, PASSWORD, COMMANDED, TOLD, "Y2FuYXJ5LXRva2VuLTQxZTg4"):
        assert secret not in log
        assert secret not in runs
        assert secret not in ledger
