"""Which identifiers a call carries: a pure function of the call and of the rules.

Where they are looked for, as Segment documents it:

| type | place |
|---|---|
| `user_id`, `anonymous_id` | `userId`, `anonymousId` |
| `email` | `traits.email`, `context.traits.email`, `properties.email` (a switch) |
| `android.id`, `ios.id` | `context.device.id`, by `context.device.type` |
| `android.idfa`, `ios.idfa` | `context.device.advertisingId` if `adTrackingEnabled` is true; \
for iOS that condition is a switch |
| `android.push_token`, `ios.push_token` | `context.device.token` |
| `ga_client_id` | `context.integrations["Google Analytics"].clientId` |
| any other | its key, else its name, in the places below |
| every type | `context.externalIds` with `id`, `collection: users`, `encoding` and, as `type`, \
the type or its key |

A key is looked up in camelCase and in snake_case, and in no other spelling, in
`context.traits` of every call and in `traits` of identify and group or `properties` of track,
page and screen. Both spellings and all places count: a call may carry several values of a type.

`alias` tells its `userId` and nothing else. `group_id` names an account and is never a person's
identifier, wherever it stands. A string is an identifier, and a number by its text; true, false,
null, an object and an array are none, nor is a value that is empty once normalised. Blocked
values are extracted like others: they stop linking later, in stitching.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Final, Literal, TypeAlias

import msgspec

from lake.errors import ConfigError
from lake.identity import normalise
from lake.identity.normalise import Normaliser, Option
from lake.identity.shapes import Shape, Text, Texts
from lake.language.spelling import spellings

Identifier: TypeAlias = tuple[str, str]
"""A type and a value."""

VALUE_LIMIT: Final = 1000
"""Longest value in characters, as sent."""

_VERSION = 1
_TYPE_LIMIT = 100
_NEVER = frozenset(("group_id",))
_BOTH = ("anonymous_id", "user_id")
_DESCRIBING = frozenset(("identify", "group"))


@dataclass(frozen=True)
class IdentifierRule:
    """One identifier type: where else it is found and how its values are normalised.

    ``key`` adds a key to look up; a type that Segment does not define is looked up by its own
    name without one.
    """

    type: str
    key: str | None = None
    normalise: str = "exact"
    options: tuple[tuple[str, Option], ...] = ()


SEGMENT_DEFAULTS: Final = tuple(
    IdentifierRule(t)
    for t in (
        "user_id",
        "email",
        "android.id",
        "android.idfa",
        "android.push_token",
        "anonymous_id",
        "ga_client_id",
        "ios.id",
        "ios.idfa",
        "ios.push_token",
    )
)
"""Segment's identifiers in its order of priority: user_id, email, then by the alphabet. Segment
normalises none of them beyond trimming."""
_BUILT_IN = frozenset(rule.type for rule in SEGMENT_DEFAULTS)


@dataclass(frozen=True)
class Extraction:
    """The rules: only the named types are taken, and with ``unknown_types="add"`` every other
    type met in ``context.externalIds``. ConfigError where a rule makes no sense."""

    identifiers: tuple[IdentifierRule, ...] = SEGMENT_DEFAULTS
    unknown_types: Literal["add", "ignore"] = "add"
    properties_email: bool = True
    ios_idfa_needs_tracking: bool = True

    def __post_init__(self) -> None:
        types = [rule.type for rule in self.identifiers]
        for t in types:
            if t in _NEVER:
                raise ConfigError(f"{t} names an account and cannot identify a person")
            if not _is_type(t):
                raise ConfigError(f"the identifier type {t} is not in lower case or holds a blank")
        if len(set(types)) < len(types):
            raise ConfigError("an identifier type is named twice")
        if self.unknown_types not in ("add", "ignore"):
            raise ConfigError("unknown_types is neither add nor ignore")
        for rule in self.identifiers:
            normalise.normaliser(rule.normalise, dict(rule.options))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with the rules and with a normaliser's version; the order
        of the rules, which is their priority, takes no part."""
        rules = sorted(
            (r.type, r.key, r.normalise, normalise.version(r.normalise), sorted(r.options))
            for r in self.identifiers
        )
        switches = (self.unknown_types, self.properties_email, self.ios_idfa_needs_tracking)
        text = msgspec.json.encode((_VERSION, rules, switches))
        return hashlib.blake2b(text, digest_size=8).hexdigest()


class IdentitySet(msgspec.Struct, frozen=True, gc=False):
    """The identifiers of a call, distinct and sorted; their key, None where there are none;
    the type of a value that is over the limit, else None."""

    identifiers: tuple[Identifier, ...]
    key: bytes | None
    too_long: str | None


def set_key(identifiers: tuple[Identifier, ...]) -> bytes:
    """16 bytes that name a set: BLAKE2b of its sorted pairs, each text led by its length in
    characters and a colon. So no two sets are written alike.

    >>> set_key((("email", "a"), ("user_id", "b"))) == set_key((("user_id", "b"), ("email", "a")))
    True
    >>> set_key((("a", "bc"),)) == set_key((("ab", "c"),))
    False
    """
    return _key(sorted(set(identifiers)))


def _key(pairs: Iterable[Identifier]) -> bytes:
    return _hashed(_written(pairs))


def _written(pairs: Iterable[Identifier]) -> str:
    return "".join([f"{len(t)}:{t}{len(value)}:{value}" for t, value in pairs])


_UNFED = hashlib.blake2b(digest_size=16)


def _hashed(text: str) -> bytes:
    state = _UNFED.copy()  # half the cost of setting one up
    state.update(text.encode())
    return state.digest()


@dataclass
class IdentitySets:
    """The identity sets of many calls as columns: how many identifiers each call has, the types
    and the values of all of them one after the other, the keys; by its row the type of a value
    that is over the limit."""

    counts: list[int] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    too_long: dict[int, str] = field(default_factory=dict)


@lru_cache(maxsize=8)
def extractor(extraction: Extraction) -> Extractor:
    """The extractor of these rules, compiled once for all who ask."""
    return Extractor(extraction)


def identifiers(
    extraction: Extraction,
    kind: str,
    user_id: str | None,
    anonymous_id: str | None,
    context: Text = None,
    traits: Text = None,
    properties: Text = None,
) -> IdentitySet:
    """The identity set of a call, from its fields or from the columns of a stored event.

    A value over the limit is left out, and told: a new call is refused for it, a stored event,
    accepted under other rules, keeps its others.

    >>> found = identifiers(Extraction(), "track", "u1", None, properties='{"email": "a@x.com"}')
    >>> found.identifiers
    (('email', 'a@x.com'), ('user_id', 'u1'))
    """
    return extractor(extraction)(kind, user_id, anonymous_id, context, traits, properties)


class Extractor:
    """Compiled rules: call it as `identifiers`."""

    def __init__(self, extraction: Extraction) -> None:
        rules = {rule.type: rule for rule in extraction.identifiers}
        self._named = frozenset(rules)
        self._unknown = extraction.unknown_types == "add"
        #: The name in ``externalIds`` → the types it tells.
        self._external: dict[str, list[str]] = {}
        for rule in extraction.identifiers:
            for name in {rule.type, rule.key or rule.type}:
                self._external.setdefault(name, []).append(rule.type)
        self._normalisers: Mapping[str, Normaliser] = {
            t: normalise.normaliser(r.normalise, dict(r.options)) for t, r in rules.items()
        }
        self._ios_needs_tracking = extraction.ios_idfa_needs_tracking
        keyed = _keyed(extraction.identifiers)
        email = [("email", "email")] if "email" in rules else []
        self._traits = _Told(keyed + email)
        self._properties = _Told(keyed + (email if extraction.properties_email else []))
        self._context = _context(self._traits.shape)

    def __call__(
        self,
        kind: str,
        user_id: str | None,
        anonymous_id: str | None,
        context: Text,
        traits: Text,
        properties: Text,
    ) -> IdentitySet:
        """The identity set of a call."""
        nested: list[Identifier] = []
        if kind in _DESCRIBING:
            if traits:
                self._traits.add(self._traits.shape.read(traits), nested)
        elif properties:
            self._properties.add(self._properties.shape.read(properties), nested)
        if context:
            self._add_context(self._context.read(context), nested)
        normal, too_long = self._normal(self._sent(kind, user_id, anonymous_id, nested))
        found = tuple(sorted(set(normal)))
        return IdentitySet(found, _key(found) if found else None, too_long)

    def column(
        self,
        kinds: Sequence[str],
        user_ids: Sequence[str | None],
        anonymous_ids: Sequence[str | None],
        contexts: Texts,
        traits: Texts,
        properties: Texts,
    ) -> IdentitySets:
        """The identity sets of many calls, given field by field, as a call of each would give
        them. Most calls carry values in their normal form, a userId and an anonymousId and little
        else: what those come to is written down without a detour."""
        nested = self._nested(kinds, contexts, traits, properties)
        users = user_ids if "user_id" in self._named else [None] * len(kinds)
        devices = anonymous_ids if "anonymous_id" in self._named else [None] * len(kinds)
        told = list(chain.from_iterable(nested.values()))
        normal = self._are_normal({"user_id"}, users) and self._are_normal(
            {"anonymous_id"}, devices
        )
        all_normal = normal and self._are_normal({t for t, _ in told}, [v for _, v in told])
        sets = IdentitySets()
        counts, types, values, written = sets.counts, sets.types, sets.values, list[str]()
        for row, (kind, user, device) in enumerate(zip(kinds, users, devices, strict=True)):
            if row in nested or kind == "alias" or not (normal and device):
                found: Sequence[Identifier] = self._sent(kind, user, device, nested.get(row, ()))
                if not all_normal:
                    found, too_long = self._normal(found)
                    if too_long:
                        sets.too_long[row] = too_long
                if len(found) > 1:
                    found = sorted(set(found))
                counts.append(len(found))
                for t, value in found:
                    types.append(t)
                    values.append(value)
                written.append(_written(found))
            elif user:
                types += _BOTH
                values += (device, user)
                counts.append(2)
                written.append(f"12:anonymous_id{len(device)}:{device}7:user_id{len(user)}:{user}")
            else:
                types.append("anonymous_id")
                values.append(device)
                counts.append(1)
                written.append(f"12:anonymous_id{len(device)}:{device}")
        sets.keys += [_hashed(text) if text else None for text in written]
        return sets

    def _are_normal(self, types: Collection[str], values: Sequence[str | None]) -> bool:
        """Whether it is seen at once that all values of the types are in their normal form."""
        if any(self._normalisers.get(t, normalise.exact) is not normalise.exact for t in types):
            return False
        present = [value for value in values if value]
        return normalise.are_exact(present) and max(map(len, present), default=0) <= VALUE_LIMIT

    def _nested(
        self,
        kinds: Sequence[str],
        contexts: Texts,
        traits: Texts,
        properties: Texts,
    ) -> dict[int, list[Identifier]]:
        """What nested objects tell, by row; most tell nothing."""
        found: dict[int, list[Identifier]] = {}
        for row, told in self._traits.shape.told(traits):
            if kinds[row] in _DESCRIBING:
                self._traits.add(told, found.setdefault(row, []))
        for row, told in self._properties.shape.told(properties):
            if kinds[row] not in _DESCRIBING:
                self._properties.add(told, found.setdefault(row, []))
        for row, told in self._context.told(contexts):
            self._add_context(told, found.setdefault(row, []))
        return found

    def _sent(
        self,
        kind: str,
        user_id: str | None,
        anonymous_id: str | None,
        nested: Sequence[Identifier],
    ) -> list[Identifier]:
        """All identifiers of a call in whose nested objects these were found, as sent."""
        found: list[Identifier] = []
        if user_id and "user_id" in self._named:
            found.append(("user_id", user_id))
        if kind != "alias":
            if anonymous_id and "anonymous_id" in self._named:
                found.append(("anonymous_id", anonymous_id))
            found += nested
        return found

    def _add_context(self, context: Any, found: list[Identifier]) -> None:
        if context is None:
            return
        if context.traits is not None:
            self._traits.add(context.traits, found)
        if context.external_ids:
            self._add_external_ids(context.external_ids, found)
        if context.device is not None:
            self._add_device(context.device, found)
        if context.integrations is not None and "ga_client_id" in self._named:
            google = context.integrations.google
            if google is not None and google.client_id:
                found.append(("ga_client_id", google.client_id))

    def _add_device(self, device: Any, found: list[Identifier]) -> None:
        system = device.type
        if system not in ("android", "ios"):
            return
        tracked = device.tracked or (system == "ios" and not self._ios_needs_tracking)
        for part, value in (
            ("id", device.id),
            ("idfa", device.advertising_id if tracked else None),
            ("push_token", device.token),
        ):
            if value and f"{system}.{part}" in self._named:
                found.append((f"{system}.{part}", value))

    def _add_external_ids(self, entries: list[Any], found: list[Identifier]) -> None:
        for entry in entries:
            name = entry.type
            if not (name and entry.id and entry.encoding and entry.collection == "users"):
                continue
            if _is_type(name):
                types = self._external.get(name, [name] if self._unknown else [])
                found += [(t, entry.id) for t in types]

    def _normal(self, sent: Iterable[Identifier]) -> tuple[list[Identifier], str | None]:
        """The identifiers in their normal form, and the type of a value that is over the limit."""
        normal, too_long = list[Identifier](), None
        for t, value in sent:
            if len(value) > VALUE_LIMIT:
                too_long = too_long or t
                continue
            text = self._normalisers.get(t, normalise.exact)(value)
            if text is not None:
                normal.append((t, text))
        return normal, too_long


class _Told:
    """The keys wanted of a traits or properties object, and the type that each tells."""

    def __init__(self, keyed: list[Identifier]) -> None:
        names = {key: f"k{i}" for i, key in enumerate(dict.fromkeys(key for key, _ in keyed))}
        self.shape = Shape({name: (key, Shape.TEXT) for key, name in names.items()})
        self._slots = [(names[key], t) for key, t in keyed]

    def add(self, told: Any, found: list[Identifier]) -> None:
        """Appends what the object read tells."""
        if told is not None:
            for name, t in self._slots:
                value = getattr(told, name)
                if value:
                    found.append((t, value))


_DEVICE = Shape(
    {
        "type": ("type", Shape.TEXT),
        "id": ("id", Shape.TEXT),
        "advertising_id": ("advertisingId", Shape.TEXT),
        "tracked": ("adTrackingEnabled", Shape.FLAG),
        "token": ("token", Shape.TEXT),
    }
)
_EXTERNAL_ID = Shape({k: (k, Shape.TEXT) for k in ("id", "type", "collection", "encoding")})
_GOOGLE = Shape({"client_id": ("clientId", Shape.TEXT)})
_INTEGRATIONS = Shape({"google": ("Google Analytics", _GOOGLE)})


def _context(traits: Shape) -> Shape:
    return Shape(
        {
            "traits": ("traits", traits),
            "external_ids": ("externalIds", [_EXTERNAL_ID]),
            "device": ("device", _DEVICE),
            "integrations": ("integrations", _INTEGRATIONS),
        }
    )


def _keyed(rules: tuple[IdentifierRule, ...]) -> list[Identifier]:
    """The spellings of every key looked up, each with the type it tells.

    >>> _keyed((IdentifierRule("email"), IdentifierRule("app", "app_id"), IdentifierRule("fax")))
    [('app_id', 'app'), ('appId', 'app'), ('fax', 'fax')]
    """
    keyed = []
    for rule in rules:
        key = rule.key or (None if rule.type in _BUILT_IN else rule.type)
        if key is not None:
            keyed += [(spelling, rule.type) for spelling in spellings(key)]
    return keyed


def _is_type(text: str) -> bool:
    """Whether a text can name an identifier type: Segment takes lower-case ones only."""
    return (
        0 < len(text) <= _TYPE_LIMIT
        and text == text.lower()
        and not re.search(r"\s", text)
        and text not in _NEVER
    )
