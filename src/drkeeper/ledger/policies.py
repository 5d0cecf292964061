"""Policies, as they were first seen and last changed."""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import Kind
from drkeeper.ledger.records import Records, rows_of
from drkeeper.ledger.rows import seen_from_row
from drkeeper.ledger.tables import policy
from drkeeper.model.run import SeenPolicy


class Policies(Records):
    """What the ledger knows of policies themselves."""

    def see_policies(self, definitions: Mapping[str, str]) -> dict[str, SeenPolicy]:
        """Record policies that are new or say something new, and return all that were ever seen.

        Args:
            definitions: Digest of what each policy says, by its name.
        """
        known = self.policies()
        if not _news(known, definitions):  # nearly always: nobody need wait for us
            return known
        with writing(self._engine) as connection:
            now = self._clock.now()
            entries = [
                (Kind.POLICY_SEEN, {"policy": name, "definition": definition, "seen_at": now})
                for name, definition in _news(_seen(connection), definitions).items()
            ]
            if entries:
                self._append_in(connection, *entries)
            return _seen(connection)

    def policies(self) -> dict[str, SeenPolicy]:
        """Return every policy that was ever seen."""
        with reading(self._engine) as connection:
            return _seen(connection)


def _news(known: Mapping[str, SeenPolicy], definitions: Mapping[str, str]) -> dict[str, str]:
    return {
        name: definition
        for name, definition in sorted(definitions.items())
        if name not in known or known[name].definition != definition
    }


def _seen(connection: Connection) -> dict[str, SeenPolicy]:
    query = select(policy).order_by(policy.c.name)
    return {seen.name: seen for seen in rows_of(connection, query, seen_from_row)}
