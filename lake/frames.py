"""Rows on their way into files, and back: a table that was written is a fact, a plan would be
computed again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

#: The body of a ``mapInArrow``.
Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class WorkerRows:
    """Rows that a kernel makes of a frame's, in the columns of ``schema`` (DDL, or Spark's own).

    The two are kept apart, for the worker that makes such rows can write them itself, and then
    they never go through the JVM.
    """

    frame: DataFrame
    kernel: Kernel
    schema: StructType | str

    def as_frame(self) -> DataFrame:
        """The rows as a frame."""
        return self.frame.mapInArrow(self.kernel, self.schema)

    def then(self, kernel: Kernel, schema: StructType | str) -> WorkerRows:
        """What another kernel makes of the rows, by the same workers."""
        return WorkerRows(self.frame, in_turn(self.kernel, kernel), schema)

    def in_one_task(self) -> WorkerRows:
        """The rows, of one run of the kernel."""
        return replace(self, frame=self.frame.coalesce(1))


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

    def through(self, kernel: Kernel, schema: str, of: Sequence[str] | None = None) -> WorkerRows:
        """What the kernel makes of the stored rows, in the columns of ``schema`` (DDL); ``of``: the
        stored columns that it needs, by default all.

        Rows that a worker reads itself do not go through the JVM, which hands them over one by
        one at several times what it costs to read them.
        """
        if self.opened is None:
            return WorkerRows(self.frame.select(*of) if of else self.frame, kernel, schema)
        return WorkerRows(self.parts, in_turn(partial(self.opened, columns=of), kernel), schema)


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


def in_turn(first: Kernel, then: Kernel) -> Kernel:
    """The kernel that makes of rows what ``then`` makes of what ``first`` makes of them."""
    return partial(_in_turn, first, then)


def _in_turn(
    first: Kernel, then: Kernel, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    return then(first(batches))
