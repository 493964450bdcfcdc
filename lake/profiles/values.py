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

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
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
