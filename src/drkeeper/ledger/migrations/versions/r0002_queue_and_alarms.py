"""The second shape: policies, alarms and what was said of them; a queue of runs, and signs of life.

Frozen, as every step is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_INSTANT = _text(27)


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
        sa.Column("name", _text(255), primary_key=True),
        sa.Column("definition", _text(64), nullable=False),
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
        sa.Column("kind", _text(64), nullable=False),
        sa.Column("subject_kind", _text(32), nullable=False),
        sa.Column("subject_name", _text(255), nullable=False),
        sa.Column("message", _WORDS, nullable=False),
        sa.Column("hint", _WORDS, nullable=False),
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
        sa.Column("channel", _text(255), nullable=False),
        sa.Column("alarm", _NUMBER),
        sa.Column("what", _text(64), nullable=False),
        sa.Column("delivered", sa.Boolean, nullable=False),
        sa.Column("detail", _WORDS, nullable=False),
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
        sa.Column("run", _text(64), primary_key=True),
        sa.Column("renewed_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("moved_at", _INSTANT, nullable=False),
        sa.Column("progress", _WORDS, nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_lease"),
    )
    op.create_table(
        "daemon",
        sa.Column("host", _text(255), primary_key=True),
        sa.Column("boot_id", _text(64), primary_key=True),
        sa.Column("pid", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("process_started", _text(64), primary_key=True),
        sa.Column("version", _text(64), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("beat_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("host", "boot_id", "pid", "process_started", name="pk_daemon"),
    )
