"""Ceph RGW, a real S3 server, on loopback, for as long as the tests run.

Use it by importing the fixtures into a conftest, and naming one::

    from services.rgw import rgw, rgw_bucket  # noqa: F401 - fixtures

    def test_x(rgw, rgw_bucket): ...         # rgw.endpoint, rgw.access_key, rgw.secret_key

One server serves all xdist workers of a test run; the last one to leave stops it. By hand:
``python -m services.rgw DIRECTORY`` (from tests/) runs one until interrupted.
"""

import base64
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from services import SEARCH, require

PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "radosgw-admin", "monmaptool")
START_S = 60
STOP_S = 30

# An address for the monitor here would bring its usual ports back; the monmap has ours.
CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {at}/keyring
run dir = {at}/run
log file = {at}/log/$name.log
admin socket =
pid file = {at}/run/$name.pid
mon data = {at}/mon
osd data = {at}/osd
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 1
mon warn on pool no redundancy = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = bluestore
bluestore block size = 17179869184
osd memory target = 939524096
[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw lc debug interval = 10
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey-1={kms}
"""


@dataclass(frozen=True)
class Rgw:
    """A running server."""

    endpoint: str
    access_key: str
    secret_key: str

    def client(self):
        """Return a plain boto3 client with this server's credentials."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _run(at: Path, *command: str) -> str:
    environ = {"CEPH_CONF": str(at / "ceph.conf"), "PATH": SEARCH, "HOME": str(at), "LC_ALL": "C"}
    done = subprocess.run(
        command,
        env=environ,
        cwd=at,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def start(at: Path) -> Rgw:
    """Make a one-node Ceph below ``at`` and start it; raises when it does not answer."""
    for name in ("run", "log", "mon", "osd"):
        (at / name).mkdir(parents=True)
    fsid, osd = (Path("/proc/sys/kernel/random/uuid").read_text().strip() for _ in range(2))
    mon2, mon1, port = free_ports(3)
    keys = Rgw(f"http://127.0.0.1:{port}", "DRKEEPERTEST", secrets.token_hex(20))
    kms = base64.b64encode(secrets.token_bytes(32)).decode()
    conf = CONF.format(fsid=fsid, mon1=mon1, mon2=mon2, port=port, at=at, kms=kms)
    (at / "ceph.conf").write_text(conf)
    ring, addresses = f"{at}/keyring", f"[v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]"
    _run(at, "monmaptool", "--create", "--addv", "a", addresses, "--fsid", fsid, f"{at}/monmap")
    _run(at, "ceph-authtool", "-C", ring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    caps = [word for who in ("mon", "osd", "mgr", "mds") for word in ("--cap", who, "allow *")]
    _run(at, "ceph-authtool", ring, "--gen-key", "-n", "client.admin", *caps)
    _run(at, "ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{at}/monmap", "--keyring", ring)
    try:
        _run(at, "ceph-mon", "-i", "a")
        _run(at, "ceph", "osd", "new", osd)
        for name, *rights in (
            ("osd.0", "mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"),
            ("client.rgw", "mon", "allow rw", "osd", "allow rwx"),
        ):
            with open(ring, "a") as file:
                file.write(_run(at, "ceph", "auth", "get-or-create", name, *rights))
        _run(at, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--no-mon-config")
        _run(at, "ceph-osd", "-i", "0")
        _run(at, "radosgw", "-n", "client.rgw")
        _run(
            at, "radosgw-admin", "user", "create", "--uid=drk", "--display-name=drk",
            f"--access-key={keys.access_key}", f"--secret-key={keys.secret_key}",
        )  # fmt: skip
        _await_answer(keys.endpoint)
    except BaseException:
        stop(at)
        raise
    return keys


def _await_answer(endpoint: str) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(endpoint, timeout=5):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def stop(at: Path) -> None:
    """End the server, front to back, by the process ids it wrote."""
    for name in ("client.rgw", "osd.0", "mon.a"):
        file = at / "run" / f"{name}.pid"
        with suppress(FileNotFoundError, ValueError):
            _end(int(file.read_text()), at)
            file.unlink(missing_ok=True)


def _ours(pid: int, at: Path) -> bool:
    """Tell whether the process is alive and was started with this directory."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return stat[0] != "Z" and f"CEPH_CONF={at}/ceph.conf".encode() in environ


def _end(pid: int, at: Path) -> None:
    for attempt in (signal.SIGTERM, signal.SIGKILL):
        if not _ours(pid, at):
            return
        with suppress(ProcessLookupError):
            os.kill(pid, attempt)
        until = time.monotonic() + STOP_S
        while _ours(pid, at) and time.monotonic() < until:
            time.sleep(0.05)


@contextmanager
def shared(at: Path) -> Iterator[Rgw]:
    """Start a server, or join the one another process of this test run has started."""
    at.mkdir(parents=True, exist_ok=True)
    users, data = at / "users", at / "data"
    with _locked(at):
        if not users.exists():
            users.write_text(json.dumps({"count": 0, "server": asdict(start(data))}))
        state = json.loads(users.read_text())
        state["count"] += 1
        users.write_text(json.dumps(state))
    try:
        yield Rgw(**state["server"])
    finally:
        with _locked(at):
            state = json.loads(users.read_text())
            state["count"] -= 1
            users.write_text(json.dumps(state))
            if state["count"] == 0:
                stop(data)
                shutil.rmtree(data, ignore_errors=True)
                users.unlink()


@contextmanager
def _locked(at: Path) -> Iterator[None]:
    with open(at / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def rgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rgw]:
    """A running Ceph RGW, shared by all workers of the test run."""
    require("Ceph RGW", programs=PROGRAMS)
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with shared(run / "rgw") as server:
        yield server


@pytest.fixture
def rgw_bucket(rgw: Rgw) -> str:
    """The name of a new, empty bucket; it goes with the server."""
    name = f"test-{secrets.token_hex(8)}"
    rgw.client().create_bucket(Bucket=name)
    return name


def main() -> None:
    """Run one server until interrupted, and print where it is."""
    at = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="rgw-")).absolute()
    began = time.monotonic()
    with shared(at) as server:
        print(json.dumps(asdict(server) | {"started_s": time.monotonic() - began}), flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with suppress(KeyboardInterrupt, SystemExit):
            signal.pause()


if __name__ == "__main__":
    main()
