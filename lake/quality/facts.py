"""The counts that well-known expectations need, in one pass over a table.

Great Expectations runs several Spark jobs an expectation; most expectations only count rows, and
workers count them all while they read a table's files once. What is counted here follows Great
Expectations' own Spark conditions (nulls are passed over; a duplicate counts every row of its
group); the judgement stays with it. An expectation of another type, with an argument or a column
type not listed here, is not counted and left to Great Expectations altogether.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from lake.frames import Materialised, columns_of, in_larger, rows_of
from lake.packing import exchanged
from lake.quality.patterns import python_pattern

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import Rows

_WHOLE_NUMBERS: Final = ("tinyint", "smallint", "int", "bigint")
#: Types of which equal values look alike, whoever reads them, and which have one order.
_PLAIN: Final = (*_WHOLE_NUMBERS, "string", "binary", "date", "timestamp")
_LARGEST: Final = 2**63 - 1

#: Of some rows whether each is as is expected; null where the expectation does not look at one.
Held: TypeAlias = Callable[[pa.RecordBatch], pa.Array]


class Tally(NamedTuple):
    """Rows of a table, those an expectation looks at, and those of them that break it."""

    rows: int
    looked_at: int
    broken: int


@dataclass(frozen=True)
class ByRow:
    """An expectation of single rows: the columns it looks at, and what holds for each of them."""

    columns: tuple[str, ...]
    held: Held


@dataclass(frozen=True)
class Unique:
    """An expectation that no two rows have the same values; one without any is passed over."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """An expectation that a query of the table, which it names ``{batch}``, gives no rows."""

    text: str


def tallies(
    candidate: Rows, expectations: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[Tally | None]:
    """A tally for each (type, arguments); None where the expectation is not counted here.

    One job for all expectations of rows and of uniqueness, one for all that are queries, and one
    more for each uniqueness that seems not to hold. Raises what Spark raises.
    """
    frame = rows_of(candidate)
    kinds = dict(frame.dtypes)
    counted = [_counted(type_, arguments, kinds) for type_, arguments in expectations]
    if not any(counted):
        return [None for _ in counted]
    looked_at, broken = _counts(candidate, counted)
    rows = looked_at[_ALL]
    broken |= _rows_of_queries(frame, {n: c for n, c in enumerate(counted) if isinstance(c, Query)})
    found: list[Tally | None] = []
    for number, c in enumerate(counted):
        match c:
            case None:
                found.append(None)
            case Query():
                found.append(Tally(rows, rows, broken[number]))
            case Unique() if broken[number]:
                found.append(Tally(rows, looked_at[number], _repeated(frame, c.columns)))
            case _:
                found.append(Tally(rows, looked_at[number], broken[number]))
    return found


def _counted(
    type_: str, arguments: Mapping[str, Any], kinds: Mapping[str, str]
) -> ByRow | Unique | Query | None:
    """How to count an expectation on columns of these types; None where that is not known here.

    ``mostly`` is part of the judgement, not of the count.
    """
    name = type_.removeprefix("expect_")
    plain = {k: v for k, v in arguments.items() if k != "mostly"}
    return _unique(name, plain, kinds) or _query(name, plain) or _by_row(name, plain, kinds)


def _unique(name: str, arguments: Mapping[str, Any], kinds: Mapping[str, str]) -> Unique | None:
    match name, arguments:
        case "column_values_to_be_unique", {"column": str(c), **other} if not other:
            columns = [c]
        case "compound_columns_to_be_unique", {"column_list": [*cs], **other} if cs and not other:
            columns = cs
        case _:
            return None
    return Unique(tuple(columns)) if all(kinds.get(c) in _PLAIN for c in columns) else None


def _query(name: str, arguments: Mapping[str, Any]) -> Query | None:
    """The query, where ``{batch}`` is all that is to be filled in."""
    match name, arguments:
        case "unexpected_rows_expectation", {"unexpected_rows_query": str(text), **other} if (
            not other and not set(text.replace("{batch}", "")) & set("{}")
        ):
            return Query(text.rstrip("; \t\r\n\v\f"))
    return None


def _by_row(name: str, arguments: Mapping[str, Any], kinds: Mapping[str, str]) -> ByRow | None:
    match name, arguments:
        case "table_row_count_to_be_between", _ if arguments.keys() <= {"min_value", "max_value"}:
            return ByRow((), _is_a_row)
        case "column_values_to_not_be_null", {"column": str(c), **other} if (
            c in kinds and not other
        ):
            return ByRow((c,), partial(_is_known, c))
        case "column_pair_values_a_to_be_greater_than_b", {
            "column_A": a,
            "column_B": b,
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
            **other,
        } if kinds.get(a) in _PLAIN and kinds[a] == kinds.get(b) and not other:
            return ByRow((a, b), partial(_is_no_less, a, b))
        case _, {"column": str(c), **limits} if c in kinds:
            held = _held(name, c, kinds[c], limits)
            return None if held is None else ByRow((c,), held)
    return None


def _held(name: str, column: str, kind: str, limits: Mapping[str, Any]) -> Held | None:
    """What an expectation of single values demands of a value that is not null, where known."""
    match name, kind, limits:
        case "column_values_to_match_regex", "string", {"regex": str(r), **other} if not other:
            return _matching(column, r, wanted=True)
        case "column_values_to_not_match_regex", "string", {"regex": str(r), **other} if not other:
            return _matching(column, r, wanted=False)
        case "column_values_to_be_in_set", "string", {"value_set": [*vs], **other} if (
            all(isinstance(v, str) for v in vs) and not other
        ):
            return partial(_is_in, column, tuple(vs))
        case "column_value_lengths_to_equal", "string" | "binary", {"value": int(n), **other} if (
            not other
        ):
            return partial(_has_length, column, n)
        case "column_values_to_be_between", _, _ if (
            kind in _WHOLE_NUMBERS
            and limits
            and limits.keys() <= {"min_value", "max_value"}
            and all(type(v) is int and abs(v) <= _LARGEST for v in limits.values())
        ):
            low, high = limits.get("min_value", -_LARGEST - 1), limits.get("max_value", _LARGEST)
            return partial(_is_between, column, low, high)
    return None


def _is_a_row(rows: pa.RecordBatch) -> pa.Array:
    return pa.repeat(True, len(rows))  # noqa: FBT003


def _is_known(column: str, rows: pa.RecordBatch) -> pa.Array:
    return rows[column].is_valid()


def _is_no_less(column: str, other: str, rows: pa.RecordBatch) -> pa.Array:
    return pc.greater_equal(rows[column], rows[other])


def _is_in(column: str, values: tuple[str, ...], rows: pa.RecordBatch) -> pa.Array:
    own = rows[column]
    within = pc.is_in(own, value_set=pa.array(values, own.type))
    return pc.if_else(own.is_valid(), within, pa.scalar(None, pa.bool_()))


def _has_length(column: str, length: int, rows: pa.RecordBatch) -> pa.Array:
    own = rows[column]
    found = pc.binary_length(own) if pa.types.is_binary(own.type) else pc.utf8_length(own)
    return pc.equal(found, length)


def _is_between(column: str, low: int, high: int, rows: pa.RecordBatch) -> pa.Array:
    own = rows[column].cast(pa.int64())
    return pc.and_(pc.greater_equal(own, low), pc.less_equal(own, high))


def _matching(column: str, regex: str, *, wanted: bool) -> Held | None:
    pattern = python_pattern(regex)
    return None if pattern is None else partial(_is_match, column, pattern, wanted)


def _is_match(
    column: str,
    pattern: re.Pattern[str],
    wanted: bool,  # noqa: FBT001
    rows: pa.RecordBatch,
) -> pa.Array:
    """Whether values match; each is asked about once, however many rows have it."""
    own = rows[column].dictionary_encode()
    found = [bool(pattern.search(value)) is wanted for value in own.dictionary.to_pylist()]
    return pa.array(found, pa.bool_()).take(own.indices)


# --- counting -------------------------------------------------------------------------------------

#: What a task tells: of an expectation, by its number, the rows it looks at and those that break
#: it. `_ALL`, which is no expectation's, tells of all rows.
_TOLD: Final = "expectation int, looked_at bigint, broken bigint"
_ALL: Final = -1
_COUNTS: Final = "counts"
#: Rows that one task counts, which costs less than to bring their hashes together.
_FEW: Final = 200_000


@dataclass(frozen=True)
class _Asked:
    """What is expected, by number; goes to the workers."""

    by_row: Mapping[int, ByRow]
    unique: Mapping[int, Unique]

    @property
    def columns(self) -> list[str]:
        """All that is looked at."""
        named = [one.columns for one in self.by_row.values()]
        named += [one.columns for one in self.unique.values()]
        return list(dict.fromkeys(chain.from_iterable(named)))


def _counts(
    candidate: Rows, counted: Sequence[ByRow | Unique | Query | None]
) -> tuple[Counter[int], Counter[int]]:
    """The rows that each expectation looks at and those that break it, by its number; of
    uniqueness those that seem to. One job, and one shuffle of a hash a row that is to be unique;
    a few stored rows are counted by one task."""
    numbered = list(enumerate(counted))
    asked = _Asked(
        {number: c for number, c in numbered if isinstance(c, ByRow)},
        {number: c for number, c in numbered if isinstance(c, Unique)},
    )
    rows = columns_of(candidate, asked.columns or rows_of(candidate).columns[:1])
    if isinstance(candidate, Materialised) and candidate.rows <= _FEW:
        told = rows.in_one_task().then(partial(_of_few, asked), _TOLD)
    else:
        kinds = {_COUNTS: f"hash bigint, {_TOLD}"} | {str(n): "hash bigint" for n in asked.unique}
        parts = rows.apart(partial(_of_rows, asked), kinds)
        told = exchanged(parts, "hash", _of_hashes, {"": _TOLD}).only("")
    looked_at, broken = Counter[int](), Counter[int]()
    for number, seen, wrong in told.as_frame().collect():
        looked_at[number] += seen
        broken[number] += wrong
    return looked_at, broken


def _of_few(asked: _Asked, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """All counts of a table's rows."""
    return (counts for _, counts in _of_hashes(_of_rows(asked, batches)))


def _of_rows(
    asked: _Asked, batches: Iterable[pa.RecordBatch]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """What is counted row by row, and the hashes of what is to be unique."""
    looked_at, broken = Counter[int](), Counter[int]()
    for rows in in_larger(batches):
        looked_at[_ALL] += len(rows)
        for number, one in asked.by_row.items():
            held = one.held(rows)
            looked_at[number] += len(held) - held.null_count
            broken[number] += len(held) - held.null_count - held.true_count
        for number, same in asked.unique.items():
            yield str(number), pa.RecordBatch.from_pydict({"hash": _hashes(rows, same.columns)})
    yield _COUNTS, _as_rows(looked_at, broken).add_column(0, "hash", pa.repeat(0, len(looked_at)))


def _of_hashes(
    rows: Iterable[tuple[str, pa.RecordBatch]],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The counts as they are, and of each hash whether it is there more than once; a worker holds
    the hashes of a range of them."""
    hashes: dict[str, list[Any]] = {}
    for kind, batch in rows:
        if kind == _COUNTS:
            yield "", batch.drop_columns(["hash"])
        else:
            hashes.setdefault(kind, []).append(batch["hash"].to_numpy())
    looked_at, broken = Counter[int](), Counter[int]()
    for kind, parts in hashes.items():
        every = np.sort(np.concatenate(parts))
        same = every[1:] == every[:-1]
        looked_at[int(kind)] = len(every)
        broken[int(kind)] = int(np.count_nonzero(same))
    yield "", _as_rows(looked_at, broken)


def _as_rows(looked_at: Mapping[int, int], broken: Mapping[int, int]) -> pa.RecordBatch:
    """Counts in the columns of `_TOLD`."""
    columns = [list(looked_at), list(looked_at.values()), [broken[n] for n in looked_at]]
    types = (pa.int32(), pa.int64(), pa.int64())
    arrays = [pa.array(own, kind) for own, kind in zip(columns, types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, ["expectation", "looked_at", "broken"])


def _hashes(rows: pa.RecordBatch, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """64 bits of the values of each row that has any: rows with equal values have equal ones, and
    others hardly ever."""
    known = reduce(pc.or_, [rows[name].is_valid() for name in columns])
    looked_at = rows.select(list(columns)).filter(known)
    texts = pc.binary_join_element_wise(
        *map(_as_bytes, looked_at.columns), b"\0", null_handling="replace", null_replacement=b""
    )
    found = list(map(xxhash.xxh64_intdigest, texts.to_pylist()))
    return np.array(found, np.uint64).view(np.int64)


def _as_bytes(values: pa.Array) -> pa.Array:
    """The values as bytes, equal ones alike."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    if not pa.types.is_binary(values.type):
        values = values.cast(pa.string())
    return values.cast(pa.binary())


def _rows_of_queries(frame: DataFrame, queries: Mapping[int, Query]) -> Counter[int]:
    """How many rows each query gives, by its number. One job: Spark shuffles once what several
    queries group alike."""
    from pyspark.sql import functions as F

    spark = frame.sparkSession
    counts = [
        spark.sql(query.text, batch=frame).agg(
            F.lit(number).alias("number"), F.count(F.lit(1)).alias("rows")
        )
        for number, query in queries.items()
    ]
    if not counts:
        return Counter()
    every = reduce(lambda one, other: one.unionByName(other), counts)
    return Counter({row["number"]: row["rows"] for row in every.collect()})


def _repeated(frame: DataFrame, columns: Sequence[str]) -> int:
    """The rows that share all values with another, exactly, but those without any."""
    from pyspark.sql import functions as F

    names = [f"`{column}`" for column in columns]
    known = reduce(lambda one, other: one | other, [F.col(name).isNotNull() for name in names])
    groups = frame.where(known).groupBy(*names).agg(F.count(F.lit(1)).alias("size"))
    row = groups.where("size > 1").agg(F.sum("size").alias("rows")).first()
    return int(row["rows"] or 0) if row else 0
