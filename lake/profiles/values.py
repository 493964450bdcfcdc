"""JSON values as columns: plain text, numbers, times, and the types of declared traits.

A value that is not of its type is null, and counted where it is published. What is accepted:

| type | accepted |
|---|---|
| string | any value, by its plain text |
| number | a number, or text that is one; not NaN, not infinite |
| integer | the same without a fraction |
| boolean | true or false, also as text |
| date | text that begins with YYYY-MM-DD |
| timestamp | ISO 8601 text with a zone: without one it is no moment, as in Segment's spec |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake.language.types import DDL

if TYPE_CHECKING:
    from pyspark.sql import Column

_DATE = r"^\d{4}-\d{2}-\d{2}"
_MOMENT = _DATE + r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})$"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
#: Beyond these a double holds no fractions and text no longer says which integer is meant.
_INTEGER = r"^[+-]?\d{1,18}(\.0*)?$"

_string = msgspec.json.Decoder(str).decode


def plain_text(value: Column) -> Column:
    """A JSON value as plain text: a string without its quotes, anything else as it stands."""
    text = F.get(F.from_json(F.concat(F.lit("["), value, F.lit("]")), "array<string>"), F.lit(0))
    return F.when(F.startswith(value, F.lit('"')), text).otherwise(value)


def plain_texts(values: pa.Array) -> pa.Array:
    """The same of a column, in a worker."""
    quoted = pc.starts_with(values, '"')
    texts = pc.utf8_slice_codeunits(values, 1, -1)
    escaped = pc.and_(quoted, pc.match_substring(values, "\\"))
    found = pc.if_else(quoted, texts, values)
    if not pc.any(escaped).as_py():
        return found
    spelt = [_string(text) for text in values.filter(escaped).to_pylist()]
    return pc.replace_with_mask(found, escaped, pa.array(spelt, pa.string()))


def number_in(text: Column) -> Column:
    """The number that plain text is, as a double; null where it is none or an infinite one."""
    found = F.when(text.rlike(NUMBER), text).try_cast("double")
    return F.when(F.abs(found) < float("inf"), found)


def time_in(text: Column) -> Column:
    """The moment that plain text names; null where it names none."""
    return F.when(text.rlike(_MOMENT), text).try_cast("timestamp")


def date_in(text: Column) -> Column:
    """The day that plain text begins with; null where it begins with none."""
    return F.when(text.rlike(_DATE), F.substring(text, 1, 10)).try_cast("date")


_NUMBER_ALONE: Final = re.compile(rf"({NUMBER[1:-1]})(?:\r\n|\n|\r)?", re.ASCII)
_DAY: Final = re.compile(_DATE, re.ASCII)
_MOMENT_PARTS: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:Z|([+-])(\d\d):?(\d\d))", re.ASCII
)
_FURTHEST: Final = 18 * 60


def number_of(text: str) -> float | None:
    """The same as `number_in` of a text, in a worker.

    >>> number_of("1e3"), number_of("1e999"), number_of("one")
    (1000.0, None, None)
    """
    told = _NUMBER_ALONE.fullmatch(text)
    found = float(told[1]) if told else math.inf
    return found if math.isfinite(found) else None


def day_of(text: str) -> float | None:
    """Days since 1970 of the day that `date_in` finds.

    >>> day_of("1970-01-02 or so"), day_of("2026-02-30")
    (1.0, None)
    """
    told = _DAY.match(text)
    day = _micros(told[0]) if told else None
    return None if day is None else day / 86_400_000_000


def micros_of(text: str) -> float | None:
    """Microseconds since 1970 of the moment that `time_in` finds.

    >>> micros_of("1970-01-01T01:00:00.5+01:00"), micros_of("1970-01-01T00:00:00")
    (500000.0, None)
    """
    told = _MOMENT_PARTS.fullmatch(text)
    local = _micros(f"{told[1]}T{told[2]}"[:26]) if told else None
    if told is None or local is None:
        return None
    away = 60 * int(told[4] or 0) + int(told[5] or 0)
    if away > _FURTHEST or int(told[5] or 0) > 59:
        return None
    ahead = -away if told[3] == "-" else away
    return float(local - ahead * 60_000_000)


def _micros(text: str) -> int | None:
    """Microseconds since 1970 of a day or of a time of one; None where there is none such."""
    try:
        return int(np.datetime64(text, "us").astype(np.int64))
    except ValueError:
        return None


def _integer_in(text: Column) -> Column:
    return F.when(text.rlike(_INTEGER), F.substring_index(text, ".", 1)).try_cast("bigint")


def _boolean_in(text: Column) -> Column:
    return F.when(F.lower(text).isin("true", "false"), F.lower(text)).try_cast("boolean")


_TYPED: dict[str, Callable[[Column], Column]] = {
    "string": lambda text: text,
    "number": number_in,
    "integer": _integer_in,
    "boolean": _boolean_in,
    "date": date_in,
    "timestamp": time_in,
}


def typed_as(kind: str) -> Callable[[Column], Column]:
    """What makes plain text a declared type (a key of `lake.language.types.DDL`), or null."""

    def typed(text: Column) -> Column:
        return _TYPED[kind](text).cast(DDL[kind])

    return typed
