#!/usr/bin/env python3
"""Verify a drkeeper report against the signed events that it was computed from.

    verify_report.py BUNDLE.tar --quarter 2026Q4 --key drksign1... [--key ...] [--checkpoint NOTE ...]

Written from docs/ledger.md and docs/evidence.md; needs Python 3.11 and the package cryptography. BUNDLE
comes from `drkeeper report --bundle`, keys (the hosts' public signing keys) from elsewhere. NOTE is a
checkpoint that was kept elsewhere: in the repository, by an auditor, with the last report. Ends with 0
when all holds, 1 when it does not, 2 when called wrongly.

It shows that the events are those that were signed: none edited, removed, added or moved; that report.json
says what they say; and that it leaves out none of its quarter. Not that what was recorded was true, and
nothing of report.html: `drkeeper report --from report.json` makes that anew.
"""

import argparse
import base64
import hashlib
import itertools
import json
import re
import statistics
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace as Record

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
MALFORMED = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
MALFORMED += (RuntimeError, tarfile.TarError)
# Kind of event: what it is about, and which member names that; none: its own number does.
TABLES = {
    kind: (about, member)
    for about, member, kinds in (
        ("run", "run", "run.begun run.claimed run.ended run.interrupted"),
        ("point", "", "recovery_point.recorded"),
        ("check", "", "verification.recorded"),
        ("policy", "policy", "policy.seen"),
        ("alarm", "", "alarm.raised"),
        ("alarm", "alarm", "alarm.cleared"),
        ("drill", "", "drill.planned"),
        ("drill", "drill", "drill.declared drill.ended"),
        ("incident", "", "incident.opened"),
        ("incident", "incident", "incident.closed"),
        ("action", "", "corrective_action.opened"),
        ("action", "action", "corrective_action.closed"),
        ("key_drill", "", "key_drill.recorded"),
    )
    for kind in kinds.split()
}
ENDED = {"run": "ended_at", "drill": "verdict"}
FIGURES = {"min": min, "median": statistics.median_low, "max": max}
SOUND = ("proven", "too-old", "too-slow")


class WrongError(Exception):
    """Something does not hold; says what."""


def require(holds: object, what: str) -> None:
    if not holds:
        raise WrongError(what)


def key_from_text(text: str) -> bytes:
    """Read a public key: 64 hex digits, or `drksign1...` (Bech32; its six last signs are a checksum)."""
    if re.fullmatch("[0-9a-f]{64}", text):
        return bytes.fromhex(text)
    require(re.fullmatch(f"drksign1[{BECH32}]{{58}}", text), "key is not a public key")
    bits = "".join(f"{BECH32.index(sign):05b}" for sign in text[8:-6])
    return bytes(int(bits[at : at + 8], 2) for at in range(0, 256, 8))


def open_checkpoint(note: str, origin: str, keys: Iterable[bytes]) -> tuple[int, bytes]:
    """Return size and root of a checkpoint that a known key has signed (c2sp.org/tlog-checkpoint)."""
    text, gap, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    require(gap and len(lines) >= 3, "checkpoint is not a signed note")
    require(lines[0] == origin, "checkpoint is of another ledger")
    for line in signatures.splitlines():
        dash, name, encoded = line.split(" ")
        raw = base64.b64decode(encoded, validate=True)
        for key in keys:
            hint = hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
            if (dash, name, raw[:4]) == ("\N{EM DASH}", origin, hint):
                try:
                    signed = f"{text}\n".encode()
                    Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], signed)
                except InvalidSignature:
                    raise WrongError("signature of a checkpoint is wrong") from None
                require(re.fullmatch("0|[1-9][0-9]*", lines[1]), "checkpoint has no size")
                return int(lines[1]), base64.b64decode(lines[2], validate=True)
    raise WrongError("checkpoint is not signed by a given key")


def leaf_of(event: dict) -> bytes:
    """Hash the bytes of docs/ledger.md, "The chain", as a leaf of RFC 6962."""
    parts = [b"drkeeper/v1/event\0", event["seq"].to_bytes(8, "big"), bytes.fromhex(event["prev"])]
    require(len(parts[2]) == 32, "previous hash has not 32 bytes")
    for name in ("at", "kind", "body"):
        raw = event[name].encode()
        parts += [len(raw).to_bytes(4, "big"), raw]
    return hashlib.sha256(b"\0" + b"".join(parts)).digest()


def roots_of(events: list[dict]) -> list[bytes]:
    """See that the events follow each other; return the tree's root for each number of them."""
    roots, full, prev = [hashlib.sha256(b"").digest()], [], "00" * 32
    for count, event in enumerate(events, 1):
        require(event["seq"] == count, f"event {count} is missing, or one was added or moved")
        require(event["prev"] == prev, f"event {count} does not follow the last")
        prev, top, rest = event["hash"], leaf_of(event), count
        while rest % 2 == 0:
            top, rest = hashlib.sha256(b"\1" + full.pop() + top).digest(), rest // 2
        full.append(top)
        for left in reversed(full[:-1]):
            top = hashlib.sha256(b"\1" + left + top).digest()
        roots.append(top)
    return roots


# ------------------------------------------------------------------ the report


def records_of(events: list[dict]) -> dict[int, Record]:
    """Return, by number of event, all that is said of the thing it is about."""
    things, found = {}, {}
    for event in events:
        if event["kind"] in TABLES:
            (table, member), body = TABLES[event["kind"]], json.loads(event["body"])
            key = (table, body[member] if member else event["seq"])
            found[event["seq"]] = record = things.setdefault(
                key, Record(table=table, events=[], body={})
            )
            record.events.append(event["seq"])
            record.last = event["seq"]
            record.body |= body
            if event["kind"] == "drill.ended":
                reached = {each["phase"]: each["elapsed_us"] for each in body["phases"]}
                same = body["achieved_rto_us"] == reached.get("probes-passed")
                require(same, f"event {event['seq']} has an RTO its phases have not")
    return found


def check_rows(value: dict | list, found: dict[int, Record]) -> None:
    """See that each row says what the events that it names say, and that its figures are theirs."""
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            check_rows(each, found)
    if isinstance(value, list):
        return
    events = value.get("events", [])
    for seq in events:
        require(seq in found, f"report names event {seq}, which is not one of its own")
    for name, said in value.items():
        for seq in events:
            due = found[seq].body.get(name, said)
            same = type(due) is type(said) and due == said
            require(same, f"{name} of the report is not what event {seq} says")
        how, _, member = name.partition("_")
        if how in FIGURES and "count" in value:
            known = [v for seq in events if (v := found[seq].body.get(member)) is not None]
            same = said == (FIGURES[how](known) if known else None)
            require(same, f"{name} of the report is not that of events {events}")
    if "took" in value and "phases" in value:
        reached = itertools.accumulate(each["span_us"] for each in value["took"])
        due = [each["elapsed_us"] for each in value["phases"]]
        require([*reached] == due[: len(value["took"])], f"phases are not those of event {events}")
    counted = "events" not in value or value.get("count", len(events)) == len(events)
    require(counted, f"count is not that of events {events}")


def bounds(quarter: str) -> tuple[str, str]:
    """Return the first instant of a quarter, and the first one after it."""
    require(re.fullmatch("[0-9]{4}Q[1-4]", quarter), f"{quarter!r} is not a quarter")
    year, month = int(quarter[:4]), int(quarter[5]) * 3 - 2
    after = (year, month + 3) if month < 10 else (year + 1, 1)
    return tuple(f"{y:04}-{m:02}-01T00:00:00.000000Z" for y, m in ((year, month), after))


def check_report(report: dict, events: list[dict], roots: list[bytes], quarter: str) -> str:
    """See that a report is of the quarter and of these events, and leaves out none of them."""
    require(report["form"] == "drkeeper/report/1", "report is of a form that is not known")
    me, until = report["identity"], report["until"]
    require(me["quarter"] == report["quarter"], "report names two quarters")
    require(quarter == me["quarter"], f"report is of {me['quarter']}, not of {quarter}")
    begin, end = bounds(quarter)
    dated = (me["begin"], me["end"], me["until"]) == (begin, end, until) and begin < until <= end
    require(dated and me["complete"] is (until == end), "quarter is dated wrongly")

    def size(stop: str) -> int:
        return max((event["seq"] for event in events if event["at"] < stop), default=0)

    first, last = size(begin) + 1, size(until)
    said = f"events {me['first']} to {me['last']} are not those of {quarter}"
    require((me["first"], me["last"]) == (first, last), f"{said} ({first} to {last})")
    for one, mark in ((me, last), (me["previous"], first - 1)):
        same = (one["last"], one["root"]) == (mark, roots[mark].hex())
        require(same, "report is of another ledger than these events")
    found = records_of(events[:last])
    check_rows(report, found)
    records = {id(each): each for each in found.values()}.values()

    def due(table: str, low: int = first, high: int = last, **only: Iterable[object]) -> set[int]:
        mine = [each for each in records if each.table == table and low <= each.last <= high]
        if table in ENDED:
            mine = [each for each in mine if each.body.get(ENDED[table])]
        return {e.last for e in mine if all(e.body.get(name) in only[name] for name in only)}

    def compare(rows: list[dict], wanted: set[int], *, more: bool = False) -> None:
        listed = {found[seq].last for row in rows for seq in row["events"]}
        require(wanted <= listed, f"report leaves out event {min(wanted - listed, default=0)}")
        extra = min(set() if more else listed - wanted, default=0)
        require(not extra, f"report has event {extra} where it is not due: another quarter's?")

    results, states = report["results"], {each.body.get("state") for each in records}
    compare(results["runs"], due("run"))
    compare(results["not_succeeded"], due("run", state=states - {"succeeded"}))
    compare(results["drills"], drills := due("drill"))
    compare(results["verdicts"], drills)
    compare(results["points"], due("point"))
    compare(report["integrity"]["checks"], due("check"))
    compare(report["security"]["key_drills"], due("key_drill"))
    kinds = {each.body.get("kind") for each in records} - {"key"}
    compare(report["sampling"]["drills"], due("drill", kind=kinds))
    for table in ("incident", "action", "alarm"):
        compare(report["issues"][f"{table}s"], due(table), more=True)
    for each in records:
        if each.table == "drill":
            same = each.body["checkpoint_root"] == roots[each.body["checkpoint_size"]].hex()
            require(same, f"drill {each.events[0]} was drawn from a checkpoint that never was")
    probes = ((seq, each) for seq in drills for each in found[seq].body["probes"])
    planted = {(seq, each["name"], each["outcome"]) for seq, each in probes if each["control"]}
    shown = {(max(e["events"]), e["fault"], e["answer"]) for e in report["controls"]["planted"]}
    require(planted == shown, "planted faults of the report are not those of its drills")
    timed = {each for each in due("drill", 1) if found[each].body["achieved_rto_us"] is not None}
    for each in report["rto"]["policies"]:
        compare(each["drills"], timed & due("drill", policy=[each["policy"]]))
        spans = [(first, last, each["measured"])]
        for row in each["trend"]:
            low, high = bounds(row["quarter"])
            spans.append((size(low) + 1, size(min(high, until)), row))
        for low, high, row in spans:
            compare([row], timed & due("drill", low, high, policy=[each["policy"]], verdict=SOUND))
    over = "" if until != end or len(events) > last else "; nothing shows that the quarter was over"
    return f"report of {quarter}, events {first} to {last} of {len(events)}{over}"


def verify(bundle: Path, keys: list[bytes], notes: list[str], quarter: str) -> str:
    """Verify a bundle; return what was shown, in words, or raise WrongError."""
    with tarfile.open(bundle) as tar:
        members = [member for member in tar if member.isfile()]
        names = {member.name.rpartition("/")[2]: member for member in members}
        require(len(names) == len(members), "bundle has two files of one name")
        report = json.loads(tar.extractfile(names["report.json"]).read())
        lines = [json.loads(line) for line in tar.extractfile(names["ledger.jsonl"])]
    head, events = lines[0], [line for line in lines if line["type"] == "event"]
    inner = [line["note"] for line in lines if line["type"] == "checkpoint"]
    require(head["form"] == "drkeeper/ledger-export/1", "export is of an unknown form")
    same = head["origin"] == report["identity"]["ledger"]
    require(same and head["first"] == 1, "report is of another ledger than these events")
    roots, covered = roots_of(events), 0
    for note, kept in [*((note, False) for note in inner), *((note, True) for note in notes)]:
        signed, root = open_checkpoint(note, head["origin"], keys)
        if signed <= len(events):
            require(roots[signed] == root, f"first {signed} events are not those signed")
            covered = max(covered, signed)
        require(not kept or signed <= len(events), f"checkpoint of {signed} events is not covered")
    require(covered, "nothing was signed")
    said = check_report(report, events, roots, quarter)
    loose = report["identity"]["last"] - covered
    return f"{said}; signed up to event {covered}" + f", {loose} are NOT SIGNED" * (loose > 0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--quarter", required=True, help="the quarter that the report must be of")
    parser.add_argument("--key", action="append", required=True, metavar="KEY")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        keys = [key_from_text(key) for key in options.key]
        notes = [path.read_text(encoding="utf-8") for path in options.checkpoint]
        print(f"VERIFIED: {verify(options.bundle, keys, notes, options.quarter)}")
    except WrongError as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
    except MALFORMED as error:
        print(f"NOT VERIFIED: bundle or note is malformed: {error!r}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
