"""When a drill is due."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.drill_schedule import default_schedule, drill_due
from drkeeper.model.policy import FilesSource, Limits, Pause, Policy
from drkeeper.model.probes import DrillTerms
from drkeeper.model.windows import parse_window

SUNDAY = datetime(2026, 11, 22, 5, tzinfo=UTC)
SATURDAY = SUNDAY - timedelta(days=1)
HOUR = timedelta(hours=1)


def policy(**changes):
    terms = DrillTerms(schedule=changes.pop("schedule", default_schedule()))
    zone = changes.pop("zone", UTC)
    return Policy("p", FilesSource(("/a",)), "primary", "UTC", zone, drill=terms, **changes)


@pytest.mark.parametrize(
    ("changes", "since", "now", "due"),
    [
        ({}, SATURDAY, SUNDAY - HOUR, None),
        ({}, SATURDAY, SUNDAY, SUNDAY),
        ({}, SUNDAY, SUNDAY + HOUR, None),
        ({}, SUNDAY - timedelta(days=40), SUNDAY + HOUR, SUNDAY - timedelta(days=35)),
        ({"schedule": None}, SATURDAY, SUNDAY + HOUR, None),
        ({"offset": HOUR}, SATURDAY, SUNDAY, None),
        ({"offset": HOUR}, SATURDAY, SUNDAY + HOUR, SUNDAY + HOUR),
        ({"pause": Pause(SUNDAY + HOUR, "")}, SATURDAY, SUNDAY, None),
        ({"pause": Pause(SUNDAY, "")}, SATURDAY, SUNDAY, SUNDAY),
        ({"limits": Limits(closed=(parse_window("04:00-06:00"),))}, SATURDAY, SUNDAY, None),
        ({"zone": ZoneInfo("Europe/Berlin")}, SATURDAY, SUNDAY, SUNDAY - HOUR),
    ],
)
def test_a_drill_is_due_once_after_its_slot(changes, since, now, due):
    """Not before it, not twice, once for all that were missed, not in a pause or a closed window."""
    assert drill_due(policy(**changes), since, now) == due
