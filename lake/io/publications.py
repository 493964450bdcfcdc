"""Publications: one consistent snapshot of all published tables, exposed by one commit.

The commit is an append to ``publications``, a row a published table with its Delta version.
``current.json`` is derived from it, so that a reader finds the versions with one small read;
where a crash lies between the two, the next run writes it again from the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lake.io.control import Control
from lake.io.delta import Lake, Tables, Transaction
from lake.schema import Table
from lake.tables import PUBLICATIONS, TABLES

_APPLICATION = "publish"


def latest(tables: Tables) -> int:
    """The newest publication's number; 0 before the first."""
    return tables.last_transaction(PUBLICATIONS, _APPLICATION) or 0


def inputs(tables: Tables) -> str | None:
    """What the newest publication was made from, as its commit notes it."""
    return tables.notes(PUBLICATIONS).get("inputs")


def publish(
    lake: Lake, published: Sequence[Table], number: int, as_of: datetime, made_from: str
) -> None:
    """Expose the newest versions of the tables as publication ``number``, in one commit.

    Nothing if that publication exists. ``made_from`` is the hash that `inputs` gives back.
    """
    tables = lake.tables
    rows = [
        {
            "publication": number,
            "published_at": as_of,
            "table": t.name,
            "path": t.path,
            "version": tables.version(t),
            "rows": tables.rows(t),
            "run": lake.run,
        }
        for t in published
    ]
    lake.append_rows(PUBLICATIONS, rows, Transaction(_APPLICATION, number), inputs=made_from)


def publication(tables: Tables, number: int) -> dict[str, Any] | None:
    """A publication as ``current.json`` says it; None if there is no such number."""
    rows = tables.query(
        f'select * from p where publication = {int(number)} order by "table"',  # noqa: S608
        p=(PUBLICATIONS, None),
    ).to_pylist()
    if not rows:
        return None
    return {
        "publication": number,
        "published_at": rows[0]["published_at"].isoformat(),
        "run": rows[0]["run"],
        "tables": {
            r["table"]: {"path": r["path"], "version": r["version"], "rows": r["rows"]}
            for r in rows
        },
    }


def as_of(tables: Tables, when: datetime) -> int:
    """The newest publication that is dated no later; 0 before the first. UTC without a zone."""
    rows = tables.query("select publication, published_at from p", p=(PUBLICATIONS, None))
    at = when if when.tzinfo else when.replace(tzinfo=UTC)
    dated = zip(*(rows[n].to_pylist() for n in ("publication", "published_at")), strict=True)
    return max((number for number, date in dated if date <= at), default=0)


def versions(tables: Tables, number: int) -> dict[str, int]:
    """The version of each table that a publication shows; empty if there is none."""
    shown = publication(tables, number) if number else None
    return shown_versions(shown) if shown else {}


def shown_versions(shown: Mapping[str, Any]) -> dict[str, int]:
    """The version of each table that a publication says it shows. A table that only a newer
    version of the product knows is left out, so that an older one still reads the others.

    >>> shown_versions({"tables": {"profiles": {"version": 3}, "of_tomorrow": {"version": 1}}})
    {'profiles': 3}
    """
    known = {t.name for t in TABLES}
    return {name: t["version"] for name, t in shown["tables"].items() if name in known}


def point(tables: Tables, control: Control) -> None:
    """Make ``current.json`` say what the table says; nothing where it already does."""
    newest = latest(tables)
    if newest and (found := publication(tables, newest)):
        control.write_current(found)
