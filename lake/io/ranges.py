"""Rows in the order of a key, spread over tasks by ranges of it.

So each file holds a range of the key, and a reader that looks for one opens one file. Spark's own
sort finds the ranges by computing the rows once more, to take a sample of them: for a table of
people that was up to half of the work. Most keys here are hashes, of which any range of the values
holds as many as another of the same width: their leading bits are the range.

Spark is imported where it is used: a lookup comes through here and needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_BITS: Final = 32
#: Columns that are hashes: 64 bits, bytes, or hexadecimal digits.
_HASHES: Final = frozenset(
    ("identifier_key", "identity_set", "profile_id", "segment_id", "old_profile_id")
)


def in_ranges(rows: DataFrame, key: Sequence[str], ranges: int) -> DataFrame:
    """The rows sorted by ``key``, whose first column decides the task: in that many ranges of it
    where it is a hash, else in ranges that Spark finds."""
    from pyspark.sql import functions as F

    bits = _leading_bits(key[0], dict(rows.dtypes)[key[0]])
    if bits is None:
        return rows.sort(*key)
    place = F.shiftright(F.coalesce(bits, F.lit(0).cast("bigint")) * ranges, _BITS).cast("int")
    return rows.repartitionById(ranges, place).sortWithinPartitions(*key)


def _leading_bits(name: str, kind: str) -> Column | None:
    """The first 32 bits of a hash as a number that orders as it does; None for other columns."""
    from pyspark.sql import functions as F

    column = F.col(name)
    match kind:
        case _ if name not in _HASHES:
            return None
        case "bigint":
            return F.shiftright(column, 64 - _BITS) + (1 << (_BITS - 1))
        case "binary":
            return F.conv(F.hex(F.substring(column, 1, _BITS // 8)), 16, 10).cast("bigint")
        case "string":
            return F.conv(F.substring(column, 1, _BITS // 4), 16, 10).cast("bigint")
        case _:
            return None
