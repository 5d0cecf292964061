"""What is wrong, and what was."""

from collections.abc import Sequence
from typing import Final

from drkeeper.app.web.frame import Page
from drkeeper.app.web.markup import Child, tag
from drkeeper.app.web.pieces import (
    Column,
    alarm_card,
    alarm_zone,
    notice,
    section,
    subject_link,
    table,
)
from drkeeper.app.web.urgent import urgent
from drkeeper.app.web.words import moment, sentence, span
from drkeeper.model.alarm import Alarm
from drkeeper.model.status import Overview

PAST: Final = 200
"""Past alarms shown. Source: ours."""


def alarms_page(overview: Overview, known: Sequence[Alarm]) -> Page:
    """Return the page of alarms.

    Args:
        overview: What is wrong now.
        known: Alarms, open and past, newest first.
    """
    open_now = urgent(overview)
    cards = [alarm_card(alarm, alarm_zone(overview, alarm), overview.at) for alarm in open_now]
    calm = notice("ok", "Nothing is wrong.")
    past = [alarm for alarm in known if alarm.cleared_at is not None][:PAST]
    body = [
        tag("h1", "Alarms"),
        section("Open", tag("ul", cards, class_="alarm-list") if cards else calm, name="alarms"),
        section("Past", _past(overview, past), name="past"),
    ]
    return Page("Alarms", body, "alarms")


def _past(overview: Overview, past: Sequence[Alarm]) -> Child:
    if not past:
        return tag("p", "There has been none.", class_="muted")
    columns = (
        Column("Began"),
        Column("What"),
        Column("About"),
        Column("Lasted", number=True),
        Column("Message"),
    )
    rows = []
    for alarm in past:
        zone, condition = alarm_zone(overview, alarm), alarm.condition
        lasted = (alarm.cleared_at or overview.at) - alarm.raised_at
        rows.append(
            (
                moment(alarm.raised_at, zone),
                condition.kind.words,
                subject_link(alarm),
                span(lasted),
                sentence(condition.message),
            )
        )
    return table("Past alarms, newest first", columns, rows)
