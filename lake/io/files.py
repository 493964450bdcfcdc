"""Parquet files that the workers write themselves; only their names and figures go to the driver.

Handing rows to Spark's own table writer costs more in commits and look-ups than in writing: on a
small lake most of a night. Files are named so that no two writers ever meet: by the caller's
folder or name and by task attempt. A task that was lost or ran twice leaves files behind that
are in no answer.

pyarrow's parts are imported where they are used: a lookup comes through here and needs none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lake.frames import WorkerRows, unchanged

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from pyspark.sql import SparkSession

    from lake.frames import KernelOfMany, ManyRows, Storable
    from lake.io.objects import Objects

_GROUP_BYTES: Final = 32 << 20
_FILE_BYTES: Final = 128 << 20
_DICTIONARY_BYTES: Final = 64 << 10
_BATCH_BYTES: Final = "spark.sql.execution.arrow.maxBytesPerBatch"
_NO_BOUND: Final = str(2**31 - 1)
#: As many characters of a text are kept in statistics, as Delta's own writer does.
_PREFIX: Final = 32


@dataclass(frozen=True)
class File:
    """A file that was written: its address, rows, size in bytes, the value of the column it is
    partitioned by ("" where it is not), and statistics as Delta's log holds them."""

    uri: str
    rows: int
    size: int
    partition: str = ""
    statistics: str = "{}"


@dataclass(frozen=True)
class Layout:
    """How rows become files: in which ``folder``, with what every ``name`` begins, ``schema``
    (default: that of the rows) is what they are cast to, ``partitioned_by`` a date column that is
    in the path instead of in the file, ``statistics`` the columns whose least and greatest value
    are told.

    ``long_rows``: a row may be as long as a call, so they come to the worker in batches of bounded
    bytes too. For that Spark sizes up the batch at each row, half of what handing it over costs.

    ``dictionary`` and ``footer`` name the columns with a dictionary and with statistics in the
    file; by default all have both, which a column of many values pays for and gains nothing.
    ``passing``: they are read once or twice and dropped, so they are packed at less cost.
    """

    folder: str
    name: str = ""
    schema: pa.Schema | None = None
    partitioned_by: str | None = None
    statistics: tuple[str, ...] = ()
    long_rows: bool = True
    dictionary: tuple[str, ...] | None = None
    footer: tuple[str, ...] | None = None
    passing: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """How pyarrow writes the files."""
        return {
            "compression": "lz4" if self.passing else "zstd",
            # A dictionary that grows beyond this is of a column that gains nothing by one.
            "dictionary_pagesize_limit": _DICTIONARY_BYTES,
            "use_dictionary": True if self.dictionary is None else list(self.dictionary),
            "write_statistics": True if self.footer is None else list(self.footer),
        }


def written(rows: Storable, store: Objects, layout: Layout) -> list[File]:
    """The rows in files as laid out, these in the order of their addresses.

    Runs one job, besides those of the frame's own plan; a task without rows writes no file. A
    worker holds up to 200 MiB. Raises what Spark raises.
    """
    own = rows if isinstance(rows, WorkerRows) else unchanged(rows)
    return written_apart(own.as_kind(""), store, {"": layout})[""]


def written_apart(
    rows: ManyRows, store: Objects, layouts: Mapping[str, Layout]
) -> dict[str, list[File]]:
    """The rows of each kind in files as laid out for it; see `written`. One job for all."""
    columns = (
        "uri string, rows bigint, size bigint, partition string, statistics string, kind string"
    )
    write = partial(_files_of_many, rows.kernel, store, layouts)
    long_rows = any(layout.long_rows for layout in layouts.values())
    with _batches.of(rows.frame.sparkSession, long_rows=long_rows):
        told = rows.frame.mapInArrow(write, columns).collect()
    found: dict[str, list[File]] = {kind: [] for kind in layouts}
    for *figures, kind in sorted(told):
        found[kind].append(File(*figures))
    return found


class _Batches:
    """Whether batches that go to workers are bounded in bytes: one setting for all that a session
    writes at the same time, so they are while any of it has long rows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: list[bool] = []
        self._bound = ""

    @contextmanager
    def of(self, spark: SparkSession, *, long_rows: bool) -> Iterator[None]:
        """While it lasts, rows like these are written."""
        with self._lock:
            if not self._under_way:
                self._bound = str(spark.conf.get(_BATCH_BYTES))
            self._under_way.append(long_rows)
            self._set(spark)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(long_rows)
                self._set(spark)

    def _set(self, spark: SparkSession) -> None:
        all_short = self._under_way and not any(self._under_way)
        spark.conf.set(_BATCH_BYTES, _NO_BOUND if all_short else self._bound)


_batches: Final = _Batches()


def files_of(
    store: Objects, layout: Layout, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Write the batches, in a worker; a row of `File` for each file."""
    return _files_of_many(_of_one, store, {"": layout}, batches)


def _of_one(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Rows of one kind that needs no name."""
    return (("", batch) for batch in batches)


def _files_of_many(
    kernel: KernelOfMany,
    store: Objects,
    layouts: Mapping[str, Layout],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Write what the kernel makes of the batches, in a worker; a row of `File` for each file, with
    its kind."""
    from pyspark import TaskContext

    task = TaskContext.get()
    attempt = task.taskAttemptId() if task else 0
    for number, (kind, part, body, rows) in enumerate(_bodies(kernel(batches), layouts)):
        layout = layouts[kind]
        place = f"{layout.partitioned_by}={part}/" if part else ""
        name = f"{place}{layout.name}{attempt:08d}-{number:04d}.parquet"
        uri = f"{layout.folder.rstrip('/')}/{name}"
        store.put_data(uri, body)
        figures = statistics(body, layout.statistics)
        yield pa.RecordBatch.from_pydict(
            {
                "uri": [uri],
                "rows": [rows],
                "size": [len(body)],
                "partition": [part],
                "statistics": [json.dumps(figures)],
                "kind": [kind],
            }
        )


def bodies(batches: Iterable[pa.RecordBatch], layout: Layout) -> Iterator[tuple[str, bytes, int]]:
    """Whole Parquet files of at most about 128 MiB: the partition of each, its bytes, its rows.

    Every partition has its file open, in whatever order their rows come. Together they hold up to
    64 MiB of rows and 128 MiB of what is written; where that is too little for so many, the
    largest makes room.
    """
    every = _bodies(_of_one(batches), {"": layout})
    return ((part, body, rows) for _, part, body, rows in every)


def _bodies(
    every: Iterable[tuple[str, pa.RecordBatch]], layouts: Mapping[str, Layout]
) -> Iterator[tuple[str, str, bytes, int]]:
    """`bodies` of rows of several kinds, which have the bounds in common; the kind of each."""
    held: dict[tuple[str, str], _Body] = {}
    waiting = 0

    def largest(size: Callable[[_Body], int]) -> tuple[str, str]:
        return max(held, key=lambda place: (size(held[place]), place))

    for kind, batch in every:
        for part, rows in _partitioned(batch, layouts[kind]):
            own = held.setdefault((kind, part), _Body(layouts[kind]))
            waiting += own.add(rows)
            if own.waiting < _GROUP_BYTES and waiting < 2 * _GROUP_BYTES:
                continue
            waiting -= held[largest(lambda body: body.waiting)].end_group()
            if sum(body.size for body in held.values()) >= _FILE_BYTES:
                full = largest(lambda body: body.size)
                waiting -= held[full].waiting
                yield *full, *held.pop(full).ended()
    for place in sorted(held):
        yield *place, *held[place].ended()


class _Body:
    """A Parquet file on its way: row groups that are written, and rows that wait to be one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sink = pa.BufferOutputStream()
        self._writer: pq.ParquetWriter | None = None
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self.waiting = 0

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return int(self._sink.tell())

    def add(self, batch: pa.RecordBatch) -> int:
        """Let some rows more wait; their bytes."""
        self._batches.append(batch)
        self._rows += batch.num_rows
        self.waiting += batch.nbytes
        return int(batch.nbytes)

    def end_group(self) -> int:
        """Write what waits, cast to the layout's schema if it has one, as a row group; its bytes.

        Columns of the schema that the rows do not have are left out.
        """
        import pyarrow.parquet as pq

        group, schema = pa.Table.from_batches(self._batches), self._layout.schema
        if schema:
            group = group.cast(pa.schema([schema.field(name) for name in group.column_names]))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, group.schema, **self._layout.options)
        self._writer.write_table(group, row_group_size=group.num_rows)
        written, self._batches, self.waiting = self.waiting, [], 0
        return written

    def ended(self) -> tuple[bytes, int]:
        """The whole file, and its rows."""
        if self._batches:
            self.end_group()
        assert self._writer is not None
        self._writer.close()
        return self._sink.getvalue().to_pybytes(), self._rows


def _partitioned(batch: pa.RecordBatch, layout: Layout) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The batch cut by partition and without its column; nothing of an empty one."""
    import pyarrow.compute as pc

    if not batch.num_rows:
        return
    if layout.partitioned_by is None:
        yield "", batch
        return
    days = batch.column(layout.partitioned_by)
    rest = batch.drop_columns([layout.partitioned_by])
    every = pc.unique(days)
    for day in every:
        own = rest if len(every) == 1 else rest.filter(pc.equal(days, day))
        yield day.as_py().isoformat(), own


def addresses(parts: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """The stored files (uri) that a worker is given."""
    return chain.from_iterable(part.column("uri").to_pylist() for part in parts)


def parquet_file(store: Objects, uri: str) -> pq.ParquetFile:
    """A stored file, held whole; FileNotFoundError where it is not there."""
    import pyarrow.parquet as pq

    found = store.get(uri)
    if found is None:
        raise FileNotFoundError(uri)
    return pq.ParquetFile(pa.BufferReader(found[0]))


def statistics(body: bytes, columns: Iterable[str]) -> dict[str, Any]:
    """A Parquet file's rows and, of these columns, least and greatest value and nulls, as Delta's
    log holds them (Delta protocol, "Per-file Statistics").

    A column whose footer does not tell them is left out, which only means that nothing is skipped
    by it. Long texts are cut so that the bounds still hold.
    """
    import pyarrow.parquet as pq

    footer = pq.read_metadata(pa.BufferReader(body))
    place = {footer.schema.column(i).path: i for i in range(footer.num_columns)}
    told: dict[str, Any] = {"numRecords": footer.num_rows}
    least, greatest, nulls = dict[str, Any](), dict[str, Any](), dict[str, int]()
    for name in columns:
        if name not in place:
            continue
        groups = [
            footer.row_group(g).column(place[name]).statistics for g in range(footer.num_row_groups)
        ]
        if not all(g is not None and g.has_null_count for g in groups):
            continue
        nulls[name] = sum(g.null_count for g in groups)
        known = [g for g in groups if g.has_min_max]
        if known and all(g.has_min_max or not g.num_values for g in groups):
            low, high = _bound(min(g.min for g in known)), _bound(max(g.max for g in known))
            if low is not None and high is not None:
                least[name] = low[:_PREFIX] if isinstance(low, str) else low
                greatest[name] = high if not _is_long(high) else f"{high[:_PREFIX]}\U0010ffff"
    return told | {"minValues": least, "maxValues": greatest, "nullCount": nulls}


def _is_long(bound: Any) -> bool:
    return isinstance(bound, str) and len(bound) > _PREFIX


def _bound(value: Any) -> Any:
    """A value as JSON shows it in Delta's statistics; None where it cannot."""
    match value:
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return None
        case str() | int() | float():
            return value
        case _:
            return None
