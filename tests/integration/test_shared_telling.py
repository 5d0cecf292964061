"""Daemons that share a ledger on PostgreSQL tell each alarm once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from doubles.ledgers import ledger_at
from doubles.receivers import HttpReceiver, SmtpReceiver, json_of
from doubles.tellers import look
from services.postgresql import postgresql, postgresql_url  # noqa: F401 - fixtures

pytestmark = pytest.mark.integration

DAEMONS = 4


def test_four_daemons_on_one_server_tell_each_state_once(postgresql_url):  # noqa: F811 - a fixture
    """Raised, reminded, over: however many look at the same time, one tells each channel."""
    with HttpReceiver() as http, SmtpReceiver() as smtp, ThreadPoolExecutor(DAEMONS) as daemons:

        def all_look(*, overdue, later):
            done = [
                daemons.submit(
                    look, postgresql_url, http.url, smtp.port, overdue=overdue, later=later
                )
                for _ in range(DAEMONS)
            ]
            assert all(each.result(timeout=60) for each in done)

        for hours in (0, 1, 25, 26):
            all_look(overdue=True, later=timedelta(hours=hours))
        all_look(overdue=False, later=timedelta(hours=27))
        all_look(overdue=False, later=timedelta(hours=28))
        hooks = [json_of(each)["type"] for each in http.requests if each.target == "/hook"]
        assert hooks == ["drkeeper.entered", "drkeeper.reminder", "drkeeper.left"]
        assert len(smtp.mails) == 3
    with ledger_at(postgresql_url) as ledger:
        assert ledger.verify().ok
        assert len(ledger.alarms()) == 1
