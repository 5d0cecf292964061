"""Sections that prove: RTO, RPO, integrity, negative controls, security, standards."""

from typing import Any

from drkeeper.markup import Child, tag
from drkeeper.reports.html import charts, words
from drkeeper.reports.html.pieces import chip, counted, name_of, note, pairs, places, refs, table
from drkeeper.reports.html.words import count_of, span, when

Section = dict[str, Any]


def rto(report: Section) -> Child:
    """Show, by policy, the target, what was measured by phase, the trend, and what to expect."""
    return [
        *(_rto_of(each) for each in report["rto"]["policies"]),
        _together(report["rto"]["together"]),
        note(
            "Achieved RTO is the time from the declaration of the disaster to the last probe passed, by a "
            "clock that nobody sets. It was measured in a scratch environment, on this machine."
        ),
    ]


def _rto_of(policy: Section) -> Child:
    measured, next_one = policy["measured"], policy["prediction"]
    foretold = words.DASH
    if next_one["expected_us"] is not None:
        foretold = (
            f"{span(next_one['expected_us'])} ({span(next_one['low_us'])} to "
            f"{span(next_one['high_us'])}, nine times of ten), from {next_one['from_drills']} drills"
        )
    elif next_one["bytes"] is not None:
        foretold = "too few sound drills to tell"
    return tag(
        "div",
        tag("h3", policy["policy"]),
        pairs(
            [
                ("Target", span(policy["rto_us"]) if policy["rto_us"] else "none is promised"),
                ("Sound drills", counted(measured, "drill")),
                ("Fastest", span(measured["min_achieved_rto_us"])),
                ("Median", span(measured["median_achieved_rto_us"])),
                ("Slowest", span(measured["max_achieved_rto_us"])),
                (f"To be expected for {words.size(next_one['bytes'])}", foretold),
                ("Outlook", chip(next_one["outlook"])),
            ]
        ),
        charts.phases(policy) if policy["drills"] else tag("p", "No drill was timed.", class_="nothing"),
        _rto_trend(policy),
        class_="policy",
    )  # fmt: skip


def _together(drills: list[Section]) -> Child:
    """Show the drills of many policies at once."""
    if not drills:
        return None
    shown = {"policy": "many policies at once", "drills": drills, "rto_us": None}
    return tag("div", tag("h3", "Together"), charts.phases(shown), class_="policy")


def _rto_trend(policy: Section) -> Child:
    if not any(each["count"] for each in policy["trend"]) and not policy["drills"]:
        return None
    return tag("div", charts.rto_trend(policy), _scores(policy), class_="beside")


def _scores(policy: Section) -> Child:
    rows = [
        (
            f"#{each['drill']}",
            span(each["predicted_rto_us"]),
            span(each["achieved_rto_us"]),
            [chip(each["foretold"]["hit"]), f" {each['foretold']['factor_percent']} %"],
        )
        for each in policy["drills"]
        if each["foretold"]
    ]
    hits = sum(e["foretold"]["hit"] == "inside" for e in policy["drills"] if e["foretold"])
    return tag(
        "div",
        tag("p", "How predictions did", class_="title"),
        table(
            ("Drill", "Predicted", "Achieved", "Score"), rows, empty="Nothing was predicted yet."
        ),
        note(f"{hits} of {len(rows)} within the interval of 90 %.") if rows else None,
    )


def rpo(report: Section) -> Child:
    """Show, by policy, what was durable and proven, and how bad it was."""
    part, me = report["rpo"], report["identity"]
    drawn = charts.windows(part, me) if any(e["window"] for e in part["policies"]) else None
    return [
        drawn,
        *(_rpo_of(each, me) for each in part["policies"]),
        note(
            "Ages count from the instant that the data describes, never from the end of a backup. Durable: the "
            "store has acknowledged it. Proven: a drill has restored it and found it sound."
        ),
    ]


def _rpo_of(policy: Section, me: Section) -> Child:
    worst, drilled = policy["worst"], policy["drilled"]
    return tag(
        "div",
        tag("h3", policy["policy"]),
        pairs(
            [
                ("Target", span(policy["rpo_us"]) if policy["rpo_us"] else "none is promised"),
                (f"Durable on {when(me['until'])}", _through(policy["durable"])),
                (f"Proven on {when(me['until'])}", _through(policy["proven"])),
                ("Worst in the quarter", _worst(worst)),
                (
                    "Drills of the newest point",
                    [
                        f"{drilled['count']}; worst achieved RPO {span(drilled['max_achieved_rpo_us'])} ",
                        refs(drilled["events"]),
                    ],
                ),
                ("Exceeded", count_of(len(policy["violations"]), "time")),
            ]
        ),
        tag("div", charts.rpo_trend(policy), _violations(policy), class_="beside"),
        class_="policy",
    )


def _through(known: Section | None) -> Child:
    if known is None:
        return chip("none")
    return [f"{when(known['through'])}, {span(known['age_us'])} old ", refs(known["events"])]


def _worst(worst: Section | None) -> Child:
    if worst is None:
        return words.DASH
    end = ", and went on" if worst["went_on"] else ""
    return [
        f"{span(worst['gap_us'])}: {when(worst['from'])} to {when(worst['to'])}{end} ",
        refs(worst["events"]),
    ]


def _violations(policy: Section) -> Child:
    rows = [
        (
            f"{when(each['violated_from'])} to {when(each['to'])}",
            span(each["gap_us"]),
            [tag("div", cause["cause"], " ", refs(cause["events"])) for cause in each["causes"]]
            or "unknown: nothing was recorded",
        )
        for each in policy["violations"]
    ]
    return tag(
        "div",
        tag("p", "Every violation, with its cause", class_="title"),
        table(("UTC", "Worst age", "Cause"), rows, empty="The target was kept all the time.")
        if policy["rpo_us"]
        else tag("p", "Without a target there is none.", class_="nothing"),
    )


def integrity(report: Section) -> Child:
    """Show every look at stored and restored data."""
    part = report["integrity"]
    checks = [
        (
            when(e["checked_at"]),
            tag("code", e["repository"][:12], "\u2026"),
            e["kind"],
            chip("passed" if e["passed"] else "failed"),
            f"{e['objects']:,}",
            words.size(e["read_bytes"]),
            e["detail"] or words.DASH,
            refs(e["events"]),
        )
        for e in part["checks"]
    ]
    probes = [
        (e["probe"], chip(e["answer"]), e["asked"], refs(e["events"])) for e in part["probes"]
    ]
    return [
        tag("h3", "Checks of stored data"),
        table(
            ("UTC", "Repository", "Kind", "Result", "Objects", "Read", "Found", "Events"),
            checks,
            empty="Stored data was not checked in this quarter.",
            right=(4, 5),
        ),
        pairs(
            (
                f"Newest check of {each['store'][:12]}\u2026",
                [f"{when(each['newest'])}, {span(each['age_us'])} old ", refs(each["events"])],
            )
            for each in part["newest"]
        ),
        tag("h3", "Probes of restored data"),
        table(("Probe", "Answer", "Asked", "Events"), probes, empty="No probe was run.", right=(2,)),
        tag("h3", "The ledger itself"),
        tag(
            "p", f"Every link of the chain from #{part['ledger']['first']} to #{part['ledger']['last']} was "
            "read for this report, and is sound.",
        ),
    ]  # fmt: skip


_CAUGHT = {"passed": "caught", "failed": "missed", "broken": "not tried"}


def controls(report: Section) -> Child:
    """Show every fault that was planted."""
    part = report["controls"]
    by_fault = [
        (
            e["fault"],
            e["times"],
            e["times_caught"],
            e["times_missed"],
            e["times_not_tried"],
            refs(e["events"]),
        )
        for e in part["by_fault"]
    ]
    planted = [
        (
            f"#{e['drill']}",
            name_of(e),
            e["fault"],
            e["planted"],
            chip(_CAUGHT[e["answer"]]),
            ", ".join(e["caught"]) or "none",
        )
        for e in part["planted"]
    ]
    return [
        tag(
            "p", "In each drill the same probes are put to copies that were damaged on purpose. A drill whose "
            "probes did not notice proves nothing, and is called invalid.",
        ),
        table(
            ("Planted fault", "Times", "Caught", "Missed", "Not tried", "Events"),
            by_fault,
            empty="No fault was planted.",
            right=(1, 2, 3, 4),
        ),
        table(
            ("Drill", "Policy", "Fault", "Where", "Result", "Caught by"), planted, empty="None.",
        ),
        pairs([("Drills without a negative control", counted(part["drills_without"], "drill"))]),
    ]  # fmt: skip


def security(report: Section) -> Child:
    """Show keys, locks and copies, as far as they are known."""
    part = report["security"]
    keys = [
        (
            tag("code", words.brief(e["recipient"])),
            e["role"],
            tag("code", e["repository"][:12], "\u2026"),
            chip("yes" if e["opened"] else "no"),
            when(e["checked_at"]),
            refs(e["events"]),
        )
        for e in part["recipients"]
    ]
    copies = [
        (
            each["policy"] if place == 0 else "",
            e["rule"],
            e["found"],
            chip(e["holds"]),
            refs(e["events"]),
        )
        for each in part["copies"]
        for place, e in enumerate(each["rules"])
    ]
    lock = part["lock_horizon"]
    return [
        tag("h3", "Recipients, and whether each opened what it must when last tried"),
        table(
            ("Recipient", "Role", "Repository", "Opened", "Tried", "Events"),
            keys,
            empty="Unknown: no key was ever tried.",
        ),
        pairs(
            [
                (
                    "Key drills of the quarter",
                    count_of(len(part["key_drills"]), "key tried", "keys tried"),
                ),
                ("Objects locked until", [chip(lock["through"]), f" {lock['why']}"]),
            ]
        ),
        table(
            ("Repository", "Medium", "Locked until", "Known from"),
            [(e["store"], e["medium"], chip(e["locked"]), e["known_from"]) for e in lock["stores"]],
            empty="No repository is configured.",
        ),
        tag("h3", "3-2-1-1-0, from what is recorded"),
        table(
            ("Policy", "Rule", "Found", "Holds", "Events"), copies, empty="No policy is configured."
        ),
    ]


def standards(report: Section) -> Child:
    """Show what is asked for, where it is answered, and what is not claimed."""
    part = report["standards"]
    rows = [
        (
            [tag("strong", e["standard"]), tag("br"), e["control"]],
            e["asks"],
            [
                chip(e["evidence"]),
                " ",
                ["sections", places(e["sections"])]
                if e["evidence"] == "given"
                else f"missing: {', '.join(e['missing'])}",
            ],
            e["claims"],
            e["not_claimed"],
        )
        for e in part["controls"]
    ]
    return [
        table(
            ("Control", "Asks, in our words", "Evidence", "We claim", "We do not claim"),
            rows,
            empty="",
        ),
        note("The texts of the standards bind, not our words for them; ", part["of_all"], "."),
    ]
