"""A message to tell, for tests of adapters."""

from dataclasses import replace
from datetime import UTC, datetime

from drkeeper.model.alarm import Level
from drkeeper.notify.base import Message, Occasion

MESSAGE = Message(
    id="alarm-1f",
    occasion=Occasion.ENTERED,
    level=Level.FAILURE,
    kind="overdue",
    subject="policy/shop",
    title="[drkeeper web1] failure: policy shop: overdue",
    text="Policy shop: a run was due.\n",
    at=datetime(2026, 11, 20, 1, 30, tzinfo=UTC),
    host="web1",
    facts={"policy": "shop"},
)


def message(**fields):
    """Return a message that differs in some fields."""
    return replace(MESSAGE, **fields)
