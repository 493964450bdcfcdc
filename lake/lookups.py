"""Rows looked up in others by workers: a join of which each worker holds the lesser side.

Spark sends the lesser side of such a join to its workers, too. But what workers read and what they
write would go through it on the way, field by field, and a moment has six.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from lake.frames import Materialised, as_declared, columns_of, held, in_larger, rows_of, unchanged
from lake.schema import arrow_schema, columns_in, ddl_of

if TYPE_CHECKING:
    from lake.frames import Reader, Rows, WorkerRows

#: Rows that each worker holds: at some 300 bytes a row, with what finds them, some 300 MiB.
MOST_HELD: Final = 1_000_000


def looked_up(
    rows: Rows, columns: Sequence[str], known: Rows, key: str, told: Sequence[str]
) -> WorkerRows:
    """These ``columns`` of the rows, and what is ``told`` of their ``key`` by the ``known``; none
    of a row whose key nobody knows.

    ``known`` has a row a key. Where they are stored and not many each worker reads them; else Spark
    joins.
    """
    others = rows_of(known).select(key, *told)
    if not isinstance(known, Materialised) or known.opened is None or known.rows > MOST_HELD:
        return unchanged(rows_of(rows).join(others, key).select(*columns, *told))
    own, of_known = columns_of(rows, columns), ddl_of(dict(others.dtypes))
    types = columns_in(own.schema) | columns_in(of_known)
    kernel = partial(_looked_up, known.reader((key, *told)), of_known, own.schema, key)
    return own.then(kernel, ddl_of({name: types[name] for name in (*columns, *told)}))


def _looked_up(
    known: Reader, of_known: str, of_rows: str, key: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    every = held(known, arrow_schema(of_known))
    schema = arrow_schema(of_rows)
    places = {value: place for place, value in enumerate(every[key].to_pylist())}
    told = every.drop_columns([key])
    # Files of one table may differ in whether what is nested may be null.
    for rows in in_larger(as_declared(batch, schema) for batch in batches):
        found = (places.get(value, -1) for value in rows[key].to_pylist())
        place = np.fromiter(found, np.int64, len(rows))
        own = rows.filter(pa.array(place >= 0))
        what = told.take(pa.array(place[place >= 0])).combine_chunks()
        columns = [*own.columns, *(column.combine_chunks() for column in what.columns)]
        yield pa.RecordBatch.from_arrays(columns, [*own.schema.names, *what.column_names])
