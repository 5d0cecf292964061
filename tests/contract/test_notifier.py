"""The promises of ``drkeeper.notify.base.Notifier``, asked of every adapter."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from doubles.certificates import Authority
from doubles.receivers import (
    HttpReceiver,
    Server,
    SmtpReceiver,
    answer,
    babble,
    closed_port,
    drip,
    flood,
    hang,
    json_of,
    reset,
)
from drkeeper.clock import SystemClock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.model.alarm import Level
from drkeeper.model.channel import EmailChannel
from drkeeper.notify.apprise import AppriseNotifier
from drkeeper.notify.base import Message, Notifier, Occasion
from drkeeper.notify.email import Email
from drkeeper.notify.heartbeat import Heartbeat
from drkeeper.notify.webhook import Webhook

SECRET = "hunter2-0123456789abcdef"
CLOCK = SystemClock()
HTTP_BEGINNINGS = {
    "status": b"HTTP/1.1 20",
    "headers": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "body": b"HTTP/1.1 200 OK\r\n\r\n",
    "continues": b"HTTP/1.1 100 Continue\r\n",
}
REPEATED = {"continues": b"HTTP/1.1 100 Continue\r\n", "lines": b"220-aaaa\r\n"}
SMTP_BEGINNINGS = {"greeting": b"220 ready", "lines": b"220-ready\r\n220-"}

MESSAGE = Message(
    id="test-0123456789",
    occasion=Occasion.TEST,
    level=Level.WARNING,
    kind="test",
    subject="channel/ops",
    title="[drkeeper web1] policy größe: a title",
    text="Policy größe on web1: it is 02:30 CET (2026-11-20T01:30:00Z).\nWhat to do: Nothing.\n",
    at=datetime(2026, 11, 20, 1, 30, tzinfo=UTC),
    host="web1",
)


@dataclass
class Rig:
    """One adapter with a receiver of its own.

    Attributes:
        notifier: Tells the receiver.
        told: Returns what arrived, as text.
        at_port: Makes the same adapter for another server on this machine.
        refuse: Makes the receiver refuse the next message, ``now`` or ``forever``.
        beginnings: What its protocol's servers say first, by where they are in it.
        slow_s: Time that it takes by itself, whatever the receiver does.
    """

    notifier: Notifier
    told: Callable[[], list[str]]
    at_port: Callable[[int], Notifier]
    refuse: Callable[[str], None]
    beginnings: dict[str, bytes] = field(default_factory=lambda: HTTP_BEGINNINGS)
    slow_s: float = 0.0
    knows_why: bool = True


def _refuse_http(receiver: HttpReceiver) -> Callable[[str], None]:
    return lambda how: receiver.answers.append(
        answer(403 if how == "forever" else 503, b"key " + SECRET.encode())
    )


@contextmanager
def heartbeat(_folder: Path) -> Iterator[Rig]:
    with HttpReceiver() as receiver:
        yield Rig(
            Heartbeat(f"{receiver.url}/{SECRET}", body=True, clock=CLOCK),
            lambda: [each.body.decode() for each in receiver.requests],
            lambda port: Heartbeat(f"http://127.0.0.1:{port}/{SECRET}", clock=CLOCK),
            _refuse_http(receiver),
        )


@contextmanager
def webhook(_folder: Path) -> Iterator[Rig]:
    with HttpReceiver() as receiver:
        yield Rig(
            Webhook(f"{receiver.url}/{SECRET}", secret=SECRET, clock=CLOCK),
            lambda: [json_of(each)["data"]["text"] for each in receiver.requests],
            lambda port: Webhook(f"http://127.0.0.1:{port}/{SECRET}", clock=CLOCK),
            _refuse_http(receiver),
        )


@contextmanager
def webhook_tls(folder: Path) -> Iterator[Rig]:
    authority = Authority(folder)
    ca = str(authority.bundle)
    with HttpReceiver(tls=authority.server_context()) as receiver:
        yield Rig(
            Webhook(f"{receiver.url}/{SECRET}", secret=SECRET, clock=CLOCK, ca=ca),
            lambda: [json_of(each)["data"]["text"] for each in receiver.requests],
            lambda port: Webhook(f"https://127.0.0.1:{port}/{SECRET}", clock=CLOCK, ca=ca),
            _refuse_http(receiver),
        )


def _mail(folder: Path, security: str) -> Callable[[int], Email]:
    def at_port(port: int) -> Email:
        settings = EmailChannel(
            server="127.0.0.1",
            port=port,
            security=security,
            sender="drkeeper@example.org",
            to=("ops@example.org", "night@example.org"),
            user=None if security == "none" else "keeper",
            password=None if security == "none" else SECRET,
            ca=str(folder / "authority.pem"),
        )
        return Email(settings, clock=CLOCK)

    return at_port


@contextmanager
def _mail_rig(folder: Path, security: str) -> Iterator[Rig]:
    authority = Authority(folder)
    context = authority.server_context()
    with SmtpReceiver(
        starttls=context if security == "starttls" else None,
        tls=context if security == "tls" else None,
        users={} if security == "none" else {"keeper": SECRET},
    ) as receiver:
        yield Rig(
            _mail(folder, security)(receiver.port),
            lambda: [each.message.get_content() for each in receiver.mails],
            _mail(folder, security),
            lambda how: receiver.replies.update(
                {"DATA": f"{550 if how == 'forever' else 451} your key is {SECRET}"}
            ),
            SMTP_BEGINNINGS,
        )


@contextmanager
def mail_starttls(folder: Path) -> Iterator[Rig]:
    with _mail_rig(folder, "starttls") as rig:
        yield rig


@contextmanager
def mail_tls(folder: Path) -> Iterator[Rig]:
    with _mail_rig(folder, "tls") as rig:
        yield rig


@contextmanager
def mail_bare(folder: Path) -> Iterator[Rig]:
    with _mail_rig(folder, "none") as rig:
        yield rig


@contextmanager
def apprise(_folder: Path) -> Iterator[Rig]:
    with HttpReceiver() as receiver:
        yield Rig(
            AppriseNotifier([f"json://keeper:{SECRET}@127.0.0.1:{receiver.port}/hook"]),
            lambda: [json_of(each)["message"] for each in receiver.requests],
            lambda port: AppriseNotifier([f"json://127.0.0.1:{port}/{SECRET}"]),
            _refuse_http(receiver),
            {"body": HTTP_BEGINNINGS["body"]},
            slow_s=1.5,
            knows_why=False,
        )


ADAPTERS = {
    each.__name__: each
    for each in (heartbeat, webhook, webhook_tls, mail_starttls, mail_tls, mail_bare, apprise)
}


@pytest.fixture(params=ADAPTERS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ADAPTERS[request.param](tmp_path) as made:
        yield made


def test_what_is_told_arrives_once_and_whole(rig):
    """When ``send`` returns, the receiver has the text, letters beyond ASCII included."""
    rig.notifier.send(MESSAGE)
    assert [text.splitlines() for text in rig.told()] == [MESSAGE.text.splitlines()]


def test_threads_tell_at_once(rig):
    """Any number of threads may tell at the same time; all of it arrives."""
    messages = [replace(MESSAGE, id=f"test-{n}", text=f"number {n}\n") for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(rig.notifier.send, messages))
    assert sorted(text.strip() for text in rig.told()) == [f"number {n}" for n in range(4)]


def test_a_refusal_for_now_is_transient(rig):
    """A server that says to come later gets an error that says so, without its own words."""
    rig.refuse("now")
    with pytest.raises(NotifyUnavailableError) as caught:
        rig.notifier.send(MESSAGE)
    assert_no_secret(caught.value)


def test_a_refusal_for_good_is_not(rig):
    """What will be refused again must not be repeated; nor does the error repeat what was said."""
    rig.refuse("forever")
    with pytest.raises(NotifyError) as caught:
        rig.notifier.send(MESSAGE)
    assert caught.value.transient is not rig.knows_why
    assert caught.value.hint
    assert_no_secret(caught.value)


def test_nobody_listens(rig):
    """A server that is not there is a transient error that names it, and no secret."""
    with closed_port() as port, pytest.raises(NotifyUnavailableError) as caught:
        rig.at_port(port).send(MESSAGE)
    assert_no_secret(caught.value)


def test_a_server_that_hangs_costs_no_more_than_the_deadline(rig):
    """Who takes the connection and says nothing is given up at the deadline."""
    assert_bounded(rig, hang)


def test_a_server_that_drips_costs_no_more_than_the_deadline(rig):
    """A byte now and then keeps every single read alive, and still there is an end."""
    for place, beginning in rig.beginnings.items():
        # An answer whose body never ends was an answer all the same: that may count as taken.
        assert_bounded(rig, drip(beginning), may_be_taken=place == "body")


def test_a_server_that_floods_fills_no_memory(rig):
    """Endless answers, headers and bodies are cut off; nothing of their size is kept."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place, beginning in rig.beginnings.items():
        line = REPEATED.get(place, b"a" * 70)
        assert_bounded(rig, flood(beginning, line), may_be_taken=place == "body")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize("serve", [reset, babble], ids=["reset", "babble"])
def test_a_server_that_makes_no_sense_is_an_error(rig, serve):
    """Whatever comes back, it is one of the two errors."""
    assert_bounded(rig, serve)


def test_a_name_that_is_none_is_an_error():
    """A server that cannot be found is told by its name, and may be found later."""
    for notifier in (
        Webhook(f"https://no-such-host.invalid/{SECRET}", clock=CLOCK),
        Heartbeat(f"https://{'a' * 64}.invalid/{SECRET}", clock=CLOCK),
    ):
        with pytest.raises(NotifyUnavailableError, match="invalid") as caught:
            notifier.send(MESSAGE)
        assert_no_secret(caught.value)


def assert_bounded(rig, serve, *, may_be_taken=False):
    """Tell a bad server, and see that it ends in time and in one of our errors."""
    within = 0.5
    with ExitStack() as stack:
        server = stack.enter_context(Server(serve))
        notifier = rig.at_port(server.port)
        threads = threading.active_count()
        began = time.monotonic()
        try:
            notifier.send(MESSAGE, within=within + rig.slow_s)
        except NotifyError as error:
            assert_no_secret(error)
        else:
            assert may_be_taken
        assert time.monotonic() - began < within + rig.slow_s + 1
        assert threading.active_count() <= threads + 1  # of the server


def assert_no_secret(error):
    """Neither the error nor what it carries holds the secret."""
    assert SECRET not in f"{error} {error.hint} {error.context}"
    assert str(error)
