"""Verdicts on a candidate table, and what follows from them.

A ``block`` that fails keeps the old publication; a ``warn`` that fails is told. An expectation that
cannot be computed (a missing column, a query Spark refuses) is a failed ``block`` whatever its
severity says: what is not known to hold is not published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, Self

from lake.frames import rows_of
from lake.quality import judge
from lake.quality.expectations import Expectation, Severity, Suite
from lake.quality.facts import Tally, tallies

if TYPE_CHECKING:
    from lake.frames import Rows

_AT_A_TIME: Final = 2


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate table meets one expectation; numbers only, never a customer's value.

    ``observed`` is the figure that was judged: a share of rows between 0 and 1 that break the
    expectation, or what a table-wide expectation measured. ``unexpected`` is the number of rows
    that break it, where it is about rows. ``computed`` is false where it could not be found out.
    """

    table: str
    expectation: str
    severity: Severity
    success: bool
    observed: str | None
    unexpected: int | None
    computed: bool = True


@dataclass(frozen=True)
class Candidate:
    """A table that may be published: its name, its rows, what is expected of them.

    The rows are read several times (once for all counts, and for every expectation that ``facts``
    does not count), so they should be a written table, not a plan yet to be computed.
    """

    table: str
    rows: Rows
    suite: Suite


class Gate:
    """Counts candidates in the background, from when they are shown to it, and judges them.

    Two are counted at a time: their small queries keep cores busy that a run's own jobs leave
    idle. To be used as a context, which ends with the counting.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_A_TIME)
        self._shown: dict[str, tuple[Candidate, Future[list[Tally | None]]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def shown(self) -> Collection[str]:
        """The names of the tables that were shown."""
        return self._shown.keys()

    def show(self, candidates: Iterable[Candidate]) -> None:
        """Begin to count these. Any thread may show some."""
        for one in candidates:
            self._shown[one.table] = one, self._pool.submit(_counts, one.rows, one.suite)

    def verdicts(self) -> list[Verdict]:
        """A verdict for each expectation of each candidate, in the order of the tables' names.

        Raises nothing of Spark's or Great Expectations'.
        """
        with judge.quiet():
            return [
                _verdict(table, expectation, one.rows, tally)
                for table, (one, counts) in sorted(self._shown.items())
                for expectation, tally in zip(one.suite.expectations, counts.result(), strict=True)
            ]


def blocking(found: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that keep the candidate from being published."""
    return [v for v in found if not v.success and v.severity == "block"]


def warning(found: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that are told, and under ``--strict`` change the exit code."""
    return [v for v in found if not v.success and v.severity == "warn"]


def summary(found: Iterable[Verdict]) -> str:
    """One line for people, then one for every expectation that failed, blocks first.

    >>> print(summary([Verdict("profiles", "calls is at least 1", "block", False, "0.5", 3)]))
    1 expectation: 0 hold, 1 blocks, 0 warn
      block  profiles: calls is at least 1 (3 rows break it)
    """
    every = list(found)
    blocks, warns = blocking(every), warning(every)
    held = len(every) - len(blocks) - len(warns)
    noun = "expectation" if len(every) == 1 else "expectations"
    head = f"{len(every)} {noun}: {_verb(held, 'hold')}, {_verb(len(blocks), 'block')}, "
    lines = [f"  {v.severity:<5}  {v.table}: {v.expectation} ({_why(v)})" for v in blocks + warns]
    return "\n".join([head + _verb(len(warns), "warn"), *lines])


def result_rows(run: str, found: Iterable[Verdict]) -> list[dict[str, object]]:
    """The verdicts as rows of ``expectation_results``, keys in its columns' order."""
    return [
        {
            "run": run,
            "table": v.table,
            "expectation": v.expectation,
            "severity": v.severity,
            "success": v.success,
            "observed": v.observed,
            "unexpected": v.unexpected,
        }
        for v in found
    ]


def _counts(candidate: Rows, suite: Suite) -> list[Tally | None]:
    """A tally for each expectation; none at all where one of the queries fails.

    Then each expectation is left to Great Expectations, alone, so that one that Spark refuses
    does not fail the others.
    """
    try:
        return tallies(candidate, [(e.type, e.kwargs) for e in suite.expectations])
    except Exception:
        return [None for _ in suite.expectations]


def _verdict(table: str, expectation: Expectation, candidate: Rows, tally: Tally | None) -> Verdict:
    result = _result(expectation, candidate, tally)
    figures = {} if result is None else dict(result.result)
    unexpected = figures.get("unexpected_count")
    return Verdict(
        table=table,
        expectation=expectation.phrase,
        severity="block" if result is None else expectation.severity,
        success=result is not None and bool(result.success),
        observed=_observed(figures),
        unexpected=unexpected if isinstance(unexpected, int) else None,
        computed=result is not None,
    )


def _result(expectation: Expectation, candidate: Rows, tally: Tally | None) -> Any | None:
    """Great Expectations' result; None where it could not be computed, without saying why.

    The text of an exception may quote a customer's value, so it goes nowhere.
    """
    try:
        asked = judge.built(expectation.type, expectation.kwargs)
        if tally is None:
            result = judge.validated(asked, rows_of(candidate))
        else:
            result = judge.judged(asked, tally)
    except Exception:
        return None
    return None if judge.raised(result) else result


def _observed(figures: dict[str, Any]) -> str | None:
    """The figure of a result if it is a number; anything else could be a customer's value."""
    value = figures.get("observed_value")
    if value is None and isinstance(figures.get("unexpected_percent"), Real):
        value = figures["unexpected_percent"] / 100
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _why(verdict: Verdict) -> str:
    if not verdict.computed:
        return "could not be found out"
    if verdict.unexpected == 1:
        return "1 row breaks it"
    if verdict.unexpected is not None:
        return f"{verdict.unexpected} rows break it"
    return "not so" if verdict.observed is None else f"observed: {verdict.observed}"


def _verb(count: int, verb: str) -> str:
    return f"{count} {verb}s" if count == 1 else f"{count} {verb}"
