"""The second shape: policies, alarms and what was said of them; a queue of runs, and signs of life.

Frozen, as every step is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_INSTANT = sa.String(27)


def upgrade() -> None:
    """Let runs be queued, and make the tables of policies, alarms, leases and daemons."""
    # The columns lease_owner and lease_until of the first shape stay, empty: SQLite before 3.35
    # cannot drop a column.
    op.add_column("run", sa.Column("queued_at", _INSTANT))
    _make_policy()
    _make_alarm()
    _make_notification()
    _make_signs_of_life()


def _make_policy() -> None:
    op.create_table(
        "policy",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("first_seen_at", _INSTANT, nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_policy"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_policy_event"),
    )


def _make_alarm() -> None:
    op.create_table(
        "alarm",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("subject_kind", sa.String(32), nullable=False),
        sa.Column("subject_name", sa.String(255), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("raised_at", _INSTANT, nullable=False),
        sa.Column("cleared_at", _INSTANT),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alarm"),
        sa.ForeignKeyConstraint(["id"], ["event.seq"], name="fk_alarm_id"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_alarm_event"),
    )
    op.create_index("ix_alarm_cleared_at", "alarm", ["cleared_at"])


def _make_notification() -> None:
    op.create_table(
        "notification",
        sa.Column("event", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.String(255), nullable=False),
        sa.Column("alarm", _NUMBER),
        sa.Column("what", sa.String(64), nullable=False),
        sa.Column("delivered", sa.Boolean, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("sent_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("event", name="pk_notification"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_notification_event"),
        sa.ForeignKeyConstraint(["alarm"], ["alarm.id"], name="fk_notification_alarm"),
    )
    op.create_index(
        "ix_notification_channel_alarm_event", "notification", ["channel", "alarm", "event"]
    )


def _make_signs_of_life() -> None:
    op.create_table(
        "lease",
        sa.Column("run", sa.String(64), primary_key=True),
        sa.Column("renewed_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("moved_at", _INSTANT, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_lease"),
    )
    op.create_table(
        "daemon",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("boot_id", sa.String(64), primary_key=True),
        sa.Column("pid", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("process_started", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("beat_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("host", "boot_id", "pid", "process_started", name="pk_daemon"),
    )
