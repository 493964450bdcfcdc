"""The counts that well-known expectations need, in one pass over a table.

Great Expectations runs several Spark jobs an expectation; most expectations only count rows, and
the counts of a table fit into one aggregate. What is counted here follows Great Expectations' own
Spark conditions (nulls are passed over; a duplicate counts every row of its group); the judgement
stays with it. An expectation of another type, with an argument or a column type not listed here,
is not counted and left to Great Expectations altogether.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, ge, le, or_
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double")


@dataclass(frozen=True)
class Tally:
    """Rows of a table, those an expectation looks at, and those of them that break it."""

    rows: int
    looked_at: int
    broken: int


@dataclass(frozen=True)
class Rows:
    """An expectation of single rows: which it looks at, and what holds for each of them."""

    looked_at: Column
    held: Column


@dataclass(frozen=True)
class Groups:
    """An expectation that no two of the rows it looks at have the same values."""

    looked_at: Column
    values: tuple[Column, ...]


@dataclass(frozen=True)
class Query:
    """An expectation that a query of the table, which it names ``{batch}``, gives no rows."""

    text: str


def tallies(
    candidate: DataFrame, expectations: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[Tally | None]:
    """A tally for each (type, arguments); None where the expectation is not counted here.

    One query for all expectations of rows, one for each uniqueness that holds, and those that are
    queries themselves. Raises what Spark raises.
    """
    kinds = dict(candidate.dtypes)
    counted = [_counted(type_, arguments, kinds) for type_, arguments in expectations]
    if not any(counted):
        return [None for _ in counted]
    rows, by_row = _row_counts(candidate, [c for c in counted if isinstance(c, Rows)])
    found: list[Tally | None] = []
    for c in counted:
        match c:
            case Rows():
                found.append(Tally(rows, *by_row.pop(0)))
            case Groups():
                found.append(Tally(rows, *_duplicates(candidate, c)))
            case Query():
                broken = candidate.sparkSession.sql(c.text, batch=candidate).count()
                found.append(Tally(rows, rows, broken))
            case None:
                found.append(None)
    return found


def _counted(
    type_: str, arguments: Mapping[str, Any], kinds: Mapping[str, str]
) -> Rows | Groups | Query | None:
    """How to count an expectation on columns of these types; None where that is not known here.

    ``mostly`` is part of the judgement, not of the count.
    """
    name = type_.removeprefix("expect_")
    plain = {k: v for k, v in arguments.items() if k != "mostly"}
    return _groups(name, plain, kinds) or _query(name, plain) or _rows(name, plain, kinds)


def _groups(name: str, arguments: Mapping[str, Any], kinds: Mapping[str, str]) -> Groups | None:
    match name, arguments:
        case "column_values_to_be_unique", {"column": str(c), **other} if c in kinds and not other:
            return Groups(_column(c).isNotNull(), (_column(c),))
        case "compound_columns_to_be_unique", {"column_list": [*cs], **other} if (
            cs and kinds.keys() >= set(cs) and not other
        ):
            values = tuple(_column(c) for c in cs)
            return Groups(reduce(or_, [v.isNotNull() for v in values]), values)
    return None


def _query(name: str, arguments: Mapping[str, Any]) -> Query | None:
    """The query, where ``{batch}`` is all that is to be filled in."""
    match name, arguments:
        case "unexpected_rows_expectation", {"unexpected_rows_query": str(text), **other} if (
            not other and not set(text.replace("{batch}", "")) & set("{}")
        ):
            return Query(text.rstrip("; \t\r\n\v\f"))
    return None


def _rows(name: str, arguments: Mapping[str, Any], kinds: Mapping[str, str]) -> Rows | None:
    from pyspark.sql import functions as F

    every = F.expr("true")
    match name, arguments:
        case "table_row_count_to_be_between", _ if arguments.keys() <= {"min_value", "max_value"}:
            return Rows(every, every)
        case "column_values_to_not_be_null", {"column": str(c), **other} if (
            c in kinds and not other
        ):
            return Rows(every, _column(c).isNotNull())
        case "column_pair_values_a_to_be_greater_than_b", {
            "column_A": a,
            "column_B": b,
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
            **other,
        } if a in kinds and kinds[a] == kinds.get(b) and not other:
            present = _column(a).isNotNull() & _column(b).isNotNull()
            return Rows(present, _column(a) >= _column(b))
        case _, {"column": str(c), **limits} if c in kinds:
            held = _held(name, _column(c), kinds[c], limits)
            return None if held is None else Rows(_column(c).isNotNull(), held)
    return None


def _held(name: str, column: Column, kind: str, limits: Mapping[str, Any]) -> Column | None:
    """What an expectation of single values demands of a value that is not null, where known."""
    from pyspark.sql import functions as F

    match name, kind, limits:
        case "column_values_to_match_regex", "string", {"regex": str(r), **other} if not other:
            return column.rlike(r)
        case "column_values_to_not_match_regex", "string", {"regex": str(r), **other} if not other:
            return ~column.rlike(r)
        case "column_values_to_be_in_set", "string", {"value_set": [*vs], **other} if (
            all(isinstance(v, str) for v in vs) and not other
        ):
            return column.isin(vs)
        case "column_value_lengths_to_equal", "string" | "binary", {"value": int(n), **other} if (
            not other
        ):
            return F.length(column) == n
        case "column_values_to_be_between", _, _ if kind in _NUMBERS:
            return _between(column, limits)
    return None


def _between(column: Column, limits: Mapping[str, Any]) -> Column | None:
    compare = {"min_value": ge, "max_value": le}
    if not limits or not all(
        k in compare and isinstance(v, int | float) for k, v in limits.items()
    ):
        return None
    held: Column = reduce(and_, [compare[k](column, v) for k, v in limits.items()])
    return held


def _row_counts(
    candidate: DataFrame, expectations: Sequence[Rows]
) -> tuple[int, list[tuple[int, int]]]:
    """Rows of the table; for each expectation the rows it looks at and those that break it."""
    from pyspark.sql import functions as F

    counts = [F.count(F.lit(1))]
    for e in expectations:
        counts += [F.count_if(e.looked_at), F.count_if(e.looked_at & ~e.held)]
    rows, *rest = candidate.agg(*counts).collect()[0]
    return rows, list(zip(rest[::2], rest[1::2], strict=True))


def _duplicates(candidate: DataFrame, expectation: Groups) -> tuple[int, int]:
    """The rows it looks at, and those of them that share their values with another.

    Grouped by a hash of the values, which moves and compares 8 bytes a row; by the values
    themselves only where two rows have one hash.
    """
    from pyspark.sql import functions as F

    looked_at = candidate.where(expectation.looked_at)
    rows, suspected = _sizes(looked_at, [F.xxhash64(*expectation.values)])
    if not suspected:
        return rows, 0
    return _sizes(looked_at, expectation.values)


def _sizes(rows: DataFrame, keys: Sequence[Column]) -> tuple[int, int]:
    """The rows, and those of them whose keys another one has."""
    from pyspark.sql import functions as F

    size, names = F.col("size"), [f"key_{number}" for number in range(len(keys))]
    named = rows.select(*(key.alias(name) for key, name in zip(keys, names, strict=True)))
    # Spark would count once more before it moves the rows, of which nearly all are groups alone.
    groups = named.repartition(*names).groupBy(*names).agg(F.count(F.lit(1)).alias("size"))
    every, repeated = groups.agg(F.sum(size), F.sum(F.when(size > 1, size))).collect()[0]
    return every or 0, repeated or 0


def _column(name: str) -> Column:
    from pyspark.sql import functions as F

    return F.col(f"`{name}`")
