"""Mail over SMTP: plain text, threads, and no TLS that only looks like it.

Source:
    RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4616 (PLAIN), RFC 5322 (headers), RFC 3834
    (``Auto-Submitted``, so that nobody's holiday notice answers).
"""

import base64
import re
import smtplib
import ssl
from contextlib import suppress
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import Final

from drkeeper.clock import Clock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.faults import point
from drkeeper.model.channel import EmailChannel
from drkeeper.notify.base import MOST_SECONDS, Message
from drkeeper.notify.http import is_loopback
from drkeeper.notify.wire import Deadline, Wire, dial, tls_context, translated

_READY: Final = 220
_LOGGED_IN: Final = 235
_TRANSIENT: Final = 400
_PERMANENT: Final = 500
"""Replies from here on will be the same tomorrow. Source: RFC 5321, 4.2.1."""

_LONGEST_SUBJECT: Final = 200
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""What could end a header, or could not be sent."""
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,200}[A-Za-z0-9])?", re.ASCII)


class Email:
    """Mail to some people.

    Args:
        settings: Through which server, as whom, to whom.
        clock: Measures, and dates the mail.
    """

    def __init__(self, settings: EmailChannel, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def send(self, message: Message, *, within: float = MOST_SECONDS) -> None:
        """Hand one mail to the server.

        Raises:
            NotifyUnavailableError: No answer, or a refusal for now (4xx).
            NotifyError: A refusal for good, no TLS where there must be one, or an address that is
                none. Some of the recipients may have got it.
        """
        settings = self._settings
        server = f"{settings.server}:{settings.port}"
        mail = self._mail(message)
        self._check()
        deadline = Deadline(self._clock, within)
        try:
            wire = dial(settings.server, settings.port, deadline)
            try:
                self._talk(wire, mail, message.host)
            finally:
                wire.close()
        except smtplib.SMTPException as error:
            failure = _refusal(error, server)
            raise failure from error
        except (OSError, ssl.SSLError) as error:
            failure = translated(error, server)
            raise failure from error
        except (ValueError, UnicodeError) as error:
            raise NotifyError(
                f"{server} cannot be told this user or these addresses",
                hint="Use letters, digits and the usual signs in addresses and in the user's name.",
            ) from error

    def _check(self) -> None:
        settings = self._settings
        bare = settings.security == "none"
        if bare and settings.user is not None and not is_loopback(settings.server):
            raise NotifyError(
                f"a login without TLS on another machine: {settings.server[:80]}",
                hint="Set security to starttls or tls.",
            )

    def _mail(self, message: Message) -> EmailMessage:
        settings = self._settings
        sender, to = _address(settings.sender), [_address(each) for each in settings.to]
        if not to:
            raise NotifyError("mail to nobody", hint="Name the recipients in to.")
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["From"] = Address("drkeeper", addr_spec=sender.addr_spec)
        mail["To"] = to
        mail["Subject"] = _line(message.title)
        mail["Date"] = format_datetime(self._clock.now())
        mail["Message-ID"] = _mail_id(message.id, sender)
        if message.thread is not None and message.thread != message.id:
            mail["In-Reply-To"] = mail["References"] = _mail_id(message.thread, sender)
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
        mail["X-Drkeeper-Level"] = _line(message.level)
        mail["X-Drkeeper-Kind"] = _line(message.kind)
        mail["X-Drkeeper-Subject"] = _line(message.subject)
        text = message.text.encode("utf-8", "backslashreplace").decode().replace("\0", "")
        mail.set_content(text, subtype="plain", charset="utf-8", cte="quoted-printable")
        return mail

    def _talk(self, wire: Wire, mail: EmailMessage, host: str) -> None:
        settings = self._settings
        if settings.security == "tls":
            wire = wire.secured(tls_context(settings.ca), settings.server)
        # With a name, smtplib does not ask the name server for one, which may hang.
        session = _Session(local_hostname=host if _NAME.fullmatch(host) else "localhost")
        try:
            session.greet(wire)
            if settings.security == "starttls":
                session.secure(wire, tls_context(settings.ca), settings.server)
            if settings.user is not None:
                session.log_in(settings.user, settings.password or "")
            point("notify.email.send")
            refused = session.send_message(mail, settings.sender, list(settings.to))
            point("notify.email.sent")
            with suppress(smtplib.SMTPException, OSError):
                session.putcmd("QUIT")  # it has the mail: nothing makes a difference any more
        finally:
            session.close()
        if refused:
            raise NotifyError(
                f"{settings.server} refused {len(refused)} of {len(settings.to)} recipients",
                hint="Check the addresses in to.",
            )


class _Session(smtplib.SMTP):
    """``smtplib`` on a wire of ours."""

    # smtplib uses no more of a socket than a wire has.
    sock: Wire  # type: ignore[assignment]

    def greet(self, wire: Wire) -> None:
        """Take the wire, and wait for the server to speak.

        Raises:
            smtplib.SMTPConnectError: It does not want to speak with us.
        """
        self.sock = wire
        code, words = self.getreply()
        if code != _READY:
            raise smtplib.SMTPConnectError(code, words)
        self.ehlo_or_helo_if_needed()

    def secure(self, wire: Wire, context: ssl.SSLContext, name: str) -> None:
        """Go on by TLS, and forget all that was said before.

        Raises:
            NotifyError: The server has no STARTTLS, or says so.
            NotifyUnavailableError: It has none just now.
        """
        code = self.docmd("STARTTLS")[0] if self.has_extn("starttls") else _PERMANENT
        if code != _READY:
            # Somebody between us and the server may be the one who says so: never go on bare.
            kind = NotifyUnavailableError if code < _PERMANENT else NotifyError
            raise kind(
                f"{name} offers no STARTTLS",
                hint="Set security to tls, with the port that belongs to it, often 465.",
            )
        self.sock = wire.secured(context, name)
        # What came in one piece with the answer was not the server's own (CVE-2011-0411).
        self.file = None
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False
        self.ehlo_or_helo_if_needed()

    def log_in(self, user: str, password: str) -> None:
        """Say who we are; by PLAIN in UTF-8 where the server knows it.

        Raises:
            smtplib.SMTPAuthenticationError: The server does not believe it.
        """
        if "PLAIN" not in self.esmtp_features.get("auth", "").upper().split():
            self.login(user, password)
            return
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        code, words = self.docmd("AUTH", f"PLAIN {secret}")
        if code != _LOGGED_IN:
            raise smtplib.SMTPAuthenticationError(code, words)


def _address(text: str) -> Address:
    try:
        address = None if _UNSAFE.search(text) else Address(addr_spec=text)
    except (ValueError, HeaderParseError, IndexError):
        address = None
    if address is None or not address.domain or not address.username:
        raise NotifyError(f"not an address: {_line(text)[:80]!r}", hint="Write NAME@DOMAIN.")
    return address


def _mail_id(message_id: str, sender: Address) -> str:
    return f"<{message_id}@{sender.domain}>"


def _line(text: str) -> str:
    """Make one line of anything: nothing in it can begin another header."""
    clean = _UNSAFE.sub(" ", text).strip()
    return clean if len(clean) <= _LONGEST_SUBJECT else clean[: _LONGEST_SUBJECT - 1] + "…"


def _refusal(error: smtplib.SMTPException, server: str) -> NotifyError:
    """Put a refusal into words; the server's own are not repeated: they may quote secrets."""
    if isinstance(error, smtplib.SMTPServerDisconnected):
        cause = error.__context__
        return translated(cause if isinstance(cause, OSError) else OSError(), server)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return NotifyError(
            f"{server} cannot do what this mail needs",
            hint="Use plain ASCII addresses, and a server that takes logins if there is a user.",
        )
    codes = [_PERMANENT]
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()] or codes
    elif isinstance(error, smtplib.SMTPResponseException):
        codes = [error.smtp_code]
    said = f"{server} answered {codes[0]}"
    if all(_TRANSIENT <= code < _PERMANENT for code in codes):
        return NotifyUnavailableError(said, hint="Look whether the mail server works.")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return NotifyError(f"{said}: the login was refused", hint="Check user and password.")
    return NotifyError(said, hint="Check the addresses and the server's rules.")
