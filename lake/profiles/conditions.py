"""Conditions as columns: the tree of an expression over a frame's own values.

A comparison with a missing value is false, whatever it compares, ``absent`` apart.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lake.language.tree import Comparison, Computed, Condition, Junction, Not, Property, Trait
from lake.profiles.values import number_in, time_in

if TYPE_CHECKING:
    from pyspark.sql import Column

Value = Property | Trait | Computed

_SIGNS: dict[str, Callable[..., Any]] = {
    "=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge,
}  # fmt: skip
_PARTS: dict[str, Callable[..., Column]] = {
    "contains": lambda column, part: column.contains(part),
    "omits": lambda column, part: column.contains(part),
    "starts_with": lambda column, part: column.startswith(part),
    "ends_with": lambda column, part: column.endswith(part),
}
_RELATIVE = ("within_last", "within_next", "before_last", "after_next")
_DAY = len("2026-01-31")


def holds(condition: Condition, column: Callable[[Any], Column], as_of: datetime) -> Column:
    """Whether a condition holds of a row; never null.

    ``column`` gives the column of a value: of a property its plain text, of a trait and of what
    calls come to a column of its type. ``as_of`` is what `within_last` and its like count from.
    """
    match condition:
        case Not(inner):
            return ~holds(inner, column, as_of)
        case Junction(word, conditions):
            each = [holds(one, column, as_of) for one in conditions]
            return reduce(and_ if word == "and" else or_, each)
        case _:
            return F.coalesce(_compared(condition, column(condition.value), as_of), F.expr("false"))


def _compared(said: Comparison, column: Column, as_of: datetime) -> Column:
    operator = said.operator
    if operator in ("exists", "absent"):
        return column.isNotNull() if operator == "exists" else column.isNull()
    if operator in _RELATIVE:
        return _relative(said, column, as_of)
    if operator in ("before_date", "after_date"):
        return _dated(said, column)
    if operator in _PARTS:
        return _parts(said, column)
    own = [_literal(said.value, operand) for operand in said.operands]
    if isinstance(said.value, Property) and isinstance(own[0], float):
        column = number_in(column)
    if operator in _SIGNS:
        found: Column = _SIGNS[operator](column, own[0])
        return found
    return column.isin(own) if operator == "one_of" else ~column.isin(own)


def _literal(value: Value, operand: Any) -> Any:
    """What a value is compared with, of the value's own type."""
    if isinstance(value, Property):
        return str(operand).lower() if isinstance(operand, bool) else operand
    match value.type.removeprefix("list of "):
        case "date":
            return date.fromisoformat(operand[:10])
        case "timestamp":
            return _moment(operand)
        case _:
            return operand


def _parts(said: Comparison, column: Column) -> Column:
    """Parts of a text, or members of a list."""
    operand = _literal(said.value, said.operands[0])
    if not isinstance(said.value, Property) and said.value.type.startswith("list"):
        found = F.array_contains(column, F.lit(operand))
    else:
        found = _PARTS[said.operator](column, operand)
    return ~found if said.operator == "omits" else found


def _moment(text: str) -> datetime:
    """A day's begin in UTC, or a time with its zone."""
    found = datetime.fromisoformat(text if len(text) > _DAY else f"{text}T00:00Z")
    assert found.tzinfo is not None
    return found


def _as_moment(value: Value, column: Column) -> Column:
    """When a value is; a day from its begin in UTC."""
    if isinstance(value, Property):
        day = F.when(column.rlike(r"^\d{4}-\d{2}-\d{2}$"), column).try_cast("date")
        return F.coalesce(time_in(column), day.cast("timestamp"))
    return column.cast("timestamp")


def _dated(said: Comparison, column: Column) -> Column:
    """Before a day is before its begin, after it is after its end."""
    text = str(said.operands[0])
    moment = _as_moment(said.value, column)
    if said.operator == "before_date":
        return moment < F.lit(_moment(text))
    if len(text) == _DAY:
        return moment >= F.lit(_moment(text) + timedelta(days=1))
    return moment > F.lit(_moment(text))


def _relative(said: Comparison, column: Column, as_of: datetime) -> Column:
    (length,) = said.operands
    assert isinstance(length, timedelta)
    moment = _as_moment(said.value, column)
    match said.operator:
        case "within_last":
            return moment.between(F.lit(as_of - length), F.lit(as_of))
        case "within_next":
            return moment.between(F.lit(as_of), F.lit(as_of + length))
        case "before_last":
            return moment < F.lit(as_of - length)
        case _:
            return moment > F.lit(as_of + length)
