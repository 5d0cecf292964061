"""A part of the chain as it is kept elsewhere: what it says, and how it is read back.

The form is normative in docs/format.md, 11.1. What is read was signed by a host of the repository;
that it is *the* chain is shown here: every event links to the one before, and the last one has the
hash that the part names.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from drkeeper.errors import IntegrityError
from drkeeper.ledger.checkpoints import SignedCheckpoint
from drkeeper.ledger.events import GENESIS, MAX_BODY_BYTES, Event, instant_from_text, link
from drkeeper.model.instants import exact_rfc3339

FORM: Final = "drkeeper/ledger-entry/1"
"""Names this form. Source: docs/format.md 11.1."""
MOST_TEXT_BYTES: Final = 4 * 1024 * 1024
"""How much of a long chain goes into one part. Source: ours; a fourth of what a record may hold."""
_MOST_SEQ: Final = 2**53
_HASH_DIGITS: Final = 64
_LONGEST: Final = 256
"""Characters of names and instants."""


@dataclass(frozen=True, slots=True)
class Known:
    """How far the chain is kept elsewhere.

    Attributes:
        size: Number of events there.
        head: Hash of the last of them; ``GENESIS`` for none.
    """

    size: int = 0
    head: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive events, and the checkpoints that were signed among them.

    Attributes:
        origin: Name of the ledger in its checkpoints.
        machine: Name of the machine that stored it, for people.
        prev: Hash of the event before the first.
        events: At least one.
        notes: Checkpoints of sizes among these events, smallest first; not verified here.
    """

    origin: str
    machine: str
    prev: bytes
    events: Sequence[Event]
    notes: Sequence[SignedCheckpoint] = ()

    @property
    def first(self) -> int:
        """Number of the first event."""
        return self.events[0].seq

    @property
    def last(self) -> int:
        """Number of the last event."""
        return self.events[-1].seq

    @property
    def head(self) -> bytes:
        """Hash of the last event, and so of all up to it."""
        return self.events[-1].hash

    def encode(self) -> bytes:
        """Spell it as lines of JSON."""
        return "".join(f"{line}\n" for line in self._lines()).encode("ascii")

    def _lines(self) -> Iterator[str]:
        yield _line(
            type="entry", form=FORM, origin=self.origin, machine=self.machine, first=self.first,
            last=self.last, prev=self.prev.hex(), head=self.head.hex(),
        )  # fmt: skip
        for event in self.events:
            yield _line(type="event", seq=event.seq, at=event.at, kind=event.kind, body=event.body)
        for note in self.notes:
            made_at = exact_rfc3339(note.made_at)
            yield _line(type="checkpoint", size=note.size, note=note.note, made_at=made_at)


def decode_part(content: bytes) -> Part:
    """Read what :meth:`Part.encode` wrote.

    Raises:
        IntegrityError: It is something else, or its events are no chain that ends as it says.
    """
    try:
        lines = [_members(line) for line in content.decode("ascii").split("\n")[:-1]]
    except (ValueError, RecursionError):  # also what is no ASCII
        _refuse("is malformed")
    if not lines or lines[0].get("type") != "entry" or lines[0].get("form") != FORM:
        _refuse("is of a form that this version does not know")
    head, prev = lines[0], _hash(lines[0].get("prev"))
    first, last = _number(head.get("first")), _number(head.get("last"))
    events = list(_events(lines[1:], first, prev))
    if not events or events[-1].seq != last or events[-1].hash != _hash(head.get("head")):
        _refuse("does not end as it says")
    if first == 1 and prev != GENESIS:
        _refuse("does not begin as a ledger does")
    notes = [_note(line, last) for line in lines[1 + len(events) :]]
    return Part(_text(head.get("origin")), _text(head.get("machine")), prev, events, notes)


def _events(lines: Sequence[Mapping[str, object]], first: int, prev: bytes) -> Iterator[Event]:
    for line in lines:
        if line.get("type") != "event":
            return
        if _number(line.get("seq")) != first:
            _refuse("leaves an event out")
        body = _text(line.get("body"), most=MAX_BODY_BYTES)
        at, kind = _text(line.get("at")), _text(line.get("kind"))
        event = link(first, prev, at, kind=kind, body=body)
        yield event
        first, prev = first + 1, event.hash


def _note(line: Mapping[str, object], last: int) -> SignedCheckpoint:
    size = _number(line.get("size"))
    if line.get("type") != "checkpoint" or size > last:
        _refuse("holds a line that does not belong there")
    try:
        made_at = instant_from_text(_text(line.get("made_at")))
    except ValueError:
        _refuse("is malformed")
    return SignedCheckpoint(size, _text(line.get("note"), most=MAX_BODY_BYTES), made_at)


def _members(line: str) -> Mapping[str, object]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - caught with what json.loads raises
    return value


def _line(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


def _number(value: object) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_SEQ:
        _refuse("is malformed")
    return value


def _text(value: object, *, most: int = _LONGEST) -> str:
    if not isinstance(value, str) or len(value) > most:
        _refuse("is malformed")
    return value


def _hash(value: object) -> bytes:
    text = _text(value)
    if len(text) != _HASH_DIGITS or text.strip("0123456789abcdef"):
        _refuse("is malformed")
    return bytes.fromhex(text)


def _refuse(what: str) -> NoReturn:
    raise IntegrityError(f"stored part of a ledger {what}")
