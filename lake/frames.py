"""Rows on their way into files, and back: a table that was written is a fact, a plan would be
computed again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import pyarrow as pa

from lake.schema import columns_in, ddl_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T")

#: Rows and bytes of a larger batch.
_ROWS: Final = 1 << 16
_BYTES: Final = 64 << 20

#: The body of a ``mapInArrow``.
Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
#: What gives a worker all rows of something stored.
Reader = Callable[[], Iterator[pa.RecordBatch]]
#: A kernel that makes rows of several kinds, each batch beside its kind's name.
KernelOfMany = Callable[[Iterable[pa.RecordBatch]], Iterator[tuple[str, pa.RecordBatch]]]


@dataclass(frozen=True)
class WorkerRows:
    """Rows that a kernel makes of a frame's, in the columns of ``schema`` (DDL); ``in_order`` if
    they come in the order and the ranges of the table that they are for.

    The two are kept apart, for the worker that makes such rows can write them itself, and then
    they never go through the JVM.
    """

    frame: DataFrame
    kernel: Kernel
    schema: str
    in_order: bool = False

    def as_frame(self) -> DataFrame:
        """The rows as a frame."""
        if self.kernel is _as_they_come:
            return self.frame
        return self.frame.mapInArrow(self.kernel, self.schema)

    def then(self, kernel: Kernel, schema: str) -> WorkerRows:
        """What another kernel makes of the rows, by the same workers."""
        return replace(self, kernel=in_turn(self.kernel, kernel), schema=schema)

    def apart(self, kernel: KernelOfMany, schemas: Mapping[str, str]) -> ManyRows:
        """What a kernel that makes rows of several kinds makes of them, by the same workers."""
        return ManyRows(self.frame, in_turn(self.kernel, kernel), schemas)

    def as_kind(self, name: str) -> ManyRows:
        """The rows as the only ones of a kind."""
        return self.apart(partial(_of_kind, name), {name: self.schema})

    def in_one_task(self) -> WorkerRows:
        """The rows, of one run of the kernel."""
        return replace(self, frame=self.frame.coalesce(1))


@dataclass(frozen=True)
class ManyRows:
    """Rows of several kinds that one kernel makes of a frame's, by kind in the columns of its
    schema (DDL). Written where they are made, they are in several tables after one job."""

    frame: DataFrame
    kernel: KernelOfMany
    schemas: Mapping[str, str]

    def only(self, kind: str) -> WorkerRows:
        """The rows of one kind."""
        return WorkerRows(self.frame, partial(_only, self.kernel, kind), self.schemas[kind])


def _of_kind(name: str, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    return ((name, batch) for batch in batches)


def _only(
    kernel: KernelOfMany, kind: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    return (batch for name, batch in kernel(batches) if name == kind)


#: What can be stored.
Storable: TypeAlias = "DataFrame | WorkerRows"


def as_frame(rows: Storable) -> DataFrame:
    """The rows as a frame, whoever makes them."""
    return rows.as_frame() if isinstance(rows, WorkerRows) else rows


@dataclass(frozen=True)
class Materialised:
    """A frame that reads a stored table, and how many rows were stored.

    ``files`` and ``opened`` let workers read the rows themselves: the addresses of what is stored,
    and the body of a ``mapInArrow`` that gives its rows, of each file (uri) in their order; it
    takes the names of ``columns``, by default all.
    """

    frame: DataFrame
    rows: int
    files: tuple[str, ...] = ()
    opened: Callable[..., Iterator[pa.RecordBatch]] | None = None

    @property
    def parts(self) -> DataFrame:
        """What is stored, as rows for the workers: (uri)."""
        return self.frame.sparkSession.createDataFrame([(uri,) for uri in self.files], "uri string")

    def reader(self, columns: Sequence[str] | None = None) -> Reader:
        """What gives a worker all that is stored, of these columns or of all."""
        assert self.opened is not None
        files = [pa.RecordBatch.from_pydict({"uri": list(self.files)})]
        return partial(self.opened, files, columns=columns)

    def columns(self, names: Sequence[str] | None = None) -> WorkerRows:
        """These columns of what is stored, by default all.

        Rows that a worker reads itself do not go through the JVM, which hands them over one by
        one at several times what it costs to read them.
        """
        own = self.frame.select(*names) if names else self.frame
        if self.opened is None:
            return unchanged(own)
        return replace(unchanged(own), frame=self.parts, kernel=partial(self.opened, columns=names))

    def through(self, kernel: Kernel, schema: str, of: Sequence[str] | None = None) -> WorkerRows:
        """What the kernel makes of the stored rows, in the columns of ``schema`` (DDL); ``of``: the
        stored columns that it needs, by default all."""
        return self.columns(of).then(kernel, schema)

    def of_kind(self, kind: str, schema: str) -> WorkerRows:
        """The stored rows of a ``kind``, as their column of this name has it, in the columns of
        ``schema`` (DDL)."""
        names = list(columns_in(schema))
        return self.through(partial(_of_that_kind, kind, names), schema, ["kind", *names])


def _of_that_kind(
    kind: str, names: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    import pyarrow.compute as pc

    for rows in batches:
        own = pc.equal(rows["kind"], kind)
        if own.true_count:
            yield rows.select(names).filter(own)


def as_one(parts: Sequence[Materialised]) -> Materialised:
    """What is stored in several parts, of the same columns and in the same store."""
    frames = (part.frame for part in parts)
    return Materialised(
        reduce(lambda one, other: one.unionByName(other), frames),
        sum(part.rows for part in parts),
        tuple(uri for part in parts for uri in part.files),
        parts[0].opened,
    )


#: Rows that may be stored.
Rows: TypeAlias = "DataFrame | Materialised"


def unchanged(rows: DataFrame) -> WorkerRows:
    """The rows of a frame as they come to a worker."""
    return WorkerRows(rows, _as_they_come, ddl_of(dict(rows.dtypes)))


def _as_they_come(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return iter(batches)


def columns_of(rows: Rows, names: Sequence[str]) -> WorkerRows:
    """These columns of the rows; what is stored is read by the workers themselves."""
    if isinstance(rows, Materialised):
        return rows.columns(names)
    return unchanged(rows.select(*names))


def rows_of(rows: Rows) -> DataFrame:
    """The rows as a frame, stored or not."""
    return rows.frame if isinstance(rows, Materialised) else rows


def widened(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows in the columns of the schema, of which those that they do not have are null."""
    known = rows.schema.names
    columns = [rows[f.name] if f.name in known else pa.nulls(len(rows), f.type) for f in schema]
    return as_declared(pa.RecordBatch.from_arrays(columns, schema.names), schema)


def as_declared(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of the schema, in its types and order."""
    own = rows.select(schema.names)
    return own if own.schema.equals(schema) else own.cast(schema)


def held(reader: Reader, schema: pa.Schema) -> pa.Table:
    """All that is stored, as a worker holds it, in the columns of the schema."""
    batches = (as_declared(batch, schema) for batch in reader())
    return pa.Table.from_batches(batches, schema).combine_chunks()


def in_larger(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of some 65,536 or 64 MiB, for what is done at less cost to many."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        # Counted on: a load of years comes in thousands of small files.
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= _ROWS or size >= _BYTES:
            yield pa.concat_batches(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)


@contextmanager
def without_cycles() -> Iterator[None]:
    """Python's cycle collector off, for a kernel that makes many objects and no cycles of them.

    Looking through all of them again and again was a third of what resolving people cost.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def in_turn(
    first: Kernel, then: Callable[[Iterable[pa.RecordBatch]], T]
) -> Callable[[Iterable[pa.RecordBatch]], T]:
    """The kernel that makes of rows what ``then`` makes of what ``first`` makes of them."""
    return partial(_in_turn, first, then)


def _in_turn(
    first: Kernel, then: Callable[[Iterable[pa.RecordBatch]], T], batches: Iterable[pa.RecordBatch]
) -> T:
    return then(first(batches))
