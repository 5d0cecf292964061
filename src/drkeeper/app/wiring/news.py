"""What the ledger has news of since it was asked last, so that only that is asked for again."""

import json
from collections.abc import Iterator, Set as AbstractSet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.events import Event
    from drkeeper.ledger.ledger import Ledger

ONE_BY_ONE: Final = 24
"""Up to so many policies with news are asked for one by one; more are cheaper all at once."""
_MOST: Final = 1000
"""So many events are read one by one; after more of them everything is asked for anew."""
_BEGUN: Final = "run.begun"
_ENDED: Final = "run.ended"
"""Kinds of events. Source: docs/ledger.md."""
_OF_POLICIES: Final = frozenset({"run", "recovery_point"})


class Fresh(msgspec.Struct, frozen=True):
    """What there is news of.

    Attributes:
        policies: Policies with new runs, new ends of runs or new recovery points.
        nouns: What all the events are about: the part of their kind before the dot.
    """

    policies: AbstractSet[str] = frozenset()
    nouns: AbstractSet[str] = frozenset()


class News:
    """Remembers up to where the ledger is known. For one thread."""

    def __init__(self) -> None:
        self._last: Event | None = None
        self._owners: dict[str, str | None] = {}

    def begin(self, ledger: "Ledger | None") -> None:
        """Count everything as known that the ledger holds; to be called before it is asked for it.

        Args:
            ledger: ``None`` to know nothing.

        Raises:
            LedgerError: It cannot be read.
        """
        self._owners.clear()
        self._last = None if ledger is None else ledger.last_event()

    def open_run(self, run: str, policy: str | None) -> None:
        """Know whose run it is of which more may be heard."""
        self._owners[run] = policy

    @contextmanager
    def since(self, ledger: "Ledger") -> "Iterator[Fresh | None]":
        """Lend what there is news of; ``None`` when all must be asked for again.

        The ledger is asked for it within the context; what fails there is news again the next time.

        Raises:
            LedgerError: It cannot be read.
        """
        try:
            yield self._since(ledger)
        except BaseException:
            self.begin(None)
            raise

    def _since(self, ledger: "Ledger") -> Fresh | None:
        last = self._last
        if last is None:
            return None
        newest = ledger.last_event()
        if newest is not None and newest.hash == last.hash:
            return Fresh()
        events = ledger.events(after=last.seq - 1, limit=_MOST)
        if not events or events[0].hash != last.hash or len(events) == _MOST:
            return None  # another ledger, or so much news that asking for each is no use
        policies: set[str] = set()
        for event in events[1:]:
            policy, known = self._policy_of(event)
            if not known:
                return None
            if policy is not None:
                policies.add(policy)
        self._last = events[-1]
        return Fresh(policies, {_noun(event) for event in events[1:]})

    def _policy_of(self, event: "Event") -> tuple[str | None, bool]:
        """Return whose event it is, and whether that could be told."""
        if _noun(event) not in _OF_POLICIES:
            return None, True
        body = json.loads(event.body)
        run, policy = body.get("run"), body.get("policy")
        if "policy" in body:
            if event.kind == _BEGUN:
                self._owners[run] = policy
            return policy, True
        is_known = run in self._owners
        # Nothing more is heard of a run that has ended; a day of them would fill some megabytes.
        owner = self._owners.pop(run, None) if event.kind == _ENDED else self._owners.get(run)
        return owner, is_known


def _noun(event: "Event") -> str:
    return event.kind.partition(".")[0]
