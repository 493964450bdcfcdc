"""Survivorship: of all values a profile was told for a trait, which one is published, and why.

A trait without a rule of its own is that of its latest value, as Segment's `user_traits` has it
(segment.com/docs/unify/profiles-sync/tables). Decisions where a reader might expect otherwise:

- A null removes what was told before it: every value whose last telling is earlier, by a source
  that ranks no higher. A value told again later is there again, with all of its calls.
  `never_empty` alone takes no notice of a null; nor of blank text, `[]` and `{}`.
- `""` is a value like any other.
- Ages, first and last go by the clock that orders calls, and ties end with the value's text.
- Values are compared as they were sent: `1` and `1.0` are two. `highest` and `lowest` compare
  numbers, also those sent as text; of a trait declared as a date or timestamp, times.
- Of one value told by several sources, the winner names the source that the rule prefers, else
  the one that told it last; the others `agree`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import sums
from lake.clock import RECEIVED_AT, times_of
from lake.language.spelling import spellings
from lake.lookups import looked_up
from lake.ordered import begins, numbers, places
from lake.profiles.values import day_of, micros_of, number_of, plain_texts
from lake.schema import arrow_schema, ddl_of
from lake.sums import Numbers
from lake.tables import PROFILE_TRAIT_CANDIDATES, PROFILE_TRAITS

if TYPE_CHECKING:
    from lake.frames import Materialised, Rows, WorkerRows

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
#: When each of these profiles is judged, in microseconds since 1970.
AsOf: TypeAlias = Callable[[pa.Array], Numbers]

LATEST = "latest"
LIST = "list"
FIRST = "first"
NEVER_EMPTY = "never_empty"

#: Why a value is not published, by the rule that ranks another one before it.
_BEATEN = {
    LATEST: "older",
    NEVER_EMPTY: "older",
    FIRST: "later",
    "most_frequent": "less_frequent",
    "longest": "shorter",
    "highest": "lower",
    "lowest": "higher",
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The columns of `judged`.
JUDGED: Final = ddl_of(
    {
        **{c.name: c.type for c in PROFILE_TRAITS.columns},
        **{c.name: c.type for c in PROFILE_TRAIT_CANDIDATES.columns if c.name != "last_seen"},
    }
)

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class TraitRule:
    """A declared trait: which value survives, from which sources first, how old it may be.

    ``type`` is the type of its column in `profiles` (see `lake.profiles.values`), None for none.
    """

    name: str
    rule: str = LATEST
    sources: tuple[str, ...] = ()
    max_age: timedelta | None = None
    type: str | None = None

    @property
    def column(self) -> str:
        """Its column in `profiles`: the path's dots are underscores there."""
        return self.name.replace(".", "_")

    @property
    def told(self) -> str:
        """The rule as `profile_traits` names it."""
        if not self.sources:
            return self.rule
        return "sources" if self.rule == LATEST else f"sources, {self.rule}"


def named(told: WorkerRows, rules: Sequence[TraitRule]) -> WorkerRows:
    """What was told by the names of declared traits, however the calls spelt them.

    In and out: (trait, value) and any other columns. A declared path (`address.city`) adds what was
    told inside its object; the object's own rows stay.
    """
    known = {s: r.name for r in rules for s in spellings(r.name)}
    paths = {r.name: tuple(map(spellings, r.name.split("."))) for r in rules if "." in r.name}
    return told.then(partial(_named, known, paths), told.schema) if known else told


def _named(
    known: Mapping[str, str],
    paths: dict[str, tuple[tuple[str, ...], ...]],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    for told in batches:
        for rows in (told, *(_inside(paths, [told]) if paths else ())):
            spelt = rows["trait"].dictionary_encode()
            names = [known.get(name, name) for name in spelt.dictionary.to_pylist()]
            found = pa.array(names, pa.string()).take(spelt.indices)
            yield rows.set_column(rows.schema.get_field_index("trait"), "trait", found)


def _inside(
    paths: dict[str, tuple[tuple[str, ...], ...]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The observations at the paths inside observed objects; a removed object removes them all."""
    for batch in batches:
        rows: list[int] = []
        names: list[str] = []
        values: list[str | None] = []
        told = zip(batch["trait"].to_pylist(), batch["value"].to_pylist(), strict=True)
        for row, (root, text) in enumerate(told):
            for name, (first, *rest) in paths.items():
                for value in _at(text, rest) if root in first else ():
                    rows.append(row)
                    names.append(name)
                    values.append(value)
        taken = batch.take(pa.array(rows, pa.int64()))
        for column, found in (("trait", names), ("value", values)):
            place = taken.schema.get_field_index(column)
            taken = taken.set_column(place, column, pa.array(found, pa.string()))
        yield taken


def _at(text: str | None, path: Sequence[tuple[str, ...]]) -> Iterator[str | None]:
    """The JSON texts at a path, each step in any of its spellings; None where it is removed."""
    if text in (None, "null") or not path:
        yield None if text == "null" else text
    elif text is not None and text.startswith("{"):
        members = _object.decode(text)
        for spelling in path[0]:
            if spelling in members:
                yield from _at(bytes(members[spelling]).decode(), path[1:])


def judged_values(
    observations: Rows,
    set_profiles: Rows,
    rules: Sequence[TraitRule],
    clock: str,
    as_of: datetime,
    ranges: int,
) -> WorkerRows:
    """Every value of every trait of every profile, and why it is not published.

    In: ``trait_observations``, ``set_profiles``, the declared traits, the clock that orders calls,
    the time of the publication (UTC), the number of tasks. Out: as `judged` gives it. One shuffle.
    """
    key = "identity_set"
    own = (key, "trait", "value", "source", *sums.SUMS)
    told = looked_up(observations, own, set_profiles, key, ("profile_id",))
    at = (as_of - _EPOCH) // timedelta(microseconds=1)
    return judged(named(told, rules), rules, clock, partial(_always, at), ranges)


def _always(at: int, profiles: pa.Array) -> Numbers:
    return np.full(len(profiles), at, np.int64)


def judged(
    told: WorkerRows, rules: Sequence[TraitRule], clock: str, as_of: AsOf, ranges: int
) -> WorkerRows:
    """Every value of every trait of every profile, and why it does not survive.

    In: rows of what a profile was told: (profile_id, trait, value, source, calls, first, last), by
    the names of declared traits; ``as_of``: when each profile is judged. Out: the columns of
    ``profile_traits`` and those of ``profile_trait_candidates`` but last_seen, which is a time of
    the call: one row a profile, trait, value and source, ``reason`` being null where the value
    survives. A list is one row, and none for what is in it: it names the call that told its newest
    value. Of a value that `first` chose the call is the first that told it, of every other the
    last. Each of the ``ranges`` of profile_id is a task, which holds what it adds up, sorted by
    profile_id and trait. One shuffle.
    """
    values = sums.added_up(told, ("profile_id", "trait", "value", "source"), clock, ranges=ranges)
    special = tuple(r for r in rules if r.told != LATEST or r.max_age)
    return values.then(partial(_judged, Judge(special, clock, as_of)), JUDGED)


@dataclass(frozen=True)
class Judge:
    """The ``rules`` of traits that have more to say than the latest value, the clock that orders
    calls, and when each profile is judged; goes to the workers."""

    rules: tuple[TraitRule, ...]
    clock: str
    as_of: AsOf

    def of(self, traits: Sequence[str]) -> list[TraitRule]:
        """The rule of each of these traits."""
        own = {rule.name: rule for rule in self.rules}
        return [own.get(trait, TraitRule(trait)) for trait in traits]


def _judged(judge: Judge, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in _whole_profiles(batches):
        yield from _reasoned(judge, _ordered(judge, rows))


def _whole_profiles(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows, which come by profile, in tables that end where one does."""
    held: list[pa.RecordBatch] = []
    for batch in filter(len, batches):
        last = batch["profile_id"][-1]
        # Rows are sorted, so of the last profile are those behind the last of another.
        start = len(batch) - pc.equal(batch["profile_id"], last).true_count
        if start:
            yield pa.Table.from_batches([*held, batch.slice(0, start)]).combine_chunks()
            held = []
        held.append(batch.slice(start))
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


class _Values(NamedTuple):
    """The values of whole profiles, those of a trait one after the other, the best first.

    ``rows``: what they are, and which of the ``traits`` they are of; ``starts``: where each trait
    of a profile begins. As numbers: the ``rank`` of the source among those that the trait prefers
    (0 for none); ``score``, what the rule prefers more of (NaN: nothing); ``first`` and ``last``,
    the places of these calls among all calls here, in order; ``first`` is 0 where no rule asks.
    """

    rows: pa.Table
    traits: list[TraitRule]
    trait: Numbers
    starts: Numbers
    rank: Numbers
    score: Floats
    first: Numbers
    last: Numbers

    def said(self, of: Callable[[TraitRule], Any], kind: Any = object) -> np.ndarray[Any, Any]:
        """What is said of each value's trait."""
        return np.array([of(rule) for rule in self.traits], kind)[self.trait]

    def taken(self, places: Numbers, starts: Numbers) -> _Values:
        """The values at these places, of which other traits of profiles begin at ``starts``."""
        return _Values(
            self.rows.take(pa.array(places)).combine_chunks(),
            self.traits,
            self.trait[places],
            starts,
            self.rank[places],
            self.score[places],
            self.first[places],
            self.last[places],
        )

    def kept(self, stays: Flags) -> _Values:
        """The values without those that do not stay."""
        return self.taken(np.flatnonzero(stays), begins(self.group[stays]))

    @property
    def group(self) -> Numbers:
        """The number of each value's trait of its profile."""
        return numbers(self.starts, len(self.trait))


def _ordered(judge: Judge, rows: pa.Table) -> _Values:
    """The values in the order in which their traits prefer them."""
    profile = numbers(begins(rows["profile_id"]), len(rows))
    encoded = rows["trait"].chunk(0).dictionary_encode()
    names = encoded.dictionary.to_pylist()
    traits = judge.of(sorted(names))
    place = {rule.name: number for number, rule in enumerate(traits)}
    trait = np.array([place[name] for name in names], np.int64)[encoded.indices]
    by_first = [rule.rule in (FIRST, LIST) for rule in traits]
    found = _Values(
        rows,
        traits,
        trait,
        np.empty(0, np.int64),
        _ranks(traits, trait, rows),
        _scores(traits, trait, profile, rows),
        _places(rows["first"], judge.clock) if any(by_first) else np.zeros(len(rows), np.int64),
        _places(rows["last"], judge.clock),
    )
    is_first = found.said(lambda rule: rule.rule == FIRST, np.bool_)
    in_order = {
        "profile": profile,
        "trait": trait,
        "rank": found.rank,
        "score": np.where(np.isnan(found.score), np.inf, -found.score),
        "first": np.where(is_first, found.first, 0),
        "last": -found.last,
    }
    keys = pa.table({**in_order, "value": rows["value"], "source": rows["source"]})
    at = places(keys, keys.column_names).to_numpy()
    return found.taken(at, begins(profile[at], trait[at]))


def _places(moments: pa.ChunkedArray, clock: str) -> Numbers:
    """The place of each call among these, in the order of calls; of the same call the same."""
    own = moments.chunk(0)
    times = [time.cast(pa.int64()) for time in times_of(own, clock)]
    keys = pa.table([*times, own.field("message_id")], ["at", "tie", "message_id"])
    order = places(keys, keys.column_names)
    found = np.empty(len(own), np.int64)
    found[order.to_numpy()] = numbers(begins(*keys.take(order).columns), len(own))
    return found


def _ranks(traits: Sequence[TraitRule], trait: Numbers, rows: pa.Table) -> Numbers:
    """The rank of each value's source among those that its trait prefers, 0 where it prefers
    none."""
    ranks = np.zeros(len(rows), np.int64)
    sources = rows["source"].chunk(0).dictionary_encode()
    names, number = sources.dictionary.to_pylist(), sources.indices.to_numpy()
    for n, rule in enumerate(traits):
        if rule.sources:
            place = {source: rank for rank, source in reversed([*enumerate(rule.sources, 1)])}
            own = np.array([place.get(name, len(rule.sources) + 1) for name in names], np.int64)
            ranks[trait == n] = own[number[trait == n]]
    return ranks


def _scores(
    traits: Sequence[TraitRule], trait: Numbers, profile: Numbers, rows: pa.Table
) -> Floats:
    """What the rule of each value's trait prefers more of, as a number; NaN where it goes by time
    alone, or where the value has no such number."""
    scores = np.full(len(rows), np.nan)
    for n, rule in enumerate(traits):
        if rule.rule in _SCORED:
            at = np.flatnonzero(trait == n)
            scores[at] = _SCORED[rule.rule](rule, profile[at], rows.take(pa.array(at)))
    return scores


def _votes(_rule: TraitRule, profile: Numbers, rows: pa.Table) -> Floats:
    """The calls of all sources that told the value."""
    value = rows["value"].combine_chunks().dictionary_encode(null_encoding="encode").indices
    own = profile * (len(rows) + 1) + value.to_numpy()
    _, number = np.unique(own, return_inverse=True)
    votes = np.bincount(number, weights=rows["calls"].to_numpy())[number]
    return np.asarray(votes, np.float64)


def _lengths(_rule: TraitRule, _profile: Numbers, rows: pa.Table) -> Floats:
    texts = plain_texts(rows["value"].combine_chunks())
    return _floats(pc.utf8_length(texts))


def _highest(rule: TraitRule, _profile: Numbers, rows: pa.Table) -> Floats:
    """The numbers by which values are higher or lower than others."""
    compared = {"date": day_of, "timestamp": micros_of}.get(rule.type or "", number_of)
    texts = plain_texts(rows["value"].combine_chunks()).to_pylist()
    return _floats(pa.array([None if t is None else compared(t) for t in texts], pa.float64()))


def _lowest(rule: TraitRule, profile: Numbers, rows: pa.Table) -> Floats:
    return -_highest(rule, profile, rows)


def _floats(column: pa.Array) -> Floats:
    """The numbers of a column, NaN where there is none."""
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), np.float64)


#: The rules that prefer more of something, and of what.
_SCORED: Final[Mapping[str, Callable[[TraitRule, Numbers, pa.Table], Floats]]] = {
    "most_frequent": _votes,
    "longest": _lengths,
    "highest": _highest,
    "lowest": _lowest,
}


def _reasoned(judge: Judge, every: _Values) -> Iterator[pa.RecordBatch]:
    """The values that were told, not removals, and why each is not published."""
    told = every.rows["value"].is_valid().to_numpy()
    removed = _removed(every, told)[told]
    values = every.kept(told)
    if not len(values.trait):
        return
    lost = _lost(judge, values, removed)
    reason = lost.copy()
    running = np.flatnonzero(lost == "")
    reason[running] = _beaten(values, lost)[running]
    rows, stays = values.rows, np.ones(len(lost), np.bool_)
    if any(rule.rule == LIST for rule in values.traits):
        listed = (values.said(lambda rule: rule.rule == LIST, np.bool_)) & (lost == "")
        reason[listed] = ""
        texts, stays = _lists(values, listed)
        place = rows.schema.get_field_index("value")
        rows = rows.set_column(place, "value", texts)
    first = (reason == "") & values.said(lambda rule: rule.rule == FIRST, np.bool_)
    firsts, lasts = rows["first"].chunk(0), rows["last"].chunk(0)
    own = {
        part: pc.if_else(pa.array(first), firsts.field(part), lasts.field(part))
        for part in ("message_id", "received_at", "timestamp")
    }
    own |= {name: rows[name] for name in ("profile_id", "trait", "value", "source", "calls")}
    own["rule"] = pa.array(values.said(lambda rule: rule.told), pa.string())
    own["reason"] = pa.array(reason, pa.string(), mask=reason == "")
    own["first_seen"] = times_of(firsts, judge.clock)[0]
    schema = arrow_schema(JUDGED)
    found = pa.table([own[name] for name in schema.names], schema.names).filter(pa.array(stays))
    yield from found.cast(schema).combine_chunks().to_batches()


def _removed(every: _Values, told: Flags) -> Numbers:
    """For each value the place of the last null that a source told which ranks no lower; -1 where
    there is none."""
    null = np.where(told, -1, every.last)
    group = every.group
    blocks = begins(group, every.rank)
    latest = np.maximum.reduceat(null, blocks)
    # So far within a trait: whatever one of an earlier trait has, a later trait begins above it.
    above = group[blocks] * (len(null) + 1)
    latest = np.maximum.accumulate(latest + above) - above
    return latest[numbers(blocks, len(null))]


def _lost(judge: Judge, values: _Values, removed: Numbers) -> np.ndarray[Any, Any]:
    """Why a value is out of the running; "" where it is in it."""
    heeds = values.said(lambda rule: rule.rule != NEVER_EMPTY, np.bool_)
    lost = np.full(len(removed), "", object)
    for n, rule in enumerate(values.traits):
        at = np.flatnonzero(values.trait == n) if rule in judge.rules else np.empty(0, np.int64)
        if not len(at):
            continue
        own = values.rows.take(pa.array(at))
        if rule.rule in ("highest", "lowest"):
            lost[at[np.isnan(values.score[at])]] = "not_comparable"
        if rule.max_age:
            last, _ = times_of(own["last"].combine_chunks(), judge.clock)
            old = judge.as_of(own["profile_id"]) - rule.max_age // timedelta(microseconds=1)
            lost[at[last.cast(pa.int64()).to_numpy() < old]] = "expired"
        if rule.rule == NEVER_EMPTY:
            value = own["value"].combine_chunks()
            blank = pc.equal(pc.utf8_trim(plain_texts(value), " "), "")
            none = pc.or_(blank, pc.is_in(value, value_set=pa.array(["[]", "{}"])))
            lost[at[none.to_numpy(zero_copy_only=False)]] = "empty"
    lost[heeds & (values.last < removed)] = "removed"
    return lost


def _beaten(values: _Values, lost: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Why a value that is in the running is not published; "" of the winner. Of a trait of which
    all is lost nothing is said that means anything."""
    none = len(lost)
    running = np.where(lost == "", np.arange(none), none)
    won = np.minimum(np.minimum.reduceat(running, values.starts), none - 1)
    winner = won[values.group]
    winners = values.rows.select(["value", "source"]).take(pa.array(winner))
    same_value, same_source = (
        pc.equal(values.rows[name], winners[name]).to_numpy() for name in ("value", "source")
    )
    score, best = values.score, values.score[winner]
    differs = np.isnan(score) | (score != best)
    reason = np.where(differs, values.said(lambda rule: _BEATEN.get(rule.rule, "")), "older")
    reason = np.where(values.rank > values.rank[winner], "lesser_source", reason)
    reason = np.where(same_value, np.where(same_source, "", "agrees"), reason)
    return np.asarray(reason, object)


def _lists(values: _Values, listed: Flags) -> tuple[pa.Array, Flags]:
    """The texts that are published, and which rows: of what a list takes only the newest, whose
    text is a JSON list of all, each once, in the order they were first told."""
    texts, sources = (values.rows[name].to_pylist() for name in ("value", "source"))
    members, stays = np.flatnonzero(listed), ~listed
    for own in np.split(members, begins(values.group[members])[1:]) if len(members) else ():
        told = sorted((values.first[n], texts[n]) for n in own.tolist())
        newest = max(own.tolist(), key=lambda n: (values.last[n], sources[n], texts[n]))
        stays[newest] = True
        texts[newest] = f"[{','.join(dict.fromkeys(text for _, text in told))}]"
    return pa.array(texts, pa.string()), stays


def winning_traits(judged: Materialised) -> WorkerRows:
    """The columns of ``profile_traits``: of each profile's traits the value that survives.

    In: what `judged` gives, stored.
    """
    needed = (*PROFILE_TRAITS.names, "reason")
    return replace(judged.through(_winners, PROFILE_TRAITS.ddl, needed), in_order=True)


def trait_candidates(judged: Materialised, clock: str) -> WorkerRows:
    """The columns of ``profile_trait_candidates``: the values that were not taken, and why.

    In: what `judged` gives, stored, and the clock that orders calls.
    """
    own = (name for name in PROFILE_TRAIT_CANDIDATES.names if name != "last_seen")
    needed = (*own, "received_at", "timestamp")
    lost = judged.through(partial(_losers, clock), PROFILE_TRAIT_CANDIDATES.ddl, needed)
    return replace(lost, in_order=True)


def _winners(judged: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in judged:
        survived = pc.is_null(rows.column("reason"))
        yield rows.filter(survived).select(list(PROFILE_TRAITS.names))


def _losers(clock: str, judged: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for every in judged:
        rows = every.filter(pc.is_valid(every.column("reason")))
        seen = rows.column("received_at")
        if clock != RECEIVED_AT:
            seen = pc.coalesce(rows.column("timestamp"), seen)
        rows = rows.append_column("last_seen", seen)
        yield rows.select(list(PROFILE_TRAIT_CANDIDATES.names))
