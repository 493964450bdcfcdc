"""The tables behind a publication, without Spark: published ones at its versions, internal ones
at the versions that the same run wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import deltalake

from lake.errors import StorageError
from lake.io.delta import Tables, answered
from lake.io.reader import Publication
from lake.schema import Table
from lake.tables import IDENTITIES, IDENTITY_SETS, SET_PROFILES, SIGHTINGS, VIOLATIONS

INTERNAL = (IDENTITIES, IDENTITY_SETS, SIGHTINGS, VIOLATIONS)


@dataclass(frozen=True)
class AtRun:
    """Tables to ask, each opened once.

    ``run``: the run that wrote the publication's `set_profiles`. ``other_runs``: internal tables
    of which that run's version is not in the log any more; they are read at the newest.
    """

    run: str
    other_runs: tuple[str, ...]
    builder: deltalake.QueryBuilder

    @classmethod
    def of(cls, publication: Publication, tables: Tables) -> AtRun:
        """The tables of a publication. Raises StorageError if an internal one is gone."""
        run = next((run for _, run in _written(publication.delta(SET_PROFILES.name))), "")
        builder = deltalake.QueryBuilder()
        for name in publication.versions:
            builder = builder.register(name, publication.delta(name))
        others = []
        for table in INTERNAL:
            if table.name not in publication.versions:
                opened, is_of_run = _as_of(tables, table, run)
                builder = builder.register(table.name, opened)
                others += [] if is_of_run else [table.name]
        return cls(run, tuple(others), builder)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer to SQL (DataFusion's) as plain rows. Raises StorageError."""
        try:
            found: list[dict[str, Any]] = answered(self.builder, sql).to_pylist()
        except Exception as failure:
            # Its text may quote a row.
            raise StorageError(
                f"A table could not be read ({type(failure).__name__}). Files of this publication "
                "may have been vacuumed: ask about a newer one."
            ) from None
        return found


def _as_of(tables: Tables, table: Table, run: str) -> tuple[deltalake.DeltaTable, bool]:
    """A table as the run left it, else the newest version; and which of the two it is."""
    newest = tables.open(table)
    if newest is None:
        raise StorageError(f"{table.name} is gone; `profile-lake run` makes it anew.")
    version = next((version for version, writer in _written(newest) if writer == run), None)
    if version is None or version == newest.version():
        return newest, version is not None
    opened = tables.open(table, version)
    assert opened is not None
    return opened, True


def _written(table: deltalake.DeltaTable) -> Iterator[tuple[int, str]]:
    """The versions that runs wrote, and the runs, newest first."""
    for commit in table.history():
        notes = json.loads(commit.get("userMetadata") or "{}")
        if "run" in notes:
            yield commit["version"], notes["run"]
