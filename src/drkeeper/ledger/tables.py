"""The tables, in terms that every database of SQLAlchemy has.

Only ``event`` is truth; it is never updated. All other tables are projections: each row names the
event it comes from and can be computed again from the events alone. Leases and the daemons' signs of
life are neither: they are forgotten when they are old. Instants are text in one
form (docs/ledger.md, "Instants"), so that nothing is lost to a database's own idea of time zones.

A change here needs a new migration and ``SCHEMA_VERSION``; a test compares the two.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION: Final = "0002"
"""The newest migration; compared as text, which sorts as the numbers do."""

APPLICATION_ID: Final = 0x44524B4C
"""Marks a SQLite file as a ledger ("DRKL"). Source: sqlite.org/fileformat2.html, 1.3.17."""

# SQLite makes the table's own order only of an exact "INTEGER"; elsewhere that ends at 2^31.
Number = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("version_num", String(32), primary_key=True),
)

event = Table(
    "event",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("at", String(27), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("prev", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Number, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("policy", String(255)),
    Column("operation", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("started_at", String(27), nullable=False),
    Column("ended_at", String(27)),
    Column("host", String(255), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid", Number, nullable=False),
    Column("process_started", String(64), nullable=False),
    Column("lease_owner", String(255)),
    Column("lease_until", String(27)),
    Column("result", Text, nullable=False),
    Column("failure", Text),
    Column("begun_event", Number, ForeignKey("event.seq"), nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
    Column("queued_at", String(27)),
)
Index(None, run.c.policy, run.c.begun_event)
Index(None, run.c.state)

recovery_point = Table(
    "recovery_point",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("policy", String(255), nullable=False),
    Column("repository", String(64), nullable=False),
    Column("lineage", String(64), nullable=False),
    Column("commit_number", Number, nullable=False),
    Column("session", String(64), nullable=False),
    Column("run", String(64), ForeignKey("run.id")),
    Column("consistent_at", String(27), nullable=False),
    Column("finished_at", String(27), nullable=False),
    Column("plain_bytes", Number, nullable=False),
    Column("stored_bytes", Number, nullable=False),
    Column("new_bytes", Number, nullable=False),
    Column("files", Number, nullable=False),
    Column("entries", Number, nullable=False),
    Column("unreadable", Number, nullable=False),
    Column("changed", Number, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("consistency", String(32), nullable=False),
    Column("proof", String(32), nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, recovery_point.c.policy, recovery_point.c.consistent_at)

verification = Table(
    "verification",
    metadata,
    Column("event", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("run", String(64), ForeignKey("run.id")),
    Column("policy", String(255)),
    Column("repository", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("checked_at", String(27), nullable=False),
    Column("objects", Number, nullable=False),
    Column("read_bytes", Number, nullable=False),
    Column("findings", Number, nullable=False),
    Column("detail", Text, nullable=False),
)

policy = Table(
    "policy",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("definition", String(64), nullable=False),
    Column("first_seen_at", String(27), nullable=False),
    Column("changed_at", String(27), nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("subject_kind", String(32), nullable=False),
    Column("subject_name", String(255), nullable=False),
    Column("message", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("since", String(27), nullable=False),
    Column("raised_at", String(27), nullable=False),
    Column("cleared_at", String(27)),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, alarm.c.cleared_at)

notification = Table(
    "notification",
    metadata,
    Column("event", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("channel", String(255), nullable=False),
    Column("alarm", Number, ForeignKey("alarm.id")),
    Column("what", String(64), nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
    Column("sent_at", String(27), nullable=False),
)
Index(None, notification.c.channel, notification.c.alarm, notification.c.event)

_projections = (run, recovery_point, verification, policy, alarm, notification)
PROJECTIONS: Final = {table.name: table for table in _projections}
"""Tables computed from events, parents before children."""

# Signs of life: written every few seconds, of no value a day later, so no part of the chain. They
# refer to no other table, for those may be computed anew at any time.

lease = Table(
    "lease",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("renewed_at", String(27), nullable=False),
    Column("expires_at", String(27), nullable=False),
    Column("moved_at", String(27), nullable=False),
    Column("progress", Text, nullable=False),
)

daemon = Table(
    "daemon",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("boot_id", String(64), primary_key=True),
    Column("pid", Number, primary_key=True, autoincrement=False),
    Column("process_started", String(64), primary_key=True),
    Column("version", String(64), nullable=False),
    Column("started_at", String(27), nullable=False),
    Column("beat_at", String(27), nullable=False),
)

SQLITE_TRIGGERS: Final = {
    "event_is_never_updated": (
        "CREATE TRIGGER event_is_never_updated BEFORE UPDATE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are never updated'); END"
    ),
    "event_is_never_deleted": (
        "CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END"
    ),
    # Also what stops INSERT OR REPLACE, which deletes without asking the trigger above.
    "event_follows_the_last": (
        "CREATE TRIGGER event_follows_the_last BEFORE INSERT ON event"
        " WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM event)"
        " BEGIN SELECT RAISE(ABORT, 'events follow each other without a gap'); END"
    ),
}
