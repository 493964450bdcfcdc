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
from lake.ordered import ascending
from lake.schema import arrow_schema, columns_in, ddl_of
from lake.tables import INGEST_LEDGER

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import Materialised, Rows

_OBJECT: Final = ("object", "etag")
#: The columns that count lines, all of which are in one of these.
_KEPT: Final = ("accepted", "rejected", "duplicate")
_OF_OBJECTS: Final = tuple(n for n in INGEST_LEDGER.names if n not in (*_KEPT, "batch"))
#: What workers tell: a row an object, and rows of what each file has of it.
_TOLD: Final = ddl_of({c.name: c.type for c in INGEST_LEDGER.columns if c.name != "batch"})


def counted_lines(
    staged: Materialised, accepted: Rows, rejected: Rows, duplicates: Rows
) -> DataFrame:
    """What `ledger` is put together from: rows of few columns, a few for each object and file.

    ``staged`` tells of the objects that were read; all else are the rows of `events`,
    `rejected_calls` and `duplicate_calls` of the same batch. No shuffle.
    """
    types = columns_in(_TOLD)
    own = ddl_of({name: types[name] for name in _OF_OBJECTS})
    objects = staged.of_kind("object", own).then(_widened, _TOLD)
    counts = [
        columns_of(accepted, _OBJECT).then(partial(_counted, "accepted"), _TOLD),
        columns_of(rejected, _OBJECT).then(partial(_counted, "rejected"), _TOLD),
        columns_of(duplicates, (*_OBJECT, "displaced")).then(partial(_counted, "duplicate"), _TOLD),
    ]
    frames = [rows.as_frame() for rows in (objects, *counts)]
    return reduce(lambda one, other: one.unionByName(other), frames)


def _widened(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(_TOLD)
    return (widened(rows, schema) for rows in batches)


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


def ledger(told: pa.Table, batch: int) -> pa.Table:
    """The ledger's rows of a batch: a row an object, which the driver holds as it does the
    manifest's.

    Raises ConservationError if an object's lines are not all in exactly one of the three tables, or
    if these hold lines of an object that was not read.
    """
    is_object = pc.is_valid(told["lines"])
    objects = told.filter(is_object).select(_OF_OBJECTS)
    grouped = told.filter(pc.invert(is_object)).group_by(list(_OBJECT))
    counts = grouped.aggregate([(name, "sum") for name in _KEPT])
    counts = counts.rename_columns([*_OBJECT, *_KEPT])
    rows = objects.join(counts, list(_OBJECT), join_type="full outer")
    rows = ascending(rows, _OBJECT)
    columns = {name: rows[name] for name in _OF_OBJECTS}
    columns |= {name: pc.fill_null(rows[name], 0) for name in _KEPT}
    columns["batch"] = pa.repeat(batch, len(rows))
    found = sum(columns[name].to_numpy() for name in _KEPT)
    # Of an object that was not read no lines are known.
    wrong = np.count_nonzero(found != pc.fill_null(rows["lines"], -1).to_numpy())
    if wrong:
        raise ConservationError(
            f"{wrong} objects of batch {batch} have lines that are in none or in two of "
            "events, rejected_calls and duplicate_calls. Nothing was published; this is a fault "
            "of the product, please report it with _scratch."
        )
    return pa.table(columns).select(INGEST_LEDGER.names).cast(INGEST_LEDGER.arrow)
