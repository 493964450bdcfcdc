"""Frames that were stored: a table that was written is a fact, a plan would be computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: The body of a ``mapInArrow``.
Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Materialised:
    """A frame that reads a stored table, and how many rows were stored.

    ``parts`` and ``opened`` let workers read the rows themselves: a frame of what is stored, and
    the body of a ``mapInArrow`` that gives its rows, of each part in their order; it takes the
    names of ``columns``, by default all.
    """

    frame: DataFrame
    rows: int
    parts: DataFrame | None = None
    opened: Callable[..., Iterator[pa.RecordBatch]] | None = None

    def through(
        self, kernel: Kernel, columns: Sequence[str] | None = None
    ) -> tuple[DataFrame, Kernel]:
        """A frame, and the kernel that makes of it what ``kernel`` makes of the stored rows, of
        which it needs these ``columns``.

        Rows that a worker reads itself do not go through the JVM, which hands them over one by
        one at several times what it costs to read them.
        """
        if self.parts is None or self.opened is None:
            return self.frame.select(*columns) if columns else self.frame, kernel
        return self.parts, partial(_behind, partial(self.opened, columns=columns), kernel)


def _behind(
    opened: Kernel, kernel: Kernel, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    return kernel(opened(batches))
