"""What a run is to do, decided once: its objects, its date, and how much of the lake it resolves.

A full pass and an incremental one give the same rows, so the choice is one of cost alone. A full
pass is needed where the last answer cannot be started from; else the cheaper one is chosen, by
what the last passes of this lake took.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import msgspec

from lake.config import Config
from lake.io import publications
from lake.io.control import Landed, Plan
from lake.io.delta import Tables
from lake.run.place import Place
from lake.run.rules import extraction, fingerprints, measured, trait_rules
from lake.segment_tables import PROFILES_SYNC
from lake.tables import (
    CREATED_PROFILES,
    EVENTS,
    IDENTITIES,
    IDENTITY_HISTORY,
    INGEST_LEDGER,
    PROFILE_TABLES,
    PROFILES,
    SET_PROFILES,
    SIGHTINGS,
    TABLES,
    VIOLATIONS,
)

#: The form of the facts; another one where their moments tell more or other things of a call.
FACTS = 2
#: What a reader knows the rules by that commits note.
RULES = {
    "facts": "how identifiers are taken from calls",
    "naming": "the space, the priorities, the order of calls or the product",
    "blocked": "blocked values",
    "shared": "shared values",
    "limits": "the strategy, limits or caps",
    "overrides": "overrides",
    "profiles": "traits, computed traits, audiences or consent",
    "profiles_sync": "whether Profiles Sync is enabled",
}
#: What one resolution leaves behind, all by the same run.
STATE = (IDENTITIES, VIOLATIONS, CREATED_PROFILES, SET_PROFILES)
#: Why a full pass is made that nothing but a person wants: it makes the facts anew, too.
ASKED = "it was asked for"
#: Without a pass to compare with, an incremental one is taken up to this share of new bytes.
SHARE = 0.3
#: So many runs are looked at for the newest pass of each kind.
LOOK_BACK = 30


def code_version() -> str:
    """The product's version, as installed or as zipped."""
    try:
        return version("profile-lake")
    except PackageNotFoundError:
        from lake import __version__

        return __version__


def facts_fingerprint(config: Config) -> str:
    """A hash of what the facts per identity set depend on besides the events."""
    return f"{extraction(config).fingerprint}:{config.identity.order_by}:{FACTS}"


def notes(config: Config) -> dict[str, Any]:
    """What every commit of a run says of the rules it was made by."""
    return {
        "facts": facts_fingerprint(config),
        "order_by": config.identity.order_by,
        "rules": fingerprints(config, code_version()),
        "profiles": config.profiles_fingerprint,
        "profiles_sync": config.profiles_sync.enabled,
        "measures": [m.key for m in measured(config)],
        "traits": msgspec.to_builtins(trait_rules(config)),
    }


def changed_rules(tables: Tables, config: Config) -> list[str]:
    """What a reader knows the rules by that are not those of the newest rows; empty if none are.

    By what the commits note that made the state and the published rows.
    """
    now, state, shown = notes(config), tables.notes(SET_PROFILES), tables.notes(PROFILES)
    then = state.get("rules", {})
    changed = [] if state.get("facts") == now["facts"] else ["facts"]
    changed += [part for part, rule in now["rules"].items() if then.get(part) != rule]
    changed += [name for name in ("profiles", "profiles_sync") if shown.get(name) != now[name]]
    return [RULES[name] for name in changed]


def inputs(config: Config) -> str:
    """A hash of what a publication depends on besides the events."""
    parts = [
        config.space,
        config.resolution_fingerprint,
        config.profiles_fingerprint,
        extraction(config).fingerprint,
        config.profiles_sync.enabled,
        code_version(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def planned(place: Place, as_of: datetime, force: str | None = None) -> Plan | None:
    """A new plan, written; None where there is nothing to do.

    ``force``: ``full`` or ``incremental``; a full pass that is forced is something to do.
    """
    tables, control = place.tables, place.control
    landed = place.landed()
    made_from = inputs(place.config)
    newest = publications.latest(tables)
    is_current = newest and _is_current(tables, newest, made_from)
    if is_current and place.config.is_dated:
        is_current = _is_of(tables, newest, as_of)
    if not landed and is_current and force != "full":
        return None
    run = control.last_run() + 1
    versions = {t.name: v for t in TABLES if (v := tables.version(t)) is not None}
    passes = chosen(place, versions, landed, force)
    plan = Plan(
        run=run,
        as_of=as_of,
        batch=run if landed else None,
        objects=len(landed),
        bytes=sum(item.version.size for item in landed),
        versions=versions,
        publication=newest + 1,
        inputs=made_from,
        code=code_version(),
        config=place.config.fingerprint,
        full=passes.full,
        changed=passes.changed,
        resolved=tables.last_transaction(SET_PROFILES, "stitch") or 0,
        published=_is_published(tables, newest, place.config),
        told=passes.told,
    )
    control.write_plan(plan, landed)
    return plan


def _is_current(tables: Tables, newest: int, made_from: str) -> bool:
    seen = publications.versions(tables, newest)
    return publications.inputs(tables) == made_from and tables.is_as_at(EVENTS, seen[EVENTS.name])


def _is_published(tables: Tables, newest: int, config: Config) -> bool:
    """Whether readers see the newest rows of profiles, and by the rules of this configuration."""
    seen = publications.versions(tables, newest)
    made = tables.notes(PROFILES).get("profiles")
    about = [*PROFILE_TABLES, SET_PROFILES, CREATED_PROFILES, IDENTITY_HISTORY]
    about += PROFILES_SYNC if config.profiles_sync.enabled else ()
    return made == config.profiles_fingerprint and all(
        t.name in seen and tables.is_as_at(t, seen[t.name]) for t in about
    )


def _is_of(tables: Tables, newest: int, as_of: datetime) -> bool:
    """Whether the newest publication is of this hour, or of a later one."""
    shown = publications.publication(tables, newest)
    hour = as_of.replace(minute=0, second=0, microsecond=0)
    return shown is not None and datetime.fromisoformat(shown["published_at"]) >= hour


class Pass(NamedTuple):
    """How much is resolved: see `Plan`."""

    full: str | None
    changed: frozenset[str]
    told: Mapping[str, float]


def chosen(
    place: Place, versions: Mapping[str, int], landed: Sequence[Landed], force: str | None
) -> Pass:
    """A full pass with its reason, or an incremental one."""
    made = place.tables.notes(SET_PROFILES)
    now, then = fingerprints(place.config, code_version()), made.get("rules", {})
    changed = frozenset(name for name in now if now[name] != then.get(name))
    told = costs(place, landed)
    full = why_full(place, versions, made.get("facts"), changed)
    if force == "full":
        full = ASKED
    if full is None and force is None and told["incremental"] > told["full"]:
        share = told["new_bytes"] / (told["known_bytes"] or 1)
        full = f"it is cheaper: the new objects are {share:.0%} of all that was read before"
    return Pass(full, changed, told)


def why_full(
    place: Place, versions: Mapping[str, int], facts: str | None, changed: frozenset[str]
) -> str | None:
    """Why the last answer cannot be started from; None where it can."""
    if reason := broken_state(place.tables, versions):
        return reason
    if facts != facts_fingerprint(place.config):
        events = place.tables.rows(EVENTS)
        return f"identifiers are taken by other rules: {events:,} events are read again"
    if "naming" in changed:
        return "the space, the priorities, the order of calls or the product changed"
    if "blocked" in changed and place.config.identity.shared.mode != "off":
        return "blocked values changed, which count in no degree of a shared one"
    return None


def broken_state(tables: Tables, versions: Mapping[str, int]) -> str | None:
    """Why there is no answer to start from; None where there is one."""
    if any(t.name not in versions for t in (*STATE, SIGHTINGS, PROFILES)):
        return "there is no earlier night"
    if len({tables.last_transaction(t, "stitch") for t in STATE}) > 1:
        return "a run was given up while it resolved"
    return None


def costs(place: Place, landed: Sequence[Landed]) -> dict[str, float]:
    """What each pass would take, in seconds of stitch and publish, and what that is judged by.

    By the newest pass of each kind that this lake has seen: a full one grows with all that was
    ever read, an incremental one half with what is new. Without one of a kind, a full one takes
    what it takes to read all, and an incremental one is thought to be worth it up to SHARE.
    """
    tables, control = place.tables, place.control
    known = tables.query("select size from ledger", ledger=(INGEST_LEDGER, None))
    before = float(sum(known.column("size").to_pylist()))
    new = float(sum(item.version.size for item in landed))
    seen: dict[str, tuple[float, float, float]] = {}
    last = control.last_run()
    for run in range(last, max(0, last - LOOK_BACK), -1):
        record = control.record(run) or {}
        if record.get("status") != "published" or record["pass"] in seen:
            continue
        told = control.plan(run).told
        seconds = sum(record["seconds"].get(stage, 0.0) for stage in ("stitch", "publish"))
        seen[record["pass"]] = seconds, told["known_bytes"], told["new_bytes"]
    seconds, then_known, then_new = seen.get("full", (1.0, before, new))
    full = seconds * (before + new) / ((then_known + then_new) or 1)
    incremental = full * new / (SHARE * before) if before else full
    if "incremental" in seen:
        seconds, _, then_new = seen["incremental"]
        incremental = seconds * (0.5 + 0.5 * new / (then_new or 1))
    return {"known_bytes": before, "new_bytes": new, "full": full, "incremental": incremental}
