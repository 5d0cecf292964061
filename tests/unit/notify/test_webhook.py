"""Webhooks: what they say, and how a receiver knows who said it."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from doubles.clock import FakeClock
from doubles.messages import MESSAGE, message
from doubles.receivers import HttpReceiver, json_of
from drkeeper.errors import NotifyError
from drkeeper.notify.webhook import REPLAY_WINDOW_S, Webhook, payload, signature

AT = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)


@pytest.fixture
def receiver():
    with HttpReceiver() as made:
        yield made


def send(receiver, clock=None, told=MESSAGE, secret="key"):
    Webhook(f"{receiver.url}/hook", secret=secret, clock=clock or FakeClock(AT)).send(told)
    return receiver.requests[-1]


def test_the_example_of_the_standard_is_signed_as_there():
    """Our signature is that of Standard Webhooks: id, timestamp and body, joined with dots."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    # Published with the libraries of Standard Webhooks.
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


def test_what_arrives_is_signed_with_the_time_of_the_attempt(receiver):
    """Every attempt has a timestamp of its own, and the id stays: receivers can drop repeats."""
    clock = FakeClock(AT)
    first = send(receiver, clock)
    clock.sleep(40)
    second = send(receiver, clock)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == MESSAGE.id
    stamps = [int(each.headers["webhook-timestamp"]) for each in (first, second)]
    assert stamps == [int(AT.timestamp()), int(AT.timestamp()) + 40]
    for request in (first, second):
        signed = f"{MESSAGE.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
        digest = hmac.new(b"key", signed, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        assert request.headers["webhook-signature"] == expected


def test_without_a_secret_nothing_is_signed(receiver):
    """No signature is better than one that anybody could make."""
    assert "webhook-signature" not in send(receiver, secret=None).headers


def test_a_secret_that_is_cut_short_is_an_error(receiver):
    """A whsec_ that is no base64 is not silently used as something else; it is not shown either."""
    with pytest.raises(NotifyError) as caught:
        send(receiver, secret="whsec_abc")
    assert "abc" not in str(caught.value)
    assert not receiver.requests


def test_the_payload_says_everything_for_machines(receiver):
    """Type, instant, and the alarm's facts; all in ASCII, so no receiver gets it wrong."""
    told = message(title="größe", thread="alarm-1", facts={"policy": "shop", "alarm": 7})
    request = send(receiver, told=told)
    assert request.body.isascii()
    said = json_of(request)
    assert said["type"] == "drkeeper.entered"
    assert said["timestamp"] == "2026-11-20T01:30:00Z"
    assert said["data"]["facts"] == {"policy": "shop", "alarm": 7}
    assert said["data"]["title"] == "größe"
    assert said["data"]["thread"] == "alarm-1"
    assert request.headers["content-type"] == "application/json"


def test_payloads_stay_small():
    """Also the longest text makes a payload that every receiver takes."""
    assert len(payload(message(text="x" * 16_384))) < 20_000


def test_the_replay_window_is_the_one_of_the_libraries():
    """Five minutes: documentation and code say the same."""
    assert REPLAY_WINDOW_S == 300
