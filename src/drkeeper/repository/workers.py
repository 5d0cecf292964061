"""Threads that do the native work, and end cleanly at the first error.

Work is numbered as it is handed in, and ``done_through`` says up to which number everything is
done: whatever depends on a run of work waits for one number instead of for many events.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from drkeeper.repository.buffers import Failure

S = TypeVar("S")


class Workers(Generic[S]):
    """A fixed number of threads, each with a state of its own, made by ``prepare``.

    The queue has no limit: those who hand in work hold a buffer of a bounded pool for it.
    """

    def __init__(self, failure: Failure, name: str, count: int, prepare: Callable[[], S]) -> None:
        """Begin ``count`` threads."""
        self._failure = failure
        self._prepare = prepare
        self._queue: SimpleQueue[tuple[int, Callable[[S], None]] | None] = SimpleQueue()
        self._handed = 0
        self._done = 0
        self._early: set[int] = set()
        self._threads = [
            Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def handed(self) -> int:
        """Number of the last work handed in; the first one is 1."""
        return self._handed

    @property
    def done_through(self) -> int:
        """All work up to this number is done."""
        return self._done

    def hand(self, work: Callable[[S], None]) -> int:
        """Queue ``work`` and return its number; never waits."""
        with self._failure.changed:
            self._handed += 1
            number = self._handed
        self._queue.put((number, work))
        return number

    def wait(self, number: int) -> None:
        """Wait until all work up to ``number`` is done.

        Raises:
            BaseException: The first error of any thread.
        """
        with self._failure.changed:
            while True:
                self._failure.check()
                if self._done >= number:
                    return
                self._failure.changed.wait()

    def close(self) -> None:
        """End the threads when the queue is empty; after an error, what is queued is dropped."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _run(self) -> None:
        state: S | None = None
        while (item := self._queue.get()) is not None:
            if self._failure.error is not None:
                continue
            number, work = item
            try:
                if state is None:
                    state = self._prepare()
                work(state)
            except BaseException as error:  # noqa: BLE001 - raised again where someone waits
                self._failure.report(error)
                continue
            self._mark(number)

    def _mark(self, number: int) -> None:
        with self._failure.changed:
            if number != self._done + 1:
                self._early.add(number)
                return
            self._done = number
            while self._done + 1 in self._early:
                self._done += 1
                self._early.remove(self._done)
            self._failure.changed.notify_all()
