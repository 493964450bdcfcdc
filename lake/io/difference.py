"""Who changed between two publications, from the files, without Spark."""

from __future__ import annotations

from typing import Any, NamedTuple

from lake.io.reader import Publication
from lake.tables import IDENTITY_SETS, PROFILE_IDENTIFIERS, PUBLICATIONS, SET_PROFILES

_MOVES = """
    with m as (
        select a.profile_id as was, b.profile_id as becomes, count(*) as identifiers
        from a full join b on a.type = b.type and a.value = b.value
        group by 1, 2),
    moved as (select * from m where (was is distinct from becomes)),
    touched as (select was as p from moved union select becomes from moved)
    select * from moved
    union all
    select m.* from m join touched on m.was = touched.p where m.was = m.becomes
    order by was, becomes"""
_CAUSES = """
    select p.profile_id, min(s.identity_set) as cause_set
    from s join p on s.identity_set = p.identity_set
    where s.batch > {after} and s.batch <= {until}
    group by 1"""


class Move(NamedTuple):
    """How many identifiers went from a profile (None: new ones) to a profile (None: gone)."""

    was: str | None
    becomes: str | None
    identifiers: int


def moves(before: Publication, now: Publication) -> list[Move]:
    """All moves between two publications of a lake; of identifiers that stay, only those of
    profiles that lose or gain others. One join of all identifiers."""
    found = before.tables.query(
        _MOVES,
        a=(PROFILE_IDENTIFIERS, before.versions[PROFILE_IDENTIFIERS.name]),
        b=(PROFILE_IDENTIFIERS, now.versions[PROFILE_IDENTIFIERS.name]),
    )
    return [Move(**row) for row in found.to_pylist()]


def causes(before: Publication, now: Publication) -> dict[str, bytes]:
    """An identity set of each profile that came with a night between the two."""
    after, until = _run(before), _run(now)
    found = now.tables.query(
        _CAUSES.format(after=after, until=until),
        s=(IDENTITY_SETS, None),
        p=(SET_PROFILES, now.versions[SET_PROFILES.name]),
    )
    return {row["profile_id"]: row["cause_set"] for row in found.to_pylist()}


def _run(publication: Publication) -> int:
    """The number of the run that made a publication, which is that of its batch."""
    rows: list[dict[str, Any]] = publication.tables.query(
        f"select run from p where publication = {publication.number} limit 1",  # noqa: S608
        p=(PUBLICATIONS, None),
    ).to_pylist()
    return int(rows[0]["run"])
