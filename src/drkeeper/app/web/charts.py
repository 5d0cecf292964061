"""Charts in SVG that need no script, and say in words what they show.

Positions across are per cent and heights are pixels, so a chart fills whatever width there is and
its dots stay round. Colours are classes of the style sheet: they follow light and dark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from drkeeper.app.web.markup import Child, Markup, tag

_HEIGHT: Final = 120
_PROMISE: Final = 80.0
"""Per cent of a gauge's width at which the promise stands; the rest is for what is too late."""
_LEAST: Final = 2.0
"""Pixels: what is there is seen, however small."""
_FEW: Final = 40
"""Dots that stand apart on a narrow screen."""
_FULL: Final = 100.0
_WIDEST: Final = 6.0
"""Per cent: two columns look like columns, not like walls."""


def gauge(
    age: timedelta | None,
    promise: timedelta,
    *,
    tone: str,
    words: str,
    proven: timedelta | None = None,
) -> Markup:
    """Return how much of a promise is used up, with a mark where it ends.

    Args:
        age: How much; ``None`` draws an empty gauge.
        promise: What is allowed.
        tone: Colour of what is used.
        words: What it shows, for those who do not see it.
        proven: How much is used when only what is proven counts; drawn as a ring.
    """
    used = _PROMISE * (age / promise) if age is not None and promise else 0.0
    parts: list[Child] = [tag("rect", class_="track", width="100%", height="8", rx="4")]
    if used > 0:
        width = f"{min(max(used, 1.5), _FULL):.2f}%"
        parts.append(tag("rect", class_=f"fill {tone}", width=width, height="8", rx="4"))
    if proven is not None and promise:
        place = f"{min(_PROMISE * (proven / promise), _FULL - 1):.2f}%"
        parts.append(tag("circle", class_="ring", cx=place, cy="4", r="4"))
    mark = f"{_PROMISE}%"
    parts.append(tag("line", class_="limit", x1=mark, x2=mark, y1="-2", y2="10"))
    return tag("svg", parts, class_="gauge", height="8", width="100%", role="img", aria_label=words)


@dataclass(frozen=True, slots=True)
class Bar:
    """One column.

    Attributes:
        value: Its height, in any unit.
        tone: Its colour.
        words: What it is, shown by the pointer.
    """

    value: float
    tone: str
    words: str


def columns(
    bars: Sequence[Bar],
    *,
    title: str,
    words: str,
    shown: Callable[[float], str],
    ends: Sequence[str],
) -> Markup:
    """Return columns from the oldest to the newest.

    Args:
        bars: The columns.
        title: What the chart shows.
        words: The same as the chart, in a sentence.
        shown: Writes a value.
        ends: What stands below, from left to right.
    """
    top = max((bar.value for bar in bars), default=0.0) or 1.0
    step = _FULL / max(len(bars), 1)
    width = min(step * 0.72, _WIDEST)
    shapes: list[Child] = [_grid(y) for y in (0.5, _HEIGHT / 2, _HEIGHT - 0.5)]
    for position, bar in enumerate(bars):
        height = max(_LEAST, (_HEIGHT - 4) * bar.value / top)
        left = step * position + (step - width) / 2
        if bar.tone == "bad":  # not by its colour alone
            place = {"x": f"{left + width / 2:.3f}%", "y": f"{_HEIGHT - height - 4:.1f}"}
            shapes.append(tag("text", "\u00d7", class_="cross", **place))
        shapes.append(
            tag(
                "rect",
                tag("title", bar.words),
                class_=f"fill {bar.tone}",
                x=f"{left:.3f}%",
                y=f"{_HEIGHT - height:.1f}",
                width=f"{width:.3f}%",
                height=f"{height:.1f}",
                rx="1.5",
            )
        )
    return _figure(title, words, shapes, [shown(top), shown(top / 2), "0"], ends)


@dataclass(frozen=True, slots=True)
class Dot:
    """One recovery point on a time line.

    Attributes:
        at: Where.
        proven: Whether it is drawn as proven.
        words: What it is, shown by the pointer.
    """

    at: datetime
    proven: bool
    words: str


def time_line(
    dots: Sequence[Dot],
    *,
    until: datetime,
    promise: timedelta | None,
    words: str,
    ends: Sequence[str],
) -> Markup:
    """Return recovery points in time, oldest first, and where they were too far apart.

    Args:
        dots: The points, oldest first; at least one.
        until: The right end, which is now.
        promise: The longest distance allowed.
        words: The same as the chart, in a sentence.
        ends: What stands below, from left to right.
    """
    begin = dots[0].at
    whole = max(until - begin, timedelta(seconds=1))

    def across(instant: datetime) -> str:
        return f"{2 + 96 * ((instant - begin) / whole):.3f}%"

    shapes: list[Child] = [tag("line", class_="axis", x1="0", x2="100%", y1="28", y2="28")]
    if promise is not None:
        shapes += [
            tag(
                "rect",
                tag("title", f"too long without a recovery point: {said}"),
                class_="gap",
                x=across(late),
                width=f"{96 * ((end - late) / whole):.3f}%",
                y="12",
                height="32",
            )
            for late, end, said in _gaps(dots, until, promise)
        ]
    shapes += [
        tag(
            "circle",
            tag("title", dot.words),
            class_="dot proven" if dot.proven else "dot",
            cx=across(dot.at),
            cy="28",
            r=f"{(5 if len(dots) <= _FEW else 3.5) + 1.5 * dot.proven:g}",
        )
        for dot in dots
    ]
    shapes.append(tag("line", class_="now", x1="98%", x2="98%", y1="8", y2="48"))
    picture = tag("svg", shapes, height="56", width="100%", role="img", aria_label=words)
    return tag(
        "figure",
        tag("div", picture),
        tag("div", [tag("span", end) for end in ends], class_="across", aria_hidden="true"),
        tag("figcaption", words),
        class_="chart",
    )


def _gaps(
    dots: Sequence[Dot], until: datetime, promise: timedelta
) -> list[tuple[datetime, datetime, str]]:
    """Return from when to when the newest point was older than allowed."""
    instants = [dot.at for dot in dots] + [until]
    return [
        (earlier + promise, later, str(later - earlier).partition(".")[0])
        for earlier, later in pairwise(instants)
        if later - earlier > promise
    ]


def _grid(y: float) -> Markup:
    return tag("line", class_="grid", x1="0", x2="100%", y1=f"{y:g}", y2=f"{y:g}")


def _figure(  # noqa: PLR0917 - in the order in which they stand
    title: str, words: str, shapes: Child, scale: Sequence[str], ends: Sequence[str]
) -> Markup:
    picture = tag("svg", shapes, height=_HEIGHT, width="100%", role="img", aria_label=words)
    return tag(
        "figure",
        tag("h3", title),
        tag(
            "div",
            tag("div", [tag("span", one) for one in scale], class_="scale", aria_hidden="true"),
            tag("div", picture, class_="plot"),
            class_="graph",
        ),
        tag("div", [tag("span", end) for end in ends], class_="across", aria_hidden="true"),
        tag("figcaption", words),
        class_="chart",
    )
