"""The first shape: the chain, its head, runs, recovery points and verifications.

Frozen: what it makes may differ from ``tables.py`` as later steps are added, so it imports
nothing from there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_INSTANT = sa.String(27)


def upgrade() -> None:
    """Make every table of the first version."""
    _make_chain()
    _make_run()
    _make_recovery_point()
    _make_verification()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()


def _make_chain() -> None:
    op.create_table(
        "event",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
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
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("policy", sa.String(255)),
        sa.Column("operation", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("pid", _NUMBER, nullable=False),
        sa.Column("process_started", sa.String(64), nullable=False),
        sa.Column("lease_owner", sa.String(255)),
        sa.Column("lease_until", _INSTANT),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
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
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("policy", sa.String(255), nullable=False),
        sa.Column("repository", sa.String(64), nullable=False),
        sa.Column("lineage", sa.String(64), nullable=False),
        sa.Column("commit_number", _NUMBER, nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("run", sa.String(64)),
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
        sa.Column("consistency", sa.String(32), nullable=False),
        sa.Column("proof", sa.String(32), nullable=False),
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
        sa.Column("run", sa.String(64)),
        sa.Column("policy", sa.String(255)),
        sa.Column("repository", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("checked_at", _INSTANT, nullable=False),
        sa.Column("objects", _NUMBER, nullable=False),
        sa.Column("read_bytes", _NUMBER, nullable=False),
        sa.Column("findings", _NUMBER, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
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
