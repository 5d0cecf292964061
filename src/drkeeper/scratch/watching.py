"""Stay with a program until all of it has ended, or must end.

One thread reads what the program writes, gives it what it reads, and adds up what it uses.
"""

import os
import selectors
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Final

from drkeeper.clock import Clock
from drkeeper.scratch import usage
from drkeeper.scratch.base import Finished, Limits, Why
from drkeeper.scratch.disk import DiskWatch
from drkeeper.scratch.jail import Ending, Jail

_LOOK_EVERY_S: Final = 0.05
_FIRST_LOOK_S: Final = 0.01
_LOOK_COSTS: Final = 10
"""Looking may take this part of one processor's time."""
_PIECE: Final = 65536
_MOST_READS: Final = 16
"""Reads in a row before anything else is looked at: a flood must not hide that time is up."""
_RESERVE_BYTES: Final = 512 * 1024**2
_RESERVE_PART: Final = 20
"""Source: ours. Memory that nobody counts (files in memory, pipes, sockets) is still missing: when the
machine has less left than a twentieth, or 512 MiB, what runs in scratch is the first to go."""


class Watch:
    """Watches one program.

    Args:
        jail: The program.
        disk: Watches what it writes.
        limits: What it may use.
        clock: For all times.
        asked: Says that the program is not needed any more.
    """

    def __init__(
        self,
        jail: Jail,
        disk: DiskWatch,
        *,
        limits: Limits,
        clock: Clock,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._jail = jail
        self._limits = limits
        self._clock = clock
        self._disk = disk
        self._asked = asked
        self._outputs: dict[int, bytearray] = {}
        self._dropped = 0
        self._feed = memoryview(b"")
        self._selector = selectors.DefaultSelector()
        available, whole = usage.available_memory()
        self._memory_floor = min(_RESERVE_BYTES, whole // _RESERVE_PART, available // 2)

    def to_the_end(self, began_s: float, timeout: timedelta, feed: bytes = b"") -> Finished:
        """Watch until nothing is left of it; however this ends, nothing is.

        Args:
            began_s: When it was started, by the monotonic clock.
            timeout: How long it may take.
            feed: What it is to read.

        Raises:
            ScratchError: It did not begin, or does not end.
        """
        with ExitStack() as undo:
            undo.callback(self._jail.close)
            undo.callback(self._jail.end)
            undo.enter_context(self._selector)
            out, err = self._listen(feed)
            ended = os.pidfd_open(self._jail.process.pid)
            undo.callback(os.close, ended)
            self._selector.register(ended, selectors.EVENT_READ)
            why = self._until_end(ended, began_s + timeout.total_seconds())
            self._jail.end()
            took = timedelta(seconds=self._clock.monotonic() - began_s)
            for descriptor in list(self._outputs):
                self._read(descriptor)
            ending = self._jail.ending(bytes(err))
        why = why or self._afterwards(ending)
        by_itself = why in {Why.NOTHING, Why.ASKED}
        return Finished(
            code=ending.code if by_itself else None,
            signal=ending.signal,
            stdout=bytes(out),
            stderr=bytes(err),
            took=took,
            why=why,
            dropped_bytes=self._dropped,
        )

    def _afterwards(self, ending: Ending) -> Why:
        """Tell what ended a program that ended before anybody had looked."""
        if ending.signal == signal.SIGXCPU:
            return Why.CPU
        if ending.signal == signal.SIGXFSZ or self._disk.exceeded():
            return Why.DISK
        return Why.NOTHING

    def _until_end(self, ended: int, ends_at: float) -> Why:
        look_at = self._clock.monotonic() + _FIRST_LOOK_S
        asked_at: float | None = None
        while True:
            now = self._clock.monotonic()
            if now >= ends_at:
                return Why.TIME
            if now >= look_at:
                why = self._look()
                if why:
                    return why
                cost = self._clock.monotonic() - now
                look_at = now + max(_LOOK_EVERY_S, cost * _LOOK_COSTS)
            if asked_at is None and self._asked() and self._ask():
                asked_at = now
            if asked_at is not None and now >= asked_at + self._limits.grace.total_seconds():
                return Why.ASKED
            if ended in self._move(min(ends_at, look_at) - now):
                return Why.NOTHING if asked_at is None else Why.ASKED

    def _ask(self) -> bool:
        """Ask the program to end; whether there was one by now."""
        for process in self._jail.members()[:1]:
            with suppress(OSError):
                os.kill(process, signal.SIGTERM)
                return True
        return False

    def _look(self) -> Why:
        members = self._jail.members()
        used = usage.usage_of(members)
        # It has buried those that lost their parents, and what they computed is counted there.
        cpu_s = used.cpu_s + usage.cpu_of(self._jail.top)
        limits = self._limits
        if used.tasks >= limits.processes:
            return Why.PROCESSES
        if cpu_s >= limits.cpu.total_seconds():
            return Why.CPU
        if used.memory_bytes > limits.memory_bytes and self._really(members, used.memory_bytes):
            return Why.MEMORY
        if usage.available_memory()[0] < self._memory_floor:
            return Why.MEMORY
        return Why.DISK if self._disk.exceeded(members) else Why.NOTHING

    def _really(self, members: list[int], roughly: int) -> bool:
        exact = usage.exact_memory(members)
        return (roughly if exact is None else exact) > self._limits.memory_bytes

    def _listen(self, feed: bytes) -> tuple[bytearray, bytearray]:
        process = self._jail.process
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("a program in scratch is started with three pipes")
        kept = bytearray(), bytearray()
        for pipe, room in zip((process.stdout, process.stderr), kept, strict=True):
            os.set_blocking(pipe.fileno(), False)
            self._outputs[pipe.fileno()] = room
            self._selector.register(pipe.fileno(), selectors.EVENT_READ)
        if feed:
            self._feed = memoryview(feed)
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        return kept

    def _move(self, wait_s: float) -> set[int]:
        """Read and write what can be; return the descriptors that are neither."""
        others = set()
        for key, _ in self._selector.select(max(0.0, wait_s)):
            if key.fd in self._outputs:
                self._read(key.fd)
            elif key.events & selectors.EVENT_WRITE:
                self._write(key.fd)
            else:
                others.add(key.fd)
        return others

    def _read(self, descriptor: int) -> None:
        kept = self._outputs[descriptor]
        for _ in range(_MOST_READS):
            try:
                data = os.read(descriptor, _PIECE)
            except BlockingIOError:
                return
            if not data:
                self._selector.unregister(descriptor)
                del self._outputs[descriptor]
                return
            room = self._limits.output_bytes - len(kept)
            kept += data[:room]
            self._dropped += max(0, len(data) - room)

    def _write(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._feed[:_PIECE])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._feed)  # it does not want the rest
        self._feed = self._feed[written:]
        if not self._feed and self._jail.process.stdin is not None:
            self._selector.unregister(descriptor)
            self._jail.process.stdin.close()
