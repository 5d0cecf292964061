"""What a reviewer must look at first: everything in the report that is not as promised."""

from collections.abc import Iterator, Mapping
from typing import Any

Sections = Mapping[str, Any]


def findings(sections: Sections) -> list[dict[str, Any]]:
    """Return what is not as promised, the gravest first."""
    found = [
        *_drills(sections),
        *_promises(sections),
        *_runs(sections),
        *_open(sections),
        *_untested(sections),
    ]
    order = {"bad": 0, "warn": 1}
    return sorted(found, key=lambda each: order[each["weight"]])


def _drills(sections: Sections) -> Iterator[dict[str, Any]]:
    for each in sections["results"]["drills"]:
        if each["verdict"] != "proven":
            who = _of(each["policy"])
            words = f"drill {each['drill']}{who} was {each['verdict']}: {each['reason']}"
            weight = "warn" if each["verdict"] == "inconclusive" else "bad"
            yield _finding(weight, words, "results", each["events"])
    for each in sections["controls"]["planted"]:
        if each["answer"] == "failed":
            words = f"planted fault {each['fault']} was not caught in drill {each['drill']}"
            yield _finding("bad", words, "controls", each["events"])
    for each in sections["security"]["key_drills"]:
        if not each["opened"]:
            words = f"key {each['recipient'][:24]} ({each['role']}) did not open what it must"
            yield _finding("bad", words, "security", each["events"])
    for each in sections["integrity"]["checks"]:
        if not each["passed"]:
            words = f"check of repository {each['repository']} found {each['findings']} errors"
            yield _finding("bad", words, "integrity", each["events"])


def _promises(sections: Sections) -> Iterator[dict[str, Any]]:
    for each in sections["rpo"]["policies"]:
        if each["violations"]:
            events = sorted({e for one in each["violations"] for e in one["events"]})
            words = f"RPO of policy {each['policy']} was exceeded {_times(len(each['violations']))}"
            yield _finding("bad", words, "rpo", events)
        if each["rpo_us"] is not None and each["durable"] is None:
            words = f"policy {each['policy']} has no recovery point at all"
            yield _finding("bad", words, "rpo", [])
    for each in sections["rto"]["policies"]:
        outlook = each["prediction"]["outlook"]
        if outlook in {"cannot-be-met", "at-risk"}:
            said = "cannot be met" if outlook == "cannot-be-met" else "is at risk"
            words = f"RTO of policy {each['policy']} {said} with the data of the newest point"
            weight = "bad" if outlook == "cannot-be-met" else "warn"
            yield _finding(weight, words, "rto", each["prediction"]["events"])


def _runs(sections: Sections) -> Iterator[dict[str, Any]]:
    for each in sections["results"]["runs"]:
        if each["state"] in {"failed", "interrupted", "skipped", "warnings"}:
            who = _of(each["policy"])
            count, state = each["count"], each["state"].replace("warnings", "with warnings")
            words = f"{count} {each['operation']} runs{who} ended {state}"
            if count == 1:
                words = f"one {each['operation']} run{who} ended {state}"
            yield _finding("warn", words, "results", each["events"])


def _open(sections: Sections) -> Iterator[dict[str, Any]]:
    for each in sections["issues"]["incidents"]:
        if each["ended_at"] is None:
            words = f"incident {each['incident']} ({each['kind']}){_of(each['policy'])} is open"
            yield _finding("bad", words, "issues", each["events"])
    for each in sections["issues"]["actions"]:
        if each["overdue"]:
            late = "is overdue" if each["closed_at"] is None else "was closed late"
            words = f"action {each['action']} ({each['title']}) {late}"
            yield _finding("warn", words, "issues", each["events"])


def _untested(sections: Sections) -> Iterator[dict[str, Any]]:
    for each in sections["scope"]["not_tested"]:
        if each["what"].startswith("no drill:"):
            words = f"{each['subject']} was not drilled"
            yield _finding("bad", words, "scope", each["events"])
    for each in sections["scope"]["policies"]:
        if each["as_recorded"] is False:
            words = f"policy {each['policy']} is configured otherwise than last recorded"
            yield _finding("warn", words, "scope", each["events"])


def _finding(weight: str, words: str, section: str, events: list[int]) -> dict[str, Any]:
    return {"weight": weight, "words": words, "section": section, "events": [*events]}


def _of(policy: str | None) -> str:
    return "" if policy is None else f" of policy {policy}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
