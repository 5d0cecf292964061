"""A ledger that many hosts share, in PostgreSQL: every setting is here, with its reason.

* *One writer at a time*: every write transaction begins by taking one advisory lock, so the chain
  cannot fork, and what a writer has looked at stays so until it commits, as in a file. Transactions
  take milliseconds, so queueing costs nothing that is noticed.
* *Readers see one instant*: ``REPEATABLE READ, READ ONLY``. They hold nobody up.
* *Nobody waits for the dead*: a connection whose host has vanished, or that stands still within a
  transaction, is ended by keepalive probes and by the server.
* *No secret is shown*: a password in the URL is the caller's affair, who has it from a credential;
  nothing here repeats it. Without one, libpq's own ways hold: ``passfile``, ``service``,
  certificates, peer authentication.

psycopg (0.1 s to import, and an extra) is loaded only for such a ledger.

Source:
    postgresql.org/docs/current: "Connection URIs" (34.1.1.2), "Error Codes" (appendix A),
    "Advisory Locks" (13.3.5), "Client Connection Defaults" (20.11).
"""

import re
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, text

from drkeeper.errors import (
    DrkeeperError,
    LedgerBusyError,
    LedgerError,
    LedgerUnavailableError,
    NoSpaceError,
)
from drkeeper.faults import point
from drkeeper.ledger.events import plain
from drkeeper.ledger.form import APPLICATION_ID

SCHEMES: Final = ("postgresql://", "postgres://")
"""How URLs of such ledgers begin. Source: libpq, "Connection URIs"."""

READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Execution options of readers."""

_PASSWORD: Final = re.compile(r"^([a-z]+://[^:@/]*):[^/]*(?=@)|[?&]\w*password=[^&]*")
_PATIENCE = "drkeeper_patience"
_IDLE_MS = 60_000
"""Longest pause within a transaction. Source: ours; none of ours waits for anything but the server."""

_DEFAULTS: Final = {
    "application_name": "drkeeper",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    # A server that vanished is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Parameters of libpq that hold unless the URL says otherwise."""


def is_url(place: str) -> bool:
    """Whether a ledger's place is one of ours, and not the path of a file."""
    return place.startswith(SCHEMES)


def shown(place: str) -> str:
    """Return a ledger's place as people may see it: a URL without its password."""
    return _PASSWORD.sub(r"\1", place) if is_url(place) else place


def serves(engine: Engine) -> bool:
    """Whether an engine is one of these."""
    return engine.dialect.name == "postgresql"


def open_engine(url: str, *, patience: timedelta, read_only: bool = False) -> Engine:
    """Make an engine for the ledger at ``url``; the first connection opens it.

    Raises:
        LedgerError: The URL makes no sense, or the extra is not installed.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra
        from psycopg import conninfo  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise LedgerError(
            f"a ledger in PostgreSQL needs the extra postgresql: {error}",
            hint="Install it with pip install 'drkeeper[postgresql]'.",
        ) from error
    try:
        wanted = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # Without the cause: it may quote the password.
        raise LedgerError(
            "URL of the ledger makes no sense",
            hint="Write it as postgresql://user@host:5432/database.",
        ) from None
    parameters = _DEFAULTS | {name: str(value) for name, value in wanted.items()}

    def connect() -> psycopg.Connection[Any]:
        # No prepared statements: a pooler may hand the next transaction to another server process.
        return psycopg.connect(conninfo.make_conninfo(**parameters), prepare_threshold=None)

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        isolation_level="READ COMMITTED",  # whatever the server's default is: see lock()
        pool_pre_ping=True,  # a server that was restarted meanwhile costs nobody an error
        max_overflow=-1,
        execution_options={
            _PATIENCE: patience,
            **({"postgresql_readonly": True} if read_only else {}),
        },
    )


_SETTINGS = text(
    "SELECT set_config('lock_timeout', :patience, true),"
    " set_config('idle_in_transaction_session_timeout', :idle, true),"
    # What was reported as recorded survives a power cut, whatever the server's default is.
    " CASE WHEN current_setting('synchronous_commit') = 'off'"
    " THEN set_config('synchronous_commit', 'on', true) END"
)
_LOCK = text("SELECT pg_advisory_xact_lock(:key, hashtext(current_schema()::text))")


def lock(connection: Connection) -> None:
    """Wait to be the only writer of this ledger until the transaction ends.

    Each statement after it sees what was committed before the lock was given.
    """
    patience: timedelta = connection.get_execution_options()[_PATIENCE]
    patience_ms = max(1, round(patience.total_seconds() * 1000))  # 0 would be for ever
    connection.execute(_SETTINGS, {"patience": str(patience_ms), "idle": str(_IDLE_MS)})
    point("ledger.postgresql.locking")
    connection.execute(_LOCK, {"key": APPLICATION_ID})
    point("ledger.postgresql.locked")


_BUSY = (
    LedgerBusyError,
    "ledger is in use by another process",
    "Try again when the other run has ended.",
)
_AWAY = (
    LedgerUnavailableError,
    "ledger cannot be reached",
    "Check that the ledger's server runs, and that its URL and its rights are right.",
)
_RIGHTS = (
    LedgerError,
    "ledger cannot be written",
    "Check the rights of this user in the database, and whether the server is read-only.",
)
_DAMAGED = (LedgerError, "ledger is damaged", "Restore the database from its last good copy.")

_Words = tuple[type[DrkeeperError], str, str]

_SAID: dict[str, _Words] = {
    "53100": (
        NoSpaceError,
        "no space for the ledger",
        "Free space on the disk of the ledger's server.",
    ),
    "55P03": _BUSY,  # lock_timeout
    "57014": _BUSY,  # a timeout of the server's own
    "40001": _BUSY,
    "40P01": _BUSY,
    "25006": _RIGHTS,
    "42501": _RIGHTS,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
"""Our words for SQLSTATE codes."""

_CLASSES: dict[str, _Words] = {
    "08": _AWAY,
    "53": _AWAY,
    "57": _AWAY,
    "28": _AWAY,
    "25": _AWAY,
    "": _AWAY,
}
"""The same for classes of codes: connections, resources, the operator of the server, authentication,
transactions that the server has ended; none at all is a connection that was lost or never was."""
_OTHER: _Words = (LedgerError, "ledger cannot be used", "Run drkeeper ledger verify.")


def ours(cause: BaseException) -> DrkeeperError:
    """Find our error for one of PostgreSQL's.

    Source:
        postgresql.org/docs/current/errcodes-appendix.html.
    """
    code = getattr(cause, "sqlstate", None) or ""
    kind, message, hint = _SAID.get(code) or _CLASSES.get(code[:2], _OTHER)
    said = str(plain(" ".join(str(cause).split())))
    return kind(f"{message}: {said}", hint=hint)
