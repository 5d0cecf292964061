"""The first shape: the chain, its head, runs, recovery points and verifications.

Frozen: what it makes may differ from ``tables.py`` as later steps are added, so it imports
nothing from there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_INSTANT = _text(27)


def upgrade() -> None:
    """Make every table of the first version."""
    _make_chain()
    _make_run()
    _make_recovery_point()
    _make_verification()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    if op.get_bind().dialect.name == "postgresql":
        _guard_postgresql()


def _make_chain() -> None:
    op.create_table(
        "event",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("kind", _text(64), nullable=False),
        sa.Column("body", _WORDS, nullable=False),
        sa.Column("prev", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_event"),
    )
    op.create_table(
        "head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", _NUMBER, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_head"),
    )


def _make_run() -> None:
    op.create_table(
        "run",
        sa.Column("id", _text(64), primary_key=True),
        sa.Column("policy", _text(255)),
        sa.Column("operation", _text(32), nullable=False),
        sa.Column("state", _text(32), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT),
        sa.Column("host", _text(255), nullable=False),
        sa.Column("boot_id", _text(64), nullable=False),
        sa.Column("pid", _NUMBER, nullable=False),
        sa.Column("process_started", _text(64), nullable=False),
        sa.Column("lease_owner", _text(255)),
        sa.Column("lease_until", _INSTANT),
        sa.Column("result", _WORDS, nullable=False),
        sa.Column("failure", _WORDS),
        sa.Column("begun_event", _NUMBER, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.ForeignKeyConstraint(["begun_event"], ["event.seq"], name="fk_run_begun_event"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_run_event"),
    )
    op.create_index("ix_run_policy_begun_event", "run", ["policy", "begun_event"])
    op.create_index("ix_run_state", "run", ["state"])


def _make_recovery_point() -> None:
    op.create_table(
        "recovery_point",
        sa.Column("id", _text(255), primary_key=True),
        sa.Column("policy", _text(255), nullable=False),
        sa.Column("repository", _text(64), nullable=False),
        sa.Column("lineage", _text(64), nullable=False),
        sa.Column("commit_number", _NUMBER, nullable=False),
        sa.Column("session", _text(64), nullable=False),
        sa.Column("run", _text(64)),
        sa.Column("consistent_at", _INSTANT, nullable=False),
        sa.Column("finished_at", _INSTANT, nullable=False),
        sa.Column("plain_bytes", _NUMBER, nullable=False),
        sa.Column("stored_bytes", _NUMBER, nullable=False),
        sa.Column("new_bytes", _NUMBER, nullable=False),
        sa.Column("files", _NUMBER, nullable=False),
        sa.Column("entries", _NUMBER, nullable=False),
        sa.Column("unreadable", _NUMBER, nullable=False),
        sa.Column("changed", _NUMBER, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("consistency", _text(32), nullable=False),
        sa.Column("proof", _text(32), nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_point"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_recovery_point_run"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_recovery_point_event"),
    )
    op.create_index(
        "ix_recovery_point_policy_consistent_at", "recovery_point", ["policy", "consistent_at"]
    )


def _make_verification() -> None:
    op.create_table(
        "verification",
        sa.Column("event", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("run", _text(64)),
        sa.Column("policy", _text(255)),
        sa.Column("repository", _text(64), nullable=False),
        sa.Column("kind", _text(32), nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("checked_at", _INSTANT, nullable=False),
        sa.Column("objects", _NUMBER, nullable=False),
        sa.Column("read_bytes", _NUMBER, nullable=False),
        sa.Column("findings", _NUMBER, nullable=False),
        sa.Column("detail", _WORDS, nullable=False),
        sa.PrimaryKeyConstraint("event", name="pk_verification"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_verification_event"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_verification_run"),
    )


def _guard_sqlite() -> None:
    op.execute(
        "CREATE TRIGGER event_is_never_updated BEFORE UPDATE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are never updated'); END"
    )
    op.execute(
        "CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END"
    )
    op.execute(
        "CREATE TRIGGER event_follows_the_last BEFORE INSERT ON event"
        " WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM event)"
        " BEGIN SELECT RAISE(ABORT, 'events follow each other without a gap'); END"
    )


_NEVER_CHANGED = """
BEGIN
  RAISE EXCEPTION 'events are never updated or deleted'
    USING ERRCODE = 'integrity_constraint_violation';
END
"""

_FOLLOWS_THE_LAST = """
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
"""


def _guard_postgresql() -> None:
    guards = {
        "event_is_never_changed": (
            _NEVER_CHANGED,
            "BEFORE DELETE OR UPDATE OR TRUNCATE ON event FOR EACH STATEMENT",
        ),
        "event_follows_the_last": (_FOLLOWS_THE_LAST, "BEFORE INSERT ON event FOR EACH ROW"),
    }
    for name, (body, when) in guards.items():
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$"
        )
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION {name}()")
        # Also where a session calls itself a replica, which turns ordinary triggers off.
        op.execute(f"ALTER TABLE event ENABLE ALWAYS TRIGGER {name}")
