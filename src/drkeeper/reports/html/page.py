"""The page: head, summary, the fifteen sections, and the rules of what a browser may load: nothing."""

import base64
import hashlib
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, Final

from drkeeper.markup import Child, Markup, document, tag
from drkeeper.reports.html import account, proof, words
from drkeeper.reports.html.pieces import section, tile
from drkeeper.reports.html.words import span

_TITLES: Final = {
    "identity": ("Identity", account.identity),
    "scope": ("Scope, and what was not tested", account.scope),
    "people": ("People", account.people),
    "sampling": ("Sampling", account.sampling),
    "timeline": ("Timeline", account.timeline),
    "rto": ("Recovery time", proof.rto),
    "rpo": ("Recovery points", proof.rpo),
    "integrity": ("Integrity", proof.integrity),
    "controls": ("Negative controls", proof.controls),
    "security": ("Security", proof.security),
    "results": ("Results: all of them", account.results),
    "issues": ("Issues and corrective actions", account.issues),
    "review": ("Review", account.review),
    "standards": ("Control mapping", proof.standards),
    "evidence": ("Evidence", account.evidence),
}


_SHOWN: Final = 8
"""Findings that are shown at once; all are under Review. Source: ours; half a page."""


def html_bytes(report: dict[str, Any]) -> bytes:
    """Return a report as a page; from its JSON alone, the same bytes each time."""
    style = resources.files("drkeeper.reports").joinpath("static", "report.css").read_text("utf-8")
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    title = f"Recovery evidence {words.quarter(report['quarter'])}, {report['identity']['host']}"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=rules),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    ]
    parts = [
        section(place, name, heading, show(report))
        for place, (name, (heading, show)) in enumerate(_TITLES.items(), 1)
    ]
    contents = [
        tag("li", tag("a", heading, href=f"#{name}")) for name, (heading, _) in _TITLES.items()
    ]
    body = [
        tag("header", _head(report), _summary(report)),
        tag("nav", tag("ol", contents), aria_label="Contents"),
        tag("main", parts),
        tag("footer", f"Computed by drkeeper from events #1 to #{report['identity']['last']} of "
            f"{report['identity']['ledger']}. Form {report['form']}."),
    ]  # fmt: skip
    return document(head, body)


def _head(report: dict[str, Any]) -> Child:
    me = report["identity"]
    last = datetime.fromisoformat(me["until"]) - timedelta(microseconds=1)
    until = f"{words.day(me['begin'])} to {words.day(last.isoformat())}"
    unfinished = tag("p", "Not over: until now", class_="chip warn")
    return [
        tag("p", "drkeeper \u00b7 recovery evidence", class_="brand"),
        tag("h1", words.quarter(me["quarter"]), " ", tag("span", me["host"])),
        tag("p", f"{until} (UTC)", class_="dates"),
        None if me["complete"] else unfinished,
        tag("p", _verdict(report), class_="verdict"),
        _worst_findings(report),
    ]


def _worst_findings(report: dict[str, Any]) -> Child:
    bad = [each for each in report["review"]["findings"] if each["weight"] == "bad"]
    shown = [
        tag("li", tag("a", each["words"], href=f"#{each['section']}")) for each in bad[:_SHOWN]
    ]
    if len(bad) > _SHOWN:
        shown.append(tag("li", tag("a", f"{len(bad) - _SHOWN} more under Review", href="#review")))
    return tag("ul", shown, class_="worst") if shown else None


def _verdict(report: dict[str, Any]) -> str:
    found = report["review"]["findings"]
    bad = sum(each["weight"] == "bad" for each in found)
    if not found:
        return "Every promise that was tested was kept. What was not tested is listed under 2."
    if not bad:
        return f"Every promise that was tested was kept; {words.count_of(len(found), 'thing')} to look at."
    said = words.count_of(bad, "finding is", "findings are")
    return f"{said} not as promised. All of them are listed under Review."


def _summary(report: dict[str, Any]) -> Markup:
    drills = [each for each in report["results"]["drills"] if each["kind"] != "key"]
    proven = sum(each["verdict"] == "proven" for each in drills)
    runs = sum(each["count"] for each in report["results"]["runs"])
    good = sum(e["count"] for e in report["results"]["runs"] if e["state"] == "succeeded")
    issues = report["issues"]
    undone = sum(e["closed_at"] is None for e in issues["actions"])
    undone += sum(e["ended_at"] is None for e in issues["incidents"])
    planted = report["controls"]["planted"]
    caught = sum(each["answer"] == "passed" for each in planted)
    tiles = [
        tile("Drills proven", f"{proven} of {len(drills)}", "restored, probed, in time",
             "bad" if proven < len(drills) or not drills else "ok"),
        _worst(report["rto"]["policies"], "rto_us", "Slowest restore"),
        _worst(report["rpo"]["policies"], "rpo_us", "Worst gap"),
        tile("Runs succeeded", f"{good} of {runs}", "all others are listed",
             "ok" if good == runs else "warn"),
        tile("Planted faults caught", f"{caught} of {len(planted)}", "probes were themselves tested",
             "ok" if planted and caught == len(planted) else "bad"),
        tile("Open issues", undone, "incidents and actions", "warn" if undone else "ok"),
    ]  # fmt: skip
    return tag("div", tiles, class_="tiles")


def _worst(policies: list[dict[str, Any]], target: str, title: str) -> Markup:
    """Show the policy that came nearest to its target, or went farthest beyond it."""
    known = [
        (value / each[target], value, each)
        for each in policies
        if each[target] and (value := _measured(each, target)) is not None
    ]
    if not known:
        return tile(title, words.DASH, "no target was tested", "warn")
    used, value, each = max(known, key=lambda row: row[0])
    note = f"{each['policy']}; target {span(each[target])}"
    return tile(title, span(value), note, "bad" if used > 1 else "ok")


def _measured(policy: dict[str, Any], target: str) -> int | None:
    if target == "rto_us":
        value = policy["measured"]["max_achieved_rto_us"]
    else:
        value = policy["worst"] and policy["worst"]["gap_us"]
    return None if value is None else int(value)
