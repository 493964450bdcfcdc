"""A seeded landing zone of Segment calls for the benches: ordinary people, and who is not.

    from bench.calls import World, landed
    landed(folder, World(calls=200_000))

Of the calls, most are of people with one to three devices who log in on some of their calls.
Besides, for every 100,000 calls: one kiosk that a thousand calls of different people share, a
chain of cookie churn of five hundred calls, each of which shares one identifier with the next, and
a hairball of a thousand calls at random between 200 people and 200 devices. Activity is skewed: a
tenth of the people make half of the calls. One line in two hundred is a copy of the one before, one
in two thousand is broken.

The same world gives the same bytes. A world of several ``populations`` is that many of the first
side by side, so that more history is more people and not more history of each.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

FIRST_DAY = datetime(2026, 5, 1, tzinfo=UTC)
_PER_OBJECT = 22_000
_ODD = 100_000
_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/125.0 Safari/537.36"
)


@dataclass(frozen=True)
class World:
    """So many ``calls`` over ``days`` from ``first_day`` on, of ``populations`` of ``people``
    (default: a twentieth of the calls) each; ``touched`` is the share of people who make them,
    ``odd`` whether there are kiosk, chain and hairball; ``seed`` tells nights apart."""

    calls: int
    people: int = 0
    populations: int = 1
    days: int = 5
    first_day: int = 0
    touched: float = 1.0
    odd: bool = True
    seed: int = 7

    @property
    def size(self) -> int:
        return self.people or max(1, self.calls // 20)


def landed(folder: Path, world: World) -> int:
    """Write the world's calls as gz objects in a folder; how many lines there are."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = max(2, -(-world.calls // _PER_OBJECT))
    with ProcessPoolExecutor(2) as pool:
        return sum(pool.map(partial(_object, folder, world, objects), range(objects)))


def _object(folder: Path, world: World, objects: int, number: int) -> int:
    calls = range(number * world.calls // objects, (number + 1) * world.calls // objects)
    lines = list(_lines(world, calls, random.Random(world.seed * 1_000_003 + number)))
    path = folder / f"{world.seed:03d}-{number:04d}.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", compresslevel=4, mtime=0))
    return len(lines)


def _lines(world: World, calls: range, draw: random.Random) -> Iterator[bytes]:
    for number in calls:
        line = _call(world, number, draw).encode()
        yield line
        chance = draw.random()
        if chance < 0.005:
            yield line
        elif chance < 0.0055:
            yield line[: len(line) // 2]


def _who(world: World, number: int, draw: random.Random) -> tuple[str, str, str]:
    """The call's user, device and e-mail, each "" where it carries none."""
    block, place = divmod(number, _ODD)
    if world.odd and place < 1_000:  # the kiosk
        return f"u{draw.randrange(world.size)}", f"kiosk-{block}", ""
    if world.odd and place < 1_500:  # the chain
        link = place - 1_000
        return "", f"churn-{block}-{link // 2}", f"churn-{block}-{(link + 1) // 2}@example.com"
    if world.odd and place < 2_500:  # the hairball
        return f"h{block}-{draw.randrange(200)}", f"hair-{block}-{draw.randrange(200)}", ""
    active = max(1, int(world.size * world.touched))
    person = int(active * draw.random() ** 2.3)
    if world.populations > 1:
        person += world.size * draw.randrange(world.populations)
    device = f"{person * 2_654_435_761 % 2**32:08x}-4f1c-8e2b-{min(2, int(draw.expovariate(1.2)))}"
    known = draw.random() < 0.55
    return f"u{person}" if known else "", device, f"Person{person}@Example.com" if known else ""


def _call(world: World, number: int, draw: random.Random) -> str:
    user, device, email = _who(world, number, draw)
    at = FIRST_DAY + timedelta(
        days=world.first_day, seconds=number * 86_400 * world.days // world.calls
    )
    happened = f"{at:%Y-%m-%dT%H:%M:%S}.{draw.randrange(1000):03d}Z"
    received = f"{at + timedelta(seconds=draw.randrange(1, 30)):%Y-%m-%dT%H:%M:%S}.000Z"
    page = draw.randrange(5_000)
    kind = draw.random()
    if (email and kind < 0.25) or not (user or kind < 0.9) or email.startswith("churn"):
        traits = f'"email":"{email}",' if email else ""
        said = (
            f'"type":"identify","traits":{{{traits}"plan":"{"free" if page % 3 else "pro"}",'
            f'"city":"City {page % 97}"}}'
        )
    elif kind < 0.5:
        said = (
            f'"type":"page","name":"Product","properties":{{"path":"/p/{page}",'
            f'"url":"https://shop.example/p/{page}","title":"Product {page}"}}'
        )
    else:
        said = (
            f'"type":"track","event":"Product Viewed","properties":{{"product_id":"sku-{page}",'
            f'"price":{page}.95,"currency":"GBP","quantity":1,"category":"Shoes"}}'
        )
    who = f'"userId":"{user}",' if user else ""
    return (
        f'{{"messageId":"ajs-{world.seed:x}-{number:x}-{draw.getrandbits(64):016x}",{who}'
        f'"anonymousId":"{device}","channel":"browser","timestamp":"{happened}",'
        f'"sentAt":"{happened}","receivedAt":"{received}","originalTimestamp":"{happened}",'
        f'"context":{{"library":{{"name":"analytics.js","version":"2.1.0"}},'
        f'"ip":"10.0.{page % 256}.{page % 251}","locale":"en-GB","userAgent":"{_AGENT}",'
        f'"page":{{"path":"/p/{page}","url":"https://shop.example/p/{page}"}}}},'
        f'"integrations":{{}},{said}}}'
    )
