"""A fictional shop's world, and the calls its people make: three days of Segment-shaped landing.

``World`` invents people, their browsers and phones, and what they do, and writes the calls as
gzipped NDJSON in the layout of Segment's S3 destination::

    <landing>/<source>/segment-logs/<source id>/<UTC midnight in ms>/
        <written in ms>.<12 hex>.<7 hex>.<uuid>.gz

It knows who is who, so profiles can be scored against the truth (``lake.cli.score``).

- People browse without a name, sign up or log in later and on several devices, lose their
  cookies, or never log in: profiles known from the first night merge on the second and third.
- Some identifiers belong to nobody: those of an in-store iPad that a dozen customers log in on and
  of a browser that two people of a household share, an address that the call centre types into
  thirty people's orders, the placeholders that some calls carry as userId.
- Calls come late, twice, in the wrong folder and damaged, as they do; ``Landed.kinds`` says how
  many of each, so that landed = accepted + rejected + duplicate can be checked against it.

Everything is a function of the arguments: no clock, and a generator seeded by ``seed``. The lines
are the same bytes everywhere; the gz objects are where zlib is the same. Objects get the time in
their name as time of last change, so writing a day again changes nothing.

Names, addresses and numbers are invented: example.com, 555-01xx, addresses reserved for
documentation. Times are UTC.
"""

from __future__ import annotations

import os
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

Identifier = tuple[str, str]
Json = dict[str, Any]
T = TypeVar("T")

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

#: What a line is. A line is of one kind: the first of a call is accepted, its copies are not.
ACCEPTED_KINDS = (
    "call",
    "late_call",  # happened a day or more before it arrived
    "missing_message_id",
    "bad_timestamp",
    "blocked_user_id",
    "numeric_user_id",  # the CRM sends some as JSON numbers; the web sends the same as text
)
DUPLICATE_KINDS = (
    "repeat",  # the same bytes in another object, the same day or the next
    "retry",  # the same messageId with another receivedAt and sentAt
    "copy",  # in a copy of a whole object under another name
)
REJECTED_KINDS = (
    "invalid_json",
    "two_values",
    "invalid_utf8",
    "unknown_type",
    "over_long",
    "unreadable_rest",  # all that was lost of a truncated object, one line of it
)

#: Values that some calls carry as userId and that are nobody.
BLOCKED_USER_IDS = ("null", "anonymous", "-1", "00000000-0000-0000-0000-000000000000", "")
NOREPLY = "noreply@example.com"
OVER_LONG_BYTES = 2 * 1024 * 1024

SOURCE_IDS = {
    "web": "pWq7RtYx3K",
    "ios": "4nHsVb9ZcE",
    "android": "mU2kLd8QfJ",
    "server": "9xGaTe5WrN",
    "crm": "cB6vPz1SyH",
}
OBJECTS_PER_DAY = {"web": 7, "ios": 3, "android": 3, "server": 3, "crm": 2}
CHANNELS = {"web": "browser", "ios": "mobile", "android": "mobile", "server": "server"}
LIBRARIES = {
    "web": ("analytics.js", "2.11.1"),
    "ios": ("analytics-swift", "1.7.3"),
    "android": ("analytics-kotlin", "1.19.1"),
    "server": ("analytics-node", "2.2.0"),
    "crm": ("analytics-python", "2.3.2"),
}

FIRST_NAMES, LAST_NAMES, AREA_CODES = (
    words.split()
    for words in (
        "Ada Amir Bea Carl Chen Dana Dev Elif Emil Eva Finn Gita Hana Hugo Ines Ivan Jack Jun Kai "
        "Lara Leo Lina Luis Maja Mara Milo Nina Noah Olga Omar Paul Pia Raj Rosa Sam Tess Zoë José",
        "Abbott Baker Castro Dietz Eklund Farrow Garcia Haddad Iyer Jensen Keller Larsen Moreau "
        "Nakata Okafor Petrov Quinn Rossi Sato Tanaka Ueda Vargas Weber Xu Young Zeman Dubois",
        "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 "
        "234 239 240 248 251 252 253 254 256 260 262 267 269 270 276 281 301 302",
    )
)
CITIES = (
    ("Springfield", "IL", "62701"),
    ("Portland", "OR", "97201"),
    ("Austin", "TX", "73301"),
    ("Madison", "WI", "53703"),
    ("Salem", "MA", "01970"),
    ("Boulder", "CO", "80301"),
)
STREETS = ("Maple Street", "Oak Avenue", "2nd Street", "River Road", "Hill Lane", "Station Road")
PLANS = ("free", "basic", "plus", "business")
INDUSTRIES = ("Retail", "Logistics", "Health", "Education")
LOCALES = ("en-US", "en-US", "en-US", "en-GB", "de-DE", "fr-FR", "es-US")
TIMEZONES = ("America/New_York", "America/Chicago", "America/Denver", "Europe/Berlin")
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
)
PHONE_MODELS = {
    "ios": (("Apple", "iPhone16,2"), ("Apple", "iPhone17,1"), ("Apple", "iPhone14,5")),
    "android": (("Google", "Pixel 9"), ("samsung", "SM-S931B"), ("Fairphone", "FP5")),
}
CAMPAIGNS = (
    {"name": "autumn_sale", "source": "newsletter", "medium": "email"},
    {"name": "brand", "source": "google", "medium": "cpc", "term": "garden chairs"},
)
CATEGORIES = ("Chairs", "Lamps", "Tables", "Plants", "Mirrors")
PRODUCTS = tuple(
    {
        "product_id": f"p-{1000 + i}",
        "sku": f"SKU-{category[:2].upper()}-{i:03}",
        "name": f"{adjective} {category[:-1]}",
        "category": category,
        "brand": ("Nordhus", "Fjell", "Casa Luz")[i % 3],
        "price": (1299 + 737 * i) / 100,
    }
    for i, (category, adjective) in enumerate(
        (c, a)
        for c in CATEGORIES
        for a in ("Oak", "Linen", "Small", "Folding", "Copper", "Reading")
    )
)
BAD_TIMES = ("yesterday", "2026-02-31T10:00:00.000Z", "0000-00-00 00:00:00")

WEB_STEPS = (
    ("page", "Home"),
    ("page", "Category"),
    ("track", "Product List Viewed"),
    ("page", "Product"),
    ("track", "Product Viewed"),
    ("track", "Product Added"),
    ("track", "Cart Viewed"),
    ("track", "Checkout Started"),
    ("track", "Order Completed"),
)
APP_STEPS = (
    ("track", "Application Opened"),
    ("screen", "Home"),
    ("screen", "Category"),
    ("screen", "Product"),
    *WEB_STEPS[4:],
)
PRODUCT_STEP = 3
PATHS = {
    "Home": "/",
    "Category": "/c/",
    "Product List Viewed": "/c/",
    "Cart Viewed": "/cart",
    "Checkout Started": "/checkout",
    "Order Completed": "/checkout/done",
    "Account": "/account",
}
#: The first people are customers from before, so that every world has its stories: Ann, then
#: those at the iPad, those of the household, those who order by telephone.
KIOSK, HOUSEHOLD, CALLERS = slice(1, 13), slice(13, 15), slice(15, 45)


@dataclass(frozen=True)
class Person:
    """One real person. Values are as the lake normalises them: e-mail in lower case, E.164.

    ``member_from`` is the day (from 0) of the sign-up: 0 for those who were customers before,
    ``days`` or more for those who never sign up. ``plans`` is the plan on each day.
    """

    key: str
    user_id: str
    numeric: bool
    first_name: str
    last_name: str
    email: str
    later_email: str | None
    phone: str | None
    loyalty_id: str | None
    company: int | None
    member_from: int
    first_day: int
    created_at: str
    plans: tuple[str, ...]
    city: int
    moves_on: int

    def email_on(self, day: int) -> str:
        """The e-mail address the person gives on ``day``: a few change it after the first."""
        return self.later_email if self.later_email and day else self.email


@dataclass(frozen=True)
class Landed:
    """What one day wrote: objects, lines, and lines by kind. Blank lines do not occur.

    ``lines`` counts as the ingest ledger does: what is unreadable of an object is one line.
    """

    files: int
    lines: int
    kinds: Mapping[str, int]

    @property
    def accepted(self) -> int:
        """Lines that are the first of their call."""
        return sum(self.kinds.get(kind, 0) for kind in ACCEPTED_KINDS)

    @property
    def duplicate(self) -> int:
        """Lines whose call is on another line, of this day or an earlier one."""
        return sum(self.kinds.get(kind, 0) for kind in DUPLICATE_KINDS)

    @property
    def rejected(self) -> int:
        """Lines that are no call."""
        return sum(self.kinds.get(kind, 0) for kind in REJECTED_KINDS)


class World:
    """A shop's world of about ``calls`` lines over ``days`` days, from the UTC day ``first_day``.

    One person for twenty lines. The world is planned at the first use: about 2.5 s of CPU and
    100 MB for 60,000 lines.

    >>> world = World(calls=1_200)
    >>> world.sources["web"], world.people[0].email
    ('web', 'ann@example.com')
    >>> len(world.people)
    60
    """

    def __init__(
        self,
        seed: int = 7,
        calls: int = 60_000,
        days: int = 3,
        first_day: date = date(2026, 11, 2),
    ) -> None:
        if days < 1 or calls < max(1_200, 400 * days):
            raise ValueError("a world takes at least a day, 1,200 calls and 400 calls a day")
        self.first_day = first_day
        self._dice = _Dice(seed)
        self._calls, self.days = calls, days
        self._start = int(datetime(*first_day.timetuple()[:3], tzinfo=UTC).timestamp()) * SECOND
        self.people: tuple[Person, ...] = _population(
            self._dice, max(60, calls // 20), days, first_day
        )

    @property
    def sources(self) -> dict[str, str]:
        """Each source's name and its folder, relative to the landing folder."""
        return {name: name for name in SOURCE_IDS}

    def write_day(self, landing: Path, day_index: int) -> Landed:
        """Write what lands on day ``day_index`` (from 0) below ``landing``; safe to repeat."""
        if not 0 <= day_index < self.days:
            raise ValueError(f"day_index must be between 0 and {self.days - 1}")
        objects = [o for o in self._landing if o.landed == day_index]
        kinds: Counter[str] = Counter()
        for landed in objects:
            landed.write(landing)
            kinds.update(landed.kinds)
        return Landed(len(objects), kinds.total(), dict(sorted(kinds.items())))

    def truth(self, nights: int | None = None) -> dict[Identifier, str | None]:
        """Who owns each identifier that the readable calls of the first ``nights`` days carry.

        Values are a ``Person.key``, or None where nobody does: shared and blocked ones. Types are
        Segment's defaults that name people (``group_id`` does not), ``phone`` and ``loyalty_id``;
        a blocked userId is there under its raw value. Where a person never logs in on a device,
        no rule can find out whose it is: recall below 1 is in the nature of things.
        """
        end = self.days if nights is None else nights
        seen = {i: None for landed in self._landing if landed.landed < end for i in landed.seen}
        return {identifier: self._diary.owners[identifier] for identifier in sorted(seen)}

    @cached_property
    def _diary(self) -> _Diary:
        diary = _Diary(self._dice, self.people, self.days, self._start)
        diary.live(self._calls)
        return diary

    @cached_property
    def _landing(self) -> list[_Object]:
        return _Delivery(self._dice, self._diary.calls, self.days, self._start).objects()


class _Dice:
    """Chance, from a seed: only ``random()`` and ``getrandbits()``, which no release changes."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)
        self.roll = source.random
        self.bits = source.getrandbits

    def chance(self, share: float) -> bool:
        return self.roll() < share

    def below(self, n: int) -> int:
        return int(self.roll() * n)

    def between(self, low: int, high: int) -> int:
        return low + int(self.roll() * (high - low))

    def pick(self, values: Sequence[T]) -> T:
        return values[int(self.roll() * len(values))]

    def uuid(self) -> str:
        h = f"{self.bits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"


# -- people and their devices ------------------------------------------------------------------


def _population(dice: _Dice, size: int, days: int, first_day: date) -> tuple[Person, ...]:
    """``size`` people; the first is Ann, whose address is easy to look up."""
    return tuple(_person(dice, n, days, first_day) for n in range(size))


def _person(dice: _Dice, n: int, days: int, first_day: date) -> Person:
    """Person ``n``: a customer already, one who signs up on some day, or one who never does."""
    first, last = (dice.pick(FIRST_NAMES), dice.pick(LAST_NAMES)) if n else ("Ann", "Archer")
    stem = f"{first}.{last}{n}".lower().replace("ë", "e").replace("é", "e")
    in_story = n < CALLERS.stop
    first_seen = 0 if in_story or dice.chance(0.6) else dice.below(days)
    fate = 0.0 if in_story else dice.roll()  # a customer already, signs up, or never does
    member_from = 0 if fate < 0.4 else dice.between(first_seen, days) if fate < 0.75 else days
    created = first_day - timedelta(days=dice.between(20, 900) if fate < 0.4 else -member_from)
    plan, changes = dice.pick(PLANS), dice.between(1, 12)
    numeric = n % 25 == 24
    return Person(
        key=f"person-{n:05}",
        user_id=str(70_000 + n) if numeric else f"u_{10_000 + n}",
        numeric=numeric,
        first_name=first,
        last_name=last,
        email=f"{stem}@example.{dice.pick(('com', 'org', 'net'))}" if n else "ann@example.com",
        later_email=f"{stem}@mail.example.com" if n % 41 == 40 else None,
        phone=_phone(n) if dice.chance(0.6) else None,
        loyalty_id=f"LC{500_000 + 7 * n}" if dice.chance(0.3) else None,
        company=n % 40 if dice.chance(0.08) else None,
        member_from=member_from,
        first_day=first_seen,
        created_at=f"{created}T{dice.below(24):02}:{dice.below(60):02}:00.000Z",
        plans=tuple(plan if day < changes else "plus" for day in range(days)),
        city=dice.below(len(CITIES)),
        moves_on=dice.between(1, 40),
    )


def _phone(n: int) -> str | None:
    """A number of the block kept for fiction, its own for each person, while there are any."""
    return f"+1{AREA_CODES[n // 100]}55501{n % 100:02}" if n < 100 * len(AREA_CODES) else None


@dataclass
class _Device:
    """A browser, an app's installation or a server; ``owner`` is None where people share it."""

    source: str
    owner: str | None
    context: Json
    anonymous_id: str | None = None
    ids: tuple[Identifier, ...] = ()
    skew: int = 0
    user: Person | None = None  # who is logged in
    primary: bool = False  # where the person logs in first
    visited: bool = False
    fixed: bool = False  # keeps its anonymous id, and whoever uses it logs in


# -- what they do ------------------------------------------------------------------------------


class _Call(NamedTuple):
    """One encoded call; ``received`` in ms, ``ids`` its identifiers, normalised."""

    source: str
    received: int
    kind: str
    line: bytes
    ids: tuple[Identifier, ...]


@dataclass
class _Basket:
    """What a visitor looks at and buys during one visit."""

    product: Json
    items: list[Json] = field(default_factory=list)

    def order(self) -> Json:
        """The cart's properties; a cart nobody put anything into holds what was looked at."""
        items = self.items or [{**self.product, "quantity": 1}]
        cents = sum(round(item["price"] * 100) * item["quantity"] for item in items)
        return {
            "currency": "USD",
            "revenue": cents / 100,
            "tax": cents * 8 // 100 / 100,
            "shipping": 4.95,
            "total": (cents + cents * 8 // 100 + 495) / 100,
            "products": [_brief(item) for item in items[:3]],
        }


def _brief(item: Json) -> Json:
    """An item of a list or an order, without what the product's own calls say of it."""
    return {key: item[key] for key in ("product_id", "name", "price", "quantity") if key in item}


class _Diary:
    """Everything everybody does, as calls in no particular order, and who owns what."""

    def __init__(self, dice: _Dice, people: tuple[Person, ...], days: int, start: int) -> None:
        self.dice, self.people, self.days, self.start = dice, people, days, start
        self.calls: list[_Call] = []
        self.owners: dict[Identifier, str | None] = {("user_id", v): None for v in BLOCKED_USER_IDS}
        self.owners["email", NOREPLY] = None
        self._encode = msgspec.json.Encoder().encode
        self._servers = {
            name: _Device(name, None, self._server(name)) for name in ("server", "crm")
        }
        for person in people:
            self._owns(person)
        self.devices = [self._belongings(n, person) for n, person in enumerate(people)]

    def live(self, lines: int) -> None:
        """Let all days happen; ``lines`` is what is to land, with repeats and damage."""
        for day in range(self.days):
            goal = lines * 95 // 100 * (day + 1) // self.days
            self._ann(day)
            self._shared_devices(day)
            self._call_centre(day)
            self._crm(day)
            newcomers = [n for n, p in enumerate(self.people) if n and p.first_day == day]
            known = [n for n, p in enumerate(self.people) if n and p.first_day <= day]
            for n in newcomers:
                self._visit(day, self.people[n], self.devices[n][0])
            while len(self.calls) < goal:
                # Some come often, most now and then.
                n = known[min(self.dice.below(len(known)), self.dice.below(len(known)))]
                self._visit(day, self.people[n], self.dice.pick(self.devices[n]))

    # What people own.

    def _owns(self, person: Person) -> None:
        for kind, value in (
            ("user_id", person.user_id),
            ("email", person.email),
            ("email", person.later_email),
            ("phone", person.phone),
            ("loyalty_id", person.loyalty_id),
        ):
            if value:
                self.owners[kind, value] = person.key

    def _belongings(self, n: int, person: Person) -> list[_Device]:
        """The devices of a person: Ann's three, else one to four, mostly browsers."""
        if n == 0:
            return [self._device(source, person.key) for source in ("web", "ios", "web")]
        count = 1 + self.dice.chance(0.6) + self.dice.chance(0.35) + self.dice.chance(0.1)
        kinds = ("web", "web", "web", "ios", "android")
        devices = [self._device(self.dice.pick(kinds), person.key) for _ in range(count)]
        devices[0].primary = True
        return devices

    def _device(self, source: str, owner: str | None) -> _Device:
        dice = self.dice
        name, version = LIBRARIES[source]
        context: Json = {
            "library": {"name": name, "version": version},
            "ip": f"{dice.pick(('203.0.113', '198.51.100'))}.{dice.below(254) + 1}",
            "locale": dice.pick(LOCALES),
            "timezone": dice.pick(TIMEZONES),
        }
        # A clock that is wrong by minutes; the API corrects `timestamp` for it.
        skew = dice.between(-9, 9) * MINUTE if dice.chance(0.05) else 0
        device = _Device(source, owner, context, skew=skew)
        if source == "web":
            context["userAgent"] = dice.pick(USER_AGENTS)
            if dice.chance(0.6):
                choice = {"Advertising": dice.chance(0.5), "Analytics": True, "Functional": True}
                context["consent"] = {"categoryPreferences": choice}
            if dice.chance(0.3):
                context["integrations"] = {"Google Analytics": {}}
        else:
            context |= self._phone_context(source)
        self._new_cookie(device)
        return device

    def _phone_context(self, source: str) -> Json:
        dice = self.dice
        maker, model = dice.pick(PHONE_MODELS[source])
        device: Json = {"id": dice.uuid().upper() if source == "ios" else f"{dice.bits(64):016x}"}
        device |= {"type": source, "manufacturer": maker, "model": model}
        device["adTrackingEnabled"] = dice.chance(0.4)
        if device["adTrackingEnabled"]:
            device["advertisingId"] = dice.uuid()
        if dice.chance(0.4):
            device["token"] = f"{dice.bits(256):064x}"
        return {
            "app": {"name": "Shop", "version": "5.2.1", "build": "521"},
            "device": device,
            "os": {"name": "iOS" if source == "ios" else "Android", "version": "17.6"},
            "network": {"wifi": True, "cellular": False},
        }

    def _new_cookie(self, device: _Device) -> None:
        """A first visit, a cleared browser or a `reset()`: a new anonymous id, nobody logged in."""
        device.user = None
        device.anonymous_id = self.dice.uuid()
        ids: list[Identifier] = [("anonymous_id", device.anonymous_id)]
        if "integrations" in device.context:
            client = f"{self.dice.bits(30)}.{self.dice.bits(30)}"
            ids.append(("ga_client_id", client))
            device.context["integrations"] = {"Google Analytics": {"clientId": client}}
        parts = device.context.get("device", {})
        for key, kind in (("id", "id"), ("advertisingId", "idfa"), ("token", "push_token")):
            if key in parts:
                ids.append((f"{device.source}.{kind}", parts[key]))
        device.ids = tuple(ids)
        self.owners |= dict.fromkeys(ids, device.owner)

    def _server(self, source: str) -> Json:
        name, version = LIBRARIES[source]
        return {
            "library": {"name": name, "version": version},
            "app": {"name": f"shop-{source}", "version": "2026.44.1"},
            "ip": "192.0.2.10",
            "locale": "en-US",
            "timezone": "UTC",
        }

    # The stories.

    def _ann(self, day: int) -> None:
        """Ann logs in on another of her devices each day, and on the first one every day."""
        ann, (laptop, phone, office) = self.people[0], self.devices[0]
        self._visit(day, ann, laptop, length=8, login=True)
        if day:
            self._visit(day, ann, (phone, office)[(day - 1) % 2], length=8, login=True)

    @cached_property
    def _shared(self) -> tuple[_Device, _Device]:
        kiosk, browser = self._device("ios", None), self._device("web", None)
        kiosk.context["device"] |= {"model": "iPad14,3", "name": "Store 12"}
        kiosk.fixed = browser.fixed = True
        return kiosk, browser

    def _shared_devices(self, day: int) -> None:
        """A dozen customers at the iPad of the shop; two of a household at one browser."""
        kiosk, browser = self._shared
        for n, person in enumerate(self.people[KIOSK]):
            if n % self.days == day:
                at = self._midnight(day) + 9 * HOUR + n * 40 * MINUTE
                self._visit(day, person, kiosk, length=5, login=True, at=at)
        for n, person in enumerate(self.people[HOUSEHOLD]):
            at = self._midnight(day) + (18 + n) * HOUR
            self._visit(day, person, browser, length=5, login=True, at=at)

    def _call_centre(self, day: int) -> None:
        """Orders by telephone: the tool wants an address, and the agents type the same one."""
        for n, person in enumerate(self.people[CALLERS]):
            if n % self.days == day:
                basket = _Basket(self.dice.pick(PRODUCTS))
                order = {"order_id": f"tel-{day}{n:03}", "email": NOREPLY, **basket.order()}
                body = {"type": "track", "event": "Order Completed", "properties": order}
                at = self._midnight(day) + 8 * HOUR + n * 13 * MINUTE
                self._emit(self._servers["crm"], at, body, person, (("email", NOREPLY),))

    def _crm(self, day: int) -> None:
        """The nightly sync of one customer in twelve, with what the CRM knows of them."""
        members = [p for p in self.people if p.member_from <= day and p.first_day <= day]
        for person in members:
            if self.dice.chance(0.3 if person.numeric else 0.08):
                traits, ids = self._traits(person, day)
                context: Json = {}
                externals = (("loyalty_id", person.loyalty_id), ("phone", person.phone))
                known = [(kind, value) for kind, value in externals if value]
                if known:
                    context["externalIds"] = [
                        {"id": value, "type": kind, "collection": "users", "encoding": "none"}
                        for kind, value in known
                    ]
                at = self._midnight(day) + 3 * HOUR + self.dice.below(2 * HOUR)
                body = {"type": "identify", "traits": traits}
                self._emit(self._servers["crm"], at, body, person, (*ids, *known), context)

    def _visit(
        self,
        day: int,
        person: Person,
        device: _Device,
        length: int | None = None,
        login: bool = False,
        at: int | None = None,
    ) -> None:
        """One visit: anonymous until a log-in, then under the person's name."""
        dice = self.dice
        if device.source == "web" and not device.fixed and dice.chance(0.06):
            self._new_cookie(device)
        # The first visit of a second device is anonymous: a later night learns whose it was.
        likely = 0.8 if device.visited else 0.5 if device.primary else 0.0
        login, device.visited = login or (person.member_from <= day and dice.chance(likely)), True
        when = self._midnight(day) + int((dice.roll() + dice.roll()) * 11.5 * HOUR)
        at = when if at is None else at
        # An app that was offline sends what it kept, days later.
        offline = device.source != "web" and not device.fixed and dice.chance(0.06)
        late = dice.between(DAY, 5 * DAY) if offline else 0
        length = length or 3 + int(dice.roll() * dice.roll() * 13)
        basket, step = _Basket(dice.pick(PRODUCTS)), 0
        for n in range(length):
            if n == 2 and login and device.user is not person:
                self._log_in(day, at, person, device, late)
            else:
                self._step(day, at, person, device, step, basket, late)
                step = self._next_step(step)
            at += dice.between(3 * SECOND, 40 * SECOND)
        if device.user and not device.fixed and dice.chance(0.04):
            self._new_cookie(device)

    def _next_step(self, step: int) -> int:
        if step == len(WEB_STEPS) - 1:
            return 1
        return step + 1 if self.dice.chance(0.88) else PRODUCT_STEP

    def _log_in(self, day: int, at: int, person: Person, device: _Device, late: int) -> None:
        traits, ids = self._traits(person, day)
        body: Json = {"type": "identify", "traits": traits}
        device.user = person
        account = self._page(device, "Account")
        self._emit(device, at, body, person, ids, account, late)
        if traits["createdAt"][:10] == _date_text(self._midnight(day) // DAY):
            body = {"type": "track", "event": "Signed Up", "properties": {"plan": traits["plan"]}}
            self._emit(device, at + SECOND, body, person, (), account, late)
        if self.dice.chance(0.15):
            body = {"type": "alias", "previousId": device.anonymous_id}
            self._emit(self._servers["server"], at + SECOND, body, person)
        if person.company is not None:
            group = f"company-{person.company:03}"
            about: Json = {"name": f"Company {person.company}", "employees": 12 * person.company}
            about |= {"industry": INDUSTRIES[person.company % 4], "plan": "business"}
            body = {"type": "group", "groupId": group, "traits": about}
            self._emit(device, at + SECOND, body, person, (), account, late)

    def _step(
        self,
        day: int,
        at: int,
        person: Person,
        device: _Device,
        step: int,
        basket: _Basket,
        late: int,
    ) -> None:
        """One page, screen or track call of a visit."""
        dice, user = self.dice, device.user
        kind, name = (WEB_STEPS if device.source == "web" else APP_STEPS)[step]
        if name == "Product":
            basket.product = dice.pick(PRODUCTS)
        context = self._page(device, name, basket.product)
        ids: tuple[Identifier, ...] = ()
        if kind == "track":
            properties = self._properties(name, basket, device)
            body: Json = {"type": "track", "event": name, "properties": properties}
            if name == "Order Completed":
                ids = self._order(day, at, person, user, properties)
            elif user and dice.chance(0.2):
                email = user.email_on(day)
                context["traits"] = {"email": self._spelled(email), "plan": user.plans[day]}
                ids = (("email", email),)
        else:
            properties = dict(context.get("page") or {"section": name.lower()})
            body = {"type": kind, "name": name, "properties": properties}
            if step == 0 and dice.chance(0.2):
                context["campaign"] = dice.pick(CAMPAIGNS)
        self._emit(device, at, body, user, ids, context, late)

    def _order(
        self, day: int, at: int, person: Person, user: Person | None, order: Json
    ) -> tuple[Identifier, ...]:
        """Complete an order, a guest's by e-mail, and let the server report that it is paid."""
        order["order_id"] = f"o-{self.dice.bits(40):010x}"
        email = person.email_on(day)
        ids: tuple[Identifier, ...] = () if user else (("email", email),)
        if not user:
            order["email"] = self._spelled(email)
        paid = {"order_id": order["order_id"], "payment": "card", "total": order["total"]}
        paid |= {} if user else {"email": email}
        body = {"type": "track", "event": "Order Paid", "properties": paid}
        self._emit(self._servers["server"], at + self.dice.below(3 * MINUTE), body, user, ids)
        return ids

    def _properties(self, event: str, basket: _Basket, device: _Device) -> Json:
        if event == "Application Opened":
            return {"from_background": self.dice.chance(0.5), "version": "5.2.1", "build": "521"}
        if event == "Product List Viewed":
            category = basket.product["category"]
            listed = [_brief(p) for p in PRODUCTS if p["category"] == category][:3]
            return {"list_id": f"all-{category.lower()}", "category": category, "products": listed}
        if event.startswith("Product"):
            item = {**basket.product, "quantity": 1 + self.dice.chance(0.2)}
            if event == "Product Added":
                basket.items.append(item)
            return {**item, "currency": "USD", "value": item["price"]}
        return {"cart_id": f"cart-{str(device.anonymous_id)[:8]}", **basket.order()}

    def _page(self, device: _Device, name: str, product: Json = PRODUCTS[0]) -> Json:
        """The call's own part of a browser's context; an app has none."""
        if device.source != "web":
            return {}
        path = PATHS.get(name) or f"/p/{product['sku'].lower()}"
        path += product["category"].lower() if path == "/c/" else ""
        url = f"https://shop.example.com{path}"
        return {"page": {"path": path, "title": f"{name} | Shop", "url": url}}

    def _traits(self, person: Person, day: int) -> tuple[Json, tuple[Identifier, ...]]:
        """What an identify call says of a person on that day; null takes a trait away."""
        email = person.email_on(day)
        ids = [("email", email)]
        traits: Json = {"email": self._spelled(email)}
        traits |= {"firstName": person.first_name, "lastName": person.last_name}
        traits |= {"plan": person.plans[day], "createdAt": person.created_at}
        if person.phone and self.dice.chance(0.9):
            ids.append(("phone", person.phone))
            traits["phone"] = self._dialled(person.phone)
        elif person.phone:
            traits["phone"] = None
        city, state, code = CITIES[(person.city + (day >= person.moves_on)) % len(CITIES)]
        street = f"{person.city * 17 + 3} {STREETS[person.city]}"
        traits["address"] = {"street": street, "city": city, "state": state}
        traits["address"] |= {"postalCode": code, "country": "US"}
        return traits, tuple(ids)

    def _spelled(self, email: str) -> str:
        """An address as people type it: now and then in capitals or with a blank."""
        if self.dice.chance(0.85):
            return email
        return self.dice.pick((email.title(), email.upper(), f" {email}", f"{email} "))

    def _dialled(self, phone: str) -> str:
        """A number as people write it."""
        area, middle, last = phone[2:5], phone[5:8], phone[8:]
        styles = (phone, f"+1 {area} {middle} {last}", f"({area}) {middle}-{last}")
        return self.dice.pick(styles)

    def _midnight(self, day: int) -> int:
        return self.start + day * DAY

    # The calls.

    def _emit(
        self,
        device: _Device,
        at: int,
        body: Json,
        user: Person | None = None,
        ids: tuple[Identifier, ...] = (),
        context: Json | None = None,
        late: int = 0,
    ) -> None:
        """Encode one call, sent at ``at`` and made ``late`` ms before that."""
        sent, received = at + 40, at + self.dice.between(120, 1_500)
        made = at - late
        call: Json = {"anonymousId": device.anonymous_id} if device.anonymous_id else {}
        call |= body
        call["channel"] = CHANNELS.get(device.source, "server")
        call["context"] = device.context | (context or {})
        call["integrations"] = {"All": True}
        call["messageId"] = self._message_id(device.source)
        call["originalTimestamp"] = _iso(made + device.skew)
        call["receivedAt"] = _iso(received)
        call["sentAt"] = _iso(sent + device.skew)
        call["timestamp"] = _iso(received - (sent - made))
        if user:
            call["userId"] = user.user_id
            ids = (("user_id", user.user_id), *ids)
        call["version"] = 2
        kind, ids = self._oddity(call, device, user, ids, "late_call" if late else "call")
        line = self._encode(call)
        self.calls.append(_Call(device.source, received, kind, line, (*device.ids, *ids)))

    def _message_id(self, source: str) -> str:
        return f"ajs-next-{self.dice.bits(128):032x}" if source == "web" else self.dice.uuid()

    def _oddity(
        self,
        call: Json,
        device: _Device,
        user: Person | None,
        ids: tuple[Identifier, ...],
        kind: str,
    ) -> tuple[str, tuple[Identifier, ...]]:
        """Spoil one call in a hundred or so, in turn rather than by chance; (kind, identifiers)."""
        n = len(self.calls)
        if n % 397 == 5:
            del call["messageId"]
            return "missing_message_id", ids
        if n % 383 == 7:
            call["timestamp"] = BAD_TIMES[n % len(BAD_TIMES)]
            return "bad_timestamp", ids
        if n % 131 == 3 and device.anonymous_id and call["type"] != "alias":
            call["userId"] = BLOCKED_USER_IDS[n // 131 % len(BLOCKED_USER_IDS)]
            others = tuple(i for i in ids if i[0] != "user_id")
            return "blocked_user_id", (("user_id", call["userId"]), *others)
        if user and user.numeric and device.source == "crm":
            call["userId"] = int(user.user_id)
            return "numeric_user_id", ids
        return kind, ids


def _iso(ms: int) -> str:
    """A time in ms since 1970 as Segment writes it."""
    day, rest = divmod(ms, DAY)
    seconds, milli = divmod(rest, SECOND)
    minutes, second = divmod(seconds, 60)
    return f"{_date_text(day)}T{minutes // 60:02}:{minutes % 60:02}:{second:02}.{milli:03}Z"


@lru_cache(maxsize=256)
def _date_text(day: int) -> str:
    return str(date(1970, 1, 1) + timedelta(days=day))


# -- how it lands ------------------------------------------------------------------------------


class _Line(NamedTuple):
    """A line of an object: its kind, its bytes, and the call's identifiers where it is one."""

    kind: str
    raw: bytes
    ids: tuple[Identifier, ...] = ()


@dataclass
class _Object:
    """A landing object: in which folder, written when, on which day it lands."""

    source: str
    folder: int
    landed: int
    path: str
    written: int
    lines: list[_Line] = field(default_factory=list)
    truncated: bool = False

    @property
    def kinds(self) -> Counter[str]:
        """How many lines of each kind a reader meets."""
        readable = Counter(line.kind for line in self.lines)
        return readable + Counter(unreadable_rest=1) if self.truncated else readable

    @property
    def seen(self) -> Iterable[Identifier]:
        """Identifiers of the accepted calls."""
        return (i for line in self.lines if line.kind in ACCEPTED_KINDS for i in line.ids)

    def write(self, landing: Path) -> None:
        path = landing / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_gzip(b"".join(b"%b\n" % line.raw for line in self.lines), self.truncated))
        os.utime(path, ns=(self.written * 1_000_000, self.written * 1_000_000))


def _gzip(plain: bytes, truncated: bool) -> bytes:
    """``plain`` as gzip without name and time; ``truncated`` ends it in the midst of a next block.

    All of ``plain`` is flushed before the cut, so which lines survive it does not depend on zlib.
    """
    packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    packed = packer.compress(plain)
    if not truncated:
        return packed + packer.flush()
    packed += packer.flush(zlib.Z_FULL_FLUSH)
    return packed + (packer.compress(plain) + packer.flush())[:16]


class _Delivery:
    """Calls put into objects: by arrival, with the ways in which that goes wrong."""

    def __init__(self, dice: _Dice, calls: list[_Call], days: int, start: int) -> None:
        self.dice, self.calls, self.days, self.start = dice, calls, days, start
        self.last = days - 1
        self._day = [self._regular(day) for day in range(days)]
        self._extra: list[_Object] = []

    def objects(self) -> list[_Object]:
        """All objects of all days."""
        self._fill()
        for day in range(self.days):
            self._damage(day)
        self._over_long(0)
        self._truncate(min(1, self.last))
        self._copy(min(1, self.last))
        regular = [o for day in self._day for source in day.values() for o in source]
        return [o for o in regular + self._extra if o.lines]

    def _object(self, source: str, folder: int, landed: int, written: int) -> _Object:
        bits, midnight = self.dice.bits, self.start + folder * DAY
        name = f"{written}.{bits(48):012x}.{bits(28):07x}.{self.dice.uuid()}.gz"
        path = f"{source}/segment-logs/{SOURCE_IDS[source]}/{midnight}/{name}"
        return _Object(source, folder, landed, path, written)

    def _regular(self, day: int) -> dict[str, list[_Object]]:
        """The objects of a day's own folder, each written a while after its hours are over."""
        return {
            source: [
                self._object(source, day, day, self._closing(day, (n + 1) * DAY // count))
                for n in range(count)
            ]
            for source, count in OBJECTS_PER_DAY.items()
        }

    def _closing(self, day: int, hours: int) -> int:
        return self.start + day * DAY + hours + 40 * MINUTE + self.dice.below(5 * MINUTE)

    def _fill(self) -> None:
        """Put each call where it belongs; hold a few back, and let a few come twice."""
        stragglers = [
            self._object("web", day, day + 1, self._closing(day + 1, 6 * HOUR))
            for day in range(self.last)
        ]
        self._extra += stragglers
        for call in sorted(self.calls, key=lambda call: call.received):
            day, time = divmod(call.received - self.start, DAY)
            objects = self._day[day][call.source]
            slot, line = time * len(objects) // DAY, _Line(call.kind, call.line, call.ids)
            fate = self.dice.roll()
            if fate < 0.008 and day < self.last:  # held back, into the next day's folder
                self._day[day + 1][call.source][0].lines.append(line)
            elif fate < 0.012 and day < self.last and call.source == "web":
                stragglers[day].lines.append(line)  # held back, into the day's own folder
            else:
                objects[slot].lines.append(line)
                if fate > 0.974:
                    self._again(day, slot, call)

    def _again(self, day: int, slot: int, call: _Call) -> None:
        """Deliver a call once more, in another object of this day or the next."""
        later = day + self.dice.below(2) if day < self.last else day
        objects = self._day[later][call.source]
        others = [o for n, o in enumerate(objects) if later != day or n != slot]
        line = _Line("repeat", call.line)
        if call.kind == "call" and self.dice.chance(0.15):
            line = _Line("retry", self._retried(call))
        self.dice.pick(others).lines.append(line)

    def _retried(self, call: _Call) -> bytes:
        """The call as a client sends it again after a time-out: later, and otherwise the same."""
        again = msgspec.json.decode(call.line)
        wait = self.dice.between(2 * SECOND, 15 * MINUTE)
        again["receivedAt"] = _iso(call.received + wait)
        again["sentAt"] = _iso(call.received + wait - 200)
        return msgspec.json.encode(again)

    def _damage(self, day: int) -> None:
        """Damaged copies of good lines, so that no call is lost by them: three of each a day."""
        for n in range(3):
            lines = self.dice.pick(self._fullest(day, "web")).lines
            good = [line.raw for line in lines if line.kind == "call"]
            call = msgspec.json.decode(self.dice.pick(good))
            call |= {"messageId": self.dice.uuid(), "type": ("heartbeat", "Track", "")[n]}
            lines[len(lines) // 2 : len(lines) // 2] = [
                _Line("invalid_json", self.dice.pick(good)[: -40 * (n + 1)]),
                _Line("two_values", self.dice.pick(good) + b" " * n + self.dice.pick(good)),
                _Line("invalid_utf8", _spoiled(self.dice.pick(good))),
                _Line("unknown_type", msgspec.json.encode(call)),
            ]

    def _fullest(self, day: int, source: str) -> list[_Object]:
        """A day's three largest objects of a source."""
        return sorted(self._day[day][source], key=lambda o: -len(o.lines))[:3]

    def _over_long(self, day: int) -> None:
        """A small object with one line of 2 MiB between two ordinary ones."""
        good = [line for line in self._fullest(day, "web")[0].lines if line.kind == "call"][:3]
        first, last = (_Line("repeat", line.raw) for line in good[:2])
        call = msgspec.json.decode(good[2].raw)
        call["properties"] = {"blob": "x" * OVER_LONG_BYTES}
        landed = self._object("web", day, day, self._closing(day, DAY))
        landed.lines = [first, _Line("over_long", msgspec.json.encode(call)), last]
        self._extra.append(landed)

    def _truncate(self, day: int) -> None:
        """Cut an object in the middle; what it lost comes in the source's last object that day."""
        landed = self._fullest(day, "android")[0]
        *_, last = (o for o in self._day[day]["android"] if o is not landed)
        half = len(landed.lines) // 2
        landed.truncated = True
        last.lines += landed.lines[half:]
        landed.lines = landed.lines[:half]

    def _copy(self, day: int) -> None:
        """An object of the first day once more under another name, in the same folder."""
        original = self._fullest(0, "ios")[0]
        copy = self._object("ios", 0, day, self._closing(day, 8 * HOUR))
        copy.lines = [_Line("copy", line.raw) for line in original.lines]
        self._extra.append(copy)


def _spoiled(line: bytes) -> bytes:
    """A line with a byte sequence in a string that is not UTF-8."""
    return line.replace(b'"locale":"', b'"locale":"\xc3\x28\xff', 1)
