"""The second shape: policies, as they were first seen and last changed.

Frozen, as every step is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table of policies."""
    op.create_table(
        "policy",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("first_seen_at", sa.String(27), nullable=False),
        sa.Column("changed_at", sa.String(27), nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_policy"),
        sa.ForeignKeyConstraint(["event"], ["event.seq"], name="fk_policy_event"),
    )
