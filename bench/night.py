"""A first night beside the same tables made by hand in DuckDB.

    python bench/night.py --calls 2000000

Both read the same landing objects (`bench.calls`) on the same cores, one after the other, each in
a process of its own. Ours is `profile-lake run` as anybody would start it, session and all; the
hand-written script makes the same tables: events, duplicates and ledger, identity sets, sightings,
trait observations, components, identities, the published tables with the values that were not
taken, history and changes, and asks of them what the quality gate asks. It has no limits or blocked
values, keeps no broken line, has no stable ids and no atomic publication. CPU is that of a process
and all below it, by stage; the counts of both must agree.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.calls import World, landed  # noqa: E402
from bench.support import Watch  # noqa: E402

CONFIG = """space: bench
root: ./lake
sources:
  web: {path: ./landing}
identity:
  identifiers:
    user_id: {limit: 1}
    email: {limit: 5, normalise: email}
    anonymous_id: {limit: 5}
"""


def configured(folder: Path) -> Path:
    """A configuration over the landing zone of a folder."""
    path = folder / "lake.yaml"
    path.write_text(CONFIG)
    return path


def night(config: Path, *, told: bool = False) -> dict[str, Any]:
    """One night by the command; its record, with the CPU of each stage and of each table.

    The command says when it has written a table; what was used since it last said so is that
    table's, and of tables that are written at the same time the one's that was written next.
    ``told`` shows its lines.
    """
    command = [str(Path(sys.executable).with_name("profile-lake")), "run", "--config", str(config)]
    spent: dict[str, float] = {}
    tables: dict[str, list[float]] = {}
    began = time.monotonic()
    with (
        subprocess.Popen(
            [*command, "--output", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ) as process,
        Watch(process.pid) as watch,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        used, last = 0.0, began
        for line in process.stderr:
            words = line.split()
            if told:
                print(line, end="", file=sys.stderr)
            if len(words) < 3 or not words[0].endswith("s"):
                continue
            now, at = watch.cpu_now(), time.monotonic()
            spent[words[1]] = spent.get(words[1], 0.0) + now - used
            cost = tables.setdefault(f"{words[1]} {words[3] if len(words) > 3 else ''}", [0.0, 0.0])
            cost[0] += now - used
            cost[1] += at - last
            used, last = now, at
        record: dict[str, Any] = json.loads(process.stdout.read() or "{}")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "profile-lake run")
    return record | {
        "cpu": watch.cpu,
        "wall": time.monotonic() - began,
        "peak_mib": watch.peak_bytes >> 20,
        "cpu_by_stage": {**spent, "end": watch.cpu - used},
        "tables": tables,
    }


# --- by hand --------------------------------------------------------------------------------------

READ = """
create temp table lines as
select messageId as message_id, type, event, name, userId as user_id, anonymousId as anonymous_id,
    receivedAt::timestamp as received_at, sentAt::timestamp as sent_at,
    "timestamp"::timestamp as timestamp, originalTimestamp::timestamp as original_timestamp,
    channel, context, traits, properties, integrations, filename as object,
    row_number() over () as line,
    list_sort(list_filter([
        {'type': 'anonymous_id', 'value': anonymousId},
        {'type': 'email', 'value': lower(trim(coalesce(traits->>'email', properties->>'email')))},
        {'type': 'user_id', 'value': userId}
    ], lambda i: i.value is not null and i.value <> '')) as identifiers
from read_json('{landing}/*.gz', format = 'newline_delimited', ignore_errors = true,
    filename = true, columns = {
    messageId: 'varchar', type: 'varchar', event: 'varchar', name: 'varchar', userId: 'varchar',
    anonymousId: 'varchar', receivedAt: 'varchar', sentAt: 'varchar', "timestamp": 'varchar',
    originalTimestamp: 'varchar', channel: 'varchar', context: 'json', traits: 'json',
    properties: 'json', integrations: 'json'})
where messageId is not null;
"""

COMPACT = """
create temp table repeated as
select message_id, min((received_at, line)) as kept from lines group by all having count(*) > 1;
create temp table events as
select l.*, md5(identifiers::varchar) as identity_set, received_at::date as received_date
from lines l left join repeated r using (message_id)
where r.message_id is null or (l.received_at, l.line) = r.kept;
create temp table duplicates as
select l.message_id, l.received_at, l.object, l.line
from lines l join repeated r using (message_id) where (l.received_at, l.line) <> r.kept;
copy (
    select object, lines, coalesce(accepted, 0) as accepted, coalesce(lost, 0) as duplicate
    from (select object, count(*) as lines from lines group by all)
    left join (select object, count(*) as accepted from events group by all) using (object)
    left join (select object, count(*) as lost from duplicates group by all) using (object)
) to '{target}/ingest_ledger.parquet' (compression zstd);
copy duplicates to '{target}/duplicate_calls.parquet' (compression zstd);
drop table lines;
copy events to '{target}/events' (format parquet, compression zstd, partition_by (received_date));
"""

STITCH = """
create temp table identity_sets as
select identity_set, any_value(identifiers) as identifiers from events
where len(identifiers) > 0 group by all;
create temp table sightings as
select identity_set, received_date as day, count(*) as calls,
    min((received_at, timestamp, message_id)) as first,
    max((received_at, timestamp, message_id)) as last
from events where len(identifiers) > 0 group by all;
create temp table trait_observations as
select identity_set, trait, traits->('$."' || trait || '"') as value, count(*) as calls,
    min((received_at, timestamp, message_id)) as first,
    max((received_at, timestamp, message_id)) as last
from (select *, unnest(json_keys(traits)) as trait from events
      where type = 'identify' and len(identifiers) > 0) group by all;
create temp table totals as
select identity_set, sum(calls) as calls, min(first) as first, max(last) as last
from sightings group by all;
create temp table carried as
select identity_set, hash(i.type, i.value) as node, i.type as type, i.value as value
from (select identity_set, unnest(identifiers) as i from identity_sets);
create temp table e0 as
select distinct min(node) over (partition by identity_set) as a, node as b from carried;
"""

UNION = """
create temp table identities as
select type, value, any_value(m.r) as component, sum(calls) as calls, min(first) as first,
    max(last) as last
from carried c join m0 m on c.node = m.n join totals t on c.identity_set = t.identity_set
group by all;
create temp table founded as
select component, md5(arg_min(type || value, (first, type, value))) as profile_id
from identities group by all;
create temp table set_profiles as
select identity_set, any_value(f.profile_id) as profile_id
from carried c join m0 m on c.node = m.n join founded f on m.r = f.component group by all;
copy identity_sets to '{target}/identity_sets.parquet' (compression zstd);
copy sightings to '{target}/sightings.parquet' (compression zstd);
copy trait_observations to '{target}/trait_observations.parquet' (compression zstd);
copy identities to '{target}/identities.parquet' (compression zstd);
copy (from set_profiles order by identity_set) to '{target}/set_profiles.parquet'
(compression zstd);
"""

PUBLISH = """
create temp table profile_identifiers as
select type, value, profile_id, first, last, calls
from identities join founded using (component);
create temp table told as
select profile_id, trait, value, sum(calls) as calls, min(first) as first, max(last) as last
from trait_observations join set_profiles using (identity_set) group by all;
create temp table winners as
select profile_id, trait, arg_max(value, last) as value, max(last) as last from told group by all;
create temp table profile_traits as from winners where value is not null;
copy (
    select t.*, 'older' as reason
    from told t join winners w using (profile_id, trait)
    where t.value is not null and t.value is distinct from w.value
) to '{target}/profile_trait_candidates.parquet' (compression zstd);
copy (
    select profile_id, arg_min(type, (first, type, value)) as type,
        arg_min(value, (first, type, value)) as value, min(first) as created
    from profile_identifiers group by all order by profile_id
) to '{target}/created_profiles.parquet' (compression zstd);
copy (
    select profile_id, 'born' as kind, list(type) as types, 1 as publication
    from profile_identifiers group by all
) to '{target}/identity_changes.parquet' (compression zstd);
copy (
    select type, value, profile_id, 1 as since from profile_identifiers order by hash(type, value)
) to '{target}/identity_history.parquet' (compression zstd);
copy (from profile_identifiers order by hash(type, value))
to '{target}/profile_identifiers.parquet' (compression zstd);
copy profile_traits to '{target}/profile_traits.parquet' (compression zstd);
copy (
    select * from (
        select profile_id, min(first) as first, max(last) as last, sum(calls) as calls
        from totals join set_profiles using (identity_set) group by all)
    left join (
        select profile_id, map_from_entries(list((type, vals))) as identifiers
        from (select profile_id, type, list(value order by value) as vals
              from profile_identifiers group by all) group by all) using (profile_id)
    left join (
        select profile_id, map_from_entries(list((trait, value))) as traits
        from profile_traits group by all) using (profile_id)
    order by profile_id
) to '{target}/profiles.parquet' (compression zstd);
"""

GATE = """
select count(*) - count(distinct message_id), count(*) - count(type), count(*) - count(received_at),
    count(*) - count(object), count(*) - count(line), count(*) filter (line < 1),
    count(*) filter (type not in ('identify', 'track', 'page', 'screen', 'group', 'alias')),
    avg((identity_set is not null)::int)
from events;
select count(*) - count(distinct (type, value)), count(*) - count(profile_id)
from profile_identifiers;
select count(*) - count(distinct (profile_id, trait)), count(*) - count(value) from profile_traits;
select count(*) - count(distinct identity_set), count(*) - count(profile_id) from set_profiles;
select count(*) - count(distinct profile_id), count(*) filter (calls < 1)
from '{target}/profiles.parquet';
select count(*) - count(distinct (profile_id, trait, value))
from '{target}/profile_trait_candidates.parquet';
select (select sum(calls) from totals) - (select sum(calls) from '{target}/profiles.parquet');
"""

COUNTS = {
    "events": "from events",
    "sets": "from identity_sets",
    "sightings": "from sightings",
    "identifiers": "from identities",
    "components": "from founded",
    "traits": "from trait_observations",
}


def by_hand(landing: str, target: str, cores: int) -> dict[str, Any]:
    """The same tables by DuckDB, in this process: seconds and CPU by stage, and row counts."""
    import duckdb

    os.makedirs(target)
    db = duckdb.connect(config={"threads": cores, "preserve_insertion_order": False})
    wall: dict[str, float] = {}
    cpu: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        at, used = time.monotonic(), time.process_time()
        yield
        wall[name] = time.monotonic() - at
        cpu[name] = time.process_time() - used

    def run(script: str) -> None:
        db.execute(script.replace("{landing}", landing).replace("{target}", target))

    with stage("compact"):
        run(READ)
        run(COMPACT)
    with stage("stitch"):
        run(STITCH)
        contracted(db)
        run(UNION)
    with stage("publish"):
        run(PUBLISH)
    with stage("quality"):
        for question in GATE.split(";")[:-1]:
            db.execute(question.replace("{target}", target)).fetchall()
    counts = {name: db.sql(f"select count(*) {q}").fetchall()[0][0] for name, q in COUNTS.items()}
    return {"seconds": wall, "cpu_by_stage": cpu, "counts": counts}


def contracted(db: Any) -> None:
    """Table m0, (n, r): each node of the edges e0 (a, b) and the smallest node it is linked to.

    Every node joins its smallest neighbour; what is left between them is the next graph.
    """
    level = 0
    while db.execute(f"select count(*) from e{level} where a <> b").fetchall()[0][0]:
        db.execute(
            f"create temp table m{level} as select n, least(n, min(x)) as r from "
            f"(select a as n, b as x from e{level} union all select b, a from e{level}) group by n"
        )
        db.execute(
            f"create temp table e{level + 1} as select distinct least(p.r, q.r) as a, "
            f"greatest(p.r, q.r) as b from e{level} join m{level} p on a = p.n "
            f"join m{level} q on b = q.n where p.r <> q.r"
        )
        level += 1
    for i in range(level - 2, -1, -1):
        db.execute(
            f"create or replace temp table m{i} as select x.n, coalesce(y.r, x.r) as r "
            f"from m{i} x left join m{i + 1} y on x.r = y.n"
        )


# --- both -----------------------------------------------------------------------------------------


def counted(root: Path) -> dict[str, int]:
    """The same counts of our lake."""
    from lake.io.delta import Tables
    from lake.tables import EVENTS, IDENTITIES, IDENTITY_SETS, SIGHTINGS, TRAIT_OBSERVATIONS

    tables = Tables(str(root))
    components = tables.query("select count(distinct component) as n from t", t=(IDENTITIES, None))
    return {
        "events": tables.rows(EVENTS),
        "sets": tables.rows(IDENTITY_SETS),
        "sightings": tables.rows(SIGHTINGS),
        "identifiers": tables.rows(IDENTITIES),
        "components": components["n"][0].as_py(),
        "traits": tables.rows(TRAIT_OBSERVATIONS),
    }


def hand(landing: Path, target: Path, cores: int) -> dict[str, Any]:
    """`by_hand` in a process of its own; what it printed, with CPU and peak memory."""
    began = time.monotonic()
    command = [sys.executable, __file__, "--hand", str(landing), str(target)]
    with (
        subprocess.Popen(
            [*command, "--cores", str(cores)], stdout=subprocess.PIPE, text=True
        ) as process,
        Watch(process.pid) as watch,
    ):
        assert process.stdout is not None
        found: dict[str, Any] = json.loads(process.stdout.read() or "{}")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "the hand-written script")
    wall = time.monotonic() - began
    return found | {"cpu": watch.cpu, "wall": wall, "peak_mib": watch.peak_bytes >> 20}


def compare(folder: Path, calls: int, cores: int, *, tables: bool) -> list[dict[str, Any]]:
    """One night by us and by hand, printed side by side; the figures of both."""
    lines = landed(folder / "landing", World(calls))
    size = sum(p.stat().st_size for p in (folder / "landing").iterdir())
    print(f"{lines:,} lines of {calls:,} calls, {size / 1e6:.0f} MB of gz, {cores} cores")
    config = configured(folder)
    config.write_text(config.read_text() + f"spark: {{conf: {{spark.master: 'local[{cores}]'}}}}\n")
    theirs = hand(folder / "landing", folder / "hand", cores)
    ours = night(config)
    print(f"{'stage':10} {'ours s':>8} {'CPU s':>7}  {'DuckDB s':>8} {'CPU s':>7}  {'CPU ×':>6}")
    spent, used = ours["cpu_by_stage"], theirs["cpu_by_stage"]
    took, needed = ours["seconds"], theirs["seconds"]
    for stage in dict.fromkeys((*took, *spent)):
        cpu, peer = spent.get(stage, 0.0), used.get(stage)
        print(
            f"{stage:10} {took.get(stage, 0.0):8.1f} {cpu:7.1f}  {needed.get(stage, 0.0):8.1f} "
            f"{peer or 0:7.1f}  {f'{cpu / peer:6.1f}' if peer else ''}"
        )
    print(
        f"{'all':10} {ours['wall']:8.1f} {ours['cpu']:7.1f}  {theirs['wall']:8.1f} "
        f"{theirs['cpu']:7.1f}  {ours['cpu'] / theirs['cpu']:6.1f}   wall × "
        f"{ours['wall'] / theirs['wall']:.1f}; peak MiB {ours['peak_mib']:,} "
        f"and {theirs['peak_mib']:,}"
    )
    if tables:
        for name, (cpu, wall) in ours["tables"].items():
            print(f"  {name:32} {wall:7.1f} s {cpu:7.1f} s CPU")
    counts = counted(folder / "lake")
    right = counts == theirs["counts"]
    print(f"counts {'agree' if right else 'DIFFER'}: {counts}")
    if not right:
        print(f"by hand: {theirs['counts']}")
    kept = ("cpu", "wall", "peak_mib", "seconds", "cpu_by_stage")
    return [
        {"way": way, "units": calls, "right": right, **{k: found[k] for k in kept}}
        for way, found in (("profile-lake run", ours), ("duckdb by hand", theirs))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="the cost of each table, too")
    parser.add_argument("--folder", type=Path, help="work there and leave it; else a temporary one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--hand", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hand:
        print(json.dumps(by_hand(*args.hand, args.cores)))
        return 0
    with tempfile.TemporaryDirectory(prefix="night-") as name:
        folder = args.folder or Path(name)
        figures = compare(folder, args.calls, args.cores, tables=args.tables)
    if args.json:
        args.json.write_text(json.dumps(figures))
    return 0 if all(one["right"] for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
