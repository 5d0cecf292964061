"""What the shell is offered: policy names and snapshots; never slow, never an error.

Only names of local files are read. Snapshots come from the ledger's file, and only within a
fraction of a second.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from drkeeper.app.config.environment import environment
from drkeeper.app.config.locations import Locations, find_locations

PATIENCE_S = 0.2
MOST = 200


def policy_names(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer policies by the names of their files."""
    try:
        folder = _locations(ctx).policies
        names = sorted(path.stem for path in folder.glob("*.y*ml"))[:MOST]
    except OSError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def snapshot_ids(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer snapshots that the ledger of this machine remembers, newest first."""
    return [
        CompletionItem(number, help=when)
        for number, when in _points(_locations(ctx).ledger)
        if number.startswith(incomplete)
    ]


def _points(ledger: Path) -> list[tuple[str, str]]:
    if not os.path.isfile(ledger):
        return []
    query = (
        "select commit_number, consistent_at from recovery_point "
        "order by consistent_at desc limit ?"
    )
    try:
        address = f"{ledger.as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE_S)) as connection:
            return [(str(n), str(at)) for n, at in connection.execute(query, (MOST,))]
    except (sqlite3.Error, ValueError):
        return []


def _locations(ctx: click.Context) -> Locations:
    chosen = ctx.find_root().params.get("config") or ctx.params.get("config")
    return find_locations(environment(), config=chosen if isinstance(chosen, str) else None)
