#!/usr/bin/env python3
"""Verify a drkeeper report against the signed events that it was computed from.

    verify_report.py BUNDLE.tar --quarter 2026Q4 --key drksign1... [--key ...] [--checkpoint NOTE ...]

Written from docs/ledger.md and docs/evidence.md; needs Python 3.11 and the package cryptography. BUNDLE
comes from `drkeeper report --bundle`, keys (the hosts' public signing keys) from elsewhere. NOTE is a
checkpoint that was kept elsewhere: in the repository, by an auditor, with the last report. Ends with 0
when all holds, 1 when it does not, 2 when called wrongly.

It shows that the events are those that were signed: none edited, removed, added or moved (parts 1 and 2);
that report.json says what they say and leaves out none of its quarter (part 3); and that every figure,
cause, sample and finding in it is what follows from them, each computed anew (part 4). It takes from the
report's own word only what no event says: the configuration's promises, addresses and names, section
"security" on copies and locks, and the words about standards. It does not show that what was recorded was
true, and says nothing of report.html: `drkeeper report --from report.json` makes that anew.
"""

import argparse
import base64
import hashlib
import itertools
import json
import math
import re
import statistics
import struct
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
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
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What is never tested unless there was a drill of the kind.
NEVER = {
    "bare": "no bare drill: that the store and the recovery kit alone suffice is not shown",
    "pitr": "no drill of an instant between recovery points",
    "mass": "no drill of many policies at once: their RTO together is not measured",
}
OUTLOOKS = {"cannot-be-met": ("bad", "cannot be met"), "at-risk": ("warn", "is at risk")}
# 95 % quantiles of Student's t for 1, 2, 3, ... degrees of freedom.
T_95 = (
    *(6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782),
    *(1.771, 1.761, 1.753, 1.746, 1.740, 1.734, 1.729, 1.725, 1.721, 1.717, 1.714),
)
# BLAKE3: the words of SHA-256's beginning, what is mixed with what, and how the message is reordered.
BLAKE3_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A)
BLAKE3_IV += (0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
BLAKE3_MIXED = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
BLAKE3_MIXED += ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
BLAKE3_ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)


class WrongError(Exception):
    """Something does not hold; says what."""


# ------------------------------------------------------------------ 1. keys and signatures


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


# ------------------------------------------------------------------ 2. the chain of events


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


# ------------------------------------------------------------------ 3. the report, and its events


def records_of(events: list[dict]) -> dict[int, Record]:
    """Return, by number of event, all that is said of the thing it is about."""
    things, found = {}, {}
    for event in events:
        if event["kind"] in TABLES:
            (table, member), body = TABLES[event["kind"]], json.loads(event["body"])
            key = (table, body[member] if member else event["seq"])
            found[event["seq"]] = record = things.setdefault(
                key, Record(table=table, events=[], body={}, since=event["at"])
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
    before = f"{int(quarter[:4]) - (quarter[5] == '1')}Q{(int(quarter[5]) + 2) % 4 + 1}"
    require(me["previous"]["quarter"] == before, f"report does not follow that of {before}")
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
    recompute(report, events, found, roots)
    over = "" if until != end or len(events) > last else "; nothing shows that the quarter was over"
    return f"report of {quarter}, events {first} to {last} of {len(events)}{over}"


# ------------------------------------------------------------------ 4. the report, computed anew
#
# Everything below follows docs/evidence.md, "How figures are computed", and takes nothing from the report
# but what the configuration has promised (section scope). Spans are whole microseconds.


class Facts:
    """What the events of a ledger say, up to the end of a report.

    Attributes:
        report: What is held against them; only its promises are believed.
        first, last: Numbers of the quarter's events.
        begin, until: Its bounds, in microseconds since 1970.
    """

    def __init__(self, report: dict, events: list[dict], found: dict[int, Record]) -> None:
        me = report["identity"]
        self.report, self.events = report, events
        self.first, self.last = me["first"], me["last"]
        self.begin, self.until = micros(me["begin"]), micros(me["until"])
        self.tables: dict[str, list[Record]] = {}
        self.owned: dict[tuple[str, str | None], list[Record]] = {}
        for each in {id(each): each for each in found.values()}.values():
            self.tables.setdefault(each.table, []).append(each)
            self.owned.setdefault((each.table, each.body.get("policy")), []).append(each)
        self.promises = {each["policy"]: each for each in report["scope"]["policies"]}
        tables = ("run", "point", "drill", "incident")
        named = {each.body.get("policy") for name in tables for each in self.news(name)}
        self.policies = sorted({*self.promises, *named} - {None, ""})

    def all(self, table: str, *policy: str) -> list[Record]:
        """Return all things of a kind, or those of a policy."""
        known = self.owned.get((table, *policy)) if policy else self.tables.get(table)
        return known or []

    def news(self, table: str, *policy: str) -> list[Record]:
        """Return those of which the quarter says something."""
        return [each for each in self.all(table, *policy) if each.last >= self.first]

    def closed(self, table: str, *policy: str) -> list[Record]:
        """Return those that ended in the quarter."""
        return [e for e in self.news(table, *policy) if e.body.get("ended_at") is not None]

    def drilled(self, *policy: str) -> list[Record]:
        """Return the drills of data that ended in the quarter."""
        return [each for each in self.closed("drill", *policy) if each.body["kind"] != "key"]

    def size(self, stop: str) -> int:
        """Return the number of the last event that was written before an instant."""
        return max((e["seq"] for e in self.events[: self.last] if e["at"] < stop), default=0)

    def quarters(self) -> list[tuple[str, int, int, int, int]]:
        """Return eight quarters: name, first event, last event, begin, end."""
        year, place = int(self.report["quarter"][:4]), int(self.report["quarter"][5]) - 1
        rows = []
        for at in range(year * 4 + place - 7, year * 4 + place + 1):
            name = f"{at // 4:04}Q{at % 4 + 1}"
            low, high = bounds(name)
            end = min(high, self.report["until"])
            rows.append((name, self.size(low) + 1, self.size(end), micros(low), micros(end)))
        return rows


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def spelt(at: int) -> str:
    return f"{EPOCH + timedelta(microseconds=at):%Y-%m-%dT%H:%M:%S.%f}Z"


def row(record: Record, names: str = "", **more: object) -> dict:
    return {"events": record.events, **{n: record.body.get(n) for n in names.split()}, **more}


def figure(records: Iterable[Record], names: str = "", **more: object) -> dict:
    known = list(records)
    made = {"events": sorted(each.last for each in known), "count": len(known), **more}
    for name in names.split():
        how, _, member = name.partition("_")
        values = [v for each in known if (v := each.body.get(member)) is not None]
        made[name] = FIGURES[how](values) if values else None
    return made


def counts(records: Iterable[Record], names: str) -> list[dict]:
    groups = grouped(records, lambda each: tuple(each.body.get(name) for name in names.split()))
    ordered = sorted(groups, key=lambda key: tuple(map(str, key)))
    return [figure(groups[key], **dict(zip(names.split(), key, strict=True))) for key in ordered]


def grouped(things: Iterable, key_of: Callable) -> dict:
    groups = {}
    for each in things:
        groups.setdefault(key_of(each), []).append(each)
    return groups


def sound(drill: Record) -> bool:
    return drill.body.get("verdict") in SOUND


def same(where: str, said: object, due: object) -> None:
    """Compare a part of the report with what it must be; name the first place that differs."""
    if isinstance(due, dict) and isinstance(said, dict):
        require(set(said) == set(due), f"{where} has other members than it must")
        for name in due:
            same(f"{where}.{name}", said[name], due[name])
    elif isinstance(due, list) and isinstance(said, list):
        for place, (one, other) in enumerate(zip(said, due, strict=False)):
            same(f"{where}[{place}]", one, other)
        require(len(said) == len(due), f"{where} has {len(said)} rows; by the events {len(due)}")
    else:
        equal = type(said) is type(due) and said == due
        require(equal, f"{where} is {shown(said)} in the report; by the events {shown(due)}")


def shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 90 else f"{text[:80]}..."


# ---- how long a restore takes


def rto(facts: Facts) -> dict:
    every = [e for e in facts.all("drill") if e.body.get("achieved_rto_us") is not None]
    quarters, by_policy = facts.quarters(), grouped(every, lambda e: e.body["policy"])
    policies = []
    for name in facts.policies:
        target = facts.promises.get(name, {}).get("rto_us")
        known = by_policy.get(name, [])
        good = [each for each in known if sound(each)]
        trend = [
            figure(
                [e for e in good if low <= e.last <= high],
                "median_achieved_rto_us max_achieved_rto_us", quarter=quarter,
            )
            for quarter, low, high, *_ in quarters
        ]  # fmt: skip
        measured = [each for each in good if each.last >= facts.first]
        names = "min_achieved_rto_us median_achieved_rto_us max_achieved_rto_us"
        policies.append({
            "policy": name, "rto_us": target, "trend": trend,
            "drills": [timed(each) for each in known if each.last >= facts.first],
            "measured": figure(measured, names),
            "prediction": expected(facts, name, good, target),
        })  # fmt: skip
    together = [
        timed(each)
        for each in facts.closed("drill")
        if each in every and each.body["policy"] is None and each.body["kind"] != "key"
    ]
    return {"policies": policies, "together": together}


def timed(drill: Record) -> dict:
    """Show a drill by phase, and whether it took what was foretold before it."""
    body = drill.body
    low, middle, high = (body.get(f"predicted_{name}_us") for name in ("low", "rto", "high"))
    foretold, achieved = None, body["achieved_rto_us"]
    if None not in {low, middle, high}:
        hit = "faster" if achieved < low else "slower" if achieved > high else "inside"
        percent = round(100 * (achieved / 1e6 / max(middle / 1e6, 1e-6)))
        foretold = {"hit": hit, "factor_percent": percent}
    names = "declared_at kind choice verdict achieved_rto_us promised_rto_us plain_bytes phases"
    names += " predicted_low_us predicted_rto_us predicted_high_us"
    spans = [{"phase": phase, "span_us": us} for phase, us in took(drill)]
    return row(drill, names, drill=drill.events[0], took=spans, foretold=foretold)


def took(drill: Record) -> list[tuple[str, int]]:
    """Return how long each phase took, up to the last probe."""
    phases, last, spans = drill.body["phases"], 0, []
    for each in phases:
        if each["phase"] != "torn-down":
            spans.append((each["phase"], each["elapsed_us"] - last))
            last = each["elapsed_us"]
    return spans


def expected(facts: Facts, policy: str, good: list[Record], target: int | None) -> dict:
    """Foretell a restore of the newest point: 90 % of a log-normal spread of unknown width."""
    points = facts.all("point", policy)
    newest = max(points, key=lambda each: each.last, default=None)
    size = newest and newest.body["plain_bytes"]
    used = [e for e in reversed(good) if e.body["kind"] == "restore"][:24] if newest else []
    used = used if len([each for each in used if took(each)]) >= 3 else []
    span = dict.fromkeys(("low_us", "expected_us", "high_us"))
    if used:
        sizes = sorted(each.body["plain_bytes"] or 0 for each in used)
        logs = [math.log(scaled(each, size)) for each in used]
        spread = statistics.stdev(math.log(scaled(e, sizes[len(sizes) // 2])) for e in used)
        count, middle = len(used), statistics.fmean(logs)
        margin = T_95[count - 2] * max(spread, 0.02) * math.sqrt(1 + 1 / count)
        for name, log in zip(span, (middle - margin, middle, middle + margin), strict=True):
            span[name] = round(min(math.exp(min(log, 30)), 3650 * 86400) * 1e6)
        of_policy = [e for e in facts.report["rto"]["policies"] if e["policy"] == policy]
        for name, due in span.items():  # a logarithm's last digit is not the same everywhere
            said = [e["prediction"][name] for e in of_policy if type(e["prediction"][name]) is int]
            span[name] = next((each for each in said if abs(each - due) <= 3), due)
    if target is None or not used:
        outlook = "no target" if target is None else "unknown"
    elif span["expected_us"] > target:
        outlook = "cannot-be-met"
    else:
        outlook = "at-risk" if span["high_us"] > target else "will-be-met"
    events = sorted(each.last for each in [*used, *([newest] if newest else [])])
    return {"events": events, "bytes": size, "from_drills": len(used), **span, "outlook": outlook}


def scaled(drill: Record, size: int) -> float:
    """Return the seconds that a drill would have taken at another size."""
    factor = size / drill.body["plain_bytes"] if drill.body["plain_bytes"] else 1.0
    grows = {"restored": factor, "probes-passed": factor}
    total = sum(us / 1e6 * grows.get(phase, 1.0) for phase, us in took(drill))
    return max(round(total, 6), 1e-6)


# ---- how much would be lost


def rpo(facts: Facts) -> dict:
    quarters = facts.quarters()
    return {"policies": [rpo_of(facts, name, quarters) for name in facts.policies]}


def rpo_of(facts: Facts, policy: str, quarters: list[tuple]) -> dict:
    target = facts.promises.get(policy, {}).get("rpo_us")
    points = [
        (micros(e.body["finished_at"]), e.last, micros(e.body["consistent_at"]))
        for e in facts.all("point", policy)
    ]
    seen = [micros(e.since) for e in facts.all("policy", policy)]
    since = min([*seen, *(at for *_, at in points)], default=facts.until)
    walk = gaps(points, max(facts.begin, since), facts.until)
    worst = max(walk, key=lambda each: each["gap_us"], default=None)
    late = [] if target is None else [each for each in walk if each["gap_us"] > target]
    trend = []
    for quarter, low, high, begin, end in quarters:
        walked = gaps([e for e in points if e[1] <= high], max(begin, since), end)
        most = max(walked, key=lambda each: each["gap_us"], default=None)
        trend.append({
            "quarter": quarter,
            "gap_us": most and most["gap_us"],
            "events": most["events"] if most else [],
            "points": sum(low <= event <= high for _, event, _ in points),
        })  # fmt: skip
    shown_by = [e for e in facts.all("drill", policy) if sound(e) and e.body["consistent_at"]]
    through = [
        (micros(e.body.get("recoverable_through") or e.body["consistent_at"]), e.last)
        for e in shown_by
    ]
    there = [(at, event) for ready, event, at in points if ready <= facts.until]
    mine = [e for e in shown_by if e.last >= facts.first and e.body["choice"] == "latest"]
    return {
        "policy": policy,
        "rpo_us": target,
        "durable": aged(there, facts.until),
        "proven": aged(through, facts.until),
        "worst": worst,
        "violations": [
            each
            | {"violated_from": spelt(max(micros(each["from"]) + target, facts.begin))}
            | {"causes": causes(facts, policy, micros(each["from"]), micros(each["to"]))}
            for each in late
        ],
        "drilled": figure(mine, "min_achieved_rpo_us median_achieved_rpo_us max_achieved_rpo_us"),
        "trend": trend,
        "window": window(there),
    }


def gaps(points: list[tuple[int, int, int]], begin: int, end: int) -> list[dict]:
    """Walk through the points in the order in which they became ready; tell how old the newest was.

    Args:
        points: When each was ready, its event, and the instant that its data describes.
        begin: Where to begin; without any earlier point, the data is at stake from there.
        end: Where to end.
    """
    ordered = sorted(points)
    best = max((each for each in ordered if each[0] < begin), key=lambda e: e[2], default=None)
    newest, before = (best[2], best[1]) if best else (begin, None)
    walk = []
    inside = [each for each in ordered if begin <= each[0] <= end]
    for ready, event, at in [*inside, (end, None, 0)] if begin < end else []:
        walk.append({
            "gap_us": max(ready - newest, 0),
            "from": spelt(newest),
            "to": spelt(ready),
            "went_on": event is None,
            "had_none": before is None,
            "events": [each for each in (before, event) if each is not None],
        })  # fmt: skip
        if event is not None and (at >= newest or before is None):
            newest, before = max(newest, at), event
    return walk


def causes(facts: Facts, policy: str, begin: int, end: int) -> list[dict]:
    """Return what is known of why there was no newer point: incidents, and runs that came to nothing."""
    known = []
    for each in facts.all("incident", policy):
        body = each.body
        ended = micros(body["ended_at"]) if body.get("ended_at") else end
        if body["kind"] == "rpo-violated" and micros(body["began_at"]) <= end and ended >= begin:
            known.append({"cause": body["cause"] or "not recorded", "events": each.events})
    for each in facts.closed("run", policy):
        body = each.body
        lost = body["state"] in {"failed", "interrupted", "skipped"}
        if lost and begin <= micros(body["ended_at"]) <= end:
            why = (body.get("failure") or {}).get("message", "no reason was recorded")
            cause = f"{body['operation']} {body['state']}: {why}"
            known.append({"cause": cause, "events": each.events})
    return known


def aged(known: list[tuple[int, int]], until: int) -> dict | None:
    """Return the newest instant, its age, and the event that says so."""
    if not known:
        return None
    at, event = max(known)
    return {"through": spelt(at), "age_us": max(until - at, 0), "events": [event]}


def window(there: list[tuple[int, int]]) -> dict | None:
    """Return from when to when there is something to go back to."""
    if not there:
        return None
    known = sorted(dict(there).items())
    longest = max((b[0] - a[0] for a, b in itertools.pairwise(known)), default=0)
    return {
        "oldest": spelt(known[0][0]),
        "newest": spelt(known[-1][0]),
        "points": len(known),
        "longest_us": longest,
        "events": sorted({known[0][1], known[-1][1]}),
    }


# ---- what was drilled, and who chose it


def sampling(facts: Facts) -> dict:
    names = "policy kind choice planned_at checkpoint_size checkpoint_root"
    names += " repository commit_number consistent_at"
    rows = []
    for each in facts.drilled():
        root, number = bytes.fromhex(each.body["checkpoint_root"]), each.events[0]
        seed = blake3(b"drkeeper/v1/drill seed\0" + root + number.to_bytes(8, "big"))
        drawn = drawing(facts, each, seed)
        rows.append(row(each, names, drill=number, seed=seed.hex(), drawn=drawn))
    rule = "seed = BLAKE3(root of the newest checkpoint before the plan, number of the drill)"
    return {"rule": rule, "drills": rows, "points_in_quarter": figure(facts.news("point"))}


def drawing(facts: Facts, drill: Record, seed: bytes) -> str:
    """Draw the sample again, of the candidates that are listed, or that the ledger knew."""
    body = drill.body
    if body["choice"] != "random" or body["commit_number"] is None:
        return "not random" if body["choice"] != "random" else "nothing was taken"
    listed = body["detail"].get("candidates")
    whose = "listed" if isinstance(listed, list) else "recorded"
    known = listed if whose == "listed" else [
        e.body["commit_number"]
        for e in facts.all("point", body["policy"])
        if e.last < drill.events[0] and e.body["complete"]
        and e.body["repository"] == body["repository"]
    ]  # fmt: skip
    if not known:
        return "candidates are not known"
    limit = 2**64 - 2**64 % len(known)
    stream = (int.from_bytes(blake3(seed, 8, at), "big") for at in itertools.count(0, 8))
    due = sorted(known)[next(word for word in stream if word < limit) % len(known)]
    if due == body["commit_number"]:
        return f"as drawn of {len(known)} {whose}"
    if whose == "listed":
        return f"not as drawn of {len(known)} listed: {due} was"
    return f"not shown: candidates are not listed; of all {len(known)} recorded, {due} is drawn"


def blake3(data: bytes, length: int = 32, seek: int = 0) -> bytes:
    """Hash at most 64 bytes, one block (the BLAKE3 paper, 2.1 to 2.6)."""
    require(len(data) <= 64, "more than a block is hashed")
    words = struct.unpack("<16I", data.ljust(64, b"\0"))
    block, skip = divmod(seek, 64)
    out = b""
    while len(out) < skip + length:
        # Flags: begin of a chunk, its end, and root. The block's number counts the output.
        v = [*BLAKE3_IV, *BLAKE3_IV[:4], block % 2**32, block >> 32, len(data), 1 | 2 | 8]
        m = list(words)
        for _ in range(7):
            for place, (a, b, c, d) in enumerate(BLAKE3_MIXED):
                for word, left, right in ((m[2 * place], 16, 12), (m[2 * place + 1], 8, 7)):
                    v[a] = (v[a] + v[b] + word) % 2**32
                    v[d] = rotated(v[d] ^ v[a], left)
                    v[c] = (v[c] + v[d]) % 2**32
                    v[b] = rotated(v[b] ^ v[c], right)
            m = [m[place] for place in BLAKE3_ORDER]
        high = [x ^ y for x, y in zip(v[8:], BLAKE3_IV, strict=True)]
        out += struct.pack("<16I", *(x ^ y for x, y in zip(v[:8], v[8:], strict=True)), *high)
        block += 1
    return out[skip : skip + length]


def rotated(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) % 2**32


# ---- what was covered, and when


def people(facts: Facts) -> dict:
    hosts = grouped(facts.news("run"), lambda e: e.body.get("process", {}).get("host", ""))
    owners = grouped(facts.all("action"), lambda e: e.body["owner"])
    return {
        "machines": [
            {"machine": n, "events": sorted(e.last for e in hosts[n])} for n in sorted(hosts)
        ],
        "owners": [
            {"owner": n, "events": sorted(e.last for e in owners[n])} for n in sorted(owners)
        ],
        "not_recorded": facts.report["people"]["not_recorded"],  # words
    }


def scope(facts: Facts) -> dict:
    """Hold the promises against what the ledger saw of them, and list all that was not tested."""
    policies = []
    for each in facts.report["scope"]["policies"]:
        (seen,) = facts.all("policy", each["policy"]) or [None]
        recorded = seen and seen.body["definition"]
        policies.append(each | {
            "events": seen.events if seen else [],
            "recorded_as": recorded,
            "as_recorded": None if seen is None else recorded == each["configured_as"],
        })  # fmt: skip
    return facts.report["scope"] | {"policies": policies, "not_tested": [*untested(facts)]}


def untested(facts: Facts) -> Iterator[dict]:
    def gap(subject: str, what: str, records: Iterable[Record] = ()) -> dict:
        events = sorted(each.last for each in records)
        return {"subject": subject, "what": what, "events": events}

    for name in facts.policies:
        mine, promise = facts.drilled(name), facts.promises.get(name)
        if promise is None:
            what = "is not configured on this machine; its promises are not known"
            yield gap(f"policy {name}", what)
        if not mine:
            yield gap(f"policy {name}", "no drill: that it can be restored is not shown")
        elif not any(map(sound, mine)):
            yield gap(f"policy {name}", "no drill was sound", mine)
        for short in ("rpo", "rto") if promise else ():
            if promise[f"{short}_us"] is None:
                yield gap(f"policy {name}", f"no {short.upper()} is promised: none was tested")
        if mine and {each.body["choice"] for each in mine} == {"latest"}:
            yield gap(f"policy {name}", "only the newest point was drilled, no older one", mine)
    tested = {(e.body["repository"], e.body["commit_number"]) for e in facts.drilled()}
    for name in facts.policies:
        points = facts.news("point", name)
        named = ((e.body["repository"], e.body["commit_number"]) for e in points)
        rest = [e for e, point in zip(points, named, strict=True) if point not in tested]
        if rest:
            what = f"{len(rest)} of {len(points)} recovery points were not restored by a drill"
            yield gap(f"policy {name}", what, rest)
    kinds = {each.body["kind"] for each in facts.closed("drill")}
    for kind, what in NEVER.items():
        if kind not in kinds:
            yield gap("all policies", what)
    if not facts.news("key_drill"):
        yield gap("recovery keys", "no key was tried: that each one opens is not shown")
    if not facts.news("check"):
        yield gap("repositories", "no check of stored data")
    yield gap("people and places", "telephone lists, suppliers, rooms and networks: never")


def timeline(facts: Facts) -> dict:
    told = []

    def tell(what: str, on: str, words: str, each: Record, tone: str) -> None:
        of = each.body.get("policy") or ""
        told.append(
            {"what": what, "on": on, "words": words, "of": of, "tone": tone, "events": each.events}
        )

    for each in facts.closed("drill"):
        body = each.body
        words = f"drill {each.events[0]} ({body['kind']}, {body['choice']}): {body['verdict']}"
        tell("drill", body["ended_at"], words, each, body["verdict"])
    for each in facts.closed("run"):
        if (state := each.body["state"]) != "succeeded":
            words = f"{each.body['operation']} {state}"
            tell("run", each.body["ended_at"], words, each, state)
    for each in facts.news("incident"):
        words = f"incident {each.events[0]}: {each.body['kind']}"
        tell("incident", each.body["began_at"], words, each, "opened")
    for each in facts.news("alarm"):
        kind = each.body["kind"]
        words = f"alarm: {kind} ({each.body['subject_name']})"
        tell("alarm", each.body["raised_at"], words, each, kind)
    for each in facts.news("action"):
        done = each.body.get("closed_at")
        words = f"action {each.events[0]} {'closed' if done else 'opened'}: {each.body['title']}"
        tell("action", done or each.body["opened_at"], words, each, "")
    told.sort(key=lambda each: (each["on"], each["events"]))
    days = grouped(facts.closed("run"), lambda e: (e.body["ended_at"][:10], e.body["state"]))
    for each in facts.closed("drill"):
        proven = "drill proven" if each.body["verdict"] == "proven" else "drill not proven"
        days.setdefault((each.body["ended_at"][:10], proven), []).append(each)
    calendar = [
        {
            "day": day,
            "outcome": outcome,
            "count": len(found),
            "events": sorted(e.last for e in found),
        }
        for (day, outcome), found in sorted(days.items(), key=lambda item: item[0])
    ]
    return {"entries": told, "calendar": calendar}


# ---- whether what is kept is right


def integrity(facts: Facts) -> dict:
    names = "repository kind passed checked_at policy objects read_bytes findings detail"
    newest = {each.body["repository"]: each for each in facts.all("check")}
    ages = {name: max(facts.until - micros(e.body["checked_at"]), 0) for name, e in newest.items()}
    answers = grouped(
        (
            (each["kind"], each["outcome"], drill.last)
            for drill in facts.closed("drill")
            for each in drill.body["probes"]
            if not each["control"]
        ),
        lambda each: each[:2],
    )
    me = facts.report["identity"]
    return {
        "checks": [row(each, names) for each in facts.news("check")],
        "newest": [
            {**figure([e]), "store": name, "newest": e.body["checked_at"], "age_us": ages[name]}
            for name, e in sorted(newest.items(), key=lambda item: item[0])
        ],
        "probes": [
            {"probe": kind, "answer": answer, "asked": len(found), "events": sorted({*events})}
            for (kind, answer), found in sorted(answers.items())
            for events in [[event for *_, event in found]]
        ],
        "ledger": {"chain": "sound", "first": 1, "last": facts.last, "root": me["root"]},
    }


def controls(facts: Facts) -> dict:
    planted, bare = [], []
    for drill in facts.closed("drill"):
        mine = [each for each in drill.body["probes"] if each["control"]]
        if not mine and drill.body["kind"] not in {"key", "mass"}:
            bare.append(drill)
        planted += [
            {
                "drill": drill.events[0], "policy": drill.body["policy"], "fault": each["name"],
                "answer": each["outcome"], "caught": each["caught_by"], "planted": each["found"],
                "events": drill.events,
            }
            for each in mine
        ]  # fmt: skip
    by_fault = []
    for fault, found in sorted(grouped(planted, lambda each: each["fault"]).items()):
        came = [each["answer"] for each in found]
        by_fault.append({
            "fault": fault, "times": len(found), "times_caught": came.count("passed"),
            "times_missed": came.count("failed"), "times_not_tried": came.count("broken"),
            "events": sorted({each["events"][-1] for each in found}),
        })  # fmt: skip
    return {"planted": planted, "by_fault": by_fault, "drills_without": figure(bare)}


def security(facts: Facts) -> dict:
    names = "repository recipient role session opened checked_at detail took_us"
    newest = {(e.body["repository"], e.body["recipient"]): e for e in facts.all("key_drill")}
    shown = "repository recipient role opened checked_at"
    return facts.report["security"] | {
        "recipients": [row(newest[key], shown) for key in sorted(newest)],
        "recipients_known": "from key drills only" if newest else "unknown",
        "key_drills": [row(each, names) for each in facts.news("key_drill")],
    }


# ---- what came of it


def results(facts: Facts) -> dict:
    runs, drills = facts.closed("run"), facts.closed("drill")
    run = "run policy operation state started_at"
    drill = "policy kind choice declared_at ended_at verdict reason scratch repository"
    drill += " commit_number consistent_at recoverable_through plain_bytes read_bytes files"
    drill += " restored failure scratch_failure expected_end reached_end promised_rpo_us"
    drill += " achieved_rpo_us promised_rto_us achieved_rto_us probes"
    bad = [each for each in runs if each.body["state"] != "succeeded"]
    open_runs = [e for e in facts.all("run") if e.body.get("ended_at") is None]
    open_drills = [e for e in facts.all("drill") if e.body.get("verdict") is None]
    planned = "policy kind planned_at declared_at"
    return {
        "runs": counts(runs, "policy operation state"),
        "not_succeeded": [row(each, f"{run} ended_at failure") for each in bad],
        "open_runs": [row(each, run) for each in open_runs],
        "verdicts": counts(drills, "policy verdict"),
        "drills": [row(each, drill, drill=each.events[0]) for each in drills],
        "open_drills": [row(each, planned, drill=each.events[0]) for each in open_drills],
        "points": counts(facts.news("point"), "policy repository complete"),
    }


def issues(facts: Facts) -> dict:
    def living(table: str, end: str) -> list[Record]:
        every = facts.all(table)
        return [e for e in every if e.last >= facts.first or e.body.get(end) is None]

    def overdue(body: dict) -> bool:
        due, done = body.get("due_at"), body.get("closed_at")
        return due is not None and (micros(done) if done else facts.until) > micros(due)

    incident = "kind policy began_at ended_at worst_us cause drill"
    action = "title owner opened_at due_at closed_at outcome policy drill incident"
    alarm = "kind subject_kind subject_name message raised_at cleared_at"
    return {
        "incidents": [
            row(each, incident, incident=each.events[0]) for each in living("incident", "ended_at")
        ],
        "actions": [
            row(each, action, action=each.events[0], overdue=overdue(each.body))
            for each in living("action", "closed_at")
        ],
        "alarms": [
            row(each, alarm, alarm=each.events[0]) for each in living("alarm", "cleared_at")
        ],
    }


def findings(made: dict) -> list[dict]:
    """List what is not as promised, from sections that hold; the grave ones first."""
    found = []

    def find(weight: str, section: str, events: Iterable[int], words: str) -> None:
        found.append({"weight": weight, "words": words, "section": section, "events": [*events]})

    def of(each: dict) -> str:
        return "" if each["policy"] is None else f" of policy {each['policy']}"

    for each in made["results"]["drills"]:
        if each["verdict"] != "proven":
            weight = "warn" if each["verdict"] == "inconclusive" else "bad"
            words = f"drill {each['drill']}{of(each)} was {each['verdict']}: {each['reason']}"
            find(weight, "results", each["events"], words)
    for each in made["controls"]["planted"]:
        if each["answer"] == "failed":
            words = f"planted fault {each['fault']} was not caught in drill {each['drill']}"
            find("bad", "controls", each["events"], words)
    for each in made["security"]["key_drills"]:
        if not each["opened"]:
            words = f"key {each['recipient'][:24]} ({each['role']}) did not open what it must"
            find("bad", "security", each["events"], words)
    for each in made["integrity"]["checks"]:
        if not each["passed"]:
            words = f"check of repository {each['repository']} found {each['findings']} errors"
            find("bad", "integrity", each["events"], words)
    for each in made["rpo"]["policies"]:
        late = each["violations"]
        times = "once" if len(late) == 1 else f"{len(late)} times"
        if late:
            events = sorted({event for one in late for event in one["events"]})
            find("bad", "rpo", events, f"RPO of policy {each['policy']} was exceeded {times}")
        if each["rpo_us"] is not None and each["durable"] is None:
            find("bad", "rpo", [], f"policy {each['policy']} has no recovery point at all")
    for each in made["rto"]["policies"]:
        weight, words = OUTLOOKS.get(each["prediction"]["outlook"], ("", ""))
        if weight:
            words = f"RTO of policy {each['policy']} {words} with the data of the newest point"
            find(weight, "rto", each["prediction"]["events"], words)
    for each in made["results"]["runs"]:
        if each["state"] in {"failed", "interrupted", "skipped", "warnings"}:
            count, state = each["count"], each["state"].replace("warnings", "with warnings")
            runs = (
                f"one {each['operation']} run"
                if count == 1
                else f"{count} {each['operation']} runs"
            )
            find("warn", "results", each["events"], f"{runs}{of(each)} ended {state}")
    for each in made["issues"]["incidents"]:
        if each["ended_at"] is None:
            words = f"incident {each['incident']} ({each['kind']}){of(each)} is open"
            find("bad", "issues", each["events"], words)
    for each in made["issues"]["actions"]:
        if each["overdue"]:
            late = "is overdue" if each["closed_at"] is None else "was closed late"
            words = f"action {each['action']} ({each['title']}) {late}"
            find("warn", "issues", each["events"], words)
    for each in made["scope"]["not_tested"]:
        if each["what"].startswith("no drill:"):
            find("bad", "scope", each["events"], f"{each['subject']} was not drilled")
    for each in made["scope"]["policies"]:
        if each["as_recorded"] is False:
            words = f"policy {each['policy']} is configured otherwise than last recorded"
            find("warn", "scope", each["events"], words)
    return sorted(found, key=lambda each: each["weight"])  # "bad" before "warn"


def evidence(facts: Facts, roots: list[bytes]) -> dict:
    first, last, me = facts.first, facts.last, facts.report["identity"]
    kinds = grouped(facts.events[first - 1 : last], lambda each: each["kind"])
    named = grouped(facts.news("drill"), lambda e: e.body["checkpoint_size"])
    return {
        "ledger": me["ledger"], "first": first, "last": last,
        "hash_before": facts.events[first - 2]["hash"] if first > 1 else "00" * 32,
        "hash_last": facts.events[last - 1]["hash"],
        "root": me["root"],
        "kinds": [{"kind_of_event": k, "number": len(kinds[k])} for k in sorted(kinds)],
        "checkpoints": [
            {"size": n, "root": roots[n].hex(), "events": sorted(e.last for e in named[n])}
            for n in sorted(named)
            if n
        ],
    }  # fmt: skip


def check_targets(facts: Facts) -> None:
    """See that the promises are those that drills were held to since the ledger last saw the policy.

    Only where the policy is as it was recorded then: a promise may be changed, but not silently.
    """
    for promise in facts.report["scope"]["policies"]:
        name = promise["policy"]
        seen = facts.all("policy", name)
        if not seen or seen[0].body["definition"] != promise["configured_as"]:
            continue
        for drill in facts.all("drill", name):
            for short in ("rpo", "rto"):
                held, said = drill.body[f"promised_{short}_us"], promise[f"{short}_us"]
                same = held in {None, said} or drill.events[0] < seen[0].last
                what = f"{short.upper()} of policy {name} is {said} in the report"
                require(same, f"{what}; drill {drill.events[0]} was held to {held}")


def recompute(
    report: dict, events: list[dict], found: dict[int, Record], roots: list[bytes]
) -> None:
    """See that each section is what follows from the events, to the last figure and sentence."""
    facts = Facts(report, events, found)
    check_targets(facts)
    for name in (part.__name__ for part in SECTIONS):
        require(name in report, f"report lacks the section {name}")
    made = {part.__name__: part(facts) for part in SECTIONS}
    for name, due in made.items():
        same(name, report[name], due)
    same("evidence", report["evidence"], evidence(facts, roots))
    review = {"findings": findings(made), "complete": report["identity"]["complete"]}
    same("review", report["review"], report["review"] | review)
    names = {part.__name__ for part in SECTIONS} | ELSEWHERE
    require(set(report) == names, "report has other members than it must")


SECTIONS = (
    scope,
    people,
    sampling,
    timeline,
    rto,
    rpo,
    integrity,
    controls,
    security,
    results,
    issues,
)
# Seen in part 3, made of the above, or words: what the standards ask for.
ELSEWHERE = {"form", "quarter", "until", "identity", "review", "standards", "evidence"}


# ------------------------------------------------------------------ 5. the bundle


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
