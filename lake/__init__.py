"""Profile Lake: raw customer events in, trustworthy customer profiles in open Delta tables out.

    landing objects ─ compact ─► events ─ stitch ─► identities ─ publish ─► profiles …

The unit is the identity set: the distinct identifiers that one call carries. Every fact is kept
per identity set, resolution groups sets into profiles, and a profile is a `group by`. The tables
are in `lake/tables.py`, the nightly order in `jobs`, what a run fixes before it starts in
`lake/io/control.py`.

`jobs` stand below `lake.cli`, because the command runs the same jobs that spark-submit does.

    import lake
    lake.open("./lake").arrow("profiles")      # or .table("profiles") for Spark
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from lake.io.objects import StorageSettings
    from lake.io.reader import Publication

__version__ = "0.1.0"


def open(  # noqa: A001
    root: str,
    publication: int | None = None,
    storage: StorageSettings | None = None,
    *,
    as_of: datetime | None = None,
) -> Publication:
    """A publication of the lake at ``root`` (a folder or s3a://bucket/prefix), see Publication.

    The current one, or that of a number, or the one that readers saw ``as_of`` a time: the newest
    that is dated no later (UTC where the time has no zone).
    """
    from lake.io.reader import opened

    return opened(root, publication, storage, as_of=as_of)
