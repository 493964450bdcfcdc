"""Data files without the rows of some keys: a file that holds none of them stays as it is.

A Delta table that every reader can open has no deletion vectors, so a row is taken out by writing
its file anew. The workers do that on Arrow columns, without a shuffle: they look at the key
columns of each file and read the rest only where a key is found. Small files, which nights of
little news leave behind, are written together once there are many of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lake.io.files import File, Layout, files_of, parquet_file

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from pyspark.sql import SparkSession

    from lake.io.objects import Objects

#: Files below this size are small, and so many of them are written together.
SMALL_BYTES: Final = 16 << 20
SMALL_FILES: Final = 8

_TOLD = (
    "uri string, rows bigint, size bigint, partition string, statistics string, "
    "replaced array<string>"
)
_TOLD_ARROW = pa.schema(
    [
        ("uri", pa.string()),
        ("rows", pa.int64()),
        ("size", pa.int64()),
        ("partition", pa.string()),
        ("statistics", pa.string()),
        ("replaced", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class DataFile:
    """A file of a table's version: its address, its size in bytes, the value of the column that
    the table is partitioned by ("" where it is not)."""

    uri: str
    size: int
    partition: str = ""


@dataclass(frozen=True)
class Rewriting:
    """What a rewriting comes to: files in the place of others, which are named by address."""

    files: tuple[File, ...] = ()
    replaced: frozenset[str] = frozenset()


def groups(files: Sequence[DataFile]) -> list[tuple[list[DataFile], bool]]:
    """Files that one task looks at together, and whether it writes them in any case.

    >>> few = [DataFile(f"{n}", 1) for n in range(3)]
    >>> [(len(group), always) for group, always in groups(few)]
    [(1, False), (1, False), (1, False)]
    >>> many = [DataFile(f"{n}", 1) for n in range(9)] + [DataFile("large", 1 << 30)]
    >>> [(len(group), always) for group, always in groups(many)]
    [(9, True), (1, False)]
    """
    found: list[tuple[list[DataFile], bool]] = []
    ordered = sorted(files, key=lambda f: (f.partition, f.uri))
    for _, own in groupby(ordered, key=lambda f: f.partition):
        part = list(own)
        small = [f for f in part if f.size < SMALL_BYTES]
        together = small if len(small) >= SMALL_FILES else []
        found += [(together, True)] if together else []
        found += [([f], False) for f in part if f not in together]
    return found


def rewritten(
    spark: SparkSession,
    files: Sequence[DataFile],
    keys: Sequence[str],
    names: Sequence[str],
    store: Objects,
    layout: Layout,
) -> Rewriting:
    """The files without the rows whose columns ``names`` are among the rows of ``keys``.

    ``keys``: addresses of Parquet files of just these columns, none of them null; without any,
    small files are written together and nothing is taken out. Runs one job, or none where there is
    nothing to do; a worker holds the keys, about twice, and a row group. Raises what Spark raises.
    """
    tasks = [(own, always) for own, always in groups(files) if keys or always]
    if not tasks:
        return Rewriting()
    asked = pa.table(
        {
            "task": pa.array(range(len(tasks)), pa.int32()),
            "uris": pa.array([[f.uri for f in own] for own, _ in tasks], pa.list_(pa.string())),
            "partition": [own[0].partition for own, _ in tasks],
            "always": [always for _, always in tasks],
        }
    )
    kernel = partial(_rewritten, store, layout, tuple(keys), tuple(names))
    spread = spark.createDataFrame(asked).repartitionById(len(tasks), "task").drop("task")
    told = spread.mapInArrow(kernel, _TOLD).collect()
    found = sorted((File(*row[:5]) for row in told if row["uri"]), key=lambda file: file.uri)
    return Rewriting(tuple(found), frozenset(uri for row in told for uri in row["replaced"]))


def _rewritten(
    store: Objects,
    layout: Layout,
    keys: tuple[str, ...],
    names: tuple[str, ...],
    asked: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """A row for each new file, or one without an address where nothing is left; in a worker."""
    wanted: pa.Table | None = None
    for task in chain.from_iterable(batch.to_pylist() for batch in asked):
        if wanted is None and keys:
            wanted = pa.concat_tables(parquet_file(store, uri).read() for uri in keys)
        files = [parquet_file(store, uri) for uri in task["uris"]]
        if not task["always"] and not any(_holds(file, wanted, names) for file in files):
            continue
        part = task["partition"]
        place = f"{layout.folder.rstrip('/')}/{layout.partitioned_by}={part}"
        own = replace(layout, partitioned_by=None, folder=place if part else layout.folder)
        kept = (rows for file in files for rows in _groups_without(file, wanted, names))
        told = [row for batch in files_of(store, own, kept) for row in batch.to_pylist()]
        for n, row in enumerate(told or [dict[str, Any]()]):
            row |= {"partition": part, "replaced": [] if n else task["uris"]}
            yield pa.RecordBatch.from_pylist([row], schema=_TOLD_ARROW)


def _holds(file: pq.ParquetFile, keys: pa.Table | None, names: tuple[str, ...]) -> bool:
    return keys is not None and bool(_places(file.read(columns=list(names)), keys, names).num_rows)


def _groups_without(
    file: pq.ParquetFile, keys: pa.Table | None, names: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """The file's rows, in their order, but those of the keys; a row group at a time."""
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group)
        yield from (rows if keys is None else without(rows, keys, names)).to_batches()


def without(rows: pa.Table, keys: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows, in their order, but those whose columns ``names`` are among the keys' rows.

    ``keys`` has these columns; none is null, and the first tells rows apart best.
    """
    import numpy as np

    gone = _places(rows.select(list(names)), keys, names).column("place").to_numpy()
    if not len(gone):
        return rows
    stays = np.ones(rows.num_rows, bool)
    stays[gone] = False
    return rows.filter(pa.array(stays))


def _places(rows: pa.Table, keys: pa.Table, names: Sequence[str]) -> pa.Table:
    """Where in the rows the keys are: (place). Most rows are ruled out by the first column."""
    import numpy as np
    import pyarrow.compute as pc

    first = pc.is_in(rows.column(names[0]), value_set=keys.column(names[0]).combine_chunks())
    hits = np.flatnonzero(first.to_numpy())
    found = pa.table({"place": hits})
    if len(names) == 1 or not len(hits):
        return found
    candidates = rows.take(hits).append_column("place", found.column("place"))
    exact = candidates.join(keys, keys=list(names), join_type="left semi", use_threads=False)
    return exact.select(["place"])
