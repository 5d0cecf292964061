"""PostgreSQL, a real server of Debian's package, on a Unix socket, for as long as the tests run.

Use it by importing the fixtures into a conftest, and naming one::

    from services.postgresql import postgresql, postgresql_url  # noqa: F401 - fixtures

    def test_x(postgresql_url): ...         # a URL of an empty schema of its own

One server serves all xdist workers of a test run; the last one to leave stops it. It runs as an
ordinary user, below a directory of its own. By hand: ``python -m services.postgresql`` (from tests/)
runs one until interrupted.
"""

import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from services import SEARCH, program, require

START_S = 60
STOP_S = 30
UNPRIVILEGED = "nobody"
"""Who runs the server when the tests are run by root, whom it refuses."""

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's package keeps the programs of each major version."""

CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{run}'
fsync = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 200
log_min_messages = warning
"""
HBA = """
local all keeper scram-sha-256
local all all trust
host all keeper 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class Server:
    """A running server, to which every local user may connect as ``owner``.

    Attributes:
        folder: All that belongs to it.
        port: On 127.0.0.1, where only ``keeper`` is let in, with ``password``.
        password: Of the role ``keeper``.
        pid: Of the server's first process.
    """

    folder: str
    port: int
    password: str
    pid: int
    owner: str = "owner"

    @property
    def socket(self) -> str:
        """The directory of the server's socket."""
        return f"{self.folder}/run"

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return Path(self.folder) / "log"

    def url(self, database: str = "postgres", **parameters: str) -> str:
        """Return a URL by way of the socket."""
        given = {"host": self.socket, "port": str(self.port)} | parameters
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        return f"postgresql://{self.owner}@/{database}?{query}"

    def run(self, *statements: str, url: str | None = None) -> list[tuple]:
        """Run statements as the owner, each by itself; return what the last one found."""
        import psycopg  # noqa: PLC0415 - an extra

        with closing(psycopg.connect(url or self.url(), autocommit=True)) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def find(name: str) -> str | None:
    """Return the path of a program of the server: Debian keeps them out of the way."""
    found = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else program(name)


def _user() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(UNPRIVILEGED)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _environ(at: Path) -> dict[str, str]:
    return {"PATH": SEARCH, "HOME": str(at), "LC_ALL": "C", "TZ": "UTC"}


def start(at: Path) -> Server:
    """Make a cluster below ``at`` and start it; raises when it does not answer."""
    (at / "run").mkdir(parents=True)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(UNPRIVILEGED)
        for each in (at, at / "run"):
            os.chown(each, entry.pw_uid, entry.pw_gid)
    _make(at)
    from services.rgw import free_ports  # noqa: PLC0415 - imports boto3

    port, password = free_ports(1)[0], secrets.token_hex(12)
    with open(at / "data" / "postgresql.conf", "a") as file:
        file.write(CONF.format(port=port, run=at / "run"))
    (at / "data" / "pg_hba.conf").write_text(HBA)
    server = _launch(at, port, password)
    server.run(f"CREATE ROLE keeper LOGIN PASSWORD '{password}'")
    return server


def again(server: Server) -> Server:
    """Start a server that was stopped once more, where it was."""
    return _launch(Path(server.folder), server.port, server.password)


def _launch(at: Path, port: int, password: str) -> Server:
    with open(at / "log", "ab") as log:
        process = subprocess.Popen(
            [find("postgres"), "-D", str(at / "data")],
            env=_environ(at),
            cwd=at,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # an interrupted test run stops it in order
            **_user(),
        )
    server = Server(str(at), port, password, process.pid)
    process.returncode = 0  # whoever leaves last ends it, and that may be another process
    try:
        _await_answer(server)
    except BaseException:
        stop(server)
        raise
    return server


def _make(at: Path) -> None:
    done = subprocess.run(
        [
            *(find("initdb"), "--pgdata", str(at / "data"), "--username", "owner"),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        ],
        env=_environ(at),
        cwd=at,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        **_user(),
    )
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stderr[-2000:]}")


def _await_answer(server: Server) -> None:
    import psycopg  # noqa: PLC0415 - an extra

    until = time.monotonic() + START_S
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            if time.monotonic() > until or not _alive(server):
                raise RuntimeError(f"no answer: {server.log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


def _alive(server: Server) -> bool:
    """Tell whether the process is alive and was started with this directory."""
    try:
        words = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        state = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and f"{server.folder}/data".encode() in words


def stop(server: Server) -> None:
    """End the server: at once, without waiting for its clients."""
    for attempt in (signal.SIGQUIT, signal.SIGKILL):
        if not _alive(server):
            break
        with suppress(ProcessLookupError):
            os.kill(server.pid, attempt)
        until = time.monotonic() + STOP_S / 2
        while _alive(server) and time.monotonic() < until:
            time.sleep(0.02)
    with suppress(ChildProcessError):
        os.waitpid(server.pid, 0)


@contextmanager
def alone() -> Iterator[Server]:
    """Start a server for one user, who may also stop it."""
    # Not below pytest's directory, which only its owner may enter; and names of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="drkeeper-pg-"))
    try:
        server = start(folder)
        try:
            yield server
        finally:
            stop(replace(server, pid=_first_process(server)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first_process(server: Server) -> int:
    """Return the process number of the server as it says itself: it may have been started again."""
    with suppress(OSError, ValueError):
        return int((Path(server.folder) / "data" / "postmaster.pid").read_text().split()[0])
    return server.pid


WATCH = """
tail --pid="$1" -f /dev/null
grep -qsF "$3/data" "/proc/$2/cmdline" && kill -QUIT "$2"
rm -rf "$3"
"""


def _end_with_the_tests(server: Server) -> None:
    """Let a server not outlive a test run that is killed: nobody is left then who could end it."""
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    process = subprocess.Popen(
        ["sh", "-c", WATCH, "sh", str(run), str(server.pid), server.folder],
        env=_environ(Path("/")),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    process.returncode = 0  # it is there longer than we are


@contextmanager
def shared(at: Path) -> Iterator[Server]:
    """Start a server, or join the one another process of this test run has started."""
    at.mkdir(parents=True, exist_ok=True)
    users = at / "users"
    with _locked(at):
        if not users.exists():
            folder = Path(tempfile.mkdtemp(prefix="drkeeper-pg-"))
            server = start(folder)
            _end_with_the_tests(server)
            users.write_text(json.dumps({"count": 0, "server": asdict(server)}))
        state = json.loads(users.read_text())
        state["count"] += 1
        users.write_text(json.dumps(state))
    server = Server(**state["server"])
    try:
        yield server
    finally:
        with _locked(at):
            state = json.loads(users.read_text())
            state["count"] -= 1
            users.write_text(json.dumps(state))
            if state["count"] == 0:
                stop(server)
                shutil.rmtree(server.folder, ignore_errors=True)
                users.unlink()


@contextmanager
def _locked(at: Path) -> Iterator[None]:
    with open(at / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def required() -> None:
    """Skip loudly, or fail, where there is no server to be had."""
    require("PostgreSQL", present=find("initdb") is not None and find("postgres") is not None)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, shared by all workers of the test run."""
    required()
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with shared(run / "postgresql") as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: Server) -> str:
    """A URL of an empty schema, in which alone its user works; it goes with the server."""
    return fresh_schema(postgresql)


def fresh_schema(server: Server) -> str:
    """Make an empty schema, and return the URL that leads into it."""
    name = f"test_{secrets.token_hex(6)}"
    server.run(f"CREATE SCHEMA {name}")
    return server.url(options=f"-csearch_path={name}")


def main() -> None:
    """Run one server until interrupted, and print where it is."""
    began = time.monotonic()
    with alone() as server:
        said = asdict(server) | {"url": server.url(), "started_s": time.monotonic() - began}
        print(json.dumps(said), flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with suppress(KeyboardInterrupt, SystemExit):
            signal.pause()


if __name__ == "__main__":
    main()
