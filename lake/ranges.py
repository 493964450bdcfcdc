"""Rows spread over tasks by ranges of a hash, and in its order.

So each file holds a range of the key, and a reader that looks for one opens one file. Spark's own
sort finds the ranges by computing the rows once more, to take a sample of them: for a table of
people that was up to half of the work. Most keys here are hashes, of which any range of the values
holds as many as another of the same width: their leading bits are the range.

Spark is imported where it is used: a lookup comes through here and needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

_BITS: Final = 32
_WORD: Final = 0xFFFFFFFF
#: Columns that are hashes: 64 bits, bytes, or hexadecimal digits.
_HASHES: Final = frozenset(
    (
        *("identifier_key", "identity_set", "message_key"),
        *("profile_id", "segment_id", "old_profile_id"),
    )
)


def in_ranges(rows: DataFrame, key: Sequence[str], ranges: int) -> DataFrame:
    """The rows sorted by ``key``, whose first column decides the task: in that many ranges of it
    where it is a hash, else in ranges that Spark finds."""
    number = _range_of(key[0], dict(rows.dtypes)[key[0]], ranges)
    if number is None:
        return rows.sort(*key)
    return rows.repartitionById(ranges, number).sortWithinPartitions(*key)


def range_of_each(column: pa.Array, ranges: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Which of so many ranges each value of a column of hashes is in, in a worker, as Spark has it
    here too."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_binary(column.type):
        word = pc.binary_slice(pc.fill_null(column, bytes(_BITS // 8)), 0, _BITS // 8)
        bits = _bytes_of(word, _BITS // 8).view(">u4").ravel()
    elif pa.types.is_string(column.type):
        digits = pc.utf8_slice_codeunits(pc.fill_null(column, "0" * (_BITS // 4)), 0, _BITS // 4)
        letters = _bytes_of(digits.cast(pa.binary()), _BITS // 4)
        values = (letters & 15) + 9 * (letters >> 6)
        bits = np.ascontiguousarray(values[:, ::2] << 4 | values[:, 1::2]).view(">u4").ravel()
    else:
        numbers = pc.fill_null(column, -(1 << 63)).to_numpy(zero_copy_only=False)
        bits = (numbers >> (64 - _BITS)) + (1 << (_BITS - 1))
    return bits.astype(np.int64) * ranges >> _BITS


def _bytes_of(column: pa.Array, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of values that all have so many, a row a value."""
    import numpy as np
    import pyarrow as pa

    plain = column.cast(pa.binary(width))
    every = np.frombuffer(plain.buffers()[1], np.uint8)
    return every[plain.offset * width :][: len(plain) * width].reshape(-1, width)


def most_ranges(spark: SparkSession) -> int:
    """As many ranges as the session has tasks in a shuffle."""
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 1)


def names_of_tasks(tasks: int) -> list[int]:
    """For each of so many tasks the least number that Spark's hash partitioning sends to it.

    >>> names_of_tasks(4)
    [12, 6, 2, 0]
    """
    names: dict[int, int] = {}
    numbers = count()
    while len(names) < tasks:
        number = next(numbers)
        names.setdefault(_murmur3(number) % tasks, number)
    return [names[task] for task in range(tasks)]


def _murmur3(number: int) -> int:
    """MurmurHash3 x86 32 of an int's four bytes with Spark's seed (Austin Appleby, 2011, public
    domain), as a signed number."""
    word = (number * 0xCC9E2D51) & _WORD
    word = ((word << 15 | word >> 17) & _WORD) * 0x1B873593 & _WORD
    found = 42 ^ word
    found = (found << 13 | found >> 19) & _WORD
    found = (found * 5 + 0xE6546B64) & _WORD ^ 4
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        found = (found ^ found >> shift) * factor & _WORD
    return found - (1 << 32) if found >> 31 else found


def is_hash(name: str) -> bool:
    """Whether a column of this name is a hash."""
    return name in _HASHES


def _range_of(name: str, kind: str, ranges: int) -> Column | None:
    """Which of so many ranges a hash is in, from 0; None for other columns."""
    from pyspark.sql import functions as F

    bits = _leading_bits(name, kind)
    if bits is None:
        return None
    return F.shiftright(F.coalesce(bits, F.lit(0).cast("bigint")) * ranges, _BITS).cast("int")


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
