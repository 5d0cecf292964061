"""Doing the same to many things, a few at a time, with a bound on what is in memory."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

T = TypeVar("T")

_WORKERS: Final = 4
"""Requests in flight; decryption and digests release the interpreter."""

_QUEUED: Final = 4 * _WORKERS
"""So that no worker waits for work; more would only be memory."""

_HELD_BYTES: Final = 96 * 1024 * 1024
"""Stored bytes of the things being worked on: room for one of the largest, or six usual packs."""


def for_each(
    things: Iterable[T], work: Callable[[T], None], cost: Callable[[T], int] = lambda _thing: 0
) -> None:
    """Call ``work`` with each thing, from several threads; nothing is handed out far ahead.

    Args:
        things: Looked at one by one, from this thread.
        work: Its first exception ends everything and is raised here.
        cost: Bytes in memory while a thing is worked on. One thing always goes, whatever it costs.
    """
    running: dict[Future[None], int] = {}
    held = 0
    with ThreadPoolExecutor(_WORKERS, "check") as pool:
        try:
            for thing in things:
                needed = cost(thing)
                while running and (len(running) >= _QUEUED or held + needed > _HELD_BYTES):
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for job in done:
                        held -= running.pop(job)
                        job.result()
                running[pool.submit(work, thing)] = needed
                held += needed
            for job in running:
                job.result()
        finally:
            for job in running:
                job.cancel()
