"""Whether the database is shaped as drkeeper made it, and sound as far as it can tell itself.

Whoever can change tables can also take their guards away; a shape that differs is a finding before
anything that is in the tables.
"""

import os
from collections.abc import Iterator, Mapping
from functools import cache

from sqlalchemy import Connection, Table, create_engine, inspect, text
from sqlalchemy.engine.interfaces import Dialect

from drkeeper.ledger.tables import (
    POSTGRESQL_FUNCTIONS,
    POSTGRESQL_TRIGGERS,
    SQLITE_TRIGGERS,
    metadata,
)

Shape = Mapping[str, object]
"""What there is, by name: two shapes are alike when they are equal."""


def check_file(connection: Connection) -> Iterator[str]:
    """Ask SQLite about its trees and about references that lead nowhere; a server sees to its own."""
    if connection.dialect.name != "sqlite":
        return
    yield from _check_length(connection)
    for row in connection.exec_driver_sql("PRAGMA integrity_check"):
        if row[0] != "ok":
            yield f"integrity_check: {row[0]}"
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"foreign_key_check: row {row[1]} of {row[0]} refers to nothing in {row[2]}"


def _check_length(connection: Connection) -> Iterator[str]:
    """Find out whether the end is missing: SQLite reads what is not there as zeros."""
    due = 1
    for name in ("page_count", "page_size"):
        due *= connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
    for _, name, path in connection.exec_driver_sql("PRAGMA database_list"):
        length = os.stat(path).st_size if name == "main" and path else due
        if length < due:
            yield f"file has {length} bytes, not {due}: its end is missing"


def check_shape(connection: Connection) -> Iterator[str]:
    """Compare tables, indexes and triggers with those of the code."""
    if connection.dialect.name == "sqlite":
        due, found = _due_in_file(), _found_in_file(connection)
    else:
        due, found = _due_on_server(connection.dialect), _found_on_server(connection)
    for name in sorted(due.keys() | found.keys()):
        if due.get(name) != found.get(name):
            yield f"{name} is not as drkeeper made it"


@cache
def _due_in_file() -> Shape:
    engine = create_engine("sqlite+pysqlite://")
    try:
        with engine.connect() as model:
            metadata.create_all(model)
            for statement in SQLITE_TRIGGERS.values():
                model.exec_driver_sql(statement)
            return _found_in_file(model)
    finally:
        engine.dispose()


def _found_in_file(connection: Connection) -> Shape:
    """Describe a schema independent of how its statements were spelt; triggers are, by us."""
    shape: dict[str, object] = {}
    objects = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    for kind, name, table, sql in objects.all():
        match kind:
            case "table":
                columns = connection.exec_driver_sql(f'PRAGMA table_xinfo("{name}")').all()
                keys = connection.exec_driver_sql(f'PRAGMA foreign_key_list("{name}")').all()
                shape[f"table {name}"] = (columns, sorted(tuple(key)[2:] for key in keys))
            case "index":
                columns = connection.exec_driver_sql(f'PRAGMA index_xinfo("{name}")').all()
                shape[f"index {name}"] = (table, columns)
            case _:
                shape[f"{kind} {name}"] = (table, sql)
    return shape


def _due_on_server(dialect: Dialect) -> Shape:
    shape: dict[str, object] = {}
    for table in metadata.tables.values():
        shape[f"table {table.name}"] = (
            _PLAIN_TABLE,
            [(c.name, c.type.compile(dialect), c.nullable, None) for c in table.columns],
            [c.name for c in table.primary_key.columns],
            _due_keys(table),
        )
        for index in table.indexes:
            columns = [c.name for c in index.columns]
            shape[f"index {index.name}"] = (table.name, columns, bool(index.unique))
    for name, body in POSTGRESQL_FUNCTIONS.items():
        shape[f"function {name}"] = body
    for name, when in POSTGRESQL_TRIGGERS.items():
        shape[f"trigger {name}"] = ("A", f"CREATE TRIGGER {name} {when}")
    return shape


def _due_keys(table: Table) -> list[tuple[str, str, str]]:
    return sorted(
        (key.parent.name, key.column.table.name, key.column.name) for key in table.foreign_keys
    )


_PLAIN_TABLE = ("r", "p", False, False)
"""An ordinary table, logged, without rules that rewrite queries and policies that hide rows."""

_RELATIONS = text(
    "SELECT relname::text, relkind::text, relpersistence::text, relhasrules, relrowsecurity"
    " FROM pg_catalog.pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relkind NOT IN ('i', 't')"
)
_FUNCTIONS = text(
    "SELECT proname::text, prosrc FROM pg_catalog.pg_proc"
    " WHERE pronamespace = current_schema()::regnamespace"
)
_TRIGGERS = text(
    "SELECT tgname::text, tgenabled::text,"
    " replace(pg_get_triggerdef(t.oid), quote_ident(current_schema()) || '.', '')"
    " FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = tgrelid"
    " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
)


def _found_on_server(connection: Connection) -> Shape:
    """Describe a schema by the server's own catalogue."""
    inspector = inspect(connection)
    columns, keys = inspector.get_multi_columns(), inspector.get_multi_foreign_keys()
    primary, indexes = inspector.get_multi_pk_constraint(), inspector.get_multi_indexes()
    shape: dict[str, object] = {}
    for name, *kind in connection.execute(_RELATIONS):
        table = (None, name)
        shape[f"table {name}"] = (
            tuple(kind),
            [
                (c["name"], c["type"].compile(connection.dialect), c["nullable"], c["default"])
                for c in columns.get(table, [])
            ],
            primary[table]["constrained_columns"] if table in primary else None,
            sorted(
                (key["constrained_columns"][0], key["referred_table"], key["referred_columns"][0])
                for key in keys.get(table, [])
            ),
        )
        for index in indexes.get(table, []):
            shape[f"index {index['name']}"] = (name, index["column_names"], index["unique"])
    for name, body in connection.execute(_FUNCTIONS):
        shape[f"function {name}"] = body
    for name, enabled, definition in connection.execute(_TRIGGERS):
        shape[f"trigger {name}"] = (enabled, definition)
    return shape
