"""Random worlds for what is published about profiles, and the questions asked of all of them.

Many worlds lie in one lake and never meet, because every identifier carries its world's name. A
world is a handful of people on a handful of devices, with few values, few moments and much
contradiction: equal times, late calls, copies, nulls, values of other types.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.profile_oracle import Rule, Told

AS_OF = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
Call = dict[str, Any]
Landed = list[tuple[str, Call]]

VALUES: tuple[Any, ...] = (
    *(None, "", " ", "a", "bb", "a", 7, "7", 10, 9.5, True, "true", [], {}, ["x"]),
    *("2026-02-27", "2026-03-05", "2025-13-01", {"city": "Bonn"}, "1e2", "NaN", "ü"),
)
TRAITS: dict[str, dict[str, Any]] = {
    "plan": {"type": "string"},
    "name": {"sources": ["crm", "web"], "type": "string"},
    "firstTouch": {"rule": "first"},
    "mood": {"rule": "most_frequent"},
    "bio": {"rule": "longest"},
    "high": {"rule": "highest", "type": "number"},
    "low": {"rule": "lowest", "type": "date"},
    "note": {"rule": "never_empty", "sources": ["crm"]},
    "tags": {"rule": "list", "type": "string"},
    "old": {"max_age": "5 days", "type": "integer"},
    "home.city": {"rule": "latest", "type": "string"},
    "vip": {"type": "boolean"},
    "born": {"type": "date"},
}
SPELT = {"firstTouch": ("firstTouch", "first_touch"), "other": ("other",)}


def rules() -> list[Rule]:
    """The declared traits, and one that is not, as the judge takes them."""
    found = []
    for name, said in {**TRAITS, "other": {}}.items():
        steps = tuple(SPELT.get(step, (step,)) for step in name.split("."))
        age = said.get("max_age")
        found.append(
            Rule(
                name,
                steps,
                said.get("rule", "latest"),
                tuple(said.get("sources", ())),
                timedelta(days=int(age.split()[0])) if age else None,
                said.get("type"),
            )
        )
    return found


# --- what is asked of calls: each in the product's words, and as a function of plain calls ---


def of(calls: list[Told], name: str, kind: str = "track") -> list[Told]:
    key = "event" if kind == "track" else "name"
    return [c for c in calls if c.body["type"] == kind and c.body.get(key) == name]


def within(calls: list[Told], hours: int) -> list[Told]:
    now = AS_OF.replace(minute=0)
    return [c for c in calls if now - timedelta(hours=hours) <= hour(c) <= now]


def hour(call: Told) -> datetime:
    return call.at.replace(minute=0, second=0, microsecond=0)


def text(call: Told, *path: str) -> str | None:
    value: Any = call.body.get("properties")
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def numbers(calls: list[Told], *path: str) -> list[Fraction]:
    found = []
    for call in calls:
        said = text(call, *path)
        if said is not None and said.replace(".", "", 1).removeprefix("-").isdigit():
            found.append(Fraction(said))
    return found


def texts(calls: list[Told], *path: str) -> list[str]:
    return [said for c in calls if (said := text(c, *path)) is not None]


def mode(values: list[str], least: int) -> str | None:
    often = [(-n, v) for v, n in Counter(values).items() if n >= least]
    return min(often)[1] if often else None


def many(found: list[Fraction], how: Callable[[list[Fraction]], Any]) -> float | None:
    return float(how(found)) if found else None


def mean(found: list[Fraction]) -> float:
    """The exact sum as a number, then divided: so it is defined."""
    return float(sum(found)) / len(found)


COMPUTED: dict[str, tuple[str, Callable[[list[Told]], Any]]] = {
    "orders": ("event('Order').count()", lambda cs: len(of(cs, "Order"))),
    "orders_2d": (
        "event('Order').within(2 days).count()",
        lambda cs: len(within(of(cs, "Order"), 48)),
    ),
    "homes": ("page('Home').count()", lambda cs: len(of(cs, "Home", "page"))),
    "screens": ("screen().count()", lambda cs: len([c for c in cs if c.body["type"] == "screen"])),
    "spent": (
        "event('Order').sum(property('total'))",
        lambda cs: many(numbers(of(cs, "Order"), "total"), sum),
    ),
    "mean": (
        "event('Order').within(30 hours).avg(property('total'))",
        lambda cs: many(numbers(within(of(cs, "Order"), 30), "total"), mean),
    ),
    "least": (
        "event('Order').where(property('total') > 5).min(property('total'))",
        lambda cs: many([n for n in numbers(of(cs, "Order"), "total") if n > 5], min),
    ),
    "most": (
        "event('Order').max(property('total'))",
        lambda cs: many(numbers(of(cs, "Order"), "total"), max),
    ),
    "usual": (
        "event('Order').mode(property('shop.city'))",
        lambda cs: mode(texts(of(cs, "Order"), "shop", "city"), 2),
    ),
    "first_city": (
        "event('Order').first(property('shop.city'))",
        lambda cs: next(iter(texts(of(cs, "Order"), "shop", "city")), None),
    ),
    "last_city": (
        "event('Order').within(3 days).last(property('shop.city'))",
        lambda cs: next(iter(texts(within(of(cs, "Order"), 72), "shop", "city")[::-1]), None),
    ),
    "cities": (
        "event('Order').unique(property('shop.city'))",
        lambda cs: sorted(set(texts(of(cs, "Order"), "shop", "city"))) or None,
    ),
    "how_many": (
        "event('Order').where(NOT property('total') = 7).unique_count(property('total'))",
        lambda cs: len({t for t in texts(of(cs, "Order"), "total") if t != "7"}),
    ),
}  # fmt: skip

#: Each as a function of a profile's values and its calls.
AUDIENCES: dict[str, tuple[str, Callable[[dict[str, Any], list[Told]], bool]]] = {
    "buyers": ("trait('orders') > 1", lambda p, _: p["orders"] > 1),
    "planless": ("NOT trait('plan') exists", lambda p, _: p["plan"] is None),
    "mixed": (
        "trait('plan') one_of ('a', '7') OR trait('vip') AND trait('spent') >= 7",
        lambda p, _: p["plan"] in ("a", "7") or (p["vip"] is True and (p["spent"] or 0) >= 7),
    ),
    "not_bonn": (
        "trait('usual') != 'Bonn'",
        lambda p, _: p["usual"] is not None and p["usual"] != "Bonn",
    ),
    "tagged": ("trait('tags') contains 'a'", lambda p, _: "a" in (p["tags"] or [])),
    "recent": (
        "trait('born') within_last 3 days",
        lambda p, _: (
            p["born"] is not None
            and AS_OF - timedelta(days=3)
            <= datetime.combine(p["born"], datetime.min.time(), UTC)
            <= AS_OF
        ),
    ),
    "quiet": (
        "event('Order').within(1 day).count() = 0 AND trait('orders') > 0",
        lambda p, cs: not within(of(cs, "Order"), 24) and p["orders"] > 0,
    ),
}


# --- calls ---


def worlds(count: int, seed: int) -> Landed:
    """The calls of so many worlds, by their source; the name of a world tells its seed."""
    return [call for n in range(count) for call in world(f"w{seed}x{n}")]


def world(name: str) -> Iterator[tuple[str, Call]]:
    dice = random.Random(name)
    size = dice.choice((3, 8, 15, 30))
    calls = [(dice.choice(("web", "crm", "app")), _call(dice, name, n)) for n in range(size)]
    calls += [dice.choice(calls) for _ in range(size // 10)]
    yield from dice.sample(calls, len(calls))


def _call(dice: random.Random, name: str, n: int) -> Call:
    received = AS_OF - timedelta(hours=dice.choice((0, 1, 12, 24, 25, 30, 48, 49, 72, 130)))
    happened = received - timedelta(minutes=dice.choice((0, 0, 31, 61, 60 * 24)))
    kind = dice.choice(("identify", "identify", "track", "track", "page", "screen", "group"))
    call: Call = {
        "type": kind,
        "messageId": f"{name}-{dice.randrange(10**6):06}-{n}",
        "receivedAt": received.isoformat(),
        "anonymousId": f"{name}-d{dice.randrange(3)}",
    }
    if dice.random() < 0.3:
        call["userId"] = f"{name}-u{dice.randrange(2)}"
    if dice.random() < 0.9:
        call["timestamp"] = happened.isoformat()
    if dice.random() < 0.2:
        said = {c: dice.choice((True, False, "no")) for c in dice.sample(("ads", "mail"), 1)}
        call["context"] = {"consent": {"categoryPreferences": said}}
    if dice.random() < 0.4:
        said = dice.choice((f"{name}-g0", f"{name}-g1", f"{name}-g0", "", None, {"a": 1}, True))
        call.setdefault("context", {})["groupId"] = said
    match kind:
        case "identify":
            more = ("first_touch", "home", "home.city", "other")
            names = dice.sample((*(t for t in TRAITS if "." not in t), *more), 4)
            call["traits"] = {t: dice.choice(VALUES) for t in names}
        case "group":
            call["groupId"] = f"{name}-g{dice.randrange(2)}"
            call["traits"] = {"size": dice.choice((None, 1, "x"))}
        case "track":
            call["event"] = dice.choice(("Order", "Order", "Visit"))
            call["properties"] = {
                "total": dice.choice((None, 1, 7, "2.5", 0.1, -3, "x", 7)),
                "shop": dice.choice((None, {"city": "Bonn"}, {"city": "Rome"}, {"city": 5}, "x")),
            }
        case _:
            call["name"] = dice.choice(("Home", "Cart"))
    return call
