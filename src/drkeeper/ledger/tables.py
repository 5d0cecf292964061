"""The tables, in terms that every database of SQLAlchemy has.

Only ``event`` is truth; it is never updated. All other tables are projections: each row names the
event it comes from and can be computed again from the events alone. Leases and the daemons' signs of
life are neither: they are forgotten when they are old. Instants are text in one
form (docs/ledger.md, "Instants"), so that nothing is lost to a database's own idea of time zones.

A change here needs a new migration and ``form.SCHEMA_VERSION``; a test compares the two.
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
from sqlalchemy.types import TypeEngine

# SQLite makes the table's own order only of an exact "INTEGER"; elsewhere that ends at 2^31.
Number = BigInteger().with_variant(Integer, "sqlite")

# Elsewhere, order is by bytes as in SQLite: other collations change with the server's C library, and
# indexes over them break.
_words = Text().with_variant(Text(collation="C"), "postgresql")


def _text(length: int) -> TypeEngine[str]:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


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
    Column("version_num", String(32), primary_key=True),  # as Alembic makes it,
)

event = Table(
    "event",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("at", _text(27), nullable=False),
    Column("kind", _text(64), nullable=False),
    Column("body", _words, nullable=False),
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
    Column("id", _text(64), primary_key=True),
    Column("policy", _text(255)),
    Column("operation", _text(32), nullable=False),
    Column("state", _text(32), nullable=False),
    Column("started_at", _text(27), nullable=False),
    Column("ended_at", _text(27)),
    Column("host", _text(255), nullable=False),
    Column("boot_id", _text(64), nullable=False),
    Column("pid", Number, nullable=False),
    Column("process_started", _text(64), nullable=False),
    Column("lease_owner", _text(255)),
    Column("lease_until", _text(27)),
    Column("result", _words, nullable=False),
    Column("failure", _words),
    Column("begun_event", Number, ForeignKey("event.seq"), nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
    Column("queued_at", _text(27)),
)
Index(None, run.c.policy, run.c.begun_event)
Index(None, run.c.state)

recovery_point = Table(
    "recovery_point",
    metadata,
    Column("id", _text(255), primary_key=True),
    Column("policy", _text(255), nullable=False),
    Column("repository", _text(64), nullable=False),
    Column("lineage", _text(64), nullable=False),
    Column("commit_number", Number, nullable=False),
    Column("session", _text(64), nullable=False),
    Column("run", _text(64), ForeignKey("run.id")),
    Column("consistent_at", _text(27), nullable=False),
    Column("finished_at", _text(27), nullable=False),
    Column("plain_bytes", Number, nullable=False),
    Column("stored_bytes", Number, nullable=False),
    Column("new_bytes", Number, nullable=False),
    Column("files", Number, nullable=False),
    Column("entries", Number, nullable=False),
    Column("unreadable", Number, nullable=False),
    Column("changed", Number, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("consistency", _text(32), nullable=False),
    Column("proof", _text(32), nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
    Column("proven_event", Number),
)
Index(None, recovery_point.c.policy, recovery_point.c.consistent_at)

verification = Table(
    "verification",
    metadata,
    Column("event", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("run", _text(64), ForeignKey("run.id")),
    Column("policy", _text(255)),
    Column("repository", _text(64), nullable=False),
    Column("kind", _text(32), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("checked_at", _text(27), nullable=False),
    Column("objects", Number, nullable=False),
    Column("read_bytes", Number, nullable=False),
    Column("findings", Number, nullable=False),
    Column("detail", _words, nullable=False),
)

policy = Table(
    "policy",
    metadata,
    Column("name", _text(255), primary_key=True),
    Column("definition", _text(64), nullable=False),
    Column("first_seen_at", _text(27), nullable=False),
    Column("changed_at", _text(27), nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("kind", _text(64), nullable=False),
    Column("subject_kind", _text(32), nullable=False),
    Column("subject_name", _text(255), nullable=False),
    Column("message", _words, nullable=False),
    Column("hint", _words, nullable=False),
    Column("since", _text(27), nullable=False),
    Column("raised_at", _text(27), nullable=False),
    Column("cleared_at", _text(27)),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, alarm.c.cleared_at)

notification = Table(
    "notification",
    metadata,
    Column("event", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("channel", _text(255), nullable=False),
    Column("alarm", Number, ForeignKey("alarm.id")),
    Column("what", _text(64), nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("detail", _words, nullable=False),
    Column("sent_at", _text(27), nullable=False),
)
Index(None, notification.c.channel, notification.c.alarm, notification.c.event)

drill = Table(
    "drill",
    metadata,
    Column("id", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("policy", _text(255)),
    Column("kind", _text(32), nullable=False),
    Column("choice", _text(32), nullable=False),
    Column("instant", _text(27)),
    Column("parent", Number, ForeignKey("drill.id")),
    Column("run", _text(64), ForeignKey("run.id")),
    Column("planned_at", _text(27), nullable=False),
    Column("criteria", _words, nullable=False),
    Column("checkpoint_size", Number, nullable=False),
    Column("checkpoint_root", _text(64), nullable=False),
    Column("promised_rpo_us", Number),
    Column("promised_rto_us", Number),
    Column("predicted_bytes", Number),
    Column("predicted_low_us", Number),
    Column("predicted_rto_us", Number),
    Column("predicted_high_us", Number),
    Column("predicted_from", Number),
    Column("declared_at", _text(27)),
    Column("ended_at", _text(27)),
    Column("verdict", _text(32)),
    Column("reason", _words),
    Column("scratch", _text(32)),
    Column("repository", _text(64)),
    Column("commit_number", Number),
    Column("consistent_at", _text(27)),
    Column("recoverable_through", _text(27)),
    Column("plain_bytes", Number),
    Column("read_bytes", Number),
    Column("files", Number),
    Column("restored", Boolean),
    Column("failure", _words),
    Column("scratch_failure", _words),
    Column("expected_end", _words),
    Column("reached_end", _words),
    Column("achieved_rpo_us", Number),
    Column("achieved_rto_us", Number),
    Column("detail", _words),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, drill.c.policy, drill.c.id)

phase = Table(
    "phase",
    metadata,
    Column("id", _text(64), primary_key=True),
    Column("drill", Number, ForeignKey("drill.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("phase", _text(32), nullable=False),
    Column("reached_at", _text(27), nullable=False),
    Column("elapsed_us", Number, nullable=False),
    Column("took_us", Number, nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, phase.c.drill)

probe = Table(
    "probe",
    metadata,
    Column("id", _text(64), primary_key=True),
    Column("drill", Number, ForeignKey("drill.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", _words, nullable=False),
    Column("kind", _text(32), nullable=False),
    Column("control", Boolean, nullable=False),
    Column("outcome", _text(32), nullable=False),
    Column("expected", _words, nullable=False),
    Column("found", _words, nullable=False),
    Column("caught_by", _words, nullable=False),
    Column("took_us", Number, nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, probe.c.drill)

incident = Table(
    "incident",
    metadata,
    Column("id", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("kind", _text(64), nullable=False),
    Column("policy", _text(255), nullable=False),
    Column("began_at", _text(27), nullable=False),
    Column("cause", _words, nullable=False),
    Column("alarm", Number, ForeignKey("alarm.id")),
    Column("drill", Number, ForeignKey("drill.id")),
    Column("ended_at", _text(27)),
    Column("worst_us", Number),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)
Index(None, incident.c.policy, incident.c.id)

corrective_action = Table(
    "corrective_action",
    metadata,
    Column("id", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("title", _words, nullable=False),
    Column("owner", _text(255), nullable=False),
    Column("opened_at", _text(27), nullable=False),
    Column("due_at", _text(27)),
    Column("policy", _text(255)),
    Column("drill", Number, ForeignKey("drill.id")),
    Column("incident", Number, ForeignKey("incident.id")),
    Column("closed_at", _text(27)),
    Column("outcome", _words, nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)

key_drill = Table(
    "key_drill",
    metadata,
    Column("event", Number, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("drill", Number, ForeignKey("drill.id")),
    Column("repository", _text(64), nullable=False),
    Column("recipient", _words, nullable=False),
    Column("role", _text(32), nullable=False),
    Column("session", _text(64), nullable=False),
    Column("opened", Boolean, nullable=False),
    Column("checked_at", _text(27), nullable=False),
    Column("detail", _words, nullable=False),
    Column("took_us", Number, nullable=False),
)

shown = Table(
    "shown",
    metadata,
    Column("policy", _text(255), primary_key=True),
    Column("planned_at", _text(27)),
    Column("through", _text(27)),
    Column("sound_drill", Number),
    Column("achieved_rto_us", Number),
    Column("said_drill", Number),
    Column("said_verdict", _text(32)),
    Column("said_reason", _words),
    Column("said_at", _text(27)),
    Column("broken", Number, nullable=False),
    Column("broken_drill", Number),
    Column("broken_reason", _words),
    Column("broken_since", _text(27)),
    Column("caught_at", _text(27)),
    Column("ended", _words, nullable=False),
    Column("costs", _words, nullable=False),
    Column("event", Number, ForeignKey("event.seq"), nullable=False),
)

_projections = (
    *(run, recovery_point, verification, policy, alarm, notification),
    *(drill, phase, probe, incident, corrective_action, key_drill, shown),
)
PROJECTIONS: Final = {table.name: table for table in _projections}
"""Tables computed from events, parents before children."""

# What was signed of the chain: a note cannot be an event of what it signs.

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", Number, primary_key=True, autoincrement=False),
    Column("note", _words, nullable=False),
    Column("tree", LargeBinary, nullable=False),
    Column("made_at", _text(27), nullable=False),
)

# Signs of life: written every few seconds, of no value a day later, so no part of the chain. They
# refer to no other table, for those may be computed anew at any time.

lease = Table(
    "lease",
    metadata,
    Column("run", _text(64), primary_key=True),
    Column("renewed_at", _text(27), nullable=False),
    Column("expires_at", _text(27), nullable=False),
    Column("moved_at", _text(27), nullable=False),
    Column("progress", _words, nullable=False),
)

daemon = Table(
    "daemon",
    metadata,
    Column("host", _text(255), primary_key=True),
    Column("boot_id", _text(64), primary_key=True),
    Column("pid", Number, primary_key=True, autoincrement=False),
    Column("process_started", _text(64), primary_key=True),
    Column("version", _text(64), nullable=False),
    Column("started_at", _text(27), nullable=False),
    Column("beat_at", _text(27), nullable=False),
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

POSTGRESQL_FUNCTIONS: Final = {
    "event_is_never_changed": """
BEGIN
  RAISE EXCEPTION 'events are never updated or deleted'
    USING ERRCODE = 'integrity_constraint_violation';
END
""",
    "event_follows_the_last": """
DECLARE
  last bigint;
BEGIN
  EXECUTE format('SELECT coalesce(max(seq), 0) FROM %s', TG_RELID::regclass) INTO last;
  IF NEW.seq <> last + 1 THEN
    RAISE EXCEPTION 'events follow each other without a gap'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END
""",
}
"""Bodies of the functions that guard the chain."""

POSTGRESQL_TRIGGERS: Final = {
    "event_is_never_changed": (
        "BEFORE DELETE OR UPDATE OR TRUNCATE ON event FOR EACH STATEMENT"
        " EXECUTE FUNCTION event_is_never_changed()"
    ),
    "event_follows_the_last": (
        "BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION event_follows_the_last()"
    ),
}
"""When they are asked."""
