"""Mail: security that is real, headers that cannot be made by others, threads."""

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from doubles.certificates import Authority
from doubles.clock import FakeClock
from doubles.messages import message
from doubles.receivers import SmtpReceiver
from drkeeper.clock import SystemClock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.model.channel import EmailChannel
from drkeeper.notify.email import Email
from drkeeper.notify.wire import Deadline, Wire

AT = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
PASSWORD = "pass wörd\t1"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def channel(receiver, **fields):
    base = EmailChannel(
        server="127.0.0.1",
        port=receiver.port,
        security="none",
        sender="drkeeper@example.org",
        to=("ops@example.org", "night@example.org"),
    )
    return replace(base, **fields)


def send(receiver, told=None, **fields):
    Email(channel(receiver, **fields), clock=FakeClock(AT)).send(told or message(), within=10)
    return receiver.mails[-1]


def refused(receiver, **fields):
    with pytest.raises(NotifyError) as caught:
        send(receiver, **fields)
    assert not receiver.mails
    assert PASSWORD not in f"{caught.value} {caught.value.hint} {caught.value.context}"
    return caught.value


def test_a_mail_has_all_headers_that_mail_needs():
    """Date, an id of its own, who and to whom, and that no person wrote it."""
    with SmtpReceiver() as receiver:
        mail = send(receiver)
    told = mail.message
    assert mail.sender == "drkeeper@example.org"
    assert mail.recipients == ("ops@example.org", "night@example.org")
    assert told["From"] == "drkeeper <drkeeper@example.org>"
    assert told["To"] == "ops@example.org, night@example.org"
    assert told["Subject"] == "[drkeeper web1] failure: policy shop: overdue"
    assert parsedate_to_datetime(told["Date"]) == AT
    assert told["Message-ID"] == "<alarm-1f@example.org>"
    assert told["Auto-Submitted"] == "auto-generated"
    assert told["In-Reply-To"] is None
    assert told.get_content_type() == "text/plain"
    assert told["X-Drkeeper-Level"] == "failure"


def test_what_follows_is_in_the_thread_of_the_first():
    """A reminder and the all-clear answer the mail that raised the alarm."""
    with SmtpReceiver() as receiver:
        told = send(receiver, message(id="alarm-1f-over", thread="alarm-1f")).message
    assert told["Message-ID"] == "<alarm-1f-over@example.org>"
    assert told["In-Reply-To"] == told["References"] == "<alarm-1f@example.org>"


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "LOGIN"])
def test_logins_travel_by_tls(authority, security, mechanisms):
    """User and password, letters beyond ASCII included where the server can take them."""
    password = PASSWORD if "PLAIN" in mechanisms else "password"
    context = authority.server_context()
    with SmtpReceiver(
        starttls=context if security == "starttls" else None,
        tls=context if security == "tls" else None,
        users={"keeper": password},
        mechanisms=mechanisms,
    ) as receiver:
        login = {"user": "keeper", "password": password, "ca": str(authority.bundle)}
        mail = send(receiver, security=security, **login)
    assert (mail.secure, mail.user) == (True, "keeper")


def test_starttls_must_succeed(authority):
    """Who takes it out of the server's offer gets no mail and no password."""
    login = {"user": "keeper", "password": PASSWORD, "ca": str(authority.bundle)}
    with SmtpReceiver(users={"keeper": PASSWORD}) as receiver:
        error = refused(receiver, security="starttls", **login)
        assert "STARTTLS" in str(error)
        assert "AUTH" not in receiver.verbs
        assert "MAIL" not in receiver.verbs
    with SmtpReceiver(
        starttls=authority.server_context(), replies={"STARTTLS": "454 not now"}
    ) as receiver:
        assert refused(receiver, security="starttls").transient
        assert "MAIL" not in receiver.verbs


def test_certificates_of_mail_servers_are_verified(authority, tmp_path):
    """An authority that is not ours, another's name, a certificate that has run out: refused."""
    other = Authority(tmp_path, "other")
    contexts = [
        other.server_context(),
        authority.server_context("127.0.0.2"),
        authority.server_context(lasts=timedelta(hours=-1)),
    ]
    for context in contexts:
        for kind in ("starttls", "tls"):
            with SmtpReceiver(**{kind: context}) as receiver:
                error = refused(receiver, security=kind, ca=str(authority.bundle))
                assert "certificate" in str(error)
                assert not error.transient


def test_words_slipped_in_before_tls_are_forgotten(authority):
    """What came in one piece with the answer to STARTTLS was anybody's (CVE-2011-0411)."""
    injected = b"250-injected\r\n250 AUTH PLAIN\r\n"
    with SmtpReceiver(starttls=authority.server_context(), injected=injected) as receiver:
        with pytest.raises(NotifyError):
            # The handshake fails on the plain text, or the text is dropped; nothing is believed.
            send(receiver, security="starttls", ca=str(authority.bundle), user="a", password="b")
        assert "AUTH" not in receiver.verbs


def test_no_login_without_tls():
    """Not even when the configuration asks for it, but on this machine itself."""
    with SmtpReceiver(users={"keeper": PASSWORD}) as receiver:
        error = refused(receiver, server="mail.example.org", user="keeper", password=PASSWORD)
        assert "TLS" in str(error)
        assert send(receiver, user="keeper", password=PASSWORD).user == "keeper"


def test_a_wrong_password_is_no_secret_in_the_error():
    """Though the server repeats it in its answer."""
    with SmtpReceiver(users={"keeper": "right"}) as receiver:
        error = refused(receiver, user="keeper", password=PASSWORD)
    assert "login" in str(error)
    assert not error.transient


@pytest.mark.parametrize(
    ("replies", "transient"),
    [
        ({"greeting": "421 busy"}, True),
        ({"greeting": "554 go away"}, False),
        ({"MAIL": "451 later"}, True),
        ({"MAIL": "550 no"}, False),
        ({"RCPT": "450 greylisted"}, True),
        ({"RCPT": "550 nobody"}, False),
        ({"DATA": "452 full"}, True),
        ({"DATA": "552 too large"}, False),
        ({"EHLO": "500 what", "HELO": "500 what"}, False),
    ],
)
def test_the_server_says_whether_it_may_pass(replies, transient):
    """4xx may be different tomorrow, 5xx will not."""
    with SmtpReceiver(replies=replies) as receiver:
        error = refused(receiver)
    assert isinstance(error, NotifyUnavailableError) is transient


class Impatient(Wire):
    """A connection that the server ends as soon as it has the mail."""

    def sendall(self, data):
        if bytes(data).startswith(b"QUIT"):
            raise ConnectionResetError
        super().sendall(data)


def test_a_mail_that_was_taken_is_told_whatever_follows():
    """A server that hangs up instead of hearing goodbye has the mail: sending it again is a second one."""
    with SmtpReceiver() as receiver:
        email = Email(channel(receiver, security="none"), clock=SystemClock())
        with socket.create_connection(("127.0.0.1", receiver.port)) as line:
            wire = Impatient(line, Deadline(SystemClock(), 20))
            email._talk(wire, email._mail(message()), "web1")
        assert len(receiver.mails) == 1


def test_some_recipients_refused_is_said_and_not_repeated():
    """Those who got it must not get it again; somebody must look at the others."""
    with SmtpReceiver(refused={"night@example.org": "450 later"}) as receiver:
        with pytest.raises(NotifyError, match="1 of 2") as caught:
            send(receiver)
        assert not caught.value.transient
        assert receiver.mails[0].recipients == ("ops@example.org",)


@hypothesis_settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=300))
def test_no_text_makes_a_header(text):
    """Whatever a policy is called, the mail has the headers that we wrote and no others."""
    evil = f"a\r\nBcc: evil@example.org\r\n\r\n{text}\nX-Evil: 1\u2028X-More: 2"
    told = message(title=evil, subject=evil, kind=evil, text=f"{text}\r\n.\r\nMAIL FROM:<x@y>\r\n")
    with SmtpReceiver() as receiver:
        mail = send(receiver, told)
        assert receiver.verbs.count("MAIL") == 1
    headers = [name.lower() for name in mail.message]
    assert len(headers) == len(set(headers))
    assert not {"bcc", "x-evil", "x-more"} & set(headers)
    assert mail.recipients == ("ops@example.org", "night@example.org")


@pytest.mark.parametrize(
    "address",
    ["", "a", "a@", "@b", "a@b\r\nRCPT TO:<x@y>", "a b@c", "a@b>", "<a@b>", "a@b, c@d", "a\0@b"],
)
def test_addresses_that_are_none_are_refused(address):
    """Before the server is asked: an address cannot carry a command or a second address."""
    with SmtpReceiver() as receiver:
        for fields in ({"sender": address}, {"to": (address,)}, {"to": ("ok@b.org", address)}):
            refused(receiver, **fields)
        assert not receiver.verbs
