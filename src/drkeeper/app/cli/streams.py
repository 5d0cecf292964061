"""Standard input, output and error, whatever the caller left of them."""

import contextlib
import errno
import io
import os
import sys
from typing import Final, NoReturn

from drkeeper.errors import DrkeeperError, NoSpaceError

_INPUT: Final = 0
_OUTPUT: Final = 1
_ERROR: Final = 2


class ClosedPipeError(Exception):
    """Whoever read standard output has gone."""


def open_standard_streams() -> None:
    """Make sure that the three streams are there, and can say anything.

    A stream that the caller closed must not be what the next file that is opened gets written to.
    What cannot be encoded, in a locale that is not UTF-8, is escaped.
    """
    # Writing what somebody asked for to a closed output has to fail; nobody misses the rest.
    for descriptor, flags in ((_INPUT, os.O_RDONLY), (_OUTPUT, os.O_RDONLY), (_ERROR, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)
    sys.stdin = sys.stdin or open(_INPUT, encoding="utf-8", closefd=False)  # noqa: SIM115 - for ever
    sys.stdout = sys.stdout or open(_OUTPUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
    sys.stderr = sys.stderr or open(_ERROR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Let everything that is still written to standard output vanish."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, _OUTPUT)
        os.close(descriptor)


def write_line(text: str) -> None:
    """Write a line to standard output.

    Raises:
        ClosedPipeError: Nobody reads it any more.
        DrkeeperError: It cannot be written.
    """
    try:
        # Surrogates of names that are no UTF-8 cannot be encoded; callers escape, this ensures.
        sys.stdout.write(text.encode(errors="backslashreplace").decode() + "\n")
        sys.stdout.flush()
    except OSError as error:
        _fail(error)


def write_bytes(data: bytes) -> None:
    """Write content to standard output.

    Raises:
        ClosedPipeError: Nobody reads it any more.
        DrkeeperError: It cannot be written.
    """
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _fail(error)


def _fail(error: OSError) -> NoReturn:
    """Raise what it means that standard output could not be written.

    Raises:
        ClosedPipeError: Nobody reads it any more.
        NoSpaceError: It goes to where there is no space.
        DrkeeperError: It cannot be written for another reason.
    """
    silence_stdout()
    if isinstance(error, BrokenPipeError):
        raise ClosedPipeError from error
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        raise NoSpaceError("no space to write standard output", hint="Free some space.") from error
    raise DrkeeperError(
        f"cannot write to standard output: {error.strerror}", hint="Look where it goes."
    ) from error
