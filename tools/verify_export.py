#!/usr/bin/env python3
"""Verify exported events of a drkeeper ledger against signed checkpoints.

    verify_export.py EXPORT.jsonl --key drksign1... | HEX  [--key ...] [--checkpoint NOTE ...]

Written from docs/ledger.md alone; needs Python 3.11 and the package cryptography, nothing of drkeeper.
EXPORT is what `drkeeper ledger export` wrote. Keys are the public signing keys of the hosts, had from
somewhere else than the export. A checkpoint file is a note that was kept elsewhere: in the repository,
by an auditor, in the last report. Ends with 0 when everything holds, 1 when something does not, 2 when
called wrongly.

What it shows: the events are those that were signed, none was edited, removed, added or moved, also not
by somebody who computed all hashes anew; drills say no other RTO than their phases; and nothing of the
span is missing. What it does not show: that what was recorded was true.
"""

import argparse
import base64
import binascii
import hashlib
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORM = "drkeeper/ledger-export/1"
EMPTY = hashlib.sha256(b"").digest()
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
LONGEST_LINE = 4 << 20


class WrongError(Exception):
    """Something does not hold; says what."""


def require(holds: object, what: str) -> None:
    if not holds:
        raise WrongError(what)


# ------------------------------------------------------------------ keys and notes


def key_from_text(text: str) -> bytes:
    """Read a public key: 64 hex digits, or `drksign1...` (Bech32 without limit of length)."""
    if len(text) == 64 and not text.strip("0123456789abcdef"):
        return bytes.fromhex(text)
    prefix, found, data = text.rpartition("1")
    require(found and prefix == "drksign" and not data.strip(BECH32), "key is not a public key")
    values = [BECH32.index(c) for c in data]
    check = 1
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    for value in expanded + values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> bit & 1 else 0
    require(check == 1, "key is misspelt")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    raw = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) // 8 * 8, 8))
    require(len(raw) == 32, "key is not a public key")
    return raw


def open_checkpoint(note: str, origin: str, keys: Sequence[bytes]) -> tuple[int, bytes]:
    """Return size and root of a checkpoint that a known key has signed (c2sp.org/tlog-checkpoint)."""
    text, gap, rest = note.rpartition("\n\n")
    require(gap and rest.endswith("\n"), "checkpoint is not a signed note")
    require(not any(ord(c) < 32 and c != "\n" for c in note), "checkpoint is not a signed note")
    text += "\n"
    good = 0
    for line in rest.split("\n")[:-1]:
        dash, name, encoded = (*line.split(" "), "", "", "")[:3]
        require(dash == "\N{EM DASH}", "checkpoint is not a signed note")
        raw = from_base64(encoded)
        for key in keys:
            known = hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
            if name == origin and raw[:4] == known:
                try:
                    Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], text.encode())
                except InvalidSignature:
                    raise WrongError("signature of a checkpoint is wrong") from None
                good += 1
    require(good, "checkpoint is not signed by a given key")
    lines = text.split("\n")
    require(len(lines) >= 4 and lines[0] == origin, "checkpoint is of another ledger")
    size, root = lines[1], from_base64(lines[2])
    require(size.isascii() and size.isdigit() and str(int(size)) == size, "checkpoint has no size")
    require(len(root) == 32, "checkpoint has no root")
    return int(size), root


def from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WrongError("checkpoint is not in Base 64") from None


# ------------------------------------------------------------------ the tree (RFC 6962, RFC 9162)


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def roots_of(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    """Return the root over the first n leaves for each n of sizes."""
    found, full = {0: EMPTY}, []
    for count, leaf in enumerate(leaves, 1):
        top, rest = leaf, count
        while rest % 2 == 0:
            top, rest = node(full.pop(), top), rest // 2
        full.append(top)
        if count in sizes:
            whole = full[-1]
            for left in reversed(full[:-1]):
                whole = node(left, whole)
            found[count] = whole
    return found


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    place, last, top = index, size - 1, leaf
    for step in proof:
        require(last, f"proof of event {index + 1} is too long")
        if place % 2 or place == last:
            top = node(step, top)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            top = node(top, step)
        place, last = place // 2, last // 2
    require(last == 0 and top == root, f"event {index + 1} is not what was signed")


def check_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    wrong = f"history of {new} events does not continue the one of {old}"
    if old in {0, new}:
        require(old_root == (new_root if old == new else EMPTY) and not proof, wrong)
        return
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    require(steps, wrong)
    place, last = old - 1, new - 1
    while place % 2:
        place, last = place // 2, last // 2
    first = second = steps[0]
    for step in steps[1:]:
        require(last, wrong)
        if place % 2 or place == last:
            first, second = node(step, first), node(step, second)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            second = node(second, step)
        place, last = place // 2, last // 2
    require(last == 0 and (first, second) == (old_root, new_root), wrong)


# ------------------------------------------------------------------ the export


def leaf_of(event: dict) -> bytes:
    """Hash the bytes of docs/ledger.md, "The chain", as a leaf."""
    parts = [b"drkeeper/v1/event\0", event["seq"].to_bytes(8, "big"), bytes.fromhex(event["prev"])]
    require(len(parts[2]) == 32, "previous hash has not 32 bytes")
    for name in ("at", "kind", "body"):
        raw = event[name].encode()
        parts += [len(raw).to_bytes(4, "big"), raw]
    return hashlib.sha256(b"\0" + b"".join(parts)).digest()


def read(path: Path) -> tuple[dict, list[dict], list[dict]]:
    """Return the first line, the events and the checkpoints."""
    parts: dict[str, list[dict]] = {"export": [], "event": [], "checkpoint": []}
    with path.open("rb") as lines:
        while line := lines.readline(LONGEST_LINE + 1):
            require(len(line) <= LONGEST_LINE, "line of the export is too long")
            value = json.loads(line)
            require(isinstance(value, dict) and value.get("type") in parts, "line is not known")
            parts[value["type"]].append(value)
    require(len(parts["export"]) == 1, "export has not one beginning")
    require(parts["export"][0]["form"] == FORM, "export is of a form that is not known")
    return parts["export"][0], parts["event"], parts["checkpoint"]


def check_events(head: dict, events: list[dict]) -> list[bytes]:
    """See that the events follow each other; return their leaves."""
    wanted = list(range(head["first"], head["last"] + 1))
    require([event["seq"] for event in events] == wanted, "events are missing, added or moved")
    for before, after in itertools.pairwise(events):
        require(before["hash"] == after["prev"], f"event {after['seq']} does not follow the last")
    if head["first"] == 1 and events:
        require(events[0]["prev"] == "00" * 32, "first event does not begin the chain")
    return [leaf_of(event) for event in events]


def check_drills(events: list[dict]) -> int:
    """See that what drills say of themselves agrees; return how many ended."""
    ended = 0
    for event in events:
        if event["kind"] != "drill.ended":
            continue
        body = json.loads(event["body"])
        reached = [p["elapsed_us"] for p in body["phases"] if p["phase"] == "probes-passed"]
        rto = reached[0] if reached else None
        require(
            body["achieved_rto_us"] == rto, f"event {event['seq']} has an RTO its phases have not"
        )
        ended += 1
    return ended


def verify(path: Path, keys: Sequence[bytes], notes: Sequence[str]) -> str:
    """Verify an export; return what was shown, in words.

    Raises:
        WrongError: Something does not hold.
    """
    head, events, kept = read(path)
    size, root = head["size"], bytes.fromhex(head["root"])
    leaves = check_events(head, events)
    sizes = {each["size"] for each in kept} | {size}
    whole = head["first"] == 1
    if whole:
        require(size == head["last"], "export is not of the size that it says")
    opened = [open_checkpoint(note, head["origin"], keys) for note in notes]
    inner = [open_checkpoint(each["note"], head["origin"], keys) for each in kept]
    sizes |= {each[0] for each in opened + inner}
    roots = roots_of(leaves, sizes) if whole else {}
    if whole:
        require(roots.get(size) == root, "events have not the root that the export says")
    for event, leaf in zip(events, leaves, strict=True):
        if not whole:
            proof = [bytes.fromhex(step) for step in event["proof"]]
            check_inclusion(leaf, event["seq"] - 1, size, proof, root)
    covered = 0
    for each, (signed, signed_root) in zip(kept, inner, strict=True):
        require(each["size"] == signed, "checkpoint has another size than it says")
        proof = [bytes.fromhex(step) for step in each["consistency"]]
        pair = [(signed, signed_root), (size, root)]
        (low, low_root), (high, high_root) = sorted(pair, key=lambda one: one[0])
        check_consistency(low, high, low_root, high_root, proof)
        covered = max(covered, signed)
    by_size = dict(inner) | {size: root} | roots
    for signed, signed_root in opened:
        require(signed in by_size, f"checkpoint of {signed} events is missing in the export")
        require(by_size[signed] == signed_root, f"first {signed} events are not those signed")
        covered = max(covered, signed)
    require(covered, "nothing was signed")
    ended = check_drills(events)
    loose = max(0, head["last"] - max(covered, head["first"] - 1))
    return (
        f"{len(events)} events ({head['first']} to {head['last']}), {ended} ended drills,"
        f" {len(kept) + len(opened)} checkpoints up to event {covered}; {loose} not yet signed"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("--key", action="append", required=True, metavar="KEY")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        keys = [key_from_text(key) for key in options.key]
        notes = [path.read_text(encoding="utf-8") for path in options.checkpoint]
        print(verify(options.export, keys, notes))
    except WrongError as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
        return 1
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        print(f"NOT VERIFIED: export or note is malformed: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
