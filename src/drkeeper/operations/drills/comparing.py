"""Have another process compare what was restored with the manifest."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from drkeeper.clock import Clock
from drkeeper.errors import IntegrityError, ScratchError
from drkeeper.faults import point
from drkeeper.model.drill import Outcome, ProbeResult
from drkeeper.operations.drills import witness
from drkeeper.operations.drills.expecting import Expected
from drkeeper.operations.restore.printable import printable

BYTES: Final = "bytes"
"""Name of the probe."""
WHAT: Final = "every path of the manifest and no other: content, size, mode, time, attributes, kind"
"""What it asks for, in words."""

_PROGRAM: Final = (sys.executable, "-I", "-X", "utf8", witness.__file__)
_NOTHING: Final[Mapping[str, str]] = {"LANG": "C.UTF-8"}


class Comparison:
    """Compares restored trees with one snapshot.

    Args:
        expected: What should be there.
        clock: Measures.
    """

    def __init__(self, expected: Expected, clock: Clock) -> None:
        self._expected = expected
        self._clock = clock

    def compare(self, root: Path, paths: tuple[bytes, ...] = ()) -> ProbeResult:
        """Compare the tree below ``root``, or only some paths of it.

        Raises:
            ScratchError: The other process could not do its work.
            StorageError: The manifest could not be read.
        """
        begun_s = self._clock.monotonic()
        try:
            answer = _ask(root, self._expected.lines(paths), whole=not paths)
        except IntegrityError as error:
            outcome, found = Outcome.FAILED, f"a manifest that cannot be read: {error}"
        else:
            outcome, found = _judged(answer)
        took = timedelta(seconds=self._clock.monotonic() - begun_s)
        return ProbeResult(BYTES, BYTES, outcome, WHAT, found, took)


def _judged(answer: Mapping[str, Any]) -> tuple[Outcome, str]:
    if not answer["wrong"]:
        counts = f"{answer['paths']} paths, {answer['files']} files, {answer['bytes']} bytes"
        return Outcome.PASSED, counts
    path, what = answer["first"][0]
    shown = printable(path.encode("latin-1"))
    first = f"{shown} {what}" if shown else what
    return Outcome.FAILED, f"{answer['wrong']} wrong, first: {first}"


def _ask(root: Path, lines: Iterable[bytes], *, whole: bool) -> Mapping[str, Any]:
    """Tell another process what should be there, and return what it says.

    It says nothing before it has been told everything, so neither waits for the other.

    Raises:
        ScratchError: It could not do its work.
    """
    point("operations.drills.witness.begin")
    command = [*_PROGRAM, "whole" if whole else "part", str(root)]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command, env=_NOTHING, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True
        )
    except OSError as error:
        raise ScratchError(f"the process that compares cannot be started: {error}") from error
    try:
        with process:
            _tell(process, lines)
            said = process.stdout.read() if process.stdout else b""
    except BaseException:
        process.kill()
        process.wait()
        raise
    point("operations.drills.witness.end")
    try:
        answer = json.loads(said)
    except ValueError:
        answer = None
    if process.returncode != 0 or not isinstance(answer, dict):
        raise ScratchError(f"the process that compares ended with {process.returncode}")
    return answer


def _tell(process: "subprocess.Popen[bytes]", lines: Iterable[bytes]) -> None:
    assert process.stdin is not None  # noqa: S101 - for the types
    try:
        with process.stdin as to:
            for line in lines:
                to.write(line)
    except BrokenPipeError:
        return  # its exit status says more
