"""What systemd is told, over a real socket."""

import os
import socket
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.daemon.supervision import Supervisor, silence_allowed


@pytest.fixture(params=["path", "abstract"])
def ear(request, tmp_path):
    """A socket as systemd listens to, and its address as systemd writes it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@drkeeper-test-{os.getpid()}-{tmp_path.name}"
    listener.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
    listener.settimeout(0)
    yield listener, address
    listener.close()


def heard(listener):
    """Return all datagrams so far."""
    found = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_life_of_a_daemon_is_told(ear):
    """Ready, reloading with the instant of it, more time, stopping: in systemd's words."""
    listener, address = ear
    supervisor = Supervisor(address, clock=FakeClock())
    supervisor.ready()
    supervisor.reloading()
    supervisor.needs(timedelta(seconds=90))
    supervisor.stopping()
    assert heard(listener) == [
        "READY=1",
        "RELOADING=1\nMONOTONIC_USEC=1000000000",
        "EXTEND_TIMEOUT_USEC=90000000",
        "STOPPING=1",
    ]


def test_a_status_is_one_line_and_told_once(ear):
    """What cannot be a line is made one, and the same line is not told again."""
    listener, address = ear
    supervisor = Supervisor(address, clock=FakeClock())
    for _ in range(3):
        supervisor.status("backing up\nREADY=1 shop")
    assert heard(listener) == ["STATUS=backing up READY=1 shop"]


def test_signs_of_life_come_at_half_of_the_time_allowed(ear):
    """However often it is called, systemd hears of it when it has to."""
    listener, address = ear
    clock = FakeClock()
    supervisor = Supervisor(address, clock=clock, silence=timedelta(seconds=60))
    for _ in range(60):
        supervisor.alive()
        clock.advance(timedelta(seconds=2))
    assert heard(listener) == ["WATCHDOG=1"] * 4


def test_nobody_who_watches_hears_nothing(ear):
    """Without a watchdog no sign of life is sent."""
    listener, address = ear
    Supervisor(address, clock=FakeClock()).alive()
    assert heard(listener) == []


@pytest.mark.parametrize("address", [None, "", "/nonexistent/socket", "@", "/" + "x" * 300])
def test_a_socket_that_is_not_there_harms_nobody(address):
    """A daemon works the same without systemd."""
    Supervisor(address, clock=FakeClock()).ready()


def test_a_supervisor_that_does_not_read_holds_nobody_up(ear):
    """A full socket costs a second at most for a message, and no error."""
    listener, address = ear
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.settimeout(0)
    with line:
        line.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        while True:
            try:
                line.send(b"x" * 1000)
            except BlockingIOError:
                break
    Supervisor(address, clock=FakeClock()).ready()
    assert listener.recv(10)


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [
        ("60000000", None, timedelta(seconds=60)),
        ("60000000", "77", timedelta(seconds=60)),
        ("60000000", "78", None),
        ("", None, None),
        (None, "77", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
    ],
)
def test_the_time_allowed_is_what_systemd_says_of_this_process(microseconds, pid, expected):
    """A limit for another process, or none, is none."""
    assert silence_allowed(microseconds, pid, 77) == expected
