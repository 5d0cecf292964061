"""Answers are computed at most once a second, however many ask."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.web.freshness import Fresh
from drkeeper.errors import LedgerBusyError, LedgerError


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_a_hundred_who_ask_at_once_get_one_answer(executor):
    """The ledger is asked once, and nobody waits for anybody else's turn."""
    counted = []
    go = threading.Event()

    def compute():
        counted.append(1)
        go.wait(5)
        return "answer"

    async def ask():
        fresh = Fresh(executor, FakeClock())
        asked = [asyncio.ensure_future(fresh.get("key", compute)) for _ in range(100)]
        await asyncio.sleep(0.01)
        go.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask()) == ["answer"] * 100
    assert len(counted) == 1


def test_an_answer_is_good_for_a_second(executor):
    """Within it the same is said; after it, what is true then."""
    clock, said = FakeClock(), iter(range(9))

    async def ask():
        fresh = Fresh(executor, clock)
        found = [await fresh.get("key", lambda: next(said)) for _ in range(2)]
        found.append(await fresh.get("other", lambda: next(said)))
        clock.advance(timedelta(seconds=1.1))
        return [*found, await fresh.get("key", lambda: next(said))]

    assert asyncio.run(ask()) == [0, 0, 1, 2]


def test_an_error_is_an_answer(executor):
    """A ledger in trouble is not asked a hundred times a second."""
    counted = []

    def compute():
        counted.append(1)
        raise LedgerError("the ledger is damaged")

    async def ask():
        fresh = Fresh(executor, FakeClock())
        for _ in range(3):
            with pytest.raises(LedgerError, match="damaged"):
                await fresh.get("key", compute)

    asyncio.run(ask())
    assert len(counted) == 1


def test_nobody_waits_for_ever(executor):
    """An answer that does not come is an error with a hint, and comes later for others."""
    go = threading.Event()

    async def ask():
        fresh = Fresh(executor, FakeClock(), patience_s=0.05)
        with pytest.raises(LedgerBusyError) as caught:
            await fresh.get("key", lambda: go.wait(5))
        go.set()
        assert caught.value.hint
        return await fresh.get("key", lambda: False)

    assert asyncio.run(ask()) is True


def test_what_is_kept_has_an_end(executor):
    """A client that asks for ever new addresses does not fill the memory."""

    async def ask():
        fresh = Fresh(executor, FakeClock())
        for number in range(1000):
            await fresh.get(number, lambda: "x" * 10)
        return len(fresh._answers)

    assert asyncio.run(ask()) <= 16
