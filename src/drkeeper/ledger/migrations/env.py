"""Alembic's entry: runs the steps on the connection that the ledger hands in.

The caller has opened the transaction, so either all steps happen or none.
"""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version")
context.run_migrations()
