"""What became of the lines of each landing object, counted in the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial, reduce
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import ConservationError
from lake.frames import columns_of, widened
from lake.schema import arrow_schema, ddl_of
from lake.tables import INGEST_LEDGER

if TYPE_CHECKING:
    from lake.frames import Materialised, Rows

_OBJECT: Final = ("object", "etag")
#: The columns that count lines, all of which are in one of these.
_KEPT: Final = ("accepted", "rejected", "duplicate")
#: What workers tell: a row an object, and rows of what each file has of it.
_TOLD: Final = ddl_of({c.name: c.type for c in INGEST_LEDGER.columns if c.name != "batch"})


def ledger(
    batch: int, staged: Materialised, accepted: Rows, rejected: Rows, duplicates: Rows
) -> pa.Table:
    """The ledger's rows of a batch: a row an object, which the driver holds as it does the
    manifest's.

    ``staged`` tells of the objects; all else are the batch's rows of `events`, `rejected_calls` and
    `duplicate_calls`. One job, without a shuffle.

    Raises ConservationError if an object's lines are not all in exactly one of the three.
    """
    of_objects = [name for name in INGEST_LEDGER.names if name not in (*_KEPT, "batch")]
    objects = staged.through(partial(_objects, of_objects), _TOLD, ["kind", *of_objects])
    counts = [
        columns_of(accepted, _OBJECT).then(partial(_counted, "accepted"), _TOLD),
        columns_of(rejected, _OBJECT).then(partial(_counted, "rejected"), _TOLD),
        columns_of(duplicates, (*_OBJECT, "displaced")).then(partial(_counted, "duplicate"), _TOLD),
    ]
    frames = [rows.as_frame() for rows in (objects, *counts)]
    told = reduce(lambda one, other: one.unionByName(other), frames).toArrow()
    return _put_together(told, of_objects, batch)


def _objects(names: list[str], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(_TOLD)
    for rows in batches:
        own = rows.filter(pc.equal(rows["kind"], "object"))
        yield widened(own.select(names), schema)


def _counted(name: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """How many of the rows are of which object; those that were displaced later are in the ledger
    of the batch that brought them."""
    schema = arrow_schema(_TOLD)
    counts: list[pa.Table] = []
    for every in batches:
        rows = every
        if "displaced" in every.schema.names:
            rows = every.filter(pc.invert(every["displaced"]))
        own = pa.Table.from_batches([rows.select(list(_OBJECT))])
        counts.append(own.group_by(list(_OBJECT)).aggregate([([], "count_all")]))
    if counts:
        found = pa.concat_tables(counts).group_by(list(_OBJECT))
        same = found.aggregate([("count_all", "sum")]).rename_columns([*_OBJECT, name])
        yield from (widened(batch, schema) for batch in same.to_batches())


def _put_together(told: pa.Table, of_objects: list[str], batch: int) -> pa.Table:
    is_object = pc.is_valid(told["lines"])
    objects = told.filter(is_object).select(of_objects)
    found = told.filter(pc.invert(is_object)).group_by(list(_OBJECT))
    counts = found.aggregate([(name, "sum") for name in _KEPT])
    counts = counts.rename_columns([*_OBJECT, *_KEPT])
    rows = objects.join(counts, list(_OBJECT), join_type="left outer")
    rows = rows.sort_by([(name, "ascending") for name in _OBJECT])
    columns = {name: rows[name] for name in of_objects}
    columns |= {name: pc.fill_null(rows[name], 0) for name in _KEPT}
    columns["batch"] = pa.repeat(batch, len(rows))
    lost = sum(columns[name].to_numpy() for name in _KEPT) != rows["lines"].to_numpy()
    # Lines of an object that was never read were not counted for any.
    strange = len(counts) - len(rows.filter(pc.is_valid(rows["accepted"])))
    if wrong := int(np.count_nonzero(lost)) + strange:
        raise ConservationError(
            f"{wrong} objects of batch {batch} have lines that are in none or in two of "
            "events, rejected_calls and duplicate_calls. Nothing was published; this is a fault "
            "of the product, please report it with _scratch."
        )
    return pa.table(columns).select(INGEST_LEDGER.names).cast(INGEST_LEDGER.arrow)
