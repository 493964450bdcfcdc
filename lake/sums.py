"""What is kept of calls: how many there were, and the first and the last of them.

Every fact is such a sum of the calls of a batch, and every total is a sum of facts. Both are added
up here, by an Arrow kernel: Spark can hash no aggregate of a moment, which holds texts, and would
sort its rows twice to add them up, at twice the cost of all that this takes.

Rows go to the task of their keys as they are. Adding up before that, too, gains little: a set's
calls of a day lie in many files, each of which one task reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.clock import moment, times_of
from lake.frames import WorkerRows
from lake.packing import gathered
from lake.ranges import is_hash
from lake.schema import columns_in, ddl_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

CALLS, FIRST, LAST = SUMS = "calls", "first", "last"
#: How a further column is added up: the value of all rows that have one, where it is the same; the
#: values of all rows that have one, as a list in no order.
SAME, LISTED = "same", "listed"

_FOLD_BYTES: Final = 256 << 20
_HELD_BYTES: Final = 512 << 20
_PARTS: Final = 16


def of_calls(
    calls: DataFrame, keys: Sequence[str], clock: str, more: Mapping[str, str] | None = None
) -> WorkerRows:
    """The calls added up by ``keys``: rows of events, with the keys and what is in ``more``. See
    `added_up`."""
    return added_up(calls.select(*keys, *(more or ()), moment().alias(FIRST)), keys, clock, more)


def added_up(
    rows: DataFrame | WorkerRows | list[WorkerRows],
    keys: Sequence[str],
    clock: str,
    more: Mapping[str, str] | None = None,
    ranges: int | None = None,
) -> WorkerRows:
    """The rows added up by ``keys``: one row each, of (*keys, calls, first, last, *more).

    In: sums of calls, (calls, first, last), with other columns; or rows with a moment ``first``
    alone, which is that of one call. ``more`` says how further columns are added up: ``sum``,
    ``min``, ``max``, `SAME` or `LISTED`; nulls are passed over. Of two calls with the same times
    the one with the lesser message id is the first (`lake.clock.order_of`). A sum of nothing has no
    calls and null moments. ``ranges``: the one key is a hash, and each of so many ranges of it is a
    task (see `lake.ranges`), whose rows come sorted. One shuffle, and Spark sorts nothing. A worker
    holds up to 2 GiB: what it can add up no further goes to its disk. Rows that workers make are
    packed by them, those of several frames too; one of the keys is a hash then.
    """
    how = How(tuple(keys), clock, dict(more or {}), in_order=ranges is not None)
    if isinstance(rows, WorkerRows):
        rows = [rows]
    if isinstance(rows, list):
        types = {name: kind for own in rows for name, kind in columns_in(own.schema).items()}
    else:
        types = dict(rows.dtypes)
    needed = [*keys, *(name for name in SUMS if name in types), *how.more]
    made = {key: types[key] for key in keys}
    made |= {CALLS: "bigint", FIRST: types[FIRST], LAST: types[FIRST]}
    for name, added in how.more.items():
        made[name] = f"array<{types[name]}>" if added == LISTED else types[name]
    kernel = partial(_folded, how)
    if not isinstance(rows, list):
        return WorkerRows(rows.select(*needed).repartition(*keys), kernel, ddl_of(made))
    [by] = filter(is_hash, keys)
    found = gathered([_only(own, needed) for own in rows], by, kernel, ddl_of(made), ranges)
    return replace(found, in_order=how.in_order)


def total(rows: WorkerRows) -> WorkerRows:
    """How many calls these sums come to: (calls), a row a task. No shuffle."""
    return rows.then(_total, f"{CALLS} bigint")


def _total(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    calls = sum(pc.sum(batch[CALLS]).as_py() or 0 for batch in batches)
    yield pa.RecordBatch.from_pydict({CALLS: [calls]})


def _only(rows: WorkerRows, names: Sequence[str]) -> WorkerRows:
    """The rows, of which no other columns are packed."""
    own = columns_in(rows.schema)
    return replace(rows, schema=ddl_of({name: own[name] for name in names if name in own}))


@dataclass(frozen=True)
class How:
    """By which ``keys`` rows are added up, by whose order of calls, what of ``more`` columns (see
    `added_up`), and whether they come sorted by the one key."""

    keys: tuple[str, ...]
    clock: str
    more: Mapping[str, str] = field(default_factory=dict)
    in_order: bool = False


class Adding:
    """Rows of a task that are added up as they come, in a worker.

    They are added up whenever there are many new ones. What is then too much to be held is parted
    by the keys, and each part added up for itself. ``folder`` is for this alone; of several in
    one task each holds its ``share`` of what a worker may hold.
    """

    def __init__(self, how: How, folder: str, share: int = 1) -> None:
        self._how = how
        self._parts = _Parts(Path(folder), how)
        self._held: list[pa.Table] = []
        self._new = 0
        self._fold_bytes, self._held_bytes = _FOLD_BYTES // share, _HELD_BYTES // share

    def add(self, batch: pa.RecordBatch) -> None:
        """Add some rows more."""
        if batch.num_rows:
            self._held.append(_as_sums(self._how, batch))
            self._new += batch.nbytes
        if self._new >= self._fold_bytes:
            self._held, self._new = [_fold(self._how, self._held)], 0
            if self._held[0].nbytes >= self._held_bytes:
                self._parts.add(self._held.pop())

    def rows(self) -> Iterator[pa.RecordBatch]:
        """What they come to; sorted ones in one batch, unless there are too many. Asked once."""
        if self._parts.are_used and self._held:
            self._parts.add(_fold(self._how, self._held))
            self._held = []
        for every in chain([self._held], self._parts.stored()):
            if sum(map(len, every)):
                found = _fold(self._how, every)
                if self._how.in_order:
                    found = found.sort_by(self._how.keys[0]).combine_chunks()
                yield from found.to_batches()


def _folded(how: How, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of a task added up."""
    with tempfile.TemporaryDirectory(prefix="sums-") as folder:
        adding = Adding(how, folder)
        for batch in batches:
            adding.add(batch)
        yield from adding.rows()


class _Parts:
    """Rows on disk, parted by their keys: by a hash of them, or in their order."""

    def __init__(self, folder: Path, how: How) -> None:
        self._folder, self._how = folder, how
        self._bounds: np.ndarray[Any, Any] | None = None
        self._files: list[pa.OSFile] = []
        self._writers: list[pa.RecordBatchStreamWriter] = []

    @property
    def are_used(self) -> bool:
        """Whether any rows were added."""
        return bool(self._writers)

    def add(self, rows: pa.Table) -> None:
        """Write the rows to their parts."""
        if not self._writers:
            self._files = [pa.OSFile(str(self._folder / str(n)), "wb") for n in range(_PARTS)]
            self._writers = [pa.ipc.new_stream(file, rows.schema) for file in self._files]
        part = pa.array(self._numbers(rows.select(self._how.keys)))
        for number, writer in enumerate(self._writers):
            writer.write_table(rows.filter(pc.equal(part, number)))

    def _numbers(self, keys: pa.Table) -> Numbers:
        """The part of each row."""
        import pandas as pd

        if self._how.in_order:
            own = keys.column(0).to_numpy()
            if self._bounds is None:
                self._bounds = np.sort(own)[np.arange(1, _PARTS) * len(own) // _PARTS]
            found = np.searchsorted(self._bounds, own, side="right")
        else:
            found = pd.util.hash_pandas_object(keys.to_pandas(), index=False).to_numpy() % _PARTS
        return np.asarray(found, dtype=np.int64)

    def stored(self) -> Iterator[list[pa.Table]]:
        """The rows of one part after the other."""
        for file, writer in zip(self._files, self._writers, strict=True):
            writer.close()
            file.close()
        for number in range(len(self._writers)):
            with pa.OSFile(str(self._folder / str(number))) as file:
                yield [pa.ipc.open_stream(file).read_all()]


def _as_sums(how: How, batch: pa.RecordBatch) -> pa.Table:
    """The rows of a batch, each as a sum; a call is one of itself, a value a list of itself."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    if CALLS not in columns:
        one = pa.array(np.ones(batch.num_rows, np.int64))
        columns |= {CALLS: one, LAST: columns[FIRST]}
    for name in (name for name, added in how.more.items() if added == LISTED):
        known = columns[name].is_valid().to_numpy(zero_copy_only=False)
        columns[name] = _lists(known, columns[name].drop_null())
    return pa.table(columns).select([*how.keys, *SUMS, *how.more])


def _fold(how: How, sums: Sequence[pa.Table]) -> pa.Table:
    """All of these, those with the same keys as one."""
    rows = pa.concat_tables(sums)
    groups = _Groups.of(rows, how.keys)
    calls = pc.fill_null(rows.column(CALLS), 0).to_numpy()
    columns = {key: groups.keys.column(key) for key in how.keys}
    columns[CALLS] = pa.array(np.add.reduceat(calls[groups.rows], groups.starts))
    for name, least in ((FIRST, True), (LAST, False)):
        moments = rows.column(name).combine_chunks()
        columns[name] = moments.take(pa.array(_extreme(moments, groups, how.clock, least=least)))
    for name, added in how.more.items():
        columns[name] = groups.added(rows.column(name), added)
    return pa.table(columns)


@dataclass(frozen=True)
class _Groups:
    """Rows grouped: the ``keys`` of each group, and how many there are; in ``rows`` the numbers of
    the rows, those of a group one after the other."""

    keys: pa.Table
    rows: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, rows: pa.Table, keys: Sequence[str]) -> _Groups:
        """The groups of rows with equal keys (null is a key too), by their first appearance."""
        numbered = rows.select(list(keys)).append_column("", pa.array(np.arange(rows.num_rows)))
        found = numbered.group_by(list(keys), use_threads=False).aggregate([("", "list")])
        lists = found.column("_list").combine_chunks()
        sizes = pc.list_value_length(lists).to_numpy().astype(np.int64)
        return cls(found, lists.flatten().to_numpy(), sizes)

    @property
    def starts(self) -> Numbers:
        """Where each group begins."""
        return np.concatenate(([0], np.cumsum(self.sizes)[:-1]))

    @property
    def numbers(self) -> Numbers:
        """The number of each row's group."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def of_rows(self, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> _Groups:
        """The groups without the rows that are not kept; of each one is."""
        sizes = np.bincount(self.numbers[kept], minlength=len(self.sizes))
        return _Groups(self.keys, self.rows[kept], sizes.astype(np.int64))

    def added(self, column: pa.ChunkedArray, how: str) -> pa.Array:
        """A column added up by group."""
        if how == LISTED:
            lists = column.take(pa.array(self.rows)).combine_chunks()
            sizes = pc.list_value_length(lists).to_numpy()
            return _lists(np.add.reduceat(sizes, self.starts), lists.flatten())
        if how != SAME:
            grouped = pa.table([self.numbers, column.take(pa.array(self.rows))], ["", "of"])
            found = grouped.group_by("", use_threads=False).aggregate([("of", how)])
            return found.column(f"of_{how}").cast(column.type)
        valid = column.is_valid().to_numpy()[self.rows]
        none = len(valid)
        place = np.minimum.reduceat(np.where(valid, np.arange(none), none), self.starts)
        chosen = self.rows[np.minimum(place, none - 1)]
        return column.take(pa.array(chosen, mask=place == none))


def _lists(sizes: np.ndarray[Any, Any], values: pa.Array) -> pa.ListArray:
    """The values as lists of these sizes, one after the other."""
    ends = np.cumsum(sizes, dtype=np.int32)
    return pa.ListArray.from_arrays(np.concatenate(([np.int32(0)], ends)), values)


def _extreme(moments: pa.StructArray, groups: _Groups, clock: str, *, least: bool) -> Numbers:
    """The row of each group whose moment is the ``least``, or else the greatest, as
    `lake.clock.order_of` has it; of a null moment only where the group has no other."""
    reduced, worst = (
        (np.minimum, np.iinfo(np.int64).max) if least else (np.maximum, np.iinfo(np.int64).min)
    )

    def kept_by(numbers: Numbers, groups: _Groups) -> _Groups:
        best = reduced.reduceat(numbers, groups.starts)
        return groups.of_rows(numbers == np.repeat(best, groups.sizes))

    valid = moments.is_valid()
    for time in times_of(moments, clock):
        known = pc.if_else(valid, time.cast(pa.int64()), int(worst))
        groups = kept_by(known.to_numpy()[groups.rows], groups)
        if len(groups.rows) == len(groups.sizes):
            return groups.rows
    # Few calls are of the same microsecond, so texts are looked at last. Equal ones are one call.
    own = pc.fill_null(moments.field("message_id").take(pa.array(groups.rows)), "")
    ranks = pc.rank(own, tiebreaker="dense").to_numpy().astype(np.int64)
    groups = kept_by(ranks, groups)
    return groups.rows[groups.starts]
