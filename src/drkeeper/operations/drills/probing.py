"""The policy's own questions to its restored data."""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from blake3 import blake3

from drkeeper.clock import Clock
from drkeeper.errors import ScratchError
from drkeeper.model.drill import Outcome, ProbeResult
from drkeeper.model.probes import RESTORED, CommandProbe, FileProbe, Probes, SqlProbe, shown
from drkeeper.model.quantities import format_duration
from drkeeper.operations.drills import asking
from drkeeper.scratch.base import Finished, Scratch

_PROGRAM: Final = (sys.executable, "-I", "-X", "utf8", asking.__file__)
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_BYTES: Final = 1024 * 1024
_NO_PROGRAM: Final = frozenset({126, 127})
"""How a program that cannot be started ends. Source: POSIX.1-2024, XCU 2.8.2."""

_Found = tuple[bool, str]


@dataclass(frozen=True, slots=True)
class Questions:
    """Puts the probes of a policy to a restored tree.

    Attributes:
        probes: What to ask.
        scratch: Runs programs.
        clock: Measures.
        declared_at: Ages are taken at this instant.
    """

    probes: Probes
    scratch: Scratch
    clock: Clock
    declared_at: datetime

    def ask(self, root: Path) -> Iterator[ProbeResult]:
        """Ask everything of the tree below ``root``."""
        for probe in self.probes:
            yield self._asked(probe, root)

    def _asked(self, probe: CommandProbe | SqlProbe | FileProbe, root: Path) -> ProbeResult:
        begun_s = self.clock.monotonic()
        try:
            passed, said = self._found(probe, root)
            outcome = Outcome.PASSED if passed else Outcome.FAILED
        except ScratchError as error:
            outcome, said = Outcome.BROKEN, str(error)
        took = timedelta(seconds=self.clock.monotonic() - begun_s)
        return ProbeResult(probe.name, probe.kind, outcome, probe.in_words(), said, took)

    def _found(self, probe: CommandProbe | SqlProbe | FileProbe, root: Path) -> _Found:
        match probe:
            case CommandProbe():
                return self._command(probe, root)
            case SqlProbe():
                return self._query(probe, root)
            case FileProbe():
                return self._file(probe, root)

    def _command(self, probe: CommandProbe, root: Path) -> _Found:
        command = [word.replace(RESTORED, str(root)) for word in probe.command]
        ran = self.scratch.run(
            command, inside={"DRKEEPER_RESTORED": str(root)}, timeout=probe.timeout
        )
        if ran.why == "time":
            return False, f"no end after {format_duration(probe.timeout)}"
        _require_room(ran)
        if ran.code is None:
            return False, f"ended by signal {ran.signal}"
        if ran.code in _NO_PROGRAM and probe.exit != ran.code:
            raise ScratchError(f"cannot run {command[0]}: {_last_line(ran.stderr)}")
        if ran.code != probe.exit:
            return False, f"exit {ran.code}: {_last_line(ran.stderr or ran.stdout)}"
        if probe.wanted.is_anything:
            return True, f"exit {ran.code}"
        right, said = probe.wanted.judge(ran.stdout.decode(errors="replace"), self.declared_at)
        return right, f"exit {ran.code}, output {said}"

    def _query(self, probe: SqlProbe, root: Path) -> _Found:
        place = root / probe.database.lstrip("/")
        ran = self.scratch.run(
            [*_PROGRAM, str(place)], timeout=probe.timeout, input=probe.query.encode()
        )
        if ran.why == "time":
            return False, f"no answer after {format_duration(probe.timeout)}"
        _require_room(ran)
        try:
            answer = json.loads(ran.stdout)
        except ValueError:
            raise ScratchError(
                f"the program that asks databases ended with {ran.code}: {_last_line(ran.stderr)}"
            ) from None
        if "refused" in answer:
            return False, shown(str(answer["refused"]))
        if answer["answer"] is None:
            return False, "no row"
        return probe.wanted.judge(str(answer["answer"]), self.declared_at)

    def _file(self, probe: FileProbe, root: Path) -> _Found:
        try:
            descriptor = _opened(root, probe.path)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            return not probe.exists and missing, error.strerror or str(error)
        try:
            found = os.fstat(descriptor)
            if not probe.exists:
                return False, "there"
            if not stat.S_ISREG(found.st_mode):
                return False, "no regular file"
            return self._judge(probe, descriptor, found)
        finally:
            os.close(descriptor)

    def _judge(self, probe: FileProbe, descriptor: int, found: os.stat_result) -> _Found:
        size, age = found.st_size, self.declared_at.timestamp() - found.st_mtime
        said = f"{size} bytes, changed {format_duration(timedelta(seconds=age))} before"
        right = probe.least_bytes is None or size >= probe.least_bytes
        right = right and (probe.most_bytes is None or size <= probe.most_bytes)
        right = right and (probe.max_age is None or age <= probe.max_age.total_seconds())
        if probe.digest is not None:
            name = probe.digest.partition(":")[0]
            digest = f"{name}:{_digest(name, descriptor)}"
            right, said = right and digest == probe.digest, f"{said}, {digest}"
        return right, said


def _require_room(ran: Finished) -> None:
    """Tell a broken environment from a wrong answer.

    Raises:
        ScratchError: A limit ended the program.
    """
    if ran.why:
        raise ScratchError(f"the program ran out of {ran.why}")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return shown(lines[-1]) if lines else "it said nothing"


def _opened(root: Path, path: str) -> int:
    """Open a restored file without following any link: one could lead out of the tree.

    Raises:
        OSError: It is not there, or is reached through a link.
    """
    *steps, name = os.fsencode(path).strip(b"/").split(b"/")
    folder = os.open(root, _FOLDER)
    try:
        for step in filter(None, steps):
            following = os.open(step, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = following
        return os.open(name, _READ, dir_fd=folder)
    finally:
        with suppress(OSError):
            os.close(folder)


def _digest(name: str, descriptor: int) -> str:
    total = blake3() if name == "blake3" else hashlib.sha256()
    buffer = memoryview(bytearray(_READ_BYTES))
    offset = 0
    while count := os.preadv(descriptor, [buffer], offset):
        total.update(buffer[:count])
        offset += count
    return total.hexdigest()
