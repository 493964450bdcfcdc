"""Publishing beside a hand-written DuckDB query of the same result: `python bench/publishing.py`.

Identity sets with trait observations and activity are made once, as Parquet. Both ways read them
and write the same rows, as Parquet: every trait's winner and every loser with its reason, then
ten computed traits and five audiences. All rows are compared. CPU is that of the whole process
tree, without starting Spark. It is that of the best of a few turns, all of which are shown: the
JVM goes on compiling what it runs for more than a turn of this length.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from bench.support import Watch
from lake.frames import Materialised, Storable
from lake.io.objects import objects_for
from lake.io.scratch import Stored, read_back, stored_rows
from lake.io.session import spark_session
from lake.language.parsing import audience, computed
from lake.language.tree import computed_in
from lake.profiles.activity import measure_of, with_computed
from lake.profiles.audiences import with_audiences
from lake.profiles.survivorship import TraitRule, judged_values, trait_candidates, winning_traits
from lake.ranges import most_ranges

AS_OF = datetime(2026, 3, 1, 10, tzinfo=UTC)
CLOCK = "received_at"
SOURCES = ("crm", "web", "app", "shop")
RULES = (
    TraitRule("t0", sources=("crm", "web")),
    TraitRule("t1", rule="most_frequent"),
    TraitRule("t2", rule="first"),
)
COMPUTED = {
    "orders": "event('Order').count()",
    "orders_30d": "event('Order').within(30 days).count()",
    "visits_7d": "event('Visit').within(7 days).count()",
    "spent": "event('Order').sum(property('total'))",
    "spent_90d": "event('Order').within(90 days).sum(property('total'))",
    "dearest": "event('Order').max(property('total'))",
    "usual": "event('Visit').mode(property('shop'))",
    "first_shop": "event('Visit').first(property('shop'))",
    "last_shop": "event('Visit').last(property('shop'))",
    "shops": "event('Visit').unique_count(property('shop'))",
}
AUDIENCES = {
    "buyers": "trait('orders') > 2",
    "big": "trait('spent_90d') >= 100",
    "lapsed": "trait('orders') > 0 AND trait('orders_30d') = 0",
    "loyal": "trait('usual') one_of ('s1', 's2') AND trait('shops') < 4",
    "quiet": "trait('visits_7d') = 0 OR trait('dearest') absent",
}


def facts(folder: Path, sets: int, observations: int) -> None:
    """Make the facts: sets of which a third share a profile, values of which a third contradict."""
    keys = {name: measure_of(computed(said)).key for name, said in COMPUTED.items()}
    counts = "0::decimal(38,9) total, null::decimal(28,9) least, null::decimal(28,9) greatest"
    numbers = "n::decimal(38,9) total, n::decimal(28,9) least, n::decimal(28,9) greatest"
    moment = """{'received_at': m, 'timestamp': m::timestamptz, 'message_id': 'e' || i,
                 'source': source}"""
    random = "(hash(i::varchar || '/{}') % {})::bigint"

    def r(salt: int, size: int) -> str:
        return random.format(salt, size)

    with duckdb.connect() as db:
        db.execute("set timezone = 'UTC'; set preserve_insertion_order = false")
        db.execute("create macro seen(s) as timestamptz '2026-03-01' - to_minutes(s)")
        db.execute(f"""
            copy (select encode(md5(i::varchar))[1:16] identity_set,
                         md5((i - i % 3 % 2)::varchar) profile_id from range({sets}) t(i))
            to '{folder}/set_profiles' (format parquet, file_size_bytes '8MB')""")
        listed = ", ".join(f"'{s}'" for s in SOURCES)
        db.execute(f"""
            copy (select encode(md5({r(1, sets)}::varchar))[1:16] identity_set, trait, value,
                         source, 1::bigint calls, {moment} "first", {moment} "last", 1::bigint batch
                  from (select i, 't' || {r(2, 12)} trait,
                               case when {r(3, 20)} > 0 then '"v' || {r(4, 5)} || '"' end as value,
                               [{listed}][{r(5, 4)} + 1] source, seen({r(6, 200000)}) m
                        from range({observations}) t(i)))
            to '{folder}/traits' (format parquet, file_size_bytes '8MB')""")
        rows = []
        for salt, key in enumerate(sorted(set(keys.values()))):
            (name,) = [n for n, k in keys.items() if k == key][:1]
            asked = computed(COMPUTED[name])
            values = asked.of is not None and asked.reducer not in ("sum", "max")
            grain = "hour" if asked.window else "day"
            rows.append(f"""
                select encode(md5({r(100 + salt, sets)}::varchar))[1:16] identity_set,
                       '{key}' measure, date_trunc('{grain}', m) as hour,
                       {"'s' || " + r(200 + salt, 6) if values else "null::varchar"} as value,
                       1::bigint calls, {numbers if asked.of and not values else counts},
                       {moment} "first", {moment} "last", 1::bigint batch
                from (select i, 'web' source, seen({r(300 + salt, 200000)}) m,
                             {r(400 + salt, 9000)} / 100 n from range({sets // 2}) t(i))""")
        db.execute(f"copy ({' union all '.join(rows)}) to '{folder}/activity.parquet'")


def write(rows: Storable, folder: Path) -> Materialised:
    """Write the rows as a night does."""
    store, spark = objects_for(str(folder)), spark_session("bench")
    stored = stored_rows(rows, store, str(folder))
    return read_back(spark.read.parquet(*stored.files), stored, store)


def stored(folder: Path) -> Materialised:
    """Files as a night finds its tables: workers read them themselves."""
    files = sorted(str(file) for file in folder.glob("*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    frame = spark_session("bench").read.parquet(*files)
    return read_back(frame, Stored(tuple(files), rows), objects_for(str(folder)))


def product_traits(folder: Path, out: Path) -> None:
    """Survivorship by the product's own transforms, as a night applies them."""
    told, homes = (stored(folder / name) for name in ("traits", "set_profiles"))
    ranges = most_ranges(spark_session("bench"))
    values = judged_values(told, homes, RULES, CLOCK, AS_OF, ranges)
    judged = write(values, out / "judged")
    write(winning_traits(judged), out / "winners")
    write(trait_candidates(judged, CLOCK), out / "losers")


def product_profiles(folder: Path, out: Path) -> None:
    """Computed traits and audiences by the product's own transforms, as a night applies them."""
    spark = spark_session("bench")
    activity = spark.read.parquet(f"{folder}/activity.parquet")
    homes = spark.read.parquet(f"{folder}/set_profiles")
    asked = {name: computed(said) for name, said in COMPUTED.items()}
    types = {name: each.type for name, each in asked.items()}
    conditions = {name: audience(said, types) for name, said in AUDIENCES.items()}
    assert not any(computed_in(each) for each in conditions.values())
    everyone = homes.select("profile_id").distinct()
    told = with_computed(everyone, activity, homes, asked, CLOCK, AS_OF)
    rows = with_audiences(told, conditions, asked, AS_OF)
    write(rows, out / "profiles")


#: As a night's own session: two cores, the memory that Spark has, Parquet packed by zstd.
SETTINGS = """set timezone = 'UTC'; set preserve_insertion_order = false; set threads = 2;
              set memory_limit = '6GB'"""


def by_hand_traits(folder: Path, out: Path) -> None:
    """The same rows of traits as one who knows the rules would ask DuckDB for them."""
    with duckdb.connect() as db:
        db.execute(SETTINGS)
        db.execute(f"""
            create table judged as
            with summed as (
                select profile_id, trait, value, source, sum(calls) calls,
                       min((f.received_at, coalesce(f.timestamp, f.received_at), f.message_id)) fo,
                       max((l.received_at, coalesce(l.timestamp, l.received_at), l.message_id)) lo
                from (select *, "first" f, "last" l from '{folder}/traits/*.parquet') o
                join '{folder}/set_profiles/*.parquet' using (identity_set)
                group by all),
            ranked as (
                select *, case when trait <> 't0' then 0 when source = 'crm' then 1
                               when source = 'web' then 2 else 3 end as rank,
                       case when trait = 't1' then sum(calls) over
                                 (partition by profile_id, trait, value) end as score
                from summed),
            removed as (
                select *, max(lo) filter (value is null) over
                       (partition by profile_id, trait order by rank
                        range between unbounded preceding and current row) gone
                from ranked),
            placed as (
                select *, coalesce(lo < gone, false) lost,
                       row_number() over w place, first(value) over w best, first(rank) over w top,
                       first(score) over w most
                from removed where value is not null
                window w as (partition by profile_id, trait
                             order by coalesce(lo < gone, false), rank, score desc nulls last,
                                      case when trait = 't2' then fo end nulls last,
                                      lo desc, value, source))
            select profile_id, trait, value, source, calls, fo, lo,
                   case trait when 't0' then 'sources' when 't1' then 'most_frequent'
                              when 't2' then 'first' else 'latest' end as rule,
                   case when lost then 'removed' when place = 1 then null
                        when value = best then 'agrees' when rank > top then 'lesser_source'
                        when trait = 't1' and score <> most then 'less_frequent'
                        when trait = 't2' then 'later' else 'older' end reason
            from placed""")
        call = "case when rule = 'first' then fo else lo end"
        # The moments hold the two times and the message id, in the order of calls.
        winner = f"""profile_id, trait, value, {call}[3] message_id, source, {call}[1] received_at,
                     {call}[2] as timestamp, rule"""
        loser = """profile_id, trait, value, source, reason, rule, calls, fo[1] first_seen,
                   lo[1] last_seen, lo[3] message_id"""
        for name, columns, which in (("winners", winner, "null"), ("losers", loser, "not null")):
            rows = f"select {columns} from judged where reason is {which}"
            db.execute(f"copy ({rows}) to '{out}/{name}.parquet' (compression zstd)")


def by_hand_profiles(folder: Path, out: Path) -> None:
    """The same profiles as one who knows the rules would ask DuckDB for them."""
    key = {name: measure_of(computed(said)).key for name, said in COMPUTED.items()}

    def since(days: int) -> str:
        return f"hour >= timestamptz '{(AS_OF - timedelta(days=days)).isoformat()}'"

    def of(name: str, also: str = "true") -> str:
        return f"filter (measure = '{key[name]}' and {also})"

    with duckdb.connect() as db:
        db.execute(SETTINGS)
        order = '"{0}".received_at, coalesce("{0}".timestamp, "{0}".received_at), "{0}".message_id'
        db.execute(f"""
            create table found as
            with own as (
                select profile_id, measure, value, hour, calls, total, greatest,
                       ({order.format("first")}) fo, ({order.format("last")}) lo
                from '{folder}/activity.parquet' join '{folder}/set_profiles/*.parquet'
                using (identity_set)),
            values as (
                select profile_id, measure, value, sum(calls) calls, min(fo) fo, max(lo) lo
                from own where value is not null group by all),
            shops as (
                select profile_id,
                       arg_min(value, (-calls, value)) filter (calls > 1) usual,
                       arg_min(value, fo) first_shop, arg_max(value, lo) last_shop,
                       count(*) shops
                from values where measure = '{key["usual"]}' group by all),
            sums as (
                select profile_id,
                       coalesce(sum(calls) {of("orders")}, 0) orders,
                       coalesce(sum(calls) {of("orders_30d", since(30))}, 0) orders_30d,
                       coalesce(sum(calls) {of("visits_7d", since(7))}, 0) visits_7d,
                       (sum(total) {of("spent")})::double spent,
                       (sum(total) {of("spent_90d", since(90))})::double spent_90d,
                       (max(greatest) {of("dearest")})::double dearest
                from own group by all)
            select profile_id, coalesce(orders, 0) orders, coalesce(orders_30d, 0) orders_30d,
                   coalesce(visits_7d, 0) visits_7d, spent, spent_90d, dearest, usual, first_shop,
                   last_shop, coalesce(shops, 0) shops
            from (select distinct profile_id from '{folder}/set_profiles/*.parquet')
            left join sums using (profile_id) left join shops using (profile_id)""")
        db.execute(f"""
            copy (select *, list_filter([
                      case when spent_90d >= 100 then 'big' end,
                      case when orders > 2 then 'buyers' end,
                      case when orders > 0 and orders_30d = 0 then 'lapsed' end,
                      case when usual in ('s1', 's2') and shops < 4 then 'loyal' end,
                      case when visits_7d = 0 or dearest is null then 'quiet' end],
                      lambda a: a is not null) audiences
                  from found) to '{out}/profiles.parquet' (compression zstd)""")


def same(mine: Path, theirs: Path) -> bool:
    """Whether both ways wrote the same rows."""
    kinds = {
        "winners": "profile_id, trait, value, message_id, source, received_at, timestamp, rule",
        "losers": "profile_id, trait, value, source, reason, rule, calls, first_seen, last_seen, "
        "message_id",
        "profiles": f"profile_id, {', '.join(COMPUTED)}, audiences",
    }
    for name, columns in kinds.items():
        a = f"select {columns} from '{mine}/{name}/*.parquet'"
        b = f"select {columns} from '{theirs}/{name}.parquet'"
        differ = f"select count(*) from (({a} except all {b}) union all ({b} except all {a}))"
        (count,) = duckdb.execute(differ).fetchall()[0]
        if count:
            print(f"{name}: {count} rows differ", file=sys.stderr)
            return False
    return True


Way = Callable[[Path, Path], None]
WAYS: dict[str, dict[str, Way]] = {
    "product": {"traits": product_traits, "profiles": product_profiles},
    "duckdb": {"traits": by_hand_traits, "profiles": by_hand_profiles},
}


def turn(steps: dict[str, Way], folder: Path, out: Path) -> dict[str, tuple[float, float]]:
    """CPU and wall seconds of each step of a way, which write into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    found = {}
    for name, step in steps.items():
        began = time.monotonic()
        with Watch() as watch:
            step(folder, out)
        found[name] = (watch.cpu, time.monotonic() - began)
    return found


def best(turns: list[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """The turn that took the least CPU, with its sum as ``all``."""
    sums = [(sum(c for c, _ in t.values()), sum(w for _, w in t.values())) for t in turns]
    least = min(range(len(turns)), key=lambda n: sums[n])
    return {"all": sums[least], **turns[least]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1_000_000)
    parser.add_argument("--observations", type=int, default=5_000_000)
    parser.add_argument("--turns", type=int, default=3, help="of which the best counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts(folder, args.sets, args.observations)
        print(f"{args.observations:,} observations of {args.sets:,} sets")
        spark_session("bench", conf={"spark.driver.memory": "6g"})
        took = {}
        for way, steps in WAYS.items():
            turns = [turn(steps, folder, folder / way) for _ in range(args.turns)]
            shown = ", ".join(f"{sum(cpu for cpu, _ in each.values()):.1f}" for each in turns)
            print(f"{way}: {shown} s CPU, turn by turn")
            took[way] = best(turns)
        right = same(folder / "product", folder / "duckdb")
    figures = [
        {
            "way": way if step == "all" else f"{way}: {step}",
            "units": args.observations,
            "cpu": cpu,
            "wall": wall,
            "right": right,
        }
        for way, steps in took.items()
        for step, (cpu, wall) in steps.items()
    ]
    for one in figures:
        print(f"{one['way']:<18} {one['cpu']:8.2f} s CPU {one['wall']:8.2f} s wall")
    for step, (cpu, _) in took["product"].items():
        print(f"{step}: {cpu / took['duckdb'][step][0]:.2f} times DuckDB's CPU")
    print("The rows of both are " + ("the same" if right else "NOT the same"))
    if args.json:
        args.json.write_text(json.dumps(figures))
    return not right


if __name__ == "__main__":
    sys.exit(main())
