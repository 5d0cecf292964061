"""docs/notifications.md shows what works: its configuration is valid and its code verifies."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from doubles.clock import FakeClock
from doubles.messages import MESSAGE
from doubles.receivers import HttpReceiver, json_of
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.wiring.channels import open_notifier
from drkeeper.clock import SystemClock
from drkeeper.notify.webhook import REPLAY_WINDOW_S, Webhook

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
AT = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
SECRETS = {
    "DRKEEPER_NOTIFY_BEAT_URL": "https://hc-ping.com/x",
    "DRKEEPER_NOTIFY_OPS_PASSWORD": "x",
    "DRKEEPER_NOTIFY_OPS_SECRET": "x",
    "DRKEEPER_NOTIFY_CHAT_URLS": "json://localhost/ json://localhost/",
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


CONFIGURATIONS = [block for block in blocks("yaml") if "policies.d" not in block]


@pytest.fixture
def verified():
    """The function that the page shows."""
    (code,) = blocks("python")
    names = {}
    exec(code, names)
    return names["verified"]


@pytest.mark.parametrize("block", CONFIGURATIONS)
def test_each_configuration_of_the_page_is_valid(tmp_path, block):
    """With the secrets that the page names, and nothing else, each gives a channel."""
    (tmp_path / "drkeeper.yaml").write_text(block)
    locations = find_locations({}, config=str(tmp_path))
    configuration = load_configuration(locations, variables=SECRETS)
    (name,) = yaml.safe_load(block)["notify"]
    assert open_notifier(configuration.channels[name], SystemClock()) is not None


def test_there_is_a_configuration_of_each_kind():
    """Nobody has to guess how a kind is written."""
    kinds = {
        key for block in CONFIGURATIONS for key in yaml.safe_load(block)["notify"].popitem()[1]
    }
    assert kinds == {"heartbeat", "webhook", "email", "apprise"}


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any text, größe"])
def test_ten_lines_verify_a_signature(verified, secret):
    """What the page shows believes our messages, and nobody else's, and nothing old."""
    with HttpReceiver() as receiver:
        Webhook(f"{receiver.url}/", secret=secret, clock=FakeClock(AT)).send(MESSAGE)
    request = receiver.requests[0]
    then = AT.timestamp()
    assert verified(request.headers, request.body, secret, lambda: then)
    assert verified(request.headers, request.body, secret, lambda: then + REPLAY_WINDOW_S)
    assert not verified(request.headers, request.body, secret, lambda: then + REPLAY_WINDOW_S + 1)
    assert not verified(request.headers, request.body, secret, lambda: then - 301)
    assert not verified(request.headers, request.body + b" ", secret, lambda: then)
    assert not verified(request.headers, request.body, "another", lambda: then)
    moved = request.headers | {"webhook-timestamp": str(int(then) + 60)}
    assert not verified(moved, request.body, secret, lambda: then)
    renamed = request.headers | {"webhook-id": "another"}
    assert not verified(renamed, request.body, secret, lambda: then)


def test_the_payload_has_the_fields_that_the_page_shows():
    """Whoever writes a receiver from the page finds what it says."""
    (shown,) = blocks("json")
    with HttpReceiver() as receiver:
        Webhook(f"{receiver.url}/", clock=FakeClock(AT)).send(MESSAGE)
    sent = json_of(receiver.requests[0])
    assert set(re.findall(r'"(\w+)":', shown)) >= {*sent, *sent["data"]}
