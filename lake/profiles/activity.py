"""What calls come to: computed traits, as Segment has them, from partial sums by identity set.

Decisions where a reader might expect otherwise:

- What is kept is decided by the configuration: one *measure* for each kind of calls that a
  computed trait or an audience asks about, by hour where a window needs it and by day elsewhere.
- Windows go by the clock that orders calls and by whole hours, as Segment's do: within 90 days
  are the 2,160 hours before the hour of the publication, and that hour itself.
- `sum`, `avg`, `min` and `max` take numbers, also those sent as text, to nine decimal places and
  below 10^18; others are passed over. Sums are exact, so no order of adding shows.
- The other reducers take a property's plain text. `mode` ends in the first of the alphabet, and a
  value must occur twice, as in Segment; `unique` is in order of the alphabet.
- Nothing to count is 0; every other reducer gives null where there is nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake import sums
from lake.clock import in_order, time_of
from lake.language.tree import Calls, Computed, Property
from lake.profiles.conditions import holds
from lake.profiles.values import NUMBER
from lake.tables import ACTIVITY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.frames import WorkerRows

_NUMBERS = ("sum", "avg", "min", "max")
_NUMBER = "decimal(28,9)"
SUM = "decimal(38,9)"
#: A condition on calls knows no date but those it names.
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Measure:
    """What is kept of some calls: how many, and the numbers or the values of a property."""

    calls: Calls
    of: Property | None
    numbers: bool
    hourly: bool

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits that name it in `activity`: other digits, other facts."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def measure_of(asked: Computed) -> Measure:
    """The measure that answers a computed trait."""
    return Measure(
        asked.calls, asked.of, asked.reducer in _NUMBERS, hourly=asked.window is not None
    )


def measures(asked: Iterable[Computed]) -> tuple[Measure, ...]:
    """The measures that answer these, each once, in the order of their keys."""
    return tuple(sorted({measure_of(each) for each in asked}, key=lambda m: m.key))


def activity(kept: Iterable[Measure], events: DataFrame, clock: str) -> WorkerRows:
    """What the events add to each measure: the columns of ``activity``.

    One row a measure, identity set, hour (or day), value and batch. A call is read once, whatever
    the number of measures; events of other names are not looked into.
    """
    kept = list(kept)
    hour = {
        True: F.date_trunc("hour", time_of("", clock)),
        False: F.date_trunc("day", time_of("", clock)),
    }
    counted = [
        F.when(
            _is_of(m),
            F.struct(
                F.lit(m.key).alias("measure"),
                hour[m.hourly].alias("hour"),
                _value(m).alias("value"),
                _number(m).alias("number"),
            ),
        )
        for m in kept
    ]
    number = F.col("fact.number")
    own = (
        events.where(F.col("identity_set").isNotNull() & _any_of(kept))
        .select("*", F.explode(F.array_compact(F.array(*counted))).alias("fact"))
        .withColumns({name: F.col(f"fact.{name}") for name in ("measure", "hour", "value")})
        .withColumns({"total": number.cast(SUM), "least": number, "greatest": number})
    )
    added = {"total": "sum", "least": "min", "greatest": "max"}
    return sums.of_calls(own, ACTIVITY.grain, clock, added)


def _any_of(kept: Iterable[Measure]) -> Column:
    """Calls of a type and a name that some measure is about: what Parquet can skip by."""
    found = F.expr("false")
    for kind, name in sorted({(m.calls.type, m.calls.name or "") for m in kept}):
        found = found | _named(kind, name or None)
    return found


def _named(kind: str, name: str | None) -> Column:
    of_type = F.col("type") == kind
    if name is None:
        return of_type
    return of_type & (F.col("event" if kind == "track" else "name") == name)


def _is_of(measure: Measure) -> Column:
    """Whether a call counts for a measure: of its name, as its condition says, with its value."""
    found = _named(measure.calls.type, measure.calls.name)
    if measure.calls.where is not None:
        found = found & holds(measure.calls.where, property_text, _NO_DATE)
    if measure.numbers:
        found = found & _number(measure).isNotNull()
    elif measure.of is not None:
        found = found & _value(measure).isNotNull()
    return found


def property_text(asked: Property) -> Column:
    """The plain text of a property of a call; null where it is missing or null."""
    steps = "".join(f"['{name}']" for name in asked.path)
    return F.get_json_object("properties", f"${steps}")


def _value(measure: Measure) -> Column:
    if measure.of is None or measure.numbers:
        return F.lit(None).cast("string")
    return property_text(measure.of)


def _number(measure: Measure) -> Column:
    if measure.of is None or not measure.numbers:
        return F.lit(None).cast(_NUMBER)
    text = property_text(measure.of)
    found = F.when(text.rlike(NUMBER), text).try_cast(_NUMBER)
    return F.when(F.abs(found) < 10**18, found)


def with_computed(
    profiles: DataFrame,
    facts: DataFrame,
    set_profiles: DataFrame,
    asked: Mapping[str, Computed],
    clock: str,
    as_of: datetime,
) -> DataFrame:
    """The profiles with what their calls come to, a column for each name.

    In: rows of profiles (profile_id), ``activity``, ``set_profiles``, what is asked by name, the
    clock that orders calls, the time of the publication (UTC). A profile that has nothing of a
    measure has null, or a count of 0. Numbers are added up without a sort, and values apart from
    them; both are joined to the profiles, for to join them to each other would shuffle them again.
    """
    counted = {name: a for name, a in asked.items() if a.reducer in ("count", *_NUMBERS)}
    valued = {name: a for name, a in asked.items() if name not in counted}
    rows = profiles
    if counted:
        own = _facts_of(counted, facts, set_profiles)
        rows = rows.join(_of_numbers(own, counted, as_of), "profile_id", "left")
    if valued:
        own = _facts_of(valued, facts, set_profiles)
        rows = rows.join(_of_values(own, valued, clock, as_of), "profile_id", "left")
    counts = [name for name, a in asked.items() if a.reducer in ("count", "unique_count")]
    return (rows.fillna(0, subset=counts) if counts else rows).select(*profiles.columns, *asked)


def _facts_of(
    asked: Mapping[str, Computed], facts: DataFrame, set_profiles: DataFrame
) -> DataFrame:
    """The activity that these are about, with its profile_id."""
    keys = sorted({measure_of(each).key for each in asked.values()})
    own = facts.where(F.col("measure").isin(keys))
    return own.join(set_profiles.select("identity_set", "profile_id"), "identity_set")


def _of_numbers(own: DataFrame, asked: Mapping[str, Computed], as_of: datetime) -> DataFrame:
    """How many calls there were and what their numbers come to, by profile."""
    # A row is of one measure: a filter keeps it from the sums of all the others, where a null
    # would be added to each of them. The conditions are columns, for a filter is written in SQL.
    marked = own.select(
        *("profile_id", "calls", "total", "least", "greatest"),
        *(_is_in(each, as_of).alias(f"in_{n}") for n, each in enumerate(asked.values())),
    )
    reduced = {
        "count": "coalesce({calls}, 0)",
        "sum": "cast({total} as double)",
        "avg": "cast({total} as double) / {calls}",
        "min": "cast({least} as double)",
        "max": "cast({greatest} as double)",
    }
    columns = [
        F.expr(
            reduced[each.reducer].format(
                calls=f"sum(calls) filter (where in_{n})",
                total=f"sum(total) filter (where in_{n})",
                least=f"min(least) filter (where in_{n})",
                greatest=f"max(greatest) filter (where in_{n})",
            )
        ).alias(name)
        for n, (name, each) in enumerate(asked.items())
    ]
    return marked.groupBy("profile_id").agg(*columns)


def _of_values(
    own: DataFrame, asked: Mapping[str, Computed], clock: str, as_of: datetime
) -> DataFrame:
    """What the values of properties come to, by profile: each value is added up first."""
    # Questions about the same calls share what is added up for them.
    alike = {(measure_of(each), each.window): each for each in asked.values()}
    number = {key: n for n, key in enumerate(alike)}
    concerned = [F.when(_is_in(each, as_of), F.lit(number[key])) for key, each in alike.items()]
    # A row that several ask about is there for each of them.
    several = len(concerned) > 1
    about = F.explode(F.array_compact(F.array(*concerned))) if several else concerned[0]
    added = [F.sum("calls").alias("calls")]
    # Moments cost a sort, so they are carried only where someone asks for them.
    used = {each.reducer for each in asked.values()}
    if "first" in used:
        added.append(F.min(in_order("first.", clock)).alias("first"))
    if "last" in used:
        added.append(F.max(in_order("last.", clock)).alias("last"))
    columns = [
        _reduced(each, F.col("about") == number[measure_of(each), each.window]).alias(name)
        for name, each in asked.items()
    ]
    return (
        own.repartition("profile_id")
        .withColumn("about", about)
        .where("about is not null")
        .groupBy("profile_id", "about", "value")
        .agg(*added)
        .groupBy("profile_id")
        .agg(*columns)
    )


def _is_in(asked: Computed, as_of: datetime) -> Column:
    """Whether a row of activity is of what is asked, and in its window."""
    found = F.col("measure") == measure_of(asked).key
    if asked.window is None:
        return found
    hour = as_of.replace(minute=0, second=0, microsecond=0)
    since, until = (hour - length for length in (asked.window.since, asked.window.until))
    if asked.window.until == timedelta(0):
        return found & F.col("hour").between(F.lit(since), F.lit(until))
    return found & (F.col("hour") >= F.lit(since)) & (F.col("hour") < F.lit(until))


def _reduced(asked: Computed, own: Column) -> Column:
    """The aggregate over a profile's values, of those that are ``own``."""

    def of(name: str) -> Column:
        return F.when(own, F.col(name))

    often = F.when(own & (F.col("calls") >= asked.least), F.struct(-F.col("calls"), "value"))
    values = F.array_sort(F.collect_list(of("value")))
    reduced: Mapping[str, Column] = {
        "mode": F.min_by("value", often),
        "first": F.min_by("value", of("first")),
        "last": F.max_by("value", of("last")),
        "unique": F.when(F.size(values) > 0, values),
        "unique_count": F.count(of("value")),
    }
    return reduced[asked.reducer]
