"""What a policy's drills add up to: one row a policy, so that a status need not read all of them.

The row follows from the events as every other does; ``ledger verify`` computes it again.
"""

import json
from collections.abc import Sequence
from typing import Final

from drkeeper.ledger.change import Change, Find, Row, text
from drkeeper.ledger.events import Event
from drkeeper.model.drill import DrillKind, Phase, Verdict
from drkeeper.model.prediction import BY_SIZE

COSTS_KEPT: Final = 24
"""Of how many drills it is kept what they took. Source: ``model.prediction.MOST_HISTORY``; a change makes
every row another one, so that it needs a migration."""

_NOTHING: Final[Row] = {
    **dict.fromkeys(("planned_at", "through", "sound_drill", "achieved_rto_us")),
    **dict.fromkeys(("said_drill", "said_verdict", "said_reason", "said_at")),
    **dict.fromkeys(("broken_drill", "broken_reason", "broken_since", "caught_at")),
    "broken": 0,
    "ended": "{}",
    "costs": "",
}


def planned(event: Event, drill: Row, find: Find) -> list[Change]:
    """Note that a drill of a policy's data was planned."""
    return _changed(event, drill, find, {"planned_at": text(drill["planned_at"])})


def ended(event: Event, drill: Row, parts: Sequence[Change], find: Find) -> list[Change]:
    """Note what came of one.

    Args:
        event: That says so.
        drill: Its row, ended.
        parts: Its phases, probes and controls.
        find: Finds rows as they were before.
    """
    if not _counts(drill):
        return []
    row = find("shown", drill["policy"]) or _NOTHING
    news: Row = {
        **_ends(row, drill),
        **_said(row, drill),
        **_sound(row, drill),
        "costs": _costs(row, drill, parts),
    }
    controls = [each.row for each in parts if each.table == "probe" and each.row["control"]]
    if controls and all(each["outcome"] == "passed" for each in controls):
        news["caught_at"] = _later(row["caught_at"], drill["ended_at"])
    return _changed(event, drill, find, news)


def _counts(drill: Row) -> bool:
    """Whether it is a drill of one policy's data."""
    return drill["policy"] is not None and drill["kind"] != DrillKind.KEY.value


def _changed(event: Event, drill: Row, find: Find, news: Row) -> list[Change]:
    if not _counts(drill):
        return []
    policy = text(drill["policy"])
    before = find("shown", policy)
    row = (before or {"policy": policy} | _NOTHING) | news | {"event": event.seq}
    return [Change("shown", policy, row, new=before is None)]


def _ends(row: Row, drill: Row) -> Row:
    """When the newest of each verdict ended, and how many in a row have said nothing.

    Raises:
        TypeError: The row is damaged.
    """
    verdict, at = text(drill["verdict"]), text(drill["ended_at"])
    known = json.loads(text(row["ended"]))
    known[verdict] = _later(known.get(verdict), at)
    news: Row = {"ended": json.dumps(known, sort_keys=True, separators=(",", ":"))}
    if verdict != Verdict.INCONCLUSIVE.value:
        names = ("broken_drill", "broken_reason", "broken_since")
        return {**news, "broken": 0, **dict.fromkeys(names)}
    count = row["broken"]
    if not isinstance(count, int):
        raise TypeError("broken")
    return {
        **news,
        "broken": count + 1,
        "broken_drill": drill["id"],
        "broken_reason": drill["reason"],
        "broken_since": row["broken_since"] or at,
    }


def _said(row: Row, drill: Row) -> Row:
    """The newest drill that says anything, by when it was planned."""
    inconclusive = drill["verdict"] == Verdict.INCONCLUSIVE.value
    if inconclusive or not _newer(drill["id"], row["said_drill"]):
        return {}
    return {
        "said_drill": drill["id"],
        "said_verdict": drill["verdict"],
        "said_reason": drill["reason"],
        "said_at": drill["ended_at"],
    }


def _sound(row: Row, drill: Row) -> Row:
    """The newest instant that a sound one found to be recoverable, and the RTO of the newest of them."""
    if not Verdict(text(drill["verdict"])).sound or drill["consistent_at"] is None:
        return {}
    through = drill["recoverable_through"] or drill["consistent_at"]
    news: Row = {"through": _later(row["through"], through)}
    if _newer(drill["id"], row["sound_drill"]):
        news |= {"sound_drill": drill["id"], "achieved_rto_us": drill["achieved_rto_us"]}
    return news


def _costs(row: Row, drill: Row, parts: Sequence[Change]) -> str:
    """What the newest restores took; see :func:`drkeeper.model.prediction.predict_spelt`."""
    known = text(row["costs"])
    if (
        drill["kind"] != DrillKind.RESTORE.value
        or drill["achieved_rto_us"] is None
        or drill["plain_bytes"] is None
    ):
        return known
    took = {
        Phase(text(each.row["phase"])): _number(each.row["took_us"])
        for each in parts
        if each.table == "phase"
    }
    took.pop(Phase.TORN_DOWN, None)
    by_size = sum(us for phase, us in took.items() if phase in BY_SIZE)
    figures = (drill["id"], sum(took.values()) - by_size, by_size, drill["plain_bytes"])
    figures_known = known.split()
    all_of_them = [[str(_number(each)) for each in figures]]
    all_of_them += [figures_known[at : at + 4] for at in range(0, len(figures_known), 4)]
    all_of_them.sort(key=lambda each: -int(each[0]))
    return " ".join(figure for each in all_of_them[:COSTS_KEPT] for figure in each)


def _newer(drill: object, known: object) -> bool:
    return known is None or _number(drill) > _number(known)


def _later(known: object, at: object) -> str:
    """Return the later of two instants, which in the ledger's form sort as text."""
    return text(at) if known is None else max(text(known), text(at))


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not a number")
    return value
