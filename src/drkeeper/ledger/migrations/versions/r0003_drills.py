"""The third shape: drills and what follows from them, and what was signed of the chain.

Frozen, as every step is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_INSTANT = _text(27)


def upgrade() -> None:
    """Make the tables of drills, incidents, actions, key drills and checkpoints."""
    op.add_column("recovery_point", sa.Column("proven_event", _NUMBER))
    _make_drill()
    _make_phase()
    _make_probe()
    _make_incident()
    _make_corrective_action()
    _make_key_drill()
    _make_shown()
    _make_checkpoint()


def _make_drill() -> None:
    op.create_table(
        "drill",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("policy", _text(255)),
        sa.Column("kind", _text(32), nullable=False),
        sa.Column("choice", _text(32), nullable=False),
        sa.Column("instant", _INSTANT),
        sa.Column("parent", _NUMBER),
        sa.Column("run", _text(64)),
        sa.Column("planned_at", _INSTANT, nullable=False),
        sa.Column("criteria", _WORDS, nullable=False),
        sa.Column("checkpoint_size", _NUMBER, nullable=False),
        sa.Column("checkpoint_root", _text(64), nullable=False),
        sa.Column("promised_rpo_us", _NUMBER),
        sa.Column("promised_rto_us", _NUMBER),
        sa.Column("predicted_bytes", _NUMBER),
        sa.Column("predicted_low_us", _NUMBER),
        sa.Column("predicted_rto_us", _NUMBER),
        sa.Column("predicted_high_us", _NUMBER),
        sa.Column("predicted_from", _NUMBER),
        sa.Column("declared_at", _INSTANT),
        sa.Column("ended_at", _INSTANT),
        sa.Column("verdict", _text(32)),
        sa.Column("reason", _WORDS),
        sa.Column("scratch", _text(32)),
        sa.Column("repository", _text(64)),
        sa.Column("commit_number", _NUMBER),
        sa.Column("consistent_at", _INSTANT),
        sa.Column("recoverable_through", _INSTANT),
        sa.Column("plain_bytes", _NUMBER),
        sa.Column("read_bytes", _NUMBER),
        sa.Column("files", _NUMBER),
        sa.Column("restored", sa.Boolean),
        sa.Column("failure", _WORDS),
        sa.Column("scratch_failure", _WORDS),
        sa.Column("expected_end", _WORDS),
        sa.Column("reached_end", _WORDS),
        sa.Column("achieved_rpo_us", _NUMBER),
        sa.Column("achieved_rto_us", _NUMBER),
        sa.Column("detail", _WORDS),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drill"),
        sa.ForeignKeyConstraint(["id"], ["event.seq"], name="fk_drill_id"),
        sa.ForeignKeyConstraint(["parent"], ["drill.id"], name="fk_drill_parent"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_drill_run"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_drill_event"),
    )
    op.create_index("ix_drill_policy_id", "drill", ["policy", "id"])


def _make_phase() -> None:
    op.create_table(
        "phase",
        sa.Column("id", _text(64), primary_key=True),
        sa.Column("drill", _NUMBER, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("phase", _text(32), nullable=False),
        sa.Column("reached_at", _INSTANT, nullable=False),
        sa.Column("elapsed_us", _NUMBER, nullable=False),
        sa.Column("took_us", _NUMBER, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_phase"),
        sa.ForeignKeyConstraint(["drill"], ["drill.id"], name="fk_phase_drill"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_phase_event"),
    )
    op.create_index("ix_phase_drill", "phase", ["drill"])


def _make_probe() -> None:
    op.create_table(
        "probe",
        sa.Column("id", _text(64), primary_key=True),
        sa.Column("drill", _NUMBER, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", _WORDS, nullable=False),
        sa.Column("kind", _text(32), nullable=False),
        sa.Column("control", sa.Boolean, nullable=False),
        sa.Column("outcome", _text(32), nullable=False),
        sa.Column("expected", _WORDS, nullable=False),
        sa.Column("found", _WORDS, nullable=False),
        sa.Column("caught_by", _WORDS, nullable=False),
        sa.Column("took_us", _NUMBER, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_probe"),
        sa.ForeignKeyConstraint(["drill"], ["drill.id"], name="fk_probe_drill"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_probe_event"),
    )
    op.create_index("ix_probe_drill", "probe", ["drill"])


def _make_incident() -> None:
    op.create_table(
        "incident",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("kind", _text(64), nullable=False),
        sa.Column("policy", _text(255), nullable=False),
        sa.Column("began_at", _INSTANT, nullable=False),
        sa.Column("cause", _WORDS, nullable=False),
        sa.Column("alarm", _NUMBER),
        sa.Column("drill", _NUMBER),
        sa.Column("ended_at", _INSTANT),
        sa.Column("worst_us", _NUMBER),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
        sa.ForeignKeyConstraint(["id"], ["event.seq"], name="fk_incident_id"),
        sa.ForeignKeyConstraint(["alarm"], ["alarm.id"], name="fk_incident_alarm"),
        sa.ForeignKeyConstraint(["drill"], ["drill.id"], name="fk_incident_drill"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_incident_event"),
    )
    op.create_index("ix_incident_policy_id", "incident", ["policy", "id"])


def _make_corrective_action() -> None:
    op.create_table(
        "corrective_action",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("title", _WORDS, nullable=False),
        sa.Column("owner", _text(255), nullable=False),
        sa.Column("opened_at", _INSTANT, nullable=False),
        sa.Column("due_at", _INSTANT),
        sa.Column("policy", _text(255)),
        sa.Column("drill", _NUMBER),
        sa.Column("incident", _NUMBER),
        sa.Column("closed_at", _INSTANT),
        sa.Column("outcome", _WORDS, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_corrective_action"),
        sa.ForeignKeyConstraint(["id"], ["event.seq"], name="fk_corrective_action_id"),
        sa.ForeignKeyConstraint(["drill"], ["drill.id"], name="fk_corrective_action_drill"),
        sa.ForeignKeyConstraint(
            ["incident"], ["incident.id"], name="fk_corrective_action_incident"
        ),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_corrective_action_event"),
    )


def _make_key_drill() -> None:
    op.create_table(
        "key_drill",
        sa.Column("event", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("drill", _NUMBER),
        sa.Column("repository", _text(64), nullable=False),
        sa.Column("recipient", _WORDS, nullable=False),
        sa.Column("role", _text(32), nullable=False),
        sa.Column("session", _text(64), nullable=False),
        sa.Column("opened", sa.Boolean, nullable=False),
        sa.Column("checked_at", _INSTANT, nullable=False),
        sa.Column("detail", _WORDS, nullable=False),
        sa.Column("took_us", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("event", name="pk_key_drill"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_key_drill_event"),
        sa.ForeignKeyConstraint(["drill"], ["drill.id"], name="fk_key_drill_drill"),
    )


def _make_shown() -> None:
    op.create_table(
        "shown",
        sa.Column("policy", _text(255), primary_key=True),
        sa.Column("planned_at", _INSTANT),
        sa.Column("through", _INSTANT),
        sa.Column("sound_drill", _NUMBER),
        sa.Column("achieved_rto_us", _NUMBER),
        sa.Column("said_drill", _NUMBER),
        sa.Column("said_verdict", _text(32)),
        sa.Column("said_reason", _WORDS),
        sa.Column("said_at", _INSTANT),
        sa.Column("broken", _NUMBER, nullable=False),
        sa.Column("broken_drill", _NUMBER),
        sa.Column("broken_reason", _WORDS),
        sa.Column("broken_since", _INSTANT),
        sa.Column("caught_at", _INSTANT),
        sa.Column("ended", _WORDS, nullable=False),
        sa.Column("costs", _WORDS, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("policy", name="pk_shown"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_shown_event"),
    )


def _make_checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("size", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("note", _WORDS, nullable=False),
        sa.Column("tree", sa.LargeBinary, nullable=False),
        sa.Column("made_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoint"),
    )
