"""From a call's body to its identifiers: Segment's default places and the custom keys."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from .settings import DEFAULTS, Id, Identifier, IdSet, Settings

Body = dict[str, Any]

BUILT_IN = {each.type for each in DEFAULTS}
PLACE = {"identify": "traits", "group": "traits"} | dict.fromkeys(
    ("track", "page", "screen"), "properties"
)
PACK = {
    *("-1", "null", "anonymous"),
    *("none", "undefined", "unknown", "nil", "n/a", "na", "nan", "(null)", "[object object]"),
    *("test", "true", "false", "0"),
}
PACK_PATTERN = "^[0-]*$"


def dig(value: Any, *path: str) -> Any:
    """The value at a path of object keys, None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def spellings(key: str) -> set[str]:
    """A key as written, in snake_case and in camelCase."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
    first, *rest = snake.split("_")
    return {key, snake, first + "".join(part[:1].upper() + part[1:] for part in rest)}


def built_in(type_: str, body: Body, settings: Settings) -> Iterator[Any]:
    """What stands in the documented places of one of Segment's own types."""
    device = dig(body, "context", "device")
    system, _, part = type_.partition(".")
    if type_ == "user_id":
        yield dig(body, "userId")
    elif type_ == "anonymous_id":
        yield dig(body, "anonymousId")
    elif type_ == "ga_client_id":
        yield dig(body, "context", "integrations", "Google Analytics", "clientId")
    elif type_ == "email":
        place = PLACE[body["type"]]
        if place == "traits" or settings.properties_email:
            yield dig(body, place, "email")
        yield dig(body, "context", "traits", "email")
    elif dig(device, "type") == system and part == "idfa":
        tracking = dig(device, "adTrackingEnabled") is True
        if tracking or (system == "ios" and not settings.ios_idfa_needs_tracking):
            yield dig(device, "advertisingId")
    elif dig(device, "type") == system:
        yield dig(device, {"id": "id", "push_token": "token"}[part])


def custom(key: str, body: Body) -> Iterator[Any]:
    """What stands under a custom key, in either spelling."""
    for spelling in sorted(spellings(key)):
        yield dig(body, PLACE[body["type"]], spelling)
        yield dig(body, "context", "traits", spelling)


def external(body: Body, settings: Settings) -> Iterator[tuple[str, Any]]:
    """The (type, value) of complete external ids; types must be lower-case."""
    entries = dig(body, "context", "externalIds")
    for entry in entries if isinstance(entries, list) else []:
        values = [dig(entry, key) for key in ("id", "type", "collection", "encoding")]
        type_ = values[1]
        if None in values or not isinstance(type_, str) or not type_ or type_ != type_.lower():
            continue
        named = [each.type for each in settings.types if type_ in (each.type, each.key)]
        if not named and settings.unknown_types == "add" and type_ != "group_id":
            named = [type_]
        for name in named:
            yield name, values[0]


def found(body: Body, settings: Settings) -> set[Id]:
    """The identifiers of a call as they were sent. An alias links nothing: it is its user alone."""
    values: list[tuple[str, Any]] = []
    if body["type"] == "alias":
        types = {each.type for each in settings.types}
        values += [("user_id", dig(body, "userId"))] if "user_id" in types else []
    else:
        for each in settings.types:
            if each.type in BUILT_IN:
                values += [(each.type, value) for value in built_in(each.type, body, settings)]
            if each.key or each.type not in BUILT_IN:
                values += [(each.type, value) for value in custom(each.key or each.type, body)]
        values += external(body, settings)
    return {(type_, value) for type_, value in values if isinstance(value, str)}


def normalised(value: str, rule: Identifier) -> str | None:
    """The value as compared, or None where it cannot be one of this type."""
    text = unicodedata.normalize("NFC", value.strip())
    if rule.normalise in ("lower", "email"):
        text = text.lower()
    if rule.normalise == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        return None
    if rule.normalise == "digits":
        text = re.sub("[^0-9]", "", text)[-(rule.last or 0) :]
    if rule.normalise == "phone":
        return phone(text, rule.region)
    return text or None


def phone(text: str, region: str | None) -> str | None:
    """E.164; the numbering plans are not ours to restate."""
    import phonenumbers as plans

    try:
        number = plans.parse(text, region)
    except plans.NumberParseException:
        return None
    if not plans.is_possible_number(number):
        return None
    return str(plans.format_number(number, plans.PhoneNumberFormat.E164))


def identity_set(sent: set[Id], settings: Settings) -> IdSet:
    """The distinct normalised identifiers of a call."""
    pairs = {(type_, normalised(value, settings.rule(type_))) for type_, value in sent}
    return frozenset((type_, value) for type_, value in pairs if value is not None)


def is_blocked(id_: Id, settings: Settings) -> bool:
    """Whether a value may not link: exact values in any case, patterns anywhere in the value."""
    type_, value = id_
    values = {*settings.blocked_values, *settings.blocked_values_by_type.get(type_, ())}
    patterns = [*settings.blocked_patterns, *settings.blocked_patterns_by_type.get(type_, ())]
    if settings.builtin:
        values |= PACK
        patterns.append(PACK_PATTERN)
    return value.strip().lower() in {each.strip().lower() for each in values} or any(
        re.search(pattern, value) for pattern in patterns
    )
