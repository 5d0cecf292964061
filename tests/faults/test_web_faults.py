"""An error or a power cut at every fault point of the listener and the textfile."""

import errno
import os
import socket
from contextlib import closing

import pytest

from doubles.faultpoints import Recorder, registered_points
from doubles.pages import kept_machine
from drkeeper import faults
from drkeeper.app.web.server import Listener
from drkeeper.app.web.textfile import write_textfile
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError

POINTS = sorted(name for name in registered_points() if name.startswith("app.web."))
TEXTFILE = [name for name in POINTS if name.startswith("app.web.textfile.")]
CRASHED = 99


@pytest.fixture(autouse=True)
def _no_controller_left():
    yield
    faults.install(None)


def full_disk(at):
    def strike(name):
        if name == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return strike


def listener(path):
    machine = kept_machine()
    return Listener(
        str(path), overview=lambda: machine.overview, reader=machine.reader, clock=SystemClock()
    )


def serve_once(path):
    served = listener(path)
    served.start()
    assert served.stop()


def test_every_point_is_reached(tmp_path):
    """A point that nothing passes guards nothing."""
    recorder = Recorder()
    faults.install(recorder)
    write_textfile(tmp_path / "drkeeper.prom", b"")
    serve_once(tmp_path / "web.sock")
    assert [name for name in POINTS if not recorder.hits[name]] == []


@pytest.mark.parametrize("name", TEXTFILE)
def test_a_full_disk_leaves_a_whole_textfile(tmp_path, name):
    """The old text or the new one, no draft, an error that names the file, and the next one works."""
    path = tmp_path / "drkeeper.prom"
    path.write_bytes(b"old 1\n")
    faults.install(full_disk(name))
    with pytest.raises(ConfigurationError, match="No space left"):
        write_textfile(path, b"new 1\n")
    assert path.read_bytes() in {b"old 1\n", b"new 1\n"}
    assert os.listdir(tmp_path) == ["drkeeper.prom"]
    faults.install(None)
    write_textfile(path, b"new 2\n")
    assert path.read_bytes() == b"new 2\n"


@pytest.mark.parametrize("name", POINTS)
def test_a_power_cut_leaves_nothing_that_the_next_start_minds(tmp_path, name):
    """A process that dies anywhere leaves a whole textfile and a socket that can be replaced."""
    path = tmp_path / "drkeeper.prom"
    path.write_bytes(b"old 1\n")
    child = os.fork()
    if child == 0:
        faults.install(lambda reached: os._exit(CRASHED) if reached == name else None)
        write_textfile(path, b"new 1\n")
        serve_once(tmp_path / "web.sock")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == CRASHED
    assert path.read_bytes() in {b"old 1\n", b"new 1\n"}
    write_textfile(path, b"new 2\n")
    served = listener(tmp_path / "web.sock")
    served.start()
    try:
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(tmp_path / "web.sock"))
            client.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        assert served.stop()
    assert os.listdir(tmp_path) == ["drkeeper.prom"]
