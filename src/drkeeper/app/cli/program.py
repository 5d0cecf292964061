"""``drkeeper`` itself: the root command, and the one place where errors end.

Whatever happens inside, the outside sees an exit code of docs/exit-codes.md, one message and at
most one hint; a traceback only with ``--debug``.
"""

import contextlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Final

import click

from drkeeper import __version__
from drkeeper.app.cli.commands import ROOT_SETTINGS, Program
from drkeeper.app.cli.output import Output
from drkeeper.app.cli.streams import ClosedPipeError, open_standard_streams, silence_stdout
from drkeeper.clock import SystemClock
from drkeeper.errors import DrkeeperError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
DEFECT: Final = 70
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141
TERMINATED: Final = 143


class TerminatedError(BaseException):
    """SIGTERM arrived: unwind, let go of everything, end."""


@click.command(
    cls=Program,
    context_settings=ROOT_SETTINGS,
    epilog="Documentation: docs/quick-start.md, docs/commands.md, docs/exit-codes.md.",
)
@click.version_option(__version__, "-V", "--version", message="drkeeper %(version)s")
def drkeeper() -> None:
    """Backups that are restored, proven and measured."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    clock = SystemClock()
    _harden(clock)
    open_standard_streams()
    chosen: dict[str, object] = {"clock": clock}
    try:
        answer = drkeeper.main(list(arguments), "drkeeper", standalone_mode=False, obj=chosen)
    except BaseException as error:  # noqa: BLE001 - the boundary: nothing may pass it
        code = _report(error, chosen, arguments)
    else:
        code = answer if isinstance(answer, int) else OK
    return _flush(code)


def _harden(clock: SystemClock) -> None:
    # No core file may hold key material, and SIGTERM must unwind like any other error.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # The first unwinds; the second ends at once, for whoever waits for a store that does not
        # answer. Nothing is lost by that: whatever is killed leaves things as they were.
        signal.signal(signal.SIGINT, _leave)
        clock.stop()
        raise KeyboardInterrupt

    def terminate(_number: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the cleaning up that the first one began.
        # A function, not SIG_IGN: what is ignored stays so in every program that is started now.
        signal.signal(signal.SIGTERM, _disregard)
        clock.stop()
        raise TerminatedError

    signal.signal(signal.SIGTERM, terminate)
    # A shell starts what it puts into the background with SIGINT ignored, and means it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def _disregard(_number: int, _frame: FrameType | None) -> None:
    pass


def _leave(number: int, _frame: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # the bar hides the cursor
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _report(error: BaseException, chosen: dict[str, object], arguments: Sequence[str]) -> int:
    # Options that come after a mistake were not parsed; the two that shape errors are looked for.
    output = Output(
        json=bool(chosen.get("json")) or "--json" in arguments,
        debug=bool(chosen.get("debug")) or "--debug" in arguments,
    )
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else OK
    if isinstance(error, ClosedPipeError):
        return CLOSED_PIPE
    if output.debug:
        traceback.print_exception(error)
    return _explain(error, output)


def _explain(error: BaseException, output: Output) -> int:
    match error:
        case KeyboardInterrupt() | click.Abort():
            output.error("interrupted", code=INTERRUPTED, kind="Interrupted")
            return INTERRUPTED
        case TerminatedError():
            output.error("ended by SIGTERM", code=TERMINATED, kind="Terminated")
            return TERMINATED
        case click.ClickException():
            return _usage(error, output)
        case DrkeeperError():
            output.failure(error)
            return error.exit_code
        case _:
            _defect(error, output)
            return DEFECT


def _usage(error: click.ClickException, output: Output) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "drkeeper"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        output.stderr(error.format_message())
    else:
        text = error.format_message()
        message = text[:1].lower() + text[1:].rstrip(".")
        output.error(message, code=USAGE, kind="UsageError", hint=f"Run {path} --help.")
    return USAGE


def _defect(error: BaseException, output: Output) -> None:
    last = traceback.extract_tb(error.__traceback__)
    where = f" in {os.path.basename(last[-1].filename)}:{last[-1].name}" if last else ""
    output.error(
        f"this is a defect in drkeeper: {type(error).__name__}{where}",
        code=DEFECT,
        kind="Defect",
        hint="Run the command again with --debug and report what it prints.",
    )


def _flush(code: int) -> int:
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        silence_stdout()  # or Python complains about the same stream again while it ends
        return code or (CLOSED_PIPE if isinstance(error, BrokenPipeError) else FAILED)
    return code
