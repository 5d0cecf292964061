"""Sections that give an account: identity, scope, people, timeline, results, issues, review, evidence."""

from typing import Any

from drkeeper.markup import Child, tag
from drkeeper.reports.html import charts, words
from drkeeper.reports.html.pieces import chip, counted, listed, name_of, note, pairs, refs, table
from drkeeper.reports.html.words import count_of, span, when

Section = dict[str, Any]


def identity(report: Section) -> Child:
    """Show which quarter of which ledger this is."""
    me = report["identity"]
    previous = me["previous"]
    return [
        pairs(
            [
                ("Quarter", f"{me['quarter']}: {when(me['begin'])} to {when(me['end'])} UTC"),
                ("Reported until", f"{when(me['until'])} UTC"),
                ("Machine", me["host"]),
                ("Ledger", tag("code", me["ledger"])),
                ("Events of the quarter", f"#{me['first']} to #{me['last']}"),
                ("Root of the ledger at its end", tag("code", me["root"])),
                (
                    f"Chain to the last report ({previous['quarter']})",
                    [f"#{previous['last']}, root ", tag("code", previous["root"])],
                ),
            ]
        ),
        note(
            "Numbers with # name events of the ledger. Quarters and instants are in UTC. An event "
            "belongs to the quarter in which it was written. The root at the end of the last quarter must be "
            "the one that the last report bears."
        ),
    ]


def scope(report: Section) -> Child:
    """Show what is promised, and everything that was not tested."""
    part = report["scope"]
    policies = [
        (
            tag("strong", each["policy"]),
            [each["source"], ": ", ", ".join(each["protects"])],
            each["repository"],
            each["schedule"] or "by hand",
            span(each["rpo_us"]),
            span(each["rto_us"]),
            _recorded(each["as_recorded"]),
            refs(each["events"]),
        )
        for each in part["policies"]
    ]
    gaps = [(each["subject"], each["what"], refs(each["events"])) for each in part["not_tested"]]
    return [
        table(
            ("Policy", "Protects", "Repository", "Schedule", "RPO", "RTO", "As recorded", "Events"),
            policies,
            empty="No policy is configured.",
        ),
        pairs(
            (f"Repository {e['name']}", f"{e['store']} ({e['medium']})")
            for e in part["repositories"]
        ),
        tag("h3", "What was not tested"),
        table(("Subject", "What", "Events"), gaps, empty="Everything in scope was tested."),
    ]


def _recorded(same: bool | None) -> Child:  # noqa: FBT001 - what is shown
    if same is None:
        return "never recorded"
    return chip("yes") if same else [chip("no"), " changed since"]


def people(report: Section) -> Child:
    """Show who appears in the ledger, and what it cannot know."""
    part = report["people"]
    return [
        pairs(
            [
                *((f"Machine {e['machine']}", refs(e["events"])) for e in part["machines"]),
                *((f"Owner of actions: {e['owner']}", refs(e["events"])) for e in part["owners"]),
            ]
        ),
        tag("h3", "Not recorded"),
        listed(part["not_recorded"], empty="Nothing."),
    ]


def sampling(report: Section) -> Child:
    """Show which recovery points were drilled, and by what rule."""
    part = report["sampling"]
    rows = [
        (
            f"#{each['drill']}",
            name_of(each),
            each["choice"],
            _taken(each),
            when(each["consistent_at"]),
            each["drawn"],
            tag("code", each["seed"][:10], "\u2026"),
            f"{each['checkpoint_size']}" if each["checkpoint_size"] else "none yet",
            refs(each["events"]),
        )
        for each in part["drills"]
    ]
    heads = (
        "Drill",
        "Policy",
        "Choice",
        "Taken",
        "Its instant",
        "Draw",
        "Seed",
        "Checkpoint",
        "Events",
    )
    return [
        pairs(
            [
                ("Rule", part["rule"]),
                ("Recovery points of the quarter", counted(part["points_in_quarter"], "point")),
                ("Drilled", count_of(len(part["drills"]), "drill")),
            ]
        ),
        table(heads, rows, empty="No recovery point was drilled."),
    ]


def _taken(each: Section) -> str:
    if each["commit_number"] is None:
        return "nothing"
    return f"{each['repository'][:8]}/{each['commit_number']}"


def timeline(report: Section) -> Child:
    """Show the quarter in order."""
    part = report["timeline"]
    rows = [
        (when(each["on"]), each["what"], each["of"], each["words"], refs(each["events"]))
        for each in part["entries"]
    ]
    return [
        charts.calendar(part, report["identity"]),
        table(
            ("UTC", "What", "Policy", "What happened", "Events"),
            rows,
            empty="Every run succeeded, and nothing else happened.",
        ),
        note("Runs that succeeded are counted under Results and shown in the calendar."),
    ]


def results(report: Section) -> Child:
    """Show all outcomes, and every one that was not good."""
    part = report["results"]
    counts = [
        (name_of(e), e["operation"], chip(e["state"]), e["count"], refs(e["events"]))
        for e in part["runs"]
    ]
    bad = [
        (
            when(e["ended_at"]),
            name_of(e),
            [e["operation"], " ", chip(e["state"])],
            (e["failure"] or {}).get("message") or "no reason was recorded",
            refs(e["events"]),
        )
        for e in part["not_succeeded"]
    ]
    return [
        tag("h3", "All runs"),
        table(
            ("Policy", "Operation", "Outcome", "Runs", "Events"),
            counts,
            empty="Nothing ran.",
            right=(3,),
        ),
        tag("h3", "Every run that did not succeed"),
        table(("UTC", "Policy", "Outcome", "Reason", "Events"), bad, empty="All runs succeeded."),
        tag("h3", "Every drill"),
        table(
            ("Drill", "Policy", "Kind", "Verdict", "RTO", "RPO", "Restored", "Reason", "Events"),
            [_drill(each) for each in part["drills"]],
            empty="No drill ended in this quarter.",
        ),
        _unended(part),
    ]


def _drill(each: Section) -> tuple[Child, ...]:
    return (
        f"#{each['drill']}",
        name_of(each),
        [each["kind"], ", ", each["choice"]],
        chip(each["verdict"]),
        span(each["achieved_rto_us"]),
        span(each["achieved_rpo_us"]),
        _restored(each),
        each["reason"] or words.DASH,
        refs(each["events"]),
    )


def _restored(each: Section) -> str:
    if each["plain_bytes"] is None:
        return words.DASH
    return f"{words.size(each['plain_bytes'])} in {each['scratch'] or 'no scratch'}"


def _unended(part: Section) -> Child:
    rows = [
        *(
            (f"run {e['run']}", name_of(e), e["state"], refs(e["events"]))
            for e in part["open_runs"]
        ),
        *(
            (f"drill #{e['drill']}", name_of(e), "begun", refs(e["events"]))
            for e in part["open_drills"]
        ),
    ]
    if not rows:
        return None
    return [
        tag("h3", "Begun and not ended"),
        table(("What", "Policy", "State", "Events"), rows, empty=""),
    ]


def issues(report: Section) -> Child:
    """Show incidents, alarms and what was undertaken about them."""
    part = report["issues"]
    incidents = [
        (
            f"#{e['incident']}",
            name_of(e),
            e["kind"].replace("-", " "),
            when(e["began_at"]),
            when(e["ended_at"]) if e["ended_at"] else chip("open"),
            span(e["worst_us"]),
            e["cause"] or "not recorded",
            refs(e["events"]),
        )
        for e in part["incidents"]
    ]
    actions = [
        (
            f"#{e['action']}",
            e["title"],
            e["owner"],
            when(e["due_at"]),
            when(e["closed_at"]) if e["closed_at"] else chip("open"),
            [e["outcome"] or words.DASH, " ", chip("overdue") if e["overdue"] else None],
            refs(e["events"]),
        )
        for e in part["actions"]
    ]
    alarms = [
        (
            f"{e['subject_kind']} {e['subject_name']}",
            e["message"],
            when(e["raised_at"]),
            when(e["cleared_at"]) if e["cleared_at"] else chip("open"),
            refs(e["events"]),
        )
        for e in part["alarms"]
    ]
    return [
        tag("h3", "Incidents"),
        table(
            ("No.", "Policy", "What", "From", "Until", "Worst", "Cause", "Events"),
            incidents,
            empty="No incident was recorded.",
        ),
        tag("h3", "Corrective actions"),
        table(
            ("No.", "What is to be done", "Owner", "Due", "Closed", "Outcome", "Events"),
            actions,
            empty="No corrective action was open.",
        ),
        tag("h3", "Alarms"),
        table(
            ("About", "What", "Raised", "Cleared", "Events"), alarms, empty="No alarm was raised."
        ),
    ]


def review(report: Section) -> Child:
    """Show what a reviewer must look at, and leave room for names."""
    part = report["review"]
    found = [
        (
            chip("not kept" if e["weight"] == "bad" else "look"),
            tag("a", e["words"], href=f"#{e['section']}"),
            refs(e["events"]),
        )
        for e in part["findings"]
    ]
    signed = [(e["role"], e["name"] or "\u00a0", e["date"] or "\u00a0") for e in part["signed_by"]]
    return [
        tag("h3", "To be looked at"),
        table(("", "Finding", "Events"), found, empty="Nothing was found that is not as promised."),
        tag("h3", "Signatures"),
        tag(
            "div", table(("", "Name and signature", "Date"), signed, empty=""), class_="signatures"
        ),
        note("drkeeper does not record reviews: who signs here vouches for having read it."),
    ]


def evidence(report: Section) -> Child:
    """Show what everything rests on, and how to verify it."""
    part = report["evidence"]
    kinds = [(e["kind_of_event"], e["number"]) for e in part["kinds"]]
    checkpoints = [
        (e["size"], tag("code", e["root"]), refs(e["events"])) for e in part["checkpoints"]
    ]
    return [
        pairs(
            [
                ("Ledger", tag("code", part["ledger"])),
                ("Events", f"#{part['first']} to #{part['last']}"),
                ("Hash before the first", tag("code", part["hash_before"])),
                ("Hash of the last", tag("code", part["hash_last"])),
                ("Root of the tree", tag("code", part["root"])),
            ]
        ),
        tag("h3", "Events of the quarter by kind"),
        table(("Kind", "Number"), kinds, empty="None.", right=(1,)),
        tag("h3", "Checkpoints that samples were drawn from"),
        table(("Events", "Root", "Named by"), checkpoints, empty="No drill names a checkpoint."),
        note(
            "To verify: ", tag("code", "drkeeper report --quarter ", report["quarter"], " --bundle"),
            " writes this report with the signed events; ",
            tag("code", "python3 verify_report.py BUNDLE --quarter ", report["quarter"], " --key KEY"),
            " holds one against the other, without drkeeper. Get the keys from elsewhere.",
        ),
    ]  # fmt: skip
