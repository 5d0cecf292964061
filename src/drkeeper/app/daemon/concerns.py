"""What the daemon itself finds wrong, kept in memory: telling it must not need a working ledger."""

import threading
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

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
        self._held: dict[tuple[AlarmKind, Subject, str], _Held] = {}

    def hold(
        self, condition: Condition, *, source: str = "", last: timedelta | None = None
    ) -> bool:
        """Hold a condition; it keeps the instant since which it held before.

        Args:
            condition: What is wrong.
            source: Who found it; over for one is not over for another.
            last: After how long it is over by itself; ``None`` for never.

        Returns:
            Whether it is new.
        """
        until_s = None if last is None else self._clock.monotonic() + last.total_seconds()
        key = condition.kind, condition.subject, source
        with self._lock:
            before = self._held.get(key)
            since = before.condition.since if before else condition.since
            self._held[key] = _Held(replace(condition, since=since), until_s)
        return before is None

    def drop(self, kind: AlarmKind, subject: Subject | None = None, *, source: str = "") -> bool:
        """Forget what is over for ``source``: a condition, or all of a kind; say if it was held."""
        with self._lock:
            over = [
                key
                for key in self._held
                if key[0] is kind and key[2] == source and subject in {None, key[1]}
            ]
            for key in over:
                del self._held[key]
        return bool(over)

    def held(self) -> tuple[Condition, ...]:
        """Return what is wrong now, the first found first, each thing once."""
        now_s = self._clock.monotonic()
        with self._lock:
            over = [
                key
                for key, held in self._held.items()
                if held.until_s is not None and held.until_s <= now_s
            ]
            for key in over:
                del self._held[key]
            found = {key[:2]: held.condition for key, held in reversed(self._held.items())}
            return tuple(reversed(found.values()))
