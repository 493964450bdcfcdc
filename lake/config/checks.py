"""What must hold between settings. Each check says where, and what its judgement rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from lake.config.document import Fault, Place, dotted
from lake.config.identifiers import type_fault
from lake.config.locations import contains
from lake.config.models import Identifier, Identity, Storage

_MODE: Place = ("identity", "shared", "mode")
_LIMITS: Place = ("identity", "shared", "limits")
_TYPES: tuple[Place, ...] = (("identity", "unknown_types"), ("identity", "identifiers"))


def overlapping(locations: Mapping[Place, str]) -> Iterator[Fault]:
    """Locations, the root and every source, that are one or lie inside each other.

    A source below the root would read the lake's own tables, a second one below the first every
    object twice, and the root below a source both.
    """
    for (one, a), (other, b) in combinations(locations.items(), 2):
        if contains(a, b) and contains(b, a):
            relation = "the same place as"
        elif contains(a, b):
            relation = "inside"
        elif contains(b, a):
            relation = "around"
        else:
            continue
        yield Fault(other, f"found {relation} {dotted(one)}, wanted places apart", (one, other))


def contradictory(identity: Identity) -> Iterator[Fault]:
    """Settings of the identity block that exclude or require each other."""
    for name, identifier in identity.identifiers.items():
        yield from _identifier(("identity", "identifiers", name), identifier)
    limits = bool(identity.shared.limits)
    if limits and identity.shared.mode != "limits":
        found = f"found limits while mode is {identity.shared.mode}"
        yield Fault(_LIMITS, f"{found}, wanted mode: limits or no limits", (_MODE, _LIMITS))
    if identity.shared.mode == "limits" and not limits:
        yield Fault(_MODE, "found limits, wanted the limits as well", (_MODE, _LIMITS))
    for place, name in _named_types(identity):
        fault = type_fault(name, identity.known_types)
        if fault:
            yield Fault(place, fault, _TYPES)


def _identifier(place: Place, identifier: Identifier) -> Iterator[Fault]:
    normalise = (*place, "normalise")
    if identifier.region is not None and identifier.normalise != "phone":
        at = (*place, "region")
        found = f"found a region while normalise is {identifier.normalise}"
        yield Fault(at, f"{found}, wanted normalise: phone or no region", (at, normalise))
    if identifier.last is not None and identifier.normalise != "digits":
        at = (*place, "last")
        found = f"found last while normalise is {identifier.normalise}"
        yield Fault(at, f"{found}, wanted normalise: digits or no last", (at, normalise))
    if identifier.limit is None and identifier.window != "ever":
        at = (*place, "window")
        yield Fault(at, "found a window without a limit, wanted a limit", (at, (*place, "limit")))


def _named_types(identity: Identity) -> Iterator[tuple[Place, str]]:
    """Every type that is referred to, and where."""
    for name in identity.blocked.by_type:
        yield ("identity", "blocked", "by_type", name), name
    for outer, inner in identity.shared.limits.items():
        yield (*_LIMITS, outer), outer
        for name in inner:
            yield (*_LIMITS, outer, name), name


def half_credentials(storage: Storage) -> Iterator[Fault]:
    """One of the two keys without the other."""
    keys = {"access_key": storage.access_key, "secret_key": storage.secret_key}
    for name, value in keys.items():
        if value is None and any(keys.values()):
            places: tuple[Place, ...] = tuple(("storage", key) for key in keys)
            yield Fault(("storage", name), "missing, wanted both keys or neither", places)


def missing_folder(place: Place, folder: str | None) -> Iterator[Fault]:
    """A folder that is named but is not there."""
    if folder is not None and not Path(folder).is_dir():
        yield Fault(place, "found no folder there, wanted a folder", (place,))
