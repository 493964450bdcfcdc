"""Rows on their way from worker to worker, packed.

Spark hands a row that it shuffles from Python to the JVM and back field by field, and a moment has
six. So the worker that makes rows packs those of one task together, some hundreds into one long
value of Arrow's own format, and the worker of that task unpacks them as columns again. The shuffle
is Spark's, with all that it does for lost workers; it only moves fewer and longer rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from lake.frames import Kernel, KernelOfMany, ManyRows, WorkerRows, as_declared, widened
from lake.ordered import ascending
from lake.ranges import most_ranges, names_of_tasks, range_of_each
from lake.schema import arrow_schema, columns_in, ddl_of

#: What makes of rows of several kinds, each batch beside its kind's name, rows of such kinds.
KernelOfManyKinds: TypeAlias = Callable[
    [Iterable[tuple[str, pa.RecordBatch]]], Iterator[tuple[str, pa.RecordBatch]]
]

#: The columns of packed rows: the task, the kind of the rows, the rows.
PACKED: Final = "task int, kind string, rows binary"
#: As many bytes are packed into a value, unless one row has more. Batches that go to workers may
#: be bounded by their number of rows alone, and 2,000 of these are 64 MiB.
_BYTES: Final = 32 << 10
_CODEC: Final = "lz4_raw"
#: Bytes that say how long a value is when it is unpacked.
_SIZE: Final = 4
#: Bytes of rows that are packed at once, and of rows of a kind that are unpacked together.
_AT_ONCE: Final = 64 << 20


def exchanged(
    rows: ManyRows | Sequence[ManyRows],
    key: str,
    kernel: KernelOfManyKinds,
    schemas: Mapping[str, str],
    ranges: int | None = None,
) -> ManyRows:
    """What the kernel makes of rows that are brought together by ``key``, in these schemas.

    ``key``: a column of every kind, a hash (see `lake.ranges`); each of so many ``ranges`` of it
    comes to one run of the kernel, in no order. By default they are as many as the session has
    tasks in a shuffle, and several come to one where there is little. One shuffle, whatever the
    number of frames that the rows are made from.
    """
    sources = [rows] if isinstance(rows, ManyRows) else rows
    tasks = names_of_tasks(ranges or most_ranges(sources[0].frame.sparkSession))
    own = {kind: arrow_schema(ddl) for source in sources for kind, ddl in source.schemas.items()}
    packing = Packing(own, key, tasks)
    packed = [
        source.frame.mapInArrow(partial(_packed, packing, source.kernel), PACKED)
        for source in sources
    ]
    every = reduce(lambda one, other: one.unionByName(other), packed)
    # Without a number Spark may merge small tasks.
    parted = every.repartition(ranges, "task") if ranges else every.repartition("task")
    made = {kind: arrow_schema(ddl) for kind, ddl in schemas.items()}
    return ManyRows(parted, partial(_through, packing, kernel, made), schemas)


def gathered(
    rows: WorkerRows | Sequence[WorkerRows],
    key: str,
    kernel: Kernel,
    schema: str,
    ranges: int | None = None,
) -> WorkerRows:
    """The same of rows that are all of one kind, in the columns of ``schema``. A column that some
    of the frames do not have is null in their rows."""
    sources = [rows] if isinstance(rows, WorkerRows) else rows
    kinds = [source.as_kind(str(number)) for number, source in enumerate(sources)]
    whole = arrow_schema(ddl_of({k: v for s in sources for k, v in columns_in(s.schema).items()}))
    own = partial(_through_one, whole, kernel)
    return exchanged(kinds, key, own, {"": schema}, ranges).only("")


def sorted_by(rows: WorkerRows, key: Sequence[str], ranges: int | None = None) -> WorkerRows:
    """The rows sorted by ``key``, of which the first column is a hash: each of so many ``ranges``
    of it by a task, which holds them; without a number by as few tasks as there is need of."""
    made = gathered(rows, key[0], partial(_sorted, tuple(key)), rows.schema, ranges)
    return replace(made, in_order=True)


def _sorted(key: tuple[str, ...], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    every = list(batches)
    if every:
        rows = pa.Table.from_batches(every)
        yield from ascending(rows, key).to_batches()


def _through_one(
    schema: pa.Schema, kernel: Kernel, rows: Iterable[tuple[str, pa.RecordBatch]]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    return (("", made) for made in kernel(widened(batch, schema) for _, batch in rows))


@dataclass(frozen=True)
class Packing:
    """How rows are packed: the schema of each kind, and by the ranges of which hash, ``key``, they
    go to the tasks of these numbers (see `lake.ranges.names_of_tasks`)."""

    schemas: Mapping[str, pa.Schema]
    key: str
    tasks: Sequence[int]

    def packed(self, kind: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a kind, packed."""
        rows = as_declared(rows, self.schemas[kind])
        task = range_of_each(rows.column(self.key), len(self.tasks))
        order = np.argsort(task, kind="stable")
        ordered = rows.take(pa.array(order))
        ends = np.searchsorted(task[order], np.arange(len(self.tasks) + 1)).tolist()
        step = _rows_of(rows, _BYTES)
        numbers, values = list[int](), list[bytes]()
        for number, start, end in zip(self.tasks, ends, ends[1:], strict=False):
            for at in range(start, end, step):
                numbers.append(number)
                values.append(_squeezed(ordered.slice(at, min(step, end - at)).serialize()))
        offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
        columns = [
            pa.array(numbers, pa.int32()),
            pa.repeat(kind, len(numbers)),
            pa.Array.from_buffers(pa.binary(), len(values), buffers),
        ]
        return pa.RecordBatch.from_arrays(columns, ["task", "kind", "rows"])

    def unpacked(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """The rows of packed ones, in pieces of some size, with their kind."""
        held: dict[str, list[pa.RecordBatch]] = {kind: [] for kind in self.schemas}
        size = dict.fromkeys(held, 0)
        for batch in batches:
            for kind, value in zip(batch["kind"].to_pylist(), batch["rows"], strict=True):
                packed = _restored(value.as_buffer())
                held[kind].append(pa.ipc.read_record_batch(packed, self.schemas[kind]))
                size[kind] += packed.size
                if size[kind] >= _AT_ONCE:
                    yield kind, pa.concat_batches(held[kind])
                    held[kind], size[kind] = [], 0
        for kind, rest in held.items():
            if rest:
                yield kind, pa.concat_batches(rest)


def _squeezed(body: pa.Buffer) -> bytes:
    """The bytes with LZ4, behind their number: what is half as long costs Spark half as much, more
    than it costs a worker to shorten it."""
    size = int(body.size).to_bytes(_SIZE, "big")
    return size + bytes(pa.compress(body, _CODEC, asbytes=True))


def _restored(value: pa.Buffer) -> pa.Buffer:
    size = int.from_bytes(value.slice(0, _SIZE).to_pybytes(), "big")
    return pa.decompress(value.slice(_SIZE), size, _CODEC)


def _packed(
    packing: Packing, kernel: KernelOfMany, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for kind, rows in kernel(batches):
        step = _rows_of(rows, _AT_ONCE)
        for at in range(0, len(rows), step):
            yield packing.packed(kind, rows.slice(at, step))


def _rows_of(rows: pa.RecordBatch, size: int) -> int:
    """How many of these rows have about so many bytes; one at least."""
    return max(1, size * len(rows) // max(1, int(rows.nbytes)))


def _through(
    packing: Packing,
    kernel: KernelOfManyKinds,
    schemas: Mapping[str, pa.Schema],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    for kind, rows in kernel(packing.unpacked(batches)):
        yield kind, as_declared(rows, schemas[kind])
