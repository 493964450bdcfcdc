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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lake.frames import WorkerRows, in_turn

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from lake.frames import Kernel, Storable
    from lake.io.objects import Objects

_GROUP_BYTES: Final = 32 << 20
_FILE_BYTES: Final = 128 << 20
_DICTIONARY_BYTES: Final = 64 << 10
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

    ``dictionary`` and ``footer`` name the columns with a dictionary and with statistics in the
    file; by default all have both, which a column of many values pays for and gains nothing.
    """

    folder: str
    name: str = ""
    schema: pa.Schema | None = None
    partitioned_by: str | None = None
    statistics: tuple[str, ...] = ()
    dictionary: tuple[str, ...] | None = None
    footer: tuple[str, ...] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """How pyarrow writes the files."""
        return {
            "compression": "zstd",
            # A dictionary that grows beyond this is of a column that gains nothing by one.
            "dictionary_pagesize_limit": _DICTIONARY_BYTES,
            "use_dictionary": True if self.dictionary is None else list(self.dictionary),
            "write_statistics": True if self.footer is None else list(self.footer),
        }


def written(rows: Storable, store: Objects, layout: Layout) -> list[File]:
    """The rows in files as laid out, these in the order of their addresses.

    Runs one job, besides those of the frame's own plan; a task without rows writes no file. A
    worker holds up to 160 MiB. Raises what Spark raises.
    """
    write: Kernel = partial(files_of, store, layout)
    if isinstance(rows, WorkerRows):
        frame, write = rows.frame, in_turn(rows.kernel, write)
    else:
        by = layout.partitioned_by
        frame = rows.sortWithinPartitions(by) if by else rows
    columns = "uri string, rows bigint, size bigint, partition string, statistics string"
    found = frame.mapInArrow(write, columns).collect()
    return sorted((File(*row) for row in found), key=lambda file: file.uri)


def files_of(
    store: Objects, layout: Layout, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Write the batches, in a worker; a row of `File` for each file."""
    from pyspark import TaskContext

    task = TaskContext.get()
    attempt = task.taskAttemptId() if task else 0
    number = 0
    for part, own in groupby(_partitioned(batches, layout), key=lambda pair: pair[0]):
        place = f"{layout.partitioned_by}={part}/" if part else ""
        begin = f"{layout.folder.rstrip('/')}/{place}{layout.name}{attempt:08d}"
        for body, rows in bodies((batch for _, batch in own), layout):
            uri = f"{begin}-{number:04d}.parquet"
            store.put_data(uri, body)
            figures = statistics(body, layout.statistics)
            yield pa.RecordBatch.from_pydict(
                {
                    "uri": [uri],
                    "rows": [rows],
                    "size": [len(body)],
                    "partition": [part],
                    "statistics": [json.dumps(figures)],
                }
            )
            number += 1


def _partitioned(
    batches: Iterable[pa.RecordBatch], layout: Layout
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The batches cut where the partition changes, without its column."""
    import pyarrow.compute as pc

    for batch in batches:
        if layout.partitioned_by is None:
            yield "", batch
            continue
        days = batch.column(layout.partitioned_by)
        rest = batch.drop_columns([layout.partitioned_by])
        for day in pc.unique(days):
            yield day.as_py().isoformat(), rest.filter(pc.equal(days, day))


def bodies(batches: Iterable[pa.RecordBatch], layout: Layout) -> Iterator[tuple[bytes, int]]:
    """Whole Parquet files of at most about 128 MiB, and the rows of each."""
    import pyarrow.parquet as pq

    groups = _groups(batches, layout.schema)
    for first in groups:
        sink, rows = pa.BufferOutputStream(), 0
        with pq.ParquetWriter(sink, first.schema, **layout.options) as writer:
            for group in chain([first], groups):
                writer.write_table(group, row_group_size=group.num_rows)
                rows += group.num_rows
                if sink.tell() >= _FILE_BYTES:
                    break
        yield sink.getvalue().to_pybytes(), rows


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema | None) -> Iterator[pa.Table]:
    """The batches gathered to row groups, none of them empty, cast to the schema if there is one;
    columns of the schema that the batches do not have are left out."""

    def gathered() -> pa.Table:
        group = pa.Table.from_batches(waiting)
        names = group.column_names
        return group.cast(pa.schema([schema.field(n) for n in names])) if schema else group

    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
            size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield gathered()
            waiting, size = [], 0
    if waiting:
        yield gathered()


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
