"""The newest rows of each group, at a cost that does not grow with the history."""

from typing import Any

from sqlalchemy import Column, Select, Table, func, select


def newest_of_each(table: Table, group: Column[Any], order: Column[Any], count: int) -> Select[Any]:
    """Ask for the ``count`` newest rows of each value of ``group``, newest first.

    There must be an index over both columns. The groups are found by leaping in it from one to the
    next, and the rows of each from their end. Rows without a group are left out; of rows that are
    equally new, one too many may be returned.
    """
    groups = select(func.min(group).label("name")).cte("groups", recursive=True)
    later = select(func.min(group)).where(group > groups.c.name).scalar_subquery()
    groups = groups.union_all(select(later).where(groups.c.name.is_not(None)))
    inner = table.alias("inner_rows")
    bound = (
        select(inner.c[order.name])
        .where(inner.c[group.name] == groups.c.name)
        .order_by(inner.c[order.name].desc())
        .limit(1)
        .offset(count - 1)
        .scalar_subquery()
    )
    least = (
        select(func.min(inner.c[order.name]))
        .where(inner.c[group.name] == groups.c.name)
        .scalar_subquery()
    )
    return (
        select(table)
        .select_from(groups.join(table, group == groups.c.name))
        .where(order >= func.coalesce(bound, least))
        .order_by(order.desc())
    )
