"""Which form a ledger has, and which of them this program understands; no database is needed for it."""

from collections.abc import Sequence
from typing import Final

from drkeeper.errors import LedgerError

SCHEMA_VERSION: Final = "0003"
"""The newest migration; compared as text, which sorts as the numbers do."""

APPLICATION_ID: Final = 0x44524B4C
"""Marks a SQLite file as a ledger ("DRKL"). Source: sqlite.org/fileformat2.html, 1.3.17."""


def refuse_stranger(application_id: int) -> None:
    """Refuse a file that was not made as a ledger.

    Raises:
        LedgerError: Its mark is another one.
    """
    if application_id != APPLICATION_ID:
        raise LedgerError(
            f"file is not a ledger of drkeeper (application id {application_id:#x})",
            hint="Check the path of the state directory.",
        )


def only_form(found: Sequence[object]) -> str:
    """Return the one form that a ledger says it has.

    Raises:
        LedgerError: It says none, or several.
    """
    if len(found) != 1 or not isinstance(found[0], str):
        raise LedgerError(
            "ledger does not say which form it has",
            hint="Keep the damaged ledger, and put the last good copy in its place.",
        )
    return found[0]


def refuse_newer(found: str, known: str) -> None:
    """Refuse a shape that a later version of this program has made.

    Raises:
        LedgerError: It is newer than ``known``.
    """
    if found > known:
        raise LedgerError(
            f"ledger was made by a newer drkeeper (form {found}, this one knows {known})",
            hint="Install the newer drkeeper again.",
        )


def refuse_older(found: str, known: str, path: str) -> None:
    """Refuse to read a shape that would have to be changed first.

    Raises:
        LedgerError: It is older than ``known``.
    """
    if found < known:
        raise LedgerError(
            f"ledger is of an older form ({found}) and may only be read: {path}",
            hint="The daemon brings it up to date when it starts; so does drkeeper ledger verify, run as "
            "the user who owns the ledger.",
        )
