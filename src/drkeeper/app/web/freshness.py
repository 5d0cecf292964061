"""Answers that are computed at most once a second, however many ask.

Lives in the event loop's thread alone: no locks. The computing is done in threads of its own, and
whoever asks for the same thing meanwhile waits for the same answer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

from drkeeper.clock import Clock
from drkeeper.errors import LedgerBusyError

FRESH_FOR_S: Final = 1.0
"""Source: ours; a person does not see the difference, and a hundred clients cost as one."""
PATIENCE_S: Final = 10.0
"""Longest wait for an answer; a ledger that is locked for longer is said to be."""
_MOST: Final = 16
"""Answers kept. Source: ours; pages of 1,000 policies take about 1 MB each."""

_T = TypeVar("_T")


class Fresh:
    """A small memory of answers that are still good.

    Args:
        executor: Where answers are computed.
        clock: Says how old they are.
        patience_s: Longest wait for one.
    """

    def __init__(self, executor: Executor, clock: Clock, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._executor = executor
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Future[Any]]] = OrderedDict()

    async def get(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """Return the answer to ``key``, at most a second old or computed now.

        Raises:
            LedgerBusyError: It takes too long.
            Exception: Whatever ``compute`` raised, for as long as an answer would be kept.
        """
        known = self._answers.get(key)
        if known is None or self._is_old(*known):
            self._forget_old()
            known = self._clock.monotonic(), self._computing(compute)
            self._answers[key] = known
        self._answers.move_to_end(key)
        try:
            # Shielded: one client that goes away must not take the answer from the others.
            answer: _T = await asyncio.wait_for(asyncio.shield(known[1]), self._patience_s)
        except TimeoutError as error:
            raise LedgerBusyError(
                "the ledger takes too long to answer",
                hint="Try again; if it lasts, run drkeeper doctor.",
            ) from error
        return answer

    def _is_old(self, at_s: float, answer: asyncio.Future[Any]) -> bool:
        return answer.done() and self._clock.monotonic() - at_s > FRESH_FOR_S

    def _forget_old(self) -> None:
        for key in [key for key, known in self._answers.items() if self._is_old(*known)]:
            del self._answers[key]
        while len(self._answers) >= _MOST:
            self._answers.popitem(last=False)

    def _computing(self, compute: Callable[[], Any]) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().run_in_executor(self._executor, compute)
        future.add_done_callback(_seen)
        return future


def _seen(future: asyncio.Future[Any]) -> None:
    """Look at an error that nobody waits for any more, so that asyncio does not complain of it."""
    if not future.cancelled():
        future.exception()
