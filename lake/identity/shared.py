"""The guard `shared`: values that belong to too many people to identify one of them.

A kiosk's device, an address that the call centre types in: each joins everybody who ever met it.
What gives them away is their *degree*: with how many distinct values of a stronger type they are
carried in one call. Above a limit a value links nothing; limits are configured, or found in the
histogram of degrees by `natural_limit`.

    sets ─► degrees ─► histograms ─► limits ─► exceeding ─► guarded
                                 configured ┘        └─► evidence

Degrees are counted over all history and all at once: whether one value is guarded never depends
on whether another is. Blocked values neither have a degree nor add to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import isqrt, log, log2
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from lake.identity.guards import SHARED
from lake.identity.ids import identifier_key_column
from lake.identity.stitching import members

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Identifiers that programs make anew at will: whoever clears cookies or installs an app again
#: has one more. Many of them on one value are no sign of many people, so `auto` never counts them.
MADE_BY_PROGRAMS = frozenset(
    {"anonymous_id", "ga_client_id", "android.id", "android.idfa", "android.push_token"}
    | {"ios.id", "ios.idfa", "ios.push_token"}
)

#: As many people as a household has: how few of them occur says nothing of larger degrees.
HOUSEHOLD = 5
#: No limit that was found is lower.
LOWEST = 7
#: A gap that a smooth tail has less often than this is not one of a smooth tail.
CHANCE = 1 / 1000
#: So many values at least must be there for a fall from them to be measured.
ENOUGH = 5
#: Shared values are exceptions: one in so many at most.
RARE = 10

Pair = tuple[str, str]


@dataclass(frozen=True)
class Sharing:
    """Which types are counted against which, and up to what number.

    ``counted``: the types whose values are counted, by the type they are counted for;
    ``unlisted``: the same for every type that ``counted`` does not name. ``limits`` by (type,
    counted type); None: they are found in the data.
    """

    counted: Mapping[str, tuple[str, ...]]
    unlisted: tuple[str, ...] = ()
    limits: Mapping[Pair, int] | None = None

    @property
    def mode(self) -> str:
        """The setting of ``shared.mode`` that this comes from."""
        return "auto" if self.limits is None else "limits"


def configured(limits: Mapping[str, Mapping[str, int]]) -> Sharing:
    """Sharing by numbers: type, then the type it is counted against, then the limit."""
    by_pair = {(kind, other): n for kind, inner in limits.items() for other, n in inner.items()}
    return Sharing({kind: tuple(inner) for kind, inner in limits.items()}, limits=by_pair)


def automatic(priority: Sequence[str]) -> Sharing:
    """Sharing as the data show it: each type against the stronger ones that people have.

    ``priority`` lists the configured types, the strongest first. A type met in calls only is
    counted against all of them, and never counted itself: nothing is known of it.

    >>> automatic(("user_id", "email", "ios.id", "anonymous_id")).counted["anonymous_id"]
    ('user_id', 'email')
    """
    counted: dict[str, tuple[str, ...]] = {}
    stronger: tuple[str, ...] = ()
    for kind in priority:
        counted[kind] = stronger
        stronger += () if kind in MADE_BY_PROGRAMS else (kind,)
    return Sharing(counted, unlisted=stronger)


def natural_limit(histogram: Mapping[int, int]) -> int | None:
    """The degree above which values are shared; None if nothing sets any apart.

    ``histogram``: how many values have each degree; degree 0 says nothing and is not looked at.
    Every gap between a degree that occurs, ``low``, and the next that does, ``high``, is judged,
    the highest first:

    - ``fall``: how fast values grow rarer up to ``low``. With T(x) of them between x and ``low``,
      it is the smallest log2((T(x) + ½) / (T(y) + ½)) / log2(y / x), over x, y = 1, 2 and over
      all powers of two x < y <= ``low`` where T(x) is 5 or more and x is 1, or 8 and more: how
      sizes of households are spread between 2 and 5 says nothing of what comes after.
    - Were the m values above the gap the rest of a power law that falls like that, there would be
      none between ``low`` and ``high`` with a chance of ((low + 1) / high) ^ (fall * m): the
      logarithmic spacings of a power law's largest values are independent and exponential, with
      mean 1 / (fall * m) (Rényi).
    - The gap parts shared values from others if that chance is at most 1 in 1,000, ``high`` is
      above a household of 5, and at most one value in ten is above it. What it parts is set aside
      and no longer counted in m, so that it lends no weight to a smaller gap below.

    The lowest of such gaps counts. The limit is its geometric middle, ``low`` being taken for 5
    at least, and never below 7.

    A power law is the heaviest smooth tail, and its slowest fall is taken, so a tail that thins
    out without a gap has no limit, and whatever such a tail may reach is left alone: one value of
    degree 12 is found while no more than about one in a hundred others has degree 2 or 3, and
    none has more; five are found beside larger households, as long as these are exceptions too.
    Values of degree 0 or 1 that are added close no gap and make each less likely: a limit stays
    found.

    >>> natural_limit({0: 485, 1: 1442, 12: 5})
    7
    >>> natural_limit({1: 2000, 2: 90, 3: 20, 4: 9, 5: 2, 6: 1})
    """
    degrees = sorted(d for d, values in histogram.items() if d > 0 and values > 0)
    total = sum(histogram[d] for d in degrees)
    octaves = max(degrees, default=1).bit_length()
    at_least = [sum(histogram[d] for d in degrees if d >= 1 << k) for k in range(octaves + 1)]
    found, highest = None, max(degrees, default=0)
    beyond = m = 0
    for low, high in reversed(list(pairwise(degrees))):
        beyond += histogram[high]
        m += histogram[high]
        limit = max(isqrt(max(low, HOUSEHOLD) * high), LOWEST)
        if high == low + 1 or high <= HOUSEHOLD or limit >= highest or beyond * RARE > total:
            continue
        fall = _slowest_fall([n - beyond for n in at_least], low)
        if fall * m * log(high / (low + 1)) >= -log(CHANCE):
            found, highest, m = limit, low, 0
    return found


def _slowest_fall(body: Sequence[int], low: int) -> float:
    """Doublings of rarity per doubling of the degree; ``body[k]`` values have 2^k or more."""
    falls = [log2((body[0] + 0.5) / (body[1] + 0.5))]
    for i, j in combinations(range(low.bit_length()), 2):
        if body[i] >= ENOUGH and (i == 0 or 1 << i > HOUSEHOLD):
            falls.append(log2((body[i] + 0.5) / (body[j] + 0.5)) / (j - i))
    return min(falls)


def natural_limits(histograms: Iterable[tuple[str, str, int, int]]) -> dict[Pair, int]:
    """The pairs of types that have a natural limit, from rows of `histograms`."""
    by_pair: dict[Pair, dict[int, int]] = {}
    for kind, other, degree, values in histograms:
        by_pair.setdefault((kind, other), {})[degree] = values
    found = {pair: natural_limit(histogram) for pair, histogram in sorted(by_pair.items())}
    return {pair: limit for pair, limit in found.items() if limit is not None}


def setting(limits: Mapping[Pair, int]) -> str:
    """The line of the configuration that states these limits.

    >>> setting({("ios.id", "email"): 9, ("email", "user_id"): 12, ("ios.id", "user_id"): 7})
    'shared: {mode: limits, limits: {email: {user_id: 12}, ios.id: {email: 9, user_id: 7}}}'
    """
    kinds = sorted({kind for kind, _ in limits})
    parts = [
        f"{kind}: {{{', '.join(f'{o}: {n}' for (k, o), n in sorted(limits.items()) if k == kind)}}}"
        for kind in kinds
    ]
    return f"shared: {{mode: limits, limits: {{{', '.join(parts)}}}}}"


def degrees(sets: DataFrame, identifiers: DataFrame, sharing: Sharing) -> DataFrame:
    """A row an identifier and type it is counted against: (type, value, with_type, degree).

    ``sets``: (identity_set, identifiers); ``identifiers``: (type, value, guard). Those with a
    guard are left out on both sides, and a degree of 0 has no row. Values of the other type are
    told apart by their 64-bit keys. One aggregate; a set of n identifiers costs at most n² rows.
    """
    blocked = F.broadcast(identifiers.where("guard is not null").select("type", "value"))
    both = (
        sets.where(F.size("identifiers") > 1)
        .select("identifiers", F.explode("identifiers").alias("a"))
        .select("a", F.explode("identifiers").alias("b"))
        .where(_is_counted(sharing, F.col("a.type"), F.col("b.type")))
        .where("a != b")
        .select(
            "a.type", "a.value", F.col("b.type").alias("with_type"), F.col("b.value").alias("by")
        )
    )
    others = blocked.select(F.col("type").alias("with_type"), F.col("value").alias("by"))
    of_unblocked = both.join(others, ["with_type", "by"], "left_anti").withColumn(
        "key", identifier_key_column(F.col("with_type"), F.col("by"))
    )
    counted = of_unblocked.groupBy("type", "value", "with_type").agg(
        F.count_distinct("key").alias("degree")
    )
    return counted.join(blocked, ["type", "value"], "left_anti")


def _is_counted(sharing: Sharing, kind: Column, other: Column) -> Column:
    result = ~kind.isin(*sharing.counted) & other.isin(*sharing.unlisted)
    for counted_for, counted in sharing.counted.items():
        result |= (kind == counted_for) & other.isin(*counted)
    return result


def histograms(degrees: DataFrame) -> DataFrame:
    """How many values have each degree: (type, with_type, degree, values); counts only."""
    return degrees.groupBy("type", "with_type", "degree").agg(F.count(F.lit(1)).alias("values"))


def exceeding(degrees: DataFrame, limits: Mapping[Pair, int]) -> DataFrame:
    """The rows of ``degrees`` above their limit, with a column ``limit``; ``limits`` not empty."""
    limit = F.coalesce(
        *[
            F.when((F.col("type") == kind) & (F.col("with_type") == other), F.lit(n).cast("bigint"))
            for (kind, other), n in limits.items()
        ]
    )
    return degrees.withColumn("limit", limit).where("degree > limit")


def guarded(identifiers: DataFrame, exceeding: DataFrame) -> DataFrame:
    """The identifiers with ``guard`` filled in for shared ones; a guard that is there stays."""
    found = exceeding.select("type", "value", F.lit(SHARED).alias("found")).distinct()
    others = [c for c in identifiers.columns if c != "guard"]
    return identifiers.join(F.broadcast(found), ["type", "value"], "left").select(
        *others, F.coalesce("guard", "found").alias("guard")
    )


class Found(NamedTuple):
    """Shared values, a row each and type (`exceeding`), with the limits and mode they come from."""

    values: DataFrame
    limits: Mapping[Pair, int]
    mode: str


def evidence(found: Found, sets: DataFrame, identities: DataFrame) -> DataFrame:
    """Why each value is guarded, without the value: the columns of ``shared_values``.

    ``sets``: (identity_set, identifiers) of the whole lake; ``identities``: (type, value,
    component) in the graph without the guarded values. The components of the sets that carry a
    value are the people it would have joined; sets that carry nothing else have none.
    """
    values = found.values.select("type", "value").distinct()
    every = members(sets)
    carrying = every.join(F.broadcast(values), ["type", "value"])
    homes = (
        every.join(carrying.select("identity_set").distinct(), "identity_set", "left_semi")
        .join(identities.where("component is not null"), ["type", "value"])
        .groupBy("identity_set")
        .agg(F.min("component").alias("component"))
    )
    touched = (
        carrying.join(homes, "identity_set")
        .groupBy("type", "value")
        .agg(F.count_distinct("component").alias("touched"))
    )
    return found.values.join(touched, ["type", "value"], "left").select(
        identifier_key_column(F.col("type"), F.col("value")).alias("identifier_key"),
        "type",
        masked(F.col("value")).alias("masked"),
        "with_type",
        "degree",
        "limit",
        F.lit(found.mode).alias("mode"),
        F.coalesce("touched", F.lit(0).cast("bigint")).alias("people"),
        F.lit(setting(found.limits)).alias("setting"),
    )


def masked(value: Column) -> Column:
    """Enough of a value to recognise it by: `n… (19)`, its first character and its length.

    Of fewer than four characters none is shown.
    """
    first = F.when(F.length(value) >= 4, F.substring(value, 1, 1)).otherwise("")
    return F.concat(first, F.lit("… ("), F.length(value).cast("string"), F.lit(")"))
