"""Everything that a network and a store can do wrong, against every operation.

Each cell ends in success or in one of drkeeper's errors, and afterwards the store holds one
of the states that the port's words allow. Bytes that changed on the way down are not the
store's matter: every object authenticates itself, one layer up.
"""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from doubles.s3chaos import KINDS, Fault, S3Chaos
from drkeeper.errors import (
    DrkeeperError,
    NoSpaceError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.retrying import Patience, RetryingStore
from drkeeper.storage.s3 import S3Store

OLD = {"old/1": b"first" * 300, "old/2": b"second" * 300, "old/3": b"third" * 300}
NEW = b"new" * 500

STRUCK = {  # operation -> the request that a fault strikes
    "put": "PUT",
    "create": "PUT",
    "create-taken": "PUT",
    "get": "GET",
    "get-span": "GET",
    "read_into": "GET",
    "info": "HEAD",
    "entries": "LIST",
    "delete": "DELETE",
    "delete-absent": "DELETE",
}
DENIED = {
    "403": StorageDeniedError,
    "expired": StorageDeniedError,
    "quota": NoSpaceError,
    "501": StorageError,
    "307": StorageError,
}
UNDONE = {"500", "502", "503", "409", "reset-before-apply", "stall", "garbage", *DENIED}
DONE_UNHEARD = {"500-after-apply", "reset-after-apply", "stall-after-apply"}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Chaos]:
    with S3Chaos() as chaos:
        yield chaos


@pytest.fixture
def chaos(server: S3Chaos) -> Iterator[S3Chaos]:
    for key in list(server.buckets["bucket"].keys):
        server.tamper(key, None)
    server.history.clear()
    yield server
    server.clear()


@pytest.fixture
def store(chaos: S3Chaos) -> S3Store:
    for key, data in OLD.items():
        chaos.tamper(f"p/{key}", data)
    return chaos.store("p", read_timeout_s=0.3, connect_timeout_s=2)


def operations(store: ObjectStore) -> dict[str, Callable[[], object]]:
    """Return each operation as a call without arguments."""

    def read_into() -> bytes:
        into = bytearray(1000)
        store.read_into("old/1", memoryview(into), offset=10)
        return bytes(into)

    return {
        "put": lambda: store.put("new", NEW),
        "create": lambda: store.create("new", NEW),
        "create-taken": lambda: store.create("old/1", NEW),
        "get": lambda: store.get("old/1"),
        "get-span": lambda: store.get("old/1", offset=3, length=100),
        "read_into": read_into,
        "info": lambda: store.info("old/1").stored_bytes,
        "entries": lambda: [entry.key for entry in store.entries("old/")],
        "delete": lambda: store.delete("old/2"),
        "delete-absent": lambda: store.delete("never"),
    }


RIGHT: dict[str, object] = {
    "get": OLD["old/1"],
    "get-span": OLD["old/1"][3:103],
    "read_into": OLD["old/1"][10:1010],
    "info": len(OLD["old/1"]),
    "entries": list(OLD),
}
EFFECT = {
    "put": OLD | {"new": NEW},
    "create": OLD | {"new": NEW},
    "delete": {key: data for key, data in OLD.items() if key != "old/2"},
}


def allowed_states(operation: str, kind: str, *, succeeded: bool) -> list[dict[str, bytes]]:
    """Return what the store may hold after a struck operation."""
    done = EFFECT.get(operation, OLD)
    if kind == "bit-flip" and operation in {"put", "create"}:
        return [OLD | {"new": bytes([NEW[0] ^ 1]) + NEW[1:]}]  # found when it is read
    if succeeded or kind in DONE_UNHEARD:
        return [done]
    return [OLD] if kind in UNDONE else [OLD, done]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("operation", sorted(STRUCK))
def test_fault_ends_in_success_or_a_typed_error(
    chaos: S3Chaos, store: S3Store, operation: str, kind: str
) -> None:
    """One fault on one operation: a known error or a right answer, and an allowed state."""
    fault = chaos.fault(verb=STRUCK[operation], kind=kind, times=1, seconds=1)
    answer, error = None, None
    try:
        answer = operations(store)[operation]()
    except DrkeeperError as caught:
        error = caught
    assert fault.hits == 1
    succeeded = error is None
    assert chaos.objects("p") in allowed_states(operation, kind, succeeded=succeeded)
    if error is not None:
        check_error(error, operation, kind)
    elif operation in RIGHT and kind not in {"bit-flip", "swap", "stale-list", "garbage"}:
        assert answer == RIGHT[operation]
    chaos.clear()
    assert {key: store.get(key) for key in OLD if key != "old/2"}  # the connection recovers


def check_error(error: DrkeeperError, operation: str, kind: str) -> None:
    """Check that an error says who must act, and whether to try again."""
    if operation != "info":  # the answer to a HEAD has a status, but no code
        assert isinstance(error, DENIED.get(kind, StorageError))
    if kind in {"500", "502", "503", *DONE_UNHEARD, "reset-before-apply", "stall"}:
        assert isinstance(error, StorageUnavailableError | ObjectExistsError)
    if isinstance(error, ObjectExistsError):
        assert operation == "create-taken"
    assert not isinstance(error, ObjectNotFoundError)
    assert "chaos-secret" not in f"{error} {error.hint} {error.context}"


@pytest.mark.parametrize("kind", sorted(DONE_UNHEARD))
def test_lost_reply_never_creates_twice(chaos: S3Chaos, store: S3Store, kind: str) -> None:
    """A creation whose answer was lost is reported as unclear, is sent once, and stands."""
    chaos.fault(verb="PUT", kind=kind, seconds=0.5)
    with pytest.raises(StorageUnavailableError):
        store.create("journal/1", b"ours")
    with pytest.raises(ObjectExistsError):
        store.create("journal/1", b"theirs")
    assert chaos.objects("p")["journal/1"] == b"ours"
    puts = [record for record in chaos.history if record.key == "p/journal/1"]
    assert [record.applied for record in puts] == [True, False]


def test_conflict_is_asked_again_and_then_unclear(chaos: S3Chaos, store: S3Store) -> None:
    """A 409 to a creation means refused: a few are ridden out, endless ones are the caller's."""
    chaos.fault(verb="PUT", kind="409", times=2)
    store.create("journal/1", b"ours")
    assert chaos.objects("p")["journal/1"] == b"ours"
    chaos.fault(verb="PUT", kind="409", times=None)
    with pytest.raises(StorageUnavailableError):
        store.create("journal/2", b"ours")
    assert "journal/2" not in chaos.objects("p")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"bit-flip", "swap", "stale-list"}))
@pytest.mark.parametrize("operation", sorted(set(STRUCK) - {"create", "create-taken"}))
def test_retrying_rides_out_what_passes(
    chaos: S3Chaos, store: S3Store, operation: str, kind: str
) -> None:
    """Two faults in a row are invisible behind retries, unless a human must act first."""
    patient = RetryingStore(
        store, clock=FakeClock(), rng=random.Random(1), patience=Patience(timedelta(minutes=1))
    )
    chaos.fault(verb=STRUCK[operation], kind=kind, times=2, seconds=0.4)
    act = operations(patient)[operation]
    if kind in DENIED or (kind == "garbage" and operation in {"get-span", "read_into"}):
        with pytest.raises((StorageError, NoSpaceError)):
            act()
        return
    answer = act()
    if kind != "garbage":  # a store that says 200 to anything is found out by what it sent
        assert answer == RIGHT.get(operation)
        assert chaos.objects("p") == EFFECT.get(operation, OLD)


def test_listing_goes_on_where_it_broke_off(chaos: S3Chaos, store: S3Store) -> None:
    """A listing of several pages that fails in the middle is completed without repetition."""
    for number in range(1_003):
        chaos.tamper(f"p/many/{number:04d}", b"x")
    chaos.fault(verb="LIST", kind="503", after=1, times=1)
    patient = RetryingStore(store, clock=FakeClock(), rng=random.Random(1))
    keys = [entry.key for entry in patient.entries("many/")]
    assert keys == [f"many/{number:04d}" for number in range(1_003)]


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1)])
def test_skewed_clock_is_named(chaos: S3Chaos, store: S3Store, skew: timedelta) -> None:
    """A machine whose clock is wrong is told so, not that its key is wrong."""
    chaos.skew = skew
    try:
        with pytest.raises(StorageDeniedError, match="clock") as caught:
            store.get("old/1")
    finally:
        chaos.skew = timedelta(0)
    assert "chrony" in str(caught.value.hint)


@pytest.mark.parametrize("which", ["access_key", "secret_key"])
def test_wrong_credentials_are_denied(chaos: S3Chaos, which: str) -> None:
    """Wrong credentials give an error that says so and does not repeat them."""
    store = chaos.store("p", session=chaos.session(**{which: "wrong-credential"}))
    for act in operations(store).values():
        with pytest.raises(StorageDeniedError) as caught:
            act()
        assert "wrong-credential" not in f"{caught.value} {caught.value.context}"


def test_every_kind_of_fault_is_known() -> None:
    """A misspelt fault is refused, so that no test passes because nothing went wrong."""
    with S3Chaos() as chaos, pytest.raises(AssertionError):
        chaos.fault(kind="reset-after-aply")
    assert Fault("PUT", "500", "", 1, 0, 0, 0).strikes("PUT", "any")
