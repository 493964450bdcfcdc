"""Consent: what a person said of each category, by `context.consent.categoryPreferences`.

The latest word wins a category, as in Segment's consent management. Where a profile came to be of
parts that had been told different things, nobody knows which of them the person meant, and
Segment calls that a conflict until a new word is given. Here a *part* at a time is what the
profile's identity sets known by then hold together by their identifiers. So the state is a
function of sets, of when they were first seen and of the last words, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from pyspark.sql import functions as F

from lake import sums
from lake.clock import order_of
from lake.tables import CONSENT_OBSERVATIONS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import WorkerRows

GRANTED, DENIED, CONFLICT = "granted", "denied", "conflict"

_PREFERENCES = "$.consent.categoryPreferences"


def consent_observations(events: DataFrame, clock: str) -> WorkerRows:
    """What calls say of consent: the columns of ``consent_observations``.

    Of every type of call; a preference that is neither true nor false says nothing.
    """
    text = F.get_json_object("context", _PREFERENCES)
    told = (
        events.where(
            F.col("identity_set").isNotNull() & F.col("context").contains("categoryPreferences")
        )
        .drop("category")  # that of a page call is another
        .select("*", F.explode(F.from_json(text, "map<string,string>")).alias("category", "said"))
        .where(F.col("said").isin("true", "false"))
        .withColumn("given", F.col("said") == "true")
    )
    return sums.of_calls(told, CONSENT_OBSERVATIONS.grain, clock)


class Said(NamedTuple):
    """The last time that calls of an identity set said one thing of a category."""

    order: tuple[Any, ...]
    identity_set: bytes
    given: bool


class Known(NamedTuple):
    """An identity set: its first call, and its identifiers that link."""

    order: tuple[Any, ...]
    identifiers: frozenset[str]


def state(said: Iterable[Said], sets: Mapping[bytes, Known]) -> str:
    """Whether a category is granted, denied or in conflict on a profile of these sets.

    >>> sets = {b"a": Known((1,), frozenset("x")), b"b": Known((2,), frozenset("y"))}
    >>> joined = {**sets, b"c": Known((3,), frozenset("xy"))}
    >>> words = [Said((1,), b"a", True), Said((2,), b"b", False)]
    >>> state(words, joined), state([*words, Said((4,), b"a", True)], joined)
    ('conflict', 'granted')
    """
    words = sorted(said)
    last = words[-1]
    by_then = {key: known for key, known in sets.items() if known.order <= last.order}
    found = {GRANTED if last.given else DENIED}
    for part in _parts(by_then):
        own = [word for word in words if word.identity_set in part]
        if own and last.identity_set not in part:
            found.add(state(own, {key: by_then[key] for key in part}))
    return found.pop() if len(found) == 1 else CONFLICT


def _parts(sets: Mapping[bytes, Known]) -> list[set[bytes]]:
    """The sets in groups that share identifiers, directly or through others."""
    groups: list[tuple[set[bytes], set[str]]] = []
    for key, known in sets.items():
        met = [group for group in groups if group[1] & known.identifiers]
        keys = {key}.union(*(group[0] for group in met))
        linked = set(known.identifiers).union(*(group[1] for group in met))
        groups = [group for group in groups if group not in met] + [(keys, linked)]
    return [keys for keys, _ in groups]


def profile_consents(
    observations: DataFrame, set_profiles: DataFrame, sets: DataFrame, clock: str
) -> DataFrame:
    """The columns of ``profile_consents``: the state of each category, and the last word on it.

    In: ``consent_observations``, ``set_profiles``, and what `linking_sets` gives. The latter is
    looked at only where a profile was told both. A category that nobody spoke of has no row,
    which counts as no consent.
    """
    told = (
        observations.join(set_profiles, "identity_set")
        .groupBy("profile_id", "category", "identity_set", "given")
        .agg(F.max_by("last", order_of("last.", clock)).alias("last"))
    )
    latest = told.groupBy("profile_id", "category").agg(
        F.max_by(F.struct("given", "last"), order_of("last.", clock)).alias("word"),
        (F.min("given") != F.max("given")).alias("both"),
    )
    disputed = latest.where("both").select("profile_id", "category")
    known = F.struct("identity_set", order_of("first.", clock).alias("order"), "identifiers")
    own = sets.join(disputed.select("profile_id").distinct(), "profile_id", "left_semi")
    word = F.struct(order_of("last.", clock).alias("order"), "identity_set", "given")
    settled = (
        told.join(disputed, ["profile_id", "category"], "left_semi")
        .groupBy("profile_id", "category")
        .agg(F.collect_list(word).alias("said"))
        .join(own.groupBy("profile_id").agg(F.collect_list(known).alias("sets")), "profile_id")
        .mapInArrow(_settled, "profile_id string, category string, settled string")
    )
    plain = F.when(F.col("word.given"), GRANTED).otherwise(DENIED)
    return latest.join(settled, ["profile_id", "category"], "left").select(
        "profile_id",
        "category",
        F.coalesce("settled", plain).alias("consent"),
        F.col("word.last.message_id").alias("message_id"),
        F.col("word.last.source").alias("source"),
        F.col("word.last.received_at").alias("received_at"),
        F.col("word.last.timestamp").alias("timestamp"),
    )


def linking_sets(
    identity_sets: DataFrame, totals: DataFrame, set_profiles: DataFrame, identities: DataFrame
) -> DataFrame:
    """Each set of a profile with its first call and those of its identifiers that link there.

    In: ``identity_sets``, per set its ``first`` moment, ``set_profiles``, ``identities``. Out:
    profile_id, identity_set, first, ``identifiers`` (texts of type and value).
    """
    each = F.explode("identifiers").alias("each")
    carried = (
        identity_sets.join(set_profiles, "identity_set")
        .select("profile_id", "identity_set", each)
        .select("profile_id", "identity_set", "each.type", "each.value")
        .join(identities, ["type", "value", "profile_id"], "left_semi")
    )
    text = F.concat_ws("\u0000", "type", "value")
    return (
        carried.groupBy("profile_id", "identity_set")
        .agg(F.collect_list(text).alias("identifiers"))
        .join(totals.select("identity_set", "first"), "identity_set")
    )


def _settled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        found = []
        for row in batch.to_pylist():
            sets = {
                each["identity_set"]: Known(_order(each["order"]), frozenset(each["identifiers"]))
                for each in row["sets"]
            }
            said = [
                Said(_order(each["order"]), each["identity_set"], each["given"])
                for each in row["said"]
            ]
            found.append((row["profile_id"], row["category"], state(said, sets)))
        names = ("profile_id", "category", "settled")
        columns = zip(*found, strict=True) if found else ((), (), ())
        yield pa.RecordBatch.from_pydict(
            {n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)}
        )


def _order(struct: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(struct.values())


def consented(consents: DataFrame) -> DataFrame:
    """The columns of ``profiles_consented``: who may be used for a category."""
    return consents.where(F.col("consent") == GRANTED).select("category", "profile_id")
