"""Requests of channels: what is refused, what is repeated, what is believed of an answer."""

from datetime import UTC, datetime, timedelta

import pytest

from doubles.certificates import Authority
from doubles.clock import FakeClock
from doubles.receivers import HttpReceiver, answer
from drkeeper.clock import SystemClock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.notify.http import LONGEST_WAIT, Poster, place_from_url


@pytest.fixture
def receiver():
    with HttpReceiver() as made:
        yield made


def post(url, *, clock=None, ca=None):
    return Poster(clock=clock or SystemClock(), ca=ca).post(
        place_from_url(url), b"{}", {}, within=10
    )


def failure(receiver, reply, **options):
    receiver.answers.append(reply)
    with pytest.raises(NotifyError) as caught:
        post(f"{receiver.url}/hook", **options)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_2xx(receiver, status):
    """Any success counts, whatever its number."""
    receiver.answers.append(answer(status))
    post(f"{receiver.url}/hook?a=b")
    assert receiver.requests[0].target == "/hook?a=b"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
@pytest.mark.parametrize("to", ["file:///etc/passwd", "http://127.0.0.1:1/", "https://[::1]/", ""])
def test_redirects_are_refused(receiver, status, to):
    """Where a server wants to send us, nothing is sent: the message is for nobody else."""
    error = failure(receiver, answer(status, Location=to))
    assert not error.transient
    assert "redirect" in str(error)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_some_refusals_may_pass(receiver, status):
    """What a server says about itself, or about too much of something, may be over later."""
    assert failure(receiver, answer(status)).transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 418, 422, 451])
def test_others_may_not(receiver, status):
    """What it says about our request will be said again."""
    assert not failure(receiver, answer(status)).transient


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("0", timedelta()),
        ("17", timedelta(seconds=17)),
        ("3600", timedelta(hours=1)),
        ("99999999", LONGEST_WAIT),
        ("9" * 5000, LONGEST_WAIT),
        ("Fri, 20 Nov 2026 01:31:00 GMT", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 01:31:00", timedelta(minutes=1)),
        ("Fri, 20 Nov 2020 01:31:00 GMT", timedelta()),
        ("Fri, 20 Nov 9999 01:31:00 GMT", LONGEST_WAIT),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_obeyed_within_reason(receiver, said, wait):
    """Seconds or a date; an hour at most, and nothing when it makes no sense."""
    clock = FakeClock(datetime(2026, 11, 20, 1, 30, tzinfo=UTC))
    error = failure(receiver, answer(429, Retry_After=said), clock=clock)
    assert isinstance(error, NotifyUnavailableError)
    assert error.wait == wait


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/",
        "file:///etc/passwd",
        "https:///path",
        "https://host:0/",
        "https://host:99999/",
        "https://[::1/",
        "//host/",
        "https://host/a b",
        "https://host/a\r\nX: y",
        "https://höst/",
        "http://example.org/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example.org/",
        "https://user:secret@host/",
        "https://host/#fragment",
        "javascript:alert(1)",
    ],
)
def test_addresses_that_cannot_be_right_are_refused(url):
    """Before anything is sent: other schemes, plain http to another machine, credentials."""
    with pytest.raises(NotifyError) as caught:
        place_from_url(url)
    assert not caught.value.transient
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "[::1]"])
def test_plain_http_is_for_this_machine(host):
    """A receiver on the same machine needs no certificate."""
    place = place_from_url(f"http://{host}:8080/x?y=z")
    assert (place.secure, place.port, place.path, place.query) == (False, 8080, "/x", "y=z")
    assert place_from_url("https://example.org").port == 443


def test_certificates_are_verified(tmp_path):
    """An unknown authority, a name that is another's and a certificate that has run out: refused."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    cases = [
        (theirs.server_context(), str(ours.bundle)),
        (ours.server_context(), None),
        (ours.server_context("127.0.0.2"), str(ours.bundle)),
        (ours.server_context(lasts=timedelta(hours=-1)), str(ours.bundle)),
    ]
    for context, ca in cases:
        with HttpReceiver(tls=context) as receiver:
            with pytest.raises(NotifyError, match="certificate") as caught:
                post(receiver.url, ca=ca)
            assert not caught.value.transient
            assert not receiver.requests


def test_a_file_of_certificates_that_is_none_is_an_error(tmp_path):
    """A wrong ca is said, not ignored."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "absent.pem"):
        with HttpReceiver() as receiver, pytest.raises(NotifyError, match="certificates"):
            post(f"https://127.0.0.1:{receiver.port}/", ca=str(tmp_path / name))


def test_an_authority_of_one_s_own_can_come_from_the_environment(tmp_path, monkeypatch):
    """SSL_CERT_FILE adds to nothing: it names the list, as it does for other programs."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with HttpReceiver(tls=authority.server_context()) as receiver:
        post(receiver.url)
        assert len(receiver.requests) == 1


def test_the_next_address_of_a_name_is_tried(receiver):
    """A server that listens on one of its addresses only is found all the same."""
    post(receiver.url.replace("127.0.0.1", "localhost"))
    assert len(receiver.requests) == 1


def test_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    """A variable that somebody set for other programs gets no messages of ours."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    post(f"{receiver.url}/hook")
    assert len(receiver.requests) == 1
