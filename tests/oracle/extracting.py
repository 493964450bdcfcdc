"""From a call's body to its identifiers: Segment's default places and the custom keys."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import phonenumbers as plans

from .settings import DEFAULTS, Id, Identifier, Settings

Body = dict[str, Any]
BUILT_IN = {each.type for each in DEFAULTS}
PLACE = dict.fromkeys(("identify", "group"), "traits")
PLACE |= dict.fromkeys(("track", "page", "screen"), "properties")
PATHS = {
    "user_id": ("userId",),
    "anonymous_id": ("anonymousId",),
    "ga_client_id": ("context", "integrations", "Google Analytics", "clientId"),
}
PACK = {"-1", "null", "anonymous", "none", "undefined", "unknown", "nil", "n/a", "na", "nan"}
PACK |= {"(null)", "[object object]", "test", "true", "false", "0"}


def dig(value: Any, *path: str) -> Any:
    """The value at a path of object keys, None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def built_in(type_: str, body: Body, settings: Settings) -> Iterator[Any]:
    """What stands in the documented places of one of Segment's own types."""
    if type_ in PATHS:
        yield dig(body, *PATHS[type_])
    elif type_ == "email":
        place = PLACE[body["type"]]
        if place == "traits" or settings.properties_email:
            yield dig(body, place, "email")
        yield dig(body, "context", "traits", "email")
    else:
        system, _, part = type_.partition(".")
        device = dig(body, "context", "device")
        tracked = dig(device, "adTrackingEnabled") is True
        tracked |= system == "ios" and not settings.ios_idfa_needs_tracking
        if dig(device, "type") == system and (tracked or part != "idfa"):
            yield dig(device, {"id": "id", "idfa": "advertisingId", "push_token": "token"}[part])


def custom(key: str, body: Body) -> list[Any]:
    """What stands under a custom key, as it is written, in snake_case and in camelCase."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
    first, *rest = snake.split("_")
    spellings = {key, snake, first + "".join(part[:1].upper() + part[1:] for part in rest)}
    places = (PLACE[body["type"]],), ("context", "traits")
    return [dig(body, *place, spelling) for place in places for spelling in spellings]


def external(body: Body, settings: Settings) -> Iterator[tuple[str, Any]]:
    """The (type, value) of complete external ids; types must be lower-case."""
    entries = dig(body, "context", "externalIds")
    for entry in entries if isinstance(entries, list) else []:
        value, type_, *rest = [dig(entry, k) for k in ("id", "type", "collection", "encoding")]
        if None in (value, *rest) or not isinstance(type_, str) or type_ != type_.lower():
            continue
        named = [each.type for each in settings.types.values() if type_ in (each.type, each.key)]
        added = [type_] if settings.unknown_types == "add" else []
        yield from ((name, value) for name in named or added if name not in ("", "group_id"))


def found(body: Body, settings: Settings) -> set[Id]:
    """The identifiers of a call as they were sent. An alias links nothing: it is its user alone."""
    if body["type"] == "alias":
        sent = isinstance(body.get("userId"), str) and "user_id" in settings.types
        return {("user_id", body["userId"])} if sent else set()
    values = list(external(body, settings))
    for type_, rule in settings.types.items():
        if type_ in BUILT_IN:
            values += [(type_, value) for value in built_in(type_, body, settings)]
        if rule.key or type_ not in BUILT_IN:
            values += [(type_, value) for value in custom(rule.key or type_, body)]
    return {(type_, value) for type_, value in values if isinstance(value, str)}


def normalised(value: str, rule: Identifier) -> str | None:
    """The value as compared, or None where it cannot be one of this type."""
    text = unicodedata.normalize("NFC", value.strip())
    if rule.normalise in ("lower", "email"):
        text = text.lower()
    if rule.normalise == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        return None
    if rule.normalise == "phone":  # the numbering plans are not ours to restate
        try:
            number = plans.parse(text, rule.region)
        except plans.NumberParseException:
            return None
        possible = plans.is_possible_number(number)
        text = plans.format_number(number, plans.PhoneNumberFormat.E164) if possible else ""
    return text or None


def is_blocked(id_: Id, settings: Settings) -> bool:
    """Whether a value may not link: exact values in any case, patterns anywhere in the value."""
    type_, value = id_
    if settings.builtin and (value.lower() in PACK or re.search("^[0-]*$", value)):
        return True
    own = settings.blocked_by_type.get(type_, ((), ()))
    same = value.lower() in {v.strip().lower() for v in (*settings.blocked_values, *own[0])}
    return same or any(re.search(p, value) for p in (*settings.blocked_patterns, *own[1]))
