"""The daemon's log: one pipe for everything, and nobody ever waits for it."""

import errno
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from doubles.clock import FakeClock
from drkeeper.app.wiring.logs.forms import Form
from drkeeper.app.wiring.logs.redacting import Redactor
from drkeeper.app.wiring.logs.setup import Log, _FromLibraries, about, choose_form, set_up_logging
from drkeeper.app.wiring.logs.sink import WAITING_LINES, Sink

SECRET = "s3cr3t-hunter22"


@dataclass(frozen=True)
class Choice:
    """What a configuration says."""

    format: str = "json"
    level: str = "info"


@dataclass
class Written:
    """A log and the file it goes to."""

    log: Log
    path: Path

    def lines(self) -> list[str]:
        """End the log and return all it wrote."""
        self.log.close()
        return self.path.read_text().splitlines()

    def events(self) -> list[dict]:
        """End the log and return all it wrote, from JSON."""
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def write(tmp_path) -> Iterator:
    """Set logs up that write to a file."""
    opened: list[Log] = []
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def set_up(**choice: str) -> Written:
        log = set_up_logging(
            Choice(**choice),
            redactor=Redactor([SECRET]),
            clock=FakeClock(),
            environment={},
            descriptor=descriptor,
        )
        opened.append(log)
        return Written(log, path)

    yield set_up
    for log in opened:
        log.close()
    os.close(descriptor)


def test_every_event_of_a_run_names_it(write) -> None:
    """Within a run, drkeeper's events and those of its libraries carry the run's id; others none."""
    written = write()
    with about(run="r-1", policy="home"):
        structlog.get_logger().info("run.started", attempt=2)
        logging.getLogger("botocore.retryhandler").warning("retrying %s", "put")
    structlog.get_logger().info("tick.ended")
    started, retried, ended = written.events()
    assert started == {
        "timestamp": "2026-03-01T12:00:00.000Z",
        "level": "info",
        "event": "run.started",
        "run": "r-1",
        "policy": "home",
        "attempt": 2,
    }
    assert (retried["event"], retried["run"], retried["level"]) == (
        "retrying put",
        "r-1",
        "warning",
    )
    assert retried["logger"] == "botocore.retryhandler"
    assert "run" not in ended


@pytest.mark.parametrize("form", ["json", "console", "journal"])
def test_exceptions_and_what_caused_them_lose_their_secrets(write, form: str) -> None:
    """A secret in a message, in an argument, or in the cause of a cause of an exception is hidden."""
    written = write(format=form)

    def connect() -> None:
        raise OSError(errno.EIO, f"cannot connect to https://me:{SECRET}@host")

    def fail() -> None:
        try:
            connect()
        except OSError as error:
            raise ValueError(f"password={SECRET}", {"token": SECRET}) from error

    try:
        fail()
    except ValueError as error:
        structlog.get_logger().exception("store.refused", error=error)
        logging.getLogger("apprise").exception("cannot tell %r", {"secret": SECRET})
    lines = written.lines()
    assert len(lines) == 2
    assert SECRET not in "".join(lines)
    assert all("Traceback" in line and "OSError" in line for line in lines)


def test_libraries_are_heard_when_they_matter(write) -> None:
    """Chatter of libraries stays out even at level debug, where some would show what they sign."""
    written = write(level="debug")
    for name in ("botocore.auth", "urllib3.connectionpool", "apscheduler.executors", "unheard.of"):
        logging.getLogger(name).debug("chatter")
        logging.getLogger(name).info("chatter")
    logging.getLogger("uvicorn.error").error("cannot bind")
    structlog.get_logger().debug("tick.began")
    assert [event["event"] for event in written.events()] == ["cannot bind", "tick.began"]


def test_the_level_is_kept(write) -> None:
    """What is less urgent than the configured level is not written, whoever says it."""
    written = write(level="error")
    structlog.get_logger().warning("policy.late")
    logging.getLogger("apscheduler").warning("missed")
    structlog.get_logger().error("policy.broken")
    assert [event["event"] for event in written.events()] == ["policy.broken"]


def test_what_nobody_caught_is_logged(write) -> None:
    """An exception that ends a thread, warnings, and failing destructors all become events."""
    written = write()

    class Failing:
        def __del__(self) -> None:
            raise RuntimeError(SECRET)

    def fail() -> None:
        raise RuntimeError(SECRET)

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    failing = Failing()
    del failing
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    lines = written.lines()
    assert SECRET not in "".join(lines)
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events[:2]] == ["thread.broken", "object.broken"]
    assert events[0]["thread"] == "worker"
    assert "old thing" in events[2]["event"]


def test_broken_arguments_of_libraries_are_survived(write) -> None:
    """A library's wrong format string costs nothing but its arguments."""
    written = write()
    record = logging.makeLogRecord({"msg": "%d of %d", "args": ("x",), "levelno": logging.ERROR})
    ours = [one for one in logging.getLogger().handlers if isinstance(one, _FromLibraries)]
    ours[0].handle(record)
    assert written.events()[0]["event"] == "%d of %d"


def test_journald_gets_levels(write) -> None:
    """Each line for journald begins with its priority, and holds no line feed of anybody's."""
    written = write(format="journal", level="debug")
    log = structlog.get_logger()
    log.debug("a")
    log.info("b", path="x\n<0>forged")
    log.warning("c", why="two words")
    log.error("d")
    log.critical("e")
    assert written.lines() == [
        "<7>a",
        "<6>b path=x\\n<0>forged",
        '<4>c why="two words"',
        "<3>d",
        "<2>e",
    ]


def test_form_is_chosen_by_who_reads(tmp_path) -> None:
    """With auto, journald gets levels, a terminal gets text, and everything else gets JSON."""
    with open(tmp_path / "file", "w") as file:
        status = os.fstat(file.fileno())
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert choose_form("auto", journal, file.fileno()) is Form.JOURNAL
        assert choose_form("auto", {"JOURNAL_STREAM": "1:2"}, file.fileno()) is Form.JSON
        assert choose_form("console", journal, file.fileno()) is Form.CONSOLE
        assert choose_form("json", journal, file.fileno()) is Form.JSON
    main, terminal = os.openpty()
    assert choose_form("auto", {}, terminal) is Form.CONSOLE
    os.close(main)
    os.close(terminal)


def test_a_reader_that_does_not_read_stops_nobody() -> None:
    """With a full pipe events are dropped at once; when it empties, the next line says how many."""
    reading, writing = os.pipe()
    sink = Sink(writing, lost_line=lambda count: f"lost {count}")
    began = time.monotonic()
    for number in range(WAITING_LINES * 3):
        sink.write(f"{number} " + "x" * 100)
    assert time.monotonic() - began < 5
    assert sink.lost > 0
    got = bytearray()
    reader = threading.Thread(
        target=lambda: [got.extend(d) for d in iter(lambda: os.read(reading, 65536), b"")]
    )
    reader.start()
    while sink._lines.qsize() > 1:
        time.sleep(0.01)
    sink.write("the last")
    sink.close()
    os.close(writing)
    reader.join()
    os.close(reading)
    lines = got.decode().splitlines()
    told = [int(line.removeprefix("lost ")) for line in lines if line.startswith("lost ")]
    assert sum(told) == sink.lost
    assert lines[-1] == "the last"
    assert [line for line in lines if line.startswith("0 ")]


def test_a_reader_that_never_reads_does_not_keep_the_daemon_from_ending() -> None:
    """Closing waits a moment for the last lines, never for ever."""
    reading, writing = os.pipe()
    sink = Sink(writing, lost_line=str)
    for _ in range(100):
        sink.write("x" * 4000)
    began = time.monotonic()
    sink.close(within=0.1)
    assert time.monotonic() - began < 2
    os.close(reading)  # wakes the thread with EPIPE
    sink._thread.join(5)
    os.close(writing)


@pytest.mark.parametrize("target", ["/dev/full", "closed"])
def test_a_log_that_cannot_be_written_costs_lines_only(target: str) -> None:
    """A full disk or a closed descriptor is survived; lines are counted and told of later."""
    descriptor = os.open("/dev/full" if target != "closed" else os.devnull, os.O_WRONLY)
    if target == "closed":
        os.close(descriptor)
        descriptor = 1 << 20
    sink = Sink(descriptor, lost_line=str)
    for _ in range(10):
        sink.write("x")
    sink.close()
    assert sink.lost == 10
    if target != "closed":
        os.close(descriptor)


def test_only_the_daemon_pays_for_structlog() -> None:
    """Redacting needs nothing but the standard library, for every command may want it."""
    code = (
        "import sys; import drkeeper.app.wiring.logs.redacting;"
        "print([m for m in ('structlog', 'logging', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
