"""What the daemon itself finds wrong, kept in memory: telling it must not need a working ledger."""

import threading
from dataclasses import dataclass, replace
from datetime import timedelta

from drkeeper.clock import Clock
from drkeeper.model.alarm import AlarmKind, Condition, Subject


@dataclass(frozen=True, slots=True)
class _Held:
    condition: Condition
    until_s: float | None


class Concerns:
    """Conditions from when they are found until they are over. Any thread may use them.

    Args:
        clock: Says when those are over that end by themselves.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[tuple[AlarmKind, Subject], _Held] = {}

    def hold(self, condition: Condition, *, last: timedelta | None = None) -> bool:
        """Hold a condition; it keeps the instant since which it held before.

        Args:
            condition: What is wrong.
            last: After how long it is over by itself; ``None`` for never.

        Returns:
            Whether it is new.
        """
        until_s = None if last is None else self._clock.monotonic() + last.total_seconds()
        key = condition.kind, condition.subject
        with self._lock:
            before = self._held.get(key)
            since = before.condition.since if before else condition.since
            self._held[key] = _Held(replace(condition, since=since), until_s)
        return before is None

    def drop(self, kind: AlarmKind, subject: Subject | None = None) -> bool:
        """Forget what is over: a condition, or all of one kind; say whether it was held."""
        with self._lock:
            over = [key for key in self._held if key[0] is kind and subject in {None, key[1]}]
            for key in over:
                del self._held[key]
        return bool(over)

    def held(self) -> tuple[Condition, ...]:
        """Return what is wrong now, the first found first."""
        now_s = self._clock.monotonic()
        with self._lock:
            over = [
                key
                for key, held in self._held.items()
                if held.until_s is not None and held.until_s <= now_s
            ]
            for key in over:
                del self._held[key]
            return tuple(held.condition for held in self._held.values())
