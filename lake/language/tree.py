"""What an expression says, as typed values: calls and what they come to, and conditions.

Two expressions that say the same are equal, however they are written: a place in the text is no
part of a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

# fmt: off
Operator: TypeAlias = Literal[
    "=", "!=", "<", "<=", ">", ">=",
    "exists", "absent", "contains", "omits", "starts_with", "ends_with",
    "one_of", "none_of", "before_date", "after_date",
    "within_last", "within_next", "before_last", "after_next",
]
# fmt: on
Operand: TypeAlias = str | float | bool | timedelta


@dataclass(frozen=True)
class Property:
    """A property of a call: the names that lead to it."""

    path: tuple[str, ...]


@dataclass(frozen=True)
class Trait:
    """A declared or computed trait of the profile; ``type`` as `type_name` reads it."""

    name: str
    type: str


@dataclass(frozen=True)
class Comparison:
    """A value, an operator, and what it is compared with. A missing value meets none of them but
    ``absent``."""

    value: Property | Trait | Computed
    operator: Operator
    operands: tuple[Operand, ...] = ()


@dataclass(frozen=True)
class Not:
    """What holds where the condition does not."""

    condition: Condition


@dataclass(frozen=True)
class Junction:
    """Conditions that all hold (``and``), or of which one does (``or``)."""

    word: Literal["and", "or"]
    conditions: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Not | Junction


@dataclass(frozen=True)
class Calls:
    """Calls of a type and a name (None: any), of which a condition holds."""

    type: Literal["track", "page", "screen"]
    name: str | None
    where: Condition | None = None


@dataclass(frozen=True)
class Window:
    """From so long ago until so long ago, both counted in whole hours."""

    since: timedelta
    until: timedelta = timedelta(0)


Reducer: TypeAlias = Literal[
    "count", "sum", "avg", "min", "max", "mode", "first", "last", "unique", "unique_count"
]

#: The type of what each reducer comes to.
REDUCED: dict[str, str] = {
    "count": "integer",
    "sum": "number",
    "avg": "number",
    "min": "number",
    "max": "number",
    "mode": "string",
    "first": "string",
    "last": "string",
    "unique": "list of string",
    "unique_count": "integer",
}


@dataclass(frozen=True)
class Computed:
    """What calls come to: a reducer over them, or over one of their properties.

    ``least``: how often a value must occur to be the most frequent one.
    """

    calls: Calls
    reducer: Reducer
    of: Property | None = None
    window: Window | None = None
    least: int = 1

    @property
    def type(self) -> str:
        """The type of its value."""
        return REDUCED[self.reducer]


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """Every comparison of a condition, those about calls left alone."""
    match condition:
        case Comparison():
            yield condition
        case Not(inner):
            yield from comparisons(inner)
        case Junction(_, conditions):
            for each in conditions:
                yield from comparisons(each)


def computed_in(condition: Condition) -> tuple[Computed, ...]:
    """What a condition asks of calls, each once, in its order."""
    found = (c.value for c in comparisons(condition) if isinstance(c.value, Computed))
    return tuple(dict.fromkeys(found))


def is_dated(expression: Condition | Computed) -> bool:
    """Whether what it comes to changes as time passes, without a call."""
    if isinstance(expression, Computed):
        return expression.window is not None
    relative = ("within_last", "within_next", "before_last", "after_next")
    return any(
        c.operator in relative or (isinstance(c.value, Computed) and is_dated(c.value))
        for c in comparisons(expression)
    )
