"""The steps from one shape of the ledger to the next, and which shape one has.

Alembic (0.3 s to import) is loaded only when there is a step to run.
"""

import os
from collections.abc import Sequence

from sqlalchemy import Connection, select

from drkeeper.errors import LedgerError
from drkeeper.ledger.form import only_form
from drkeeper.ledger.tables import schema_version

STEPS = os.path.join(os.path.dirname(__file__), "migrations")


def form_of(connection: Connection) -> str:
    """Read the shape that a ledger says it has.

    Raises:
        LedgerError: It says none, or several.
    """
    return only_form(connection.execute(select(schema_version.c.version_num)).scalars().all())


def run_steps(connection: Connection, target: str, steps: Sequence[str]) -> None:
    """Run what lies between the file's shape and ``target``, in the caller's transaction.

    Raises:
        LedgerError: A step failed; the caller rolls back.
    """
    from alembic import command  # noqa: PLC0415 - 0.3 s, and needed once in the life of a ledger
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", _escaped(STEPS))
    config.set_main_option("path_separator", "newline")
    places = [os.path.join(STEPS, "versions"), *steps]
    config.set_main_option("version_locations", "\n".join(map(_escaped, places)))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, target)
    except CommandError as error:
        raise LedgerError(
            f"form of the ledger cannot be changed: {error}",
            hint="Install the drkeeper that made this ledger, or a newer one.",
        ) from error


def _escaped(text: str) -> str:
    """Keep the configuration's own interpolation away from a path."""
    return text.replace("%", "%%")
