"""An expectation in words: short, without its table, for logs and ``expectation_results``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_PHRASES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "expect_table_row_count_to_be_between": lambda k: f"the number of rows is {_bounds(k)}",
    "expect_column_values_to_not_be_null": lambda k: f"{k['column']} is not null",
    "expect_column_values_to_be_unique": lambda k: f"{k['column']} is unique",
    "expect_compound_columns_to_be_unique": lambda k: (
        f"{', '.join(k['column_list'])} are unique together"
    ),
    "expect_column_values_to_match_regex": lambda k: f"{k['column']} matches {k['regex']}",
    "expect_column_values_to_not_match_regex": lambda k: (
        f"{k['column']} does not match {k['regex']}"
    ),
    "expect_column_values_to_be_between": lambda k: f"{k['column']} is {_bounds(k)}",
    "expect_column_values_to_be_in_set": lambda k: (
        f"{k['column']} is one of {len(k['value_set'])} values"
    ),
    "expect_column_value_lengths_to_equal": lambda k: f"{k['column']} has length {k['value']}",
    "expect_column_pair_values_a_to_be_greater_than_b": lambda k: (
        f"{k['column_A']} {'>=' if k.get('or_equal') else '>'} {k['column_B']}"
    ),
    "unexpected_rows_expectation": lambda k: f"no rows in {k['unexpected_rows_query']}",
}


def phrase(type_: str, kwargs: Mapping[str, Any]) -> str:
    """What is expected, in words; every type has a phrase, the well-known ones a natural one.

    >>> phrase("expect_column_values_to_not_be_null", {"column": "identity_set", "mostly": 0.5})
    'identity_set is not null in at least 50% of rows'
    >>> phrase("expect_column_max_to_be_between", {"column": "calls", "max_value": 9})
    'column max to be between (column=calls, max_value=9)'
    """
    try:
        words = _PHRASES[type_](kwargs)
    except (KeyError, TypeError):  # another type, or arguments that are refused later
        return _plain(type_, kwargs)
    if isinstance(kwargs.get("mostly"), (int, float)):
        words += f" in at least {kwargs['mostly'] * 100:.6g}% of rows"
    return f"{words} where {kwargs['row_condition']}" if kwargs.get("row_condition") else words


def _bounds(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"at least {low}" if high is None else f"at most {high}"


def _plain(type_: str, kwargs: Mapping[str, Any]) -> str:
    """Type and arguments; a list that is no list of columns by its length only."""
    told = ", ".join(f"{k}={_told(k, v)}" for k, v in kwargs.items())
    return f"{type_.removeprefix('expect_').replace('_', ' ')} ({told})"


def _told(argument: str, value: object) -> str:
    if isinstance(value, list) and not argument.startswith("column"):
        return f"{len(value)} values"
    return str(value)
