"""Charts in SVG: drawn with attributes, so that they look alike on screen, in print and as PDF.

Colours are also classes, which the style sheet turns for dark screens. What a chart shows is said in
words, too, and nothing is told by colour alone.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from drkeeper.markup import Child, Markup, tag
from drkeeper.reports.html import words

WIDTH: Final = 900.0
PHASES: Final = {
    "keys-opened": ("#7a5195", "keys opened"),
    "journal-read": ("#bc5090", "journal read"),
    "manifest-authenticated": ("#ef8a8a", "manifest authenticated"),
    "first-byte": ("#ffb55a", "first byte"),
    "restored": ("#2f6f9f", "restored"),
    "engine-started": ("#7eb0d5", "engine started"),
    "log-replayed": ("#5f9e6e", "log replayed"),
    "probes-passed": ("#a8c686", "probes passed"),
}
"""Colour and words of each phase that counts."""
COLOURS: Final = {
    "ink": "#1a1f24", "muted": "#586069", "grid": "#dde1e5", "bar": "#2f6f9f", "soft": "#a9c9de",
    "bad": "#d9796e", "warn": "#d99a1c", "ok": "#1f7a45", "none": "#eceff1", "limit": "#c0392b",
    "print": "#1a1f24",
}  # fmt: skip


def _text(x: float, y: float, said: str, tone: str = "ink", **more: str) -> Markup:
    given = {"font_size": "12", "text_anchor": "start"} | more
    return tag(
        "text", said, x=f"{x:.1f}", y=f"{y:.1f}", fill=COLOURS[tone], class_=f"t-{tone}", **given
    )


def _box(  # noqa: PLR0917 - as in SVG
    x: float, y: float, wide: float, high: float, tone: str, *children: Child
) -> Markup:
    return tag(
        "rect", *children, x=f"{x:.2f}", y=f"{y:.2f}", width=f"{max(wide, 0.5):.2f}",
        height=f"{high:.2f}", fill=COLOURS.get(tone, tone), class_=f"f-{tone}" if tone in COLOURS else None,
    )  # fmt: skip


def _line(  # noqa: PLR0917 - as in SVG
    x1: float, y1: float, x2: float, y2: float, tone: str, dash: str | None = None
) -> Markup:
    return tag(
        "line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}",
        stroke=COLOURS[tone], stroke_dasharray=dash, class_=f"s-{tone}",
    )  # fmt: skip


def _figure(title: str, said: str, shapes: Child, high: float, *, wide: float = WIDTH) -> Markup:
    drawing = tag(
        "svg", shapes, viewBox=f"0 0 {wide:.0f} {high:.0f}", role="img", aria_label=f"{title}: {said}",
        font_family="system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif",
        width=f"{wide:.0f}", height=f"{high:.0f}",
    )  # fmt: skip
    return tag(
        "figure",
        tag("p", title, class_="title"),
        tag("div", drawing, class_="plot" if wide >= WIDTH else "plot half"),
        tag("figcaption", said),
    )


_FAR: Final = 4
"""How many times the greatest value a target may be and still be drawn to scale: beyond, the values would
shrink to nothing. Source: ours."""


def _top(values: Sequence[int | None], target: int | None) -> tuple[float, bool]:
    """Return where a scale ends, and whether the target lies beyond."""
    greatest = max((value for value in values if value), default=0)
    if target is not None and 0 < _FAR * greatest < target:
        return 1.12 * greatest, True
    return 1.12 * max(greatest, target or 0, 1), False


# ---------------------------------------------------------------- RTO by phase


def phases(policy: dict[str, Any]) -> Markup:
    """Return a bar for each drill, made of its phases, against the target."""
    drills = policy["drills"]
    high = 24.0 if len(drills) <= 20 else 15.0  # noqa: PLR2004 - then they are many
    left, right, above = 150.0, 120.0, 22.0
    room = WIDTH - left - right
    top, far = _top([each["achieved_rto_us"] for each in drills], policy["rto_us"])
    shapes: list[Child] = []
    for place, each in enumerate(drills):
        y = above + place * high
        label = f"{each['declared_at'][:10]}  #{each['drill']}"
        shapes.append(_text(left - 8, y + high / 2 + 4, label, "muted", text_anchor="end"))
        x = left
        for part in each["took"]:
            colour, name = PHASES[part["phase"]]
            wide = room * part["span_us"] / top
            title = tag("title", f"{name}: {words.span(part['span_us'])}")
            shapes.append(_box(x, y + 2, wide, high - 5, colour, title))
            x += wide
        glyph = "\u2713" if each["verdict"] == "proven" else "\u00d7"
        tone = "ok" if each["verdict"] == "proven" else "limit"
        said = f"{words.span(each['achieved_rto_us'])} {glyph}"
        shapes.append(
            _text(WIDTH, y + high / 2 + 4, said, tone, text_anchor="end", font_weight="600")
        )
    bottom = above + len(drills) * high
    if far:
        said = f"target {words.span(policy['rto_us'])}: far beyond this scale \u2192"
        shapes.append(
            _text(left + room, above - 8, said, "limit", text_anchor="end", font_weight="600")
        )
    elif policy["rto_us"] is not None:
        shapes += _limit(left + room * policy["rto_us"] / top, above - 4, bottom, policy["rto_us"])
    shapes.append(_line(left, bottom, left + room, bottom, "grid"))
    legend, end = _legend(bottom + 20, {p["phase"] for each in drills for p in each["took"]})
    shapes += legend
    other = sum(each["verdict"] != "proven" for each in drills)
    said = (
        f"{words.count_of(len(drills), 'drill')} from declaration to the last probe, by phase; "
        f"{other or 'none'} of them not proven. Tearing down is not counted."
    )
    heading = f"{policy['policy']}: achieved RTO by phase"
    return _figure(heading, said, shapes, end + 6)


def _limit(x: float, y: float, bottom: float, target_us: int) -> list[Child]:
    said = f"target {words.span(target_us)}"
    return [
        _line(x, y, x, bottom, "limit", "4 3"),
        _text(x, y - 4, said, "limit", text_anchor="middle", font_weight="600"),
    ]


def _legend(y: float, used: set[str]) -> tuple[list[Child], float]:
    found: list[Child] = []
    x = 0.0
    for phase, (colour, name) in PHASES.items():
        if phase in used:
            if x + 20 + 6.4 * len(name) > WIDTH:
                x, y = 0.0, y + 16
            found += [_box(x, y - 9, 10, 10, colour), _text(x + 14, y, name, "muted")]
            x += 30 + 6.6 * len(name)
    return found, y


# ---------------------------------------------------------------- over eight quarters

_HALF: Final = 400.0


def rto_trend(policy: dict[str, Any]) -> Markup:
    """Return the slowest and the median drill of each quarter, against the target."""
    rows = [
        (each["quarter"], each["max_achieved_rto_us"], each["median_achieved_rto_us"])
        for each in policy["trend"]
    ]
    known = sum(each["count"] for each in policy["trend"])
    said = f"Slowest sound drill of each quarter; the dot is the median. {words.count_of(known, 'drill')} in all."
    return _trend("RTO over eight quarters", said, rows, policy["rto_us"])


def rpo_trend(policy: dict[str, Any]) -> Markup:
    """Return the worst age of the newest point in each quarter, against the target."""
    rows = [(each["quarter"], each["gap_us"], None) for each in policy["trend"]]
    said = "Oldest that the newest recovery point became in each quarter, computed from all points."
    return _trend("RPO over eight quarters", said, rows, policy["rpo_us"])


_FLOOR: Final = 148.0
_ROOM: Final = 118.0


def _trend(
    title: str, said: str, rows: Sequence[tuple[str, int | None, int | None]], target: int | None
) -> Markup:
    top, far = _top([row[1] for row in rows], target)
    step = _HALF / len(rows)
    shapes: list[Child] = [_line(0, _FLOOR, _HALF, _FLOOR, "grid")]
    for place, (quarter, value, middle) in enumerate(rows):
        centre = step * (place + 0.5)
        label = f"{quarter[2:4]}{quarter[4:]}"
        shapes.append(_text(centre, _FLOOR + 15, label, "muted", text_anchor="middle"))
        if value is None:
            shapes.append(_text(centre, _FLOOR - 5, "none", "muted", text_anchor="middle"))
            continue
        name = tag("title", f"{quarter}: {words.span(value)}")
        shapes.append(_column((centre, step * 0.6), value / top, _is_late(value, target), name))
        if middle is not None:
            shapes.append(_dot(centre, _FLOOR - _ROOM * middle / top))
        shapes.append(_value(centre, (value, target), top))
    if target is not None:
        mark = "\u2191 far above:" if far else "\u2013 \u2013"
        shapes.append(
            _text(0, 12, f"{mark} target {words.span(target)}", "limit", font_weight="600")
        )
    if target is not None and not far:
        y = _FLOOR - _ROOM * target / top
        shapes.append(_line(0, y, _HALF, y, "limit", "4 3"))
    return _figure(title, said, shapes, _FLOOR + 22, wide=_HALF)


def _is_late(value: int, target: int | None) -> bool:
    return target is not None and value > target


def _column(across: tuple[float, float], part: float, late: bool, name: Markup) -> Markup:  # noqa: FBT001 - drawn so or so
    centre, wide = across
    high = _ROOM * part
    return _box(centre - wide / 2, _FLOOR - high, wide, high, "bad" if late else "soft", name)


def _dot(x: float, y: float) -> Markup:
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", fill=COLOURS["ink"], class_="f-ink")


def _value(centre: float, measured: tuple[int, int | None], top: float) -> Markup:
    """Write a value over its column; in it, where the target's line would run through."""
    value, target = measured
    shown = words.short(value) + (" \u00d7" if _is_late(value, target) else "")
    y = _FLOOR - _ROOM * value / top - 5
    if target is not None and abs(y - 4 - (_FLOOR - _ROOM * target / top)) < 9:  # noqa: PLR2004 - a line of text
        y += 24
    return _text(centre, y, shown, text_anchor="middle", font_size="11")


# ---------------------------------------------------------------- what there is to go back to


def windows(rpo: dict[str, Any], identity: dict[str, Any]) -> Markup:
    """Return, by policy, from when to when there are recovery points, and where they were too far apart."""
    rows = [each for each in rpo["policies"] if each["window"]]
    end = datetime.fromisoformat(identity["until"])
    begin = min(
        [datetime.fromisoformat(each["window"]["oldest"]) for each in rows]
        + [datetime.fromisoformat(identity["begin"])]
    )
    left, above, high = 150.0, 26.0, 28.0
    room = WIDTH - left - 12
    whole = max(end - begin, timedelta(seconds=1))

    def across(text: str) -> float:
        return left + room * ((datetime.fromisoformat(text) - begin) / whole)

    bottom = above + high * len(rows)
    start = max(across(identity["begin"]), left)
    shapes: list[Child] = [
        _box(start, above - 6, left + room - start, bottom - above + 6, "none"),
        _text(
            start + 4, above - 10, words.quarter(identity["quarter"]), "muted", font_weight="600"
        ),
    ]
    for place, each in enumerate(rows):
        y, window = above + place * high, each["window"]
        shapes.append(_text(left - 8, y + 15, each["policy"][:18], "ink", text_anchor="end"))
        first, last = across(window["oldest"]), across(window["newest"])
        said = f"{window['points']} points, {when_to_when(window)}"
        shapes.append(_box(first, y + 6, last - first, 10, "soft", tag("title", said)))
        for gap in each["violations"]:
            a, b = across(gap["from"]), across(gap["to"])
            title = tag("title", f"RPO exceeded until {words.when(gap['to'])}")
            shapes.append(_box(a, y + 4, max(b - a, 2.5), 14, "bad", title))
        if each["proven"]:
            x = across(each["proven"]["through"])
            points = f"{x - 5:.1f},{y + 11:.1f} {x:.1f},{y + 5:.1f} {x + 5:.1f},{y + 11:.1f} {x:.1f},{y + 17:.1f} {x - 5:.1f},{y + 11:.1f}"
            shapes.append(tag("polyline", points=points, fill=COLOURS["ink"], class_="f-ink"))
    shapes += [
        _line(left, bottom, left + room, bottom, "grid"),
        _text(left, bottom + 15, f"{begin:%-d %b %Y}", "muted"),
        _text(left + room, bottom + 15, f"{end:%-d %b %Y}", "muted", text_anchor="end"),
    ]
    said = (
        "Recorded recovery points from the oldest to the newest; red: more was at stake than promised; "
        "diamond: newest instant that a sound drill has shown. What retention has removed since is not recorded."
    )
    return _figure("Recovery windows by policy", said, shapes, bottom + 24)


def when_to_when(window: dict[str, Any]) -> str:
    """Write from when to when a window goes."""
    return f"{words.when(window['oldest'])} to {words.when(window['newest'])}"


# ---------------------------------------------------------------- run calendar

_ORDER: Final = ("failed", "interrupted", "skipped", "warnings", "succeeded")
_DAY_TONES: Final = {
    "failed": "bad", "interrupted": "bad", "skipped": "warn", "warnings": "warn", "succeeded": "ok",
}  # fmt: skip
_DAYS: Final = {"ok": "#bfe3cb", "warn": "#f5d897", "bad": "#f2aaa2", "none": "#e3e7ea"}
"""Light on every screen: what is written on them is dark."""


def calendar(timeline: dict[str, Any], identity: dict[str, Any]) -> Markup:
    """Return a square for each day, by the worst run that ended on it, with the drills."""
    days: dict[str, dict[str, int]] = {}
    for each in timeline["calendar"]:
        days.setdefault(each["day"], {})[each["outcome"]] = each["count"]
    first = date.fromisoformat(identity["begin"][:10])
    last = date.fromisoformat(identity["end"][:10]) - timedelta(days=1)
    now = identity["until"][:10] if not identity["complete"] else last.isoformat()
    cell, left, above = 30.0, 44.0, 24.0
    shapes: list[Child] = [
        _text(left - 8, above + cell * row + 18, name, "muted", text_anchor="end")
        for row, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
    ]
    monday = first - timedelta(days=first.weekday())
    at = first
    while at <= last:
        column = (at - monday).days // 7
        x, y = left + column * 60.0, above + at.weekday() * cell
        if at.day == 1:
            shapes.append(_text(x, 14, f"{at:%b}", "ink", font_weight="600"))
        if at.isoformat() <= now:
            shapes += _day(at, days.get(at.isoformat(), {}), x, y)
        at += timedelta(days=1)
    bottom = above + 7 * cell
    legend = (
        ("ok", "all succeeded"), ("warn", "! with warnings or left out"),
        ("bad", "\u00d7 failed or interrupted"), ("none", "nothing ran"),
    )  # fmt: skip
    for place, (tone, name) in enumerate(legend):
        x = left + place * 200
        shapes += [
            _box(x, bottom + 8, 10, 10, _DAYS[tone]),
            _text(x + 15, bottom + 17, name, "muted"),
        ]
    bad = sum("failed" in found or "interrupted" in found for found in days.values())
    said = (
        f"Worst run of each day, all policies; D marks days with drills, d! those with one that was not "
        f"proven. {words.count_of(bad, 'day')} with a failed or interrupted run."
    )
    return _figure("Run calendar", said, shapes, bottom + 28)


def _day(at: date, found: dict[str, int], x: float, y: float) -> list[Child]:
    worst = next((name for name in _ORDER if found.get(name)), None)
    told = ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "nothing"
    tone = "none" if worst is None else _DAY_TONES[worst]
    title = tag("title", f"{at}: {told}")
    shapes: list[Child] = [_box(x, y + 2, cell_wide := 56.0, 26, _DAYS[tone], title)]
    mark = {"bad": "\u00d7", "warn": "!"}.get(tone, "")
    shapes.append(_text(x + 4, y + 19, f"{at.day}{mark}", "print"))
    drilled = "d!" if found.get("drill not proven") else "D" if found.get("drill proven") else ""
    if drilled:
        shapes.append(
            _text(x + cell_wide - 4, y + 19, drilled, "print", text_anchor="end", font_weight="700")
        )
    return shapes
