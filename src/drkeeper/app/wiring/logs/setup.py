"""Set the daemon's log up: what drkeeper says, what its libraries say, and what nobody caught.

Only the daemon imports this module: structlog costs every command that does a tenth of its start.
Then, anywhere in the daemon::

    log = structlog.get_logger()
    with about(run=run_id, policy="home"):     # every event of this thread, libraries' included
        log.info("run.started", attempt=2)
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Protocol

import structlog

from drkeeper.app.wiring.logs.forms import Form, line_of
from drkeeper.app.wiring.logs.redacting import Redactor
from drkeeper.app.wiring.logs.sink import Sink
from drkeeper.clock import Clock

STDERR: Final = 2
LIBRARIES: Final = {
    "apscheduler": logging.WARNING,
    # Its INFO is one line a request; WEB counts requests instead.
    "uvicorn.access": logging.ERROR,
    "uvicorn": logging.WARNING,
    # Their DEBUG shows headers and what is signed.
    "botocore": logging.WARNING,
    "boto3": logging.WARNING,
    "urllib3": logging.WARNING,
    "s3transfer": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "apprise": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Least urgent level each library is heard at, whatever ``log: level:`` says."""


class LogChoice(Protocol):
    """What the configuration says about logs."""

    @property
    def format(self) -> str:
        """``auto``, ``json`` or ``console``."""
        ...

    @property
    def level(self) -> str:
        """``debug``, ``info``, ``warning`` or ``error``."""
        ...


def choose_form(wanted: str, environment: Mapping[str, str], descriptor: int = STDERR) -> Form:
    """Decide how lines look: as asked, or by who reads them.

    ``auto``: with levels if the descriptor is journald's (it says so in JOURNAL_STREAM), text on
    a terminal, else JSON.

    Source: systemd.exec(5), $JOURNAL_STREAM.
    """
    if wanted in {Form.JSON, Form.CONSOLE, Form.JOURNAL}:
        return Form(wanted)
    with suppress(OSError):
        status = os.fstat(descriptor)
        if environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
            return Form.JOURNAL
        if os.isatty(descriptor):
            return Form.CONSOLE
    return Form.JSON


class Log:
    """The log of this process, while it is set up.

    Attributes:
        redactor: Knows the secrets; register what is read later.
        sink: Where lines go; its ``lost`` is worth a metric.
    """

    def __init__(self, form: Form, *, redactor: Redactor, clock: Clock, descriptor: int) -> None:
        """See :func:`set_up_logging`."""
        self.redactor = redactor
        self._form = form
        self._clock = clock
        self.sink = Sink(descriptor, lost_line=self._lost)
        self._hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)

    def line(self, fields: Mapping[str, Any]) -> str:
        """Return the line of one event; never fails."""
        try:
            stamp = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            plain = self.redactor.fields(fields)
            line = line_of({"timestamp": stamp, "level": "info", **plain}, self._form)
            return self.redactor.line(line)
        except Exception as error:  # noqa: BLE001 - an event that cannot be shown must not end a run
            return line_of(
                {"event": "log.broken", "level": "error", "error": type(error).__name__}, self._form
            )

    def msg(self, message: str) -> None:
        """Write a line; what structlog calls, under the name of each level."""
        self.sink.write(message)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg

    def close(self) -> None:
        """Give hooks and handlers back, and let the last lines leave."""
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        root = logging.getLogger()  # noqa: TID251 - libraries speak through it
        for handler in [one for one in root.handlers if isinstance(one, _FromLibraries)]:
            root.removeHandler(handler)
        root.setLevel(logging.WARNING)
        for name in LIBRARIES:
            logging.getLogger(name).setLevel(logging.NOTSET)  # noqa: TID251 - a library's own
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks
        self.sink.close()

    def _lost(self, count: int) -> str:
        return self.line({"event": "log.lost", "level": "warning", "lines": count})


class _FromLibraries(logging.Handler):
    """Lets what libraries say through the same pipe."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as an event; its arguments may be anything."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong format string
            message = str(record.msg)
        level = _level_name(record.levelno)
        fields = {"event": message, **structlog.contextvars.get_contextvars()}
        fields |= {"level": level, "logger": record.name}
        if record.exc_info and record.exc_info[1]:
            fields["exception"] = _traceback(record.exc_info[1])
        self._log.msg(self._log.line(fields))


def set_up_logging(
    choice: LogChoice,
    *,
    redactor: Redactor,
    clock: Clock,
    environment: Mapping[str, str],
    descriptor: int = STDERR,
) -> Log:
    """Let everything that is said leave as redacted lines; close the answer at the end.

    Also what nobody caught: exceptions that end a thread, or that a destructor cannot raise.

    Args:
        choice: Form and level, from the configuration.
        redactor: Knows the secrets so far; more may be registered at any time.
        clock: Dates the events.
        environment: Asked for JOURNAL_STREAM.
        descriptor: Where lines go.
    """
    level = logging.getLevelNamesMapping().get(choice.level.upper(), logging.INFO)
    form = choose_form(choice.format, environment, descriptor)
    log = Log(form, redactor=redactor, clock=clock, descriptor=descriptor)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _with_traceback,
            lambda _logger, _method, fields: log.line(fields),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: log,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()  # noqa: TID251 - libraries speak through it
    root.addHandler(_FromLibraries(log))
    root.setLevel(max(level, logging.WARNING))
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(max(level, least))  # noqa: TID251 - a library's own
    logging.captureWarnings(capture=True)
    _catch_the_uncaught(log)
    return log


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Add fields (``run``, ``policy``) to every event of this thread within the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def _catch_the_uncaught(log: Log) -> None:
    def say(event: str, error: BaseException | None, **fields: object) -> None:
        if error is not None:
            fields["exception"] = _traceback(error)
        log.msg(log.line({"event": event, "level": "critical", **fields}))

    def ended(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        say("daemon.broken", error, kind=kind.__name__)

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            say("thread.broken", args.exc_value, thread=args.thread.name if args.thread else None)

    sys.excepthook = ended
    threading.excepthook = thread_ended
    sys.unraisablehook = lambda args: say("object.broken", args.exc_value, where=args.err_msg)


def _with_traceback(_logger: object, _method: str, fields: Any) -> Any:  # noqa: ANN401 - structlog's own type
    asked = fields.pop("exc_info", None)
    error = sys.exc_info()[1] if asked is True else asked
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        fields["exception"] = _traceback(error)
    return fields


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=30)).rstrip()


def _level_name(number: int) -> str:
    for name in ("critical", "error", "warning", "info"):
        if number >= logging.getLevelNamesMapping()[name.upper()]:
            return name
    return "debug"
