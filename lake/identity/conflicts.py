"""The few raw components that break a rule, resolved one at a time by the pure rules.

    components ─► limits that bind? ─ no ─► one profile, no further work
                          └─ yes ─► sightings in order ─► resolve() ─► profiles, violations

Two sets in different raw components never influence each other, so components are also what the
work is divided by. A component goes through `lake.identity.resolve` whole, as a stream of its
sightings in order; a task holds one component at a time.

Every sighting is sent, not only a set's first: with windows and at the mapping cap a later day can
matter, and each day a rule binds has its own row in `violations`. (Without windows and caps only
first sightings could change who is who: what a call lost once, it loses again, since profiles
only grow.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake.identity.ids import profile_id
from lake.identity.resolve import Limit, Resolution, Rules, Sighting, Strategy, Window, resolve
from lake.identity.sets import order_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.identity.resolve.model import Pair

SET, IDENTIFIER, VIOLATION = "set", "identifier", "violation"

RESOLVED = (
    "kind string, component bigint, identity_set binary, day date, type string, value string, "
    "profile_id string, reason string, rule string, apart array<string>"
)
_ARROW = pa.schema(
    [
        ("kind", pa.string()),
        ("component", pa.int64()),
        ("identity_set", pa.binary()),
        ("day", pa.date32()),
        ("type", pa.string()),
        ("value", pa.string()),
        ("profile_id", pa.string()),
        ("reason", pa.string()),
        ("rule", pa.string()),
        ("apart", pa.list_(pa.string())),
    ]
)
_COLUMNS = {
    SET: ("component", "identity_set", "profile_id"),
    IDENTIFIER: ("component", "type", "value", "profile_id"),
    VIOLATION: ("component", "identity_set", "day", "type", "value", "reason", "rule", "apart"),
}
_ROWS = 20_000


def in_conflict(linked: DataFrame, rules: Rules) -> DataFrame:
    """Raw components in which a limit, a cap or an override may bind: (component).

    ``linked``: a row an identifier, (component, type, value). One aggregate; the same conditions
    as `resolve.is_clean`, but the merge cap is judged by the number of identifiers alone and a
    ``never_together`` pair by either of its ends, which names a few too many. Those are resolved
    like the others and come out as one profile.
    """
    counted = (
        linked.where("component is not null")
        .repartition("component")
        .groupBy("component", "type")
        .agg(F.count(F.lit(1)).alias("n"))
    )
    over = F.max(F.col("n") > _limit(rules))
    total = F.sum("n")
    most = [rules.max_mappings]
    if rules.strategy is Strategy.SEGMENT:
        most.append(rules.max_merges + 1)
    binding = over | (total > min(most))
    if rules.strategy is Strategy.COMPONENTS:
        binding = F.lit(False)  # noqa: FBT003
    found = counted.groupBy("component").agg(binding.alias("binds")).where("binds")
    found = found.select("component")
    if not rules.never_together:
        return found
    return found.unionByName(_with_ends(linked, rules.never_together)).distinct()


def joined_by_override(linked: DataFrame, rules: Rules) -> DataFrame:
    """Raw components with an end of an ``always_together`` pair: (component).

    They need not be in conflict, but are other ones once the pair is taken back.
    """
    return _with_ends(linked, rules.always_together)


def _with_ends(linked: DataFrame, pairs: Iterable[Pair]) -> DataFrame:
    ends = sorted({end for pair in pairs for end in pair})
    named = [F.struct(F.lit(kind), F.lit(value)) for kind, value in ends]
    found = linked.where(F.struct("type", "value").isin(named)) if ends else linked.where("false")
    return found.where("component is not null").select("component")


def over_limit(outcome: DataFrame, rules: Rules) -> DataFrame:
    """Profiles of resolved components with more values of a type than any may have for ever, of
    which there must be none: (profile_id, type). An ``always_together`` pair may break a limit.

    ``outcome``: rows of RESOLVED. One aggregate.
    """
    counted = outcome.where("kind = 'identifier'").groupBy("profile_id", "type")
    unlimited = rules.strategy is Strategy.COMPONENTS or bool(rules.always_together)
    over = F.lit(False) if unlimited else F.col("n") > _limit(rules, ever=True)  # noqa: FBT003
    found = counted.agg(F.count(F.lit(1)).alias("n")).where(over)
    return found.select("profile_id", "type")


def _limit(rules: Rules, *, ever: bool = False) -> Column:
    """The limit of a row's type, whatever its window, or only where it holds for ``ever``; for
    latest_wins only unique types."""
    unlimited = 2**31 - 1

    def counts(limit: Limit) -> int:
        count = limit.count
        if count is None or (rules.strategy is Strategy.LATEST_WINS and count != 1):
            return unlimited
        return unlimited if ever and limit.window is not Window.EVER else count

    default = F.lit(counts(rules.default_limit))
    if not rules.limits:
        return default
    # A map and no chain of conditions, which Spark would nest as deep as there are types.
    told = [F.lit(x) for kind, limit in rules.limits.items() for x in (kind, counts(limit))]
    return F.coalesce(F.try_element_at(F.create_map(*told), F.col("type")), default)


def ordered_sightings(daily: DataFrame, set_components: DataFrame, clock: str) -> DataFrame:
    """What the rules need of conflicting components, a row a sighting, in order within each.

    ``daily``: (identity_set, day, first) summed over batches; ``set_components``: the conflicting
    sets with their component and linking identifiers. A partition holds whole components.
    """
    order = order_of("first.", clock)
    return (
        daily.join(set_components.drop("first"), "identity_set")
        .select(
            "component",
            "identity_set",
            "day",
            F.unix_micros(order["a"]).alias("at"),
            F.unix_micros(order["b"]).alias("tie"),
            F.col("first.message_id").alias("message_id"),
            F.col("linking.type").alias("types"),
            F.col("linking.value").alias("values"),
        )
        .repartition("component")
        .sortWithinPartitions("component", "at", "tie", "message_id")
    )


@dataclass(frozen=True)
class Judge:
    """The rules and the space whose ids are given; goes to the workers."""

    rules: Rules
    space: str


def resolved(sightings: DataFrame, judge: Judge) -> DataFrame:
    """The outcome of each conflicting component, in rows of three kinds (RESOLVED).

    ``set``: the set's profile. ``identifier``: the identifier's profile. ``violation``: a rule
    that bound, with the two profiles it kept apart. An Arrow kernel over the sorted stream.
    """
    return sightings.mapInArrow(partial(_stream, judge), RESOLVED)


def _stream(judge: Judge, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    outcome = Outcome()
    for component, sightings in _components(batches):
        outcome.add(resolve(sightings, judge.rules), component, judge.space)
        if outcome.size >= _ROWS:
            yield from outcome.batches()
            outcome = Outcome()
    yield from outcome.batches()


def _components(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[Sighting]]]:
    """Each component with its sightings; rows of one component follow each other.

    A day is the number of days since 1970: only to be handed on, so it is not made a date.
    """
    now: int | None = None
    held: list[Sighting] = []
    for batch in batches:
        identifiers = list(zip(_flat(batch["types"]), _flat(batch["values"]), strict=True))
        end = 0
        columns = [_plain(batch[name]) for name in ("component", "identity_set", "at", "tie")]
        columns += [_plain(batch["message_id"]), _plain(batch["day"].cast(pa.int32()))]
        sizes = _plain(pc.list_value_length(batch["types"]))
        for component, key, at, tie, message, day, size in zip(*columns, sizes, strict=True):
            if component != now and held:
                assert now is not None
                yield now, held
                held = []
            now, start, end = component, end, end + size
            own = tuple(identifiers[start:end])
            held.append(Sighting(key, at, (at, tie, message, day), own))
    if held:
        assert now is not None
        yield now, held


def _plain(column: pa.Array) -> list[Any]:
    """The values as Python's own; much faster than ``to_pylist``, for a column without nulls."""
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def _flat(lists: pa.ListArray) -> list[Any]:
    return _plain(lists.flatten())


class Outcome:
    """Resolutions as rows of the three kinds, each with the columns that it tells."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in _COLUMNS}

    @property
    def size(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.rows.values()))

    def add(self, resolution: Resolution, component: int, space: str) -> None:
        """Tell the sets, identifiers and violations of one component."""
        ids = [profile_id(space, *profile.founder) for profile in resolution.profiles]
        self.rows[SET].extend(
            (component, key, ids[place])
            for key, place, _, _ in resolution.sets
            if place is not None
        )
        self.rows[IDENTIFIER].extend(
            (component, kind, value, own)
            for own, profile in zip(ids, resolution.profiles, strict=True)
            for kind, value in profile.identifiers
        )
        self.rows[VIOLATION].extend(
            (component, key, at.order[-1], kind, value, reason, rule, [ids[n] for n in apart])
            for key, at, (kind, value), reason, rule, apart in resolution.violations
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """A batch of each kind that has rows; what a kind does not tell is null."""
        for kind, rows in self.rows.items():
            if rows:
                told = dict(zip(_COLUMNS[kind], zip(*rows, strict=True), strict=True))
                told["kind"] = (kind,) * len(rows)
                arrays = [
                    pa.array(told[f.name], f.type)
                    if f.name in told
                    else pa.nulls(len(rows), f.type)
                    for f in _ARROW
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW)
