"""Every table of facts, and how it follows from events.

Facts are kept per identity set, as partial sums of a batch; so they are appended, never changed,
and whoever merges or parts profiles only groups them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from lake.frames import Rows, Storable, rows_of
from lake.profiles.accounts import account_activity, account_observations
from lake.profiles.activity import activity
from lake.profiles.consent import consent_observations
from lake.profiles.profiles_sync import identify_calls
from lake.run.rules import measured
from lake.run.set_facts import told
from lake.schema import Table
from lake.tables import (
    ACCOUNT_ACTIVITY,
    ACCOUNT_OBSERVATIONS,
    ACTIVITY,
    CONSENT_OBSERVATIONS,
    EVENTS,
    IDENTIFY_CALLS,
    IDENTITY_SETS,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.config import Config
    from lake.frames import WorkerRows
    from lake.io.delta import Tables


def facts(config: Config) -> dict[str, Fact]:
    """The facts that a configuration needs, by table and in their order.

    What is kept of calls depends on what is asked of them; where nothing is asked, nothing is.
    """
    kept = measured(config)
    found = {name: fact for name, fact in FACTS.items() if name != SIGHTINGS.name}
    found[ACCOUNT_OBSERVATIONS.name] = (ACCOUNT_OBSERVATIONS, _of_frame(account_observations))
    found[ACCOUNT_ACTIVITY.name] = (ACCOUNT_ACTIVITY, _of_frame(account_activity))
    if kept:
        found[ACTIVITY.name] = (ACTIVITY, _of_frame(partial(activity, kept)))
    if config.consent:
        found[CONSENT_OBSERVATIONS.name] = (CONSENT_OBSERVATIONS, _of_frame(consent_observations))
    if config.profiles_sync.enabled:
        found[IDENTIFY_CALLS.name] = (IDENTIFY_CALLS, _of_frame(identify_calls))
    return {**found, SIGHTINGS.name: FACTS[SIGHTINGS.name]}


def facts_told(config: Config, tables: Tables) -> dict[str, Fact]:
    """The same without those of accounts where no group call has ever come: without one there are
    no accounts, and nothing is kept of them."""
    found = facts(config)
    if tables.version(ACCOUNT_OBSERVATIONS) is None:
        group_call = "type = 'group' and group_id is not null"
        if not tables.any(EVENTS, group_call):
            del found[ACCOUNT_OBSERVATIONS.name], found[ACCOUNT_ACTIVITY.name]
    return found


Fact: TypeAlias = tuple[Table, Callable[[Rows, str], Storable]]


def _of_frame(transform: Callable[[DataFrame, str], Storable]) -> Callable[[Rows, str], Storable]:
    """The same of calls that may be stored."""
    return lambda events, clock: transform(rows_of(events), clock)


def _of_sets(table: Table, events: Rows, clock: str) -> WorkerRows:
    return told(events, clock, {table.name}).only(table.name)


#: Facts of every lake by their table, a function of events and of the clock that orders calls.
#: All of them are told of identity sets, in one pass where they are wanted together. Sightings come
#: last, for they tell the next run where to go on.
FACTS: Final[Mapping[str, Fact]] = {
    table.name: (table, partial(_of_sets, table))
    for table in (IDENTITY_SETS, TRAIT_OBSERVATIONS, SIGHTINGS)
}
