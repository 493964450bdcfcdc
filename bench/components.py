"""Connected components beside their peers: wall time, CPU, jobs, shuffle and memory.

    python bench/components.py --edges 1000000
    python bench/components.py --edges 10000000 --only one-task,contraction,duckdb

Every solver reads the same Parquet edges and writes `(node, component)` as Parquet, alone in a
process of its own after a small warm-up, on `--cores` cores; its answer is compared with scipy's
row by row. CPU is that of the process and all its descendants (JVM, Python workers).

The edges look like those of an identity graph: 97 % of the components have fewer than ten nodes,
a fifth of the edges are redundant, one hairball holds 1.6 % of the nodes beside four smaller
ones, and one chain has 2,000 nodes. Keys are random 64-bit integers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Keys = npt.NDArray[np.int64]

ROOT = Path(__file__).resolve().parents[1]
HAIRBALLS = (0.016, 0.004, 0.001, 0.0005, 0.0002)
CHAIN = 2_000
REDUNDANT = 0.25


def identity_edges(edges: int, seed: int = 7) -> tuple[Keys, Keys]:
    """About so many edges, in random order: a random tree a component, and edges beside it."""
    rng = np.random.default_rng(seed)
    nodes = int(edges * 1.07)
    long = min(CHAIN, edges // 500)
    large = [max(3, int(share * nodes)) for share in HAIRBALLS]
    small = 1 + rng.geometric(0.355, nodes // 3)
    small = small[np.cumsum(small) <= max(2, nodes - sum(large) - long)]
    sizes = np.concatenate((large, small))
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    node = np.arange(len(start))
    rest = node[node > start]
    child = np.concatenate((rest, rng.choice(node, int(REDUNDANT * len(rest)))))
    below = np.concatenate((rest - start[rest], np.repeat(sizes, sizes)[child[len(rest) :]]))
    other = start[child] + (rng.random(len(child)) * below).astype(np.int64)
    chain = len(node) + np.arange(long)
    a = np.concatenate((child, chain[1:]))
    b = np.concatenate((other, chain[:-1]))
    order = rng.permutation(len(a))
    key = np.unique(rng.integers(-(2**63), 2**63 - 1, len(node) + long + 1_000))
    rng.shuffle(key)
    return key[a[order]], key[b[order]]


def scipy_components(a: Keys, b: Keys) -> tuple[Keys, Keys]:
    """Nodes in order and their components: the reference, and the fastest known library."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    codes, nodes = pd.factorize(np.concatenate((a, b)))
    shape = (len(nodes), len(nodes))
    graph = coo_array((np.ones(len(a)), (codes[: len(a)], codes[len(a) :])), shape=shape)
    count, label = connected_components(graph, directed=False)
    smallest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(smallest, label, nodes)
    return nodes, smallest[label]


# --- the solvers: from a folder of edges to a folder of components --------------------------------


def scipy_alone(source: str, target: str, _cores: int) -> Callable[[], None]:
    def run() -> None:
        table = pq.read_table(source)
        nodes, components = scipy_components(table["a"].to_numpy(), table["b"].to_numpy())
        write(target, nodes, components)

    return run


def duckdb_contraction(source: str, target: str, cores: int) -> Callable[[], None]:
    """Every node joins its smallest neighbour; what is left between them is the next graph."""
    import duckdb

    def run() -> None:
        db = duckdb.connect(config={"threads": cores, "preserve_insertion_order": False})
        db.execute(f"create table e0 as select a, b from '{source}/*.parquet'")
        level = 0
        while db.execute(f"select count(*) from e{level}").fetchall()[0][0]:
            db.execute(
                f"create table m{level} as select n, least(n, min(x)) as r from "
                f"(select a as n, b as x from e{level} union all select b, a from e{level}) "
                "group by n"
            )
            db.execute(
                f"create table e{level + 1} as select distinct least(p.r, q.r) as a, "
                f"greatest(p.r, q.r) as b from e{level} join m{level} p on a = p.n "
                f"join m{level} q on b = q.n where p.r <> q.r"
            )
            level += 1
        for i in range(level - 2, -1, -1):
            db.execute(
                f"create or replace table m{i} as select x.n, coalesce(y.r, x.r) as r "
                f"from m{i} x left join m{i + 1} y on x.r = y.n"
            )
        os.makedirs(target)
        db.execute(
            f"copy (select n as node, r as component from m0) to '{target}/0.parquet' "
            "(format parquet)"
        )
        db.close()

    return run


def ours(finish_share: float) -> Callable[[str, str, int], Callable[[], None]]:
    """`lake.identity.components`; contraction is forced where the share is below one."""

    def solver(source: str, target: str, cores: int) -> Callable[[], None]:
        from lake.identity.components import Materialised, connected_components

        spark = session(cores)
        rows = sum(pq.read_metadata(p).num_rows for p in Path(source).glob("*.parquet"))

        def materialise(name: str, frame: Any) -> Materialised:
            path = f"{target}.scratch/{name}"
            frame.write.mode("overwrite").parquet(path)
            stored = spark.read.schema(frame.schema).parquet(path)
            files = Path(path).glob("*.parquet")
            return Materialised(stored, sum(pq.read_metadata(p).num_rows for p in files))

        def run() -> None:
            edges = spark.read.schema("a bigint, b bigint").parquet(source)
            found = connected_components(
                edges, materialise, edge_rows=rows, finish_edges=int(finish_share * rows)
            )
            found.write.parquet(target)

        return run

    return solver


def stars(source: str, target: str, cores: int) -> Callable[[], None]:
    """Large star and small star in turn until nothing changes, every round stored."""
    from pyspark.sql import functions as f

    spark = session(cores)

    def large(e: Any) -> Any:
        both = e.union(e.select(f.col("b").alias("a"), f.col("a").alias("b")))
        low = both.groupBy("a").agg(f.least("a", f.min("b")).alias("m"))
        joined = both.where("b > a").join(low, "a")
        return joined.select(f.col("b").alias("a"), f.col("m").alias("b")).distinct()

    def small(e: Any) -> Any:
        low = e.groupBy("a").agg(f.min("b").alias("m"))
        moved = e.join(low, "a").where("b <> m")
        pairs = moved.select(f.col("b").alias("a"), f.col("m").alias("b"))
        return pairs.union(low.select("a", f.col("m").alias("b"))).distinct()

    def run() -> None:
        given = spark.read.schema("a bigint, b bigint").parquet(source)
        edges = given.where("a <> b")
        before, now, level = None, (), 0
        while now != before:
            path = f"{target}.round/{level}"
            small(large(edges)).write.parquet(path)
            edges = spark.read.schema("a bigint, b bigint").parquet(path)
            before, level = now, level + 1
            now = tuple(edges.agg(f.count("*"), f.bit_xor(f.xxhash64("a", "b"))).first() or ())
        below = edges.select(f.col("a").alias("node"), f.col("b").alias("component"))
        nodes = given.select("a").union(given.select("b")).distinct().withColumnRenamed("a", "node")
        component = f.coalesce("component", "node").alias("component")
        nodes.join(below, "node", "left").select("node", component).write.parquet(target)

    return run


SOLVERS: dict[str, Callable[[str, str, int], Callable[[], None]]] = {
    "one-task": ours(finish_share=1.0),
    "contraction": ours(finish_share=0.5),
    "duckdb": duckdb_contraction,
    "scipy": scipy_alone,
    "stars": stars,
}


def session(cores: int) -> Any:
    from pyspark.sql import SparkSession

    conf = {
        "spark.master": f"local[{cores}]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "4g",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -Duser.timezone=UTC",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": f"file://{os.environ['BENCH_EVENTS']}",
    }
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


# --- measuring ------------------------------------------------------------------------------------


def process_tree() -> Iterator[tuple[int, list[str]]]:
    """This process and its descendants: the id, and the fields of `/proc/<id>/stat` from state."""
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue  # it has ended
    known = {os.getpid()}
    while True:
        more = {pid for pid, stat in stats.items() if int(stat[1]) in known} - known
        if not more:
            break
        known |= more
    yield from ((pid, stats[pid]) for pid in known if pid in stats)


def cpu_seconds() -> float:
    """User and system time of the tree, of ended children too."""
    ticks = sum(int(ticks) for _, stat in process_tree() for ticks in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def python_peak(peaks: dict[int, int], done: threading.Event) -> None:
    """Highest resident size of every Python process of the tree, MiB, until done."""
    while not done.wait(0.05):
        for pid, _ in process_tree():
            try:
                if b"python" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                    status = Path(f"/proc/{pid}/status").read_text()
                    peaks[pid] = int(status.split("VmHWM:")[1].split()[0]) // 1024
            except (OSError, IndexError):
                continue


def spark_events(since: float) -> dict[str, int]:
    """Jobs, and what was written to shuffles, after a moment."""
    jobs = size = rows = 0
    for log in Path(os.environ["BENCH_EVENTS"]).iterdir():
        for event in map(json.loads, log.read_text().splitlines()):
            if event["Event"] == "SparkListenerJobStart":
                jobs += event["Submission Time"] >= since * 1000
            if event["Event"] != "SparkListenerTaskEnd" or not event.get("Task Metrics"):
                continue
            if event["Task Info"]["Launch Time"] >= since * 1000:
                written = event["Task Metrics"]["Shuffle Write Metrics"]
                size += written["Shuffle Bytes Written"]
                rows += written["Shuffle Records Written"]
    return {"jobs": jobs, "shuffle_bytes": size, "shuffle_rows": rows}


def measured(name: str, folder: Path, cores: int) -> dict[str, Any]:
    """Run one solver on the small edges, then on the real ones, in this process."""
    os.environ["BENCH_EVENTS"] = tempfile.mkdtemp(dir=folder, prefix="events-")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    SOLVERS[name](str(folder / "small"), str(folder / f"warm-{name}"), cores)()
    run = SOLVERS[name](str(folder / "edges"), str(folder / f"out-{name}"), cores)
    done, peaks = threading.Event(), dict[int, int]()
    watch = threading.Thread(target=python_peak, args=(peaks, done))
    watch.start()
    since, cpu = time.time(), cpu_seconds()
    run()
    figures: dict[str, Any] = {"wall": time.time() - since, "cpu": cpu_seconds() - cpu}
    done.set()
    watch.join()
    workers = [peak for pid, peak in peaks.items() if pid != os.getpid()] or list(peaks.values())
    figures["python_mib"] = max(workers, default=0)
    if "pyspark" in sys.modules:
        session(cores).stop()
        figures |= spark_events(since)
    return figures


def write(target: str, nodes: Keys, components: Keys) -> None:
    os.makedirs(target)
    pq.write_table(pa.table({"node": nodes, "component": components}), f"{target}/0.parquet")


def same(folder: Path, name: str) -> bool:
    """Whether the solver's rows are those of scipy, whatever their order."""
    found, expected = (
        pq.read_table(folder / which, columns=["node", "component"]).sort_by("node")
        for which in (f"out-{name}", "expected")
    )
    return all(
        np.array_equal(found[column].to_numpy(), expected[column].to_numpy())
        for column in expected.column_names
    )


def stored_edges(folder: Path, a: Keys, b: Keys, files: int) -> None:
    folder.mkdir()
    for i in range(files):
        pq.write_table(pa.table({"a": a[i::files], "b": b[i::files]}), folder / f"{i}.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(SOLVERS), help="solvers, by comma")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--solver", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.solver:
        print(json.dumps(measured(args.solver, args.folder, args.cores)))
        return
    with tempfile.TemporaryDirectory(prefix="components-") as name:
        compare(Path(name), args.edges, args.only.split(","), args.cores)


def compare(folder: Path, edges: int, solvers: list[str], cores: int) -> None:
    a, b = identity_edges(edges)
    stored_edges(folder / "edges", a, b, 8)
    stored_edges(folder / "small", *identity_edges(20_000), 8)
    nodes, components = scipy_components(a, b)
    write(str(folder / "expected"), nodes, components)
    size = len(a)
    print(f"{size:,} edges, {len(nodes):,} nodes, {len(np.unique(components)):,} components")
    print(
        f"{'solver':12} {'right':5} {'wall s':>7} {'CPU s':>7} {'µs/edge':>8} {'jobs':>5} "
        f"{'shuffle MB':>10} {'B/edge':>7} {'rows/edge':>9} {'Python MiB':>10}"
    )
    del a, b, nodes, components
    for solver in solvers:
        command = [sys.executable, __file__, "--solver", solver, "--folder", str(folder)]
        done = subprocess.run(
            [*command, "--cores", str(cores)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        r = json.loads(done.stdout.splitlines()[-1])
        spilt = r.get("shuffle_bytes", 0)
        print(
            f"{solver:12} {'yes' if same(folder, solver) else 'NO':5} {r['wall']:7.1f} "
            f"{r['cpu']:7.1f} {r['cpu'] / size * 1e6:8.2f} {r.get('jobs', 0):5} "
            f"{spilt / 1e6:10.1f} {spilt / size:7.1f} {r.get('shuffle_rows', 0) / size:9.2f} "
            f"{r['python_mib']:10}",
            flush=True,
        )


if __name__ == "__main__":
    main()
