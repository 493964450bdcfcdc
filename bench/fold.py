"""How many sightings a second of CPU time the fold resolves. Seeded; no Spark, one process.

python bench/fold.py                  components of ordinary size, from clean to hopeless
python bench/fold.py --giant 1000000  and one component of that many sightings
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Iterator, Sequence

from lake.identity.resolve import Limit, Rules, Sighting, Strategy, Window, resolve

HOUR = 3_600_000_000
TYPES = ("user_id", "email", "anonymous_id", "phone")


def sighting(n: int, identifiers: set[tuple[str, str]]) -> Sighting:
    at = n * HOUR
    key = tuple(sorted(identifiers))
    return Sighting(key, at, (at, at, f"m{n:09}"), key)


def component(rng: random.Random, name: int, crossed: float) -> list[Sighting]:
    """5 to 20 sightings of 2 or 3 identifiers.

    ``crossed`` 0: one person with 4 devices. Else two people with 4 devices each, and that share
    of the sightings, at least one, takes a device from either.
    """
    pools = {"phone": [f"p{name}"]}
    sightings = []
    count = rng.randint(5, 20)
    for n in range(count):
        person = rng.randrange(2) if crossed else 0
        home = (
            rng.randrange(2) if crossed and (n == count - 1 or rng.random() < crossed) else person
        )
        pools["user_id"] = [f"u{name}-{person}"]
        pools["email"] = [f"e{name}-{person}"]
        pools["anonymous_id"] = [f"a{name}-{home}-{d}" for d in range(4)]
        types = ["anonymous_id", *rng.sample(TYPES, rng.randint(1, 2))]
        sightings.append(sighting(n, {(kind, rng.choice(pools[kind])) for kind in types}))
    return sightings


def giant(rng: random.Random, count: int) -> Iterator[Sighting]:
    """Sightings around one anonymous id that everybody shares."""
    for n in range(count):
        link = {("anonymous_id", "kiosk"), ("user_id", f"u{rng.randrange(count // 3)}")}
        yield sighting(n, link | {("email", f"e{rng.randrange(count // 3)}")})


def chain(count: int) -> Iterator[Sighting]:
    """Half the sightings create profiles, the other half merge them, each younger than the next."""
    half = count // 2
    for n in range(half):
        yield sighting(n, {("anonymous_id", f"a{n}")})
    for n in range(half - 1, 0, -1):
        yield sighting(count - n, {("anonymous_id", f"a{n}"), ("anonymous_id", f"a{n - 1}")})


def timed(title: str, work: Sequence[list[Sighting]], rules: Rules, repeats: int) -> None:
    """The best of some runs: other load on the machine only ever adds to CPU time."""
    count = sum(map(len, work))
    seconds = min(seconds_of(work, rules) for _ in range(repeats))
    print(f"{title:45} {count:>9,} sightings {seconds:7.2f} s {count / seconds:>10,.0f} /s CPU")


def seconds_of(work: Sequence[list[Sighting]], rules: Rules) -> float:
    started = time.process_time()
    for sightings in work:
        resolve(sightings, rules)
    return time.process_time() - started


def ordinary(components: int) -> None:
    window = Rules(limits={"user_id": Limit(1), "anonymous_id": Limit(5, Window.WEEKLY)})
    free = Limit(None)
    adobe = Rules(strategy=Strategy.LATEST_WINS, limits={"user_id": Limit(1)}, default_limit=free)
    for kind, crossed in (("clean", 0), ("a tenth crossed", 0.1), ("all shared", 1)):
        rng = random.Random(7)
        work = [component(rng, name, crossed) for name in range(components)]
        losing = len({v.sighting for c in work for v in resolve(c, Rules()).violations})
        print(f"{kind}: {losing / sum(map(len, work)):.0%} of the sightings lose an identifier")
        gc.freeze()  # the input is not the fold's garbage
        for title, rules in (
            ("segment, limits ever", Rules()),
            ("segment, 5 weekly", window),
            ("components", Rules(strategy=Strategy.COMPONENTS)),
            ("latest_wins", adobe),
        ):
            timed(f"  {title}", work, rules, repeats=5)


def one_giant(count: int) -> None:
    free = Limit(None)
    big = 1 << 40
    uncapped = Rules(limits={}, default_limit=free, max_merges=big, max_mappings=big)
    weekly = Rules(
        limits={}, default_limit=Limit(count // 4, Window.WEEKLY), max_merges=big, max_mappings=big
    )
    adobe = Rules(strategy=Strategy.LATEST_WINS, limits={"user_id": Limit(1)}, default_limit=free)
    kiosk = list(giant(random.Random(7), count))
    line = list(chain(count))
    for title, rules, work in (
        ("giant kiosk: segment, defaults", Rules(), kiosk),
        ("giant kiosk: segment, no limits", uncapped, kiosk),
        ("giant kiosk: latest_wins", adobe, kiosk),
        ("giant chain of merges: segment, no limits", uncapped, line),
        ("giant chain of merges: segment, windows", weekly, line),
    ):
        timed(title, [work], rules, repeats=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=5_000)
    parser.add_argument("--giant", type=int, default=0, help="sightings of one component")
    options = parser.parse_args()
    ordinary(options.components)
    if options.giant:
        one_giant(options.giant)
