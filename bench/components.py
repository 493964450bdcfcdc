"""Connected components beside their peers: wall time, CPU, jobs, shuffle and memory.

    python bench/components.py --edges 1000000
    python bench/components.py --edges 10000000 --only one-task,contraction,duckdb

Every solver reads the same Parquet edges and writes `(node, component)` as Parquet, alone in a
process of its own after a small warm-up, on `--cores` cores; its answer is compared with scipy's
row by row. CPU is that of the process and all its descendants (JVM, Python workers).

The edges are those of `bench.edges.identity_edges`. Besides ours, by one task and by contraction,
there are DuckDB and scipy on one machine, large and small star as most people would write them on
Spark, and GraphFrames where `GRAPHFRAMES_JAR` names its jar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.edges import Keys, identity_edges  # noqa: E402
from bench.support import Watch  # noqa: E402


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
    """`lake.identity.components`, stored as a night stores it; contraction is forced where the
    share of the edges that are finished at once is below one."""

    def solver(source: str, target: str, cores: int) -> Callable[[], None]:
        from lake.frames import Materialised, Storable
        from lake.identity.components import connected_components
        from lake.io.objects import LocalObjects
        from lake.io.scratch import Stored, read_back, stored_rows

        spark = session(cores)
        store = LocalObjects()
        files = tuple(map(str, sorted(Path(source).glob("*.parquet"))))
        rows = sum(pq.read_metadata(file).num_rows for file in files)

        def kept(stored: Stored, schema: Any) -> Materialised:
            return read_back(spark.read.schema(schema).parquet(*stored.files), stored, store)

        def materialise(name: str, rows: Storable) -> Materialised:
            folder = target if name == "solved" else f"{target}.scratch/{name}"
            return kept(stored_rows(rows, store, folder, long_rows=False), rows.schema)

        def run() -> None:
            edges = kept(Stored(files, rows), "a bigint, b bigint")
            connected_components(edges, materialise, finish_edges=int(finish_share * rows))

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


def graphframes(algorithm: str) -> Callable[[str, str, int], Callable[[], None]]:
    """GraphFrames from the jar that `GRAPHFRAMES_JAR` names, through the JVM: no Python package
    is needed. Its components have names of its own; each is renamed to its smallest node, outside
    of what is measured."""

    def solver(source: str, target: str, cores: int) -> Callable[[], None]:
        from pyspark.sql import DataFrame

        spark = session(cores)

        def run() -> None:
            edges = spark.read.schema("a bigint, b bigint").parquet(source)
            named = edges.selectExpr("a as src", "b as dst")
            graph = spark._jvm.org.graphframes.GraphFrame.fromEdges(named._jdf)
            method = graph.connectedComponents().setAlgorithm(algorithm)
            found = method.setUseLocalCheckpoints(True).run()
            frame = DataFrame(found, spark).selectExpr("id as node", "component")
            frame.write.parquet(target)

        return run

    return solver


SOLVERS: dict[str, Callable[[str, str, int], Callable[[], None]]] = {
    "one-task": ours(finish_share=1.0),
    "contraction": ours(finish_share=0.5),
    "duckdb": duckdb_contraction,
    "scipy": scipy_alone,
    "stars": stars,
}
if "GRAPHFRAMES_JAR" in os.environ:
    SOLVERS |= {
        f"graphframes {name}": graphframes(name) for name in ("randomized_contraction", "two_phase")
    }


def session(cores: int) -> Any:
    """A night's session, for all who need Spark, with a log of its jobs."""
    from lake.io.session import jars_folder, spark_session

    conf = {
        "spark.master": f"local[{cores}]",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "8",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": f"file://{os.environ['BENCH_EVENTS']}",
    }
    if jar := os.environ.get("GRAPHFRAMES_JAR"):
        conf["spark.driver.extraClassPath"] = f"{jars_folder()}/*:{jar}"
    return spark_session("bench", conf=conf)


# --- measuring ------------------------------------------------------------------------------------


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
    SOLVERS[name](str(folder / "small"), str(folder / f"warm-{name}"), cores)()
    run = SOLVERS[name](str(folder / "edges"), str(folder / f"out-{name}"), cores)
    since = time.time()
    with Watch(interval=0.1) as watch:
        run()
    alone = "pyspark" not in sys.modules
    peak = watch.peak_bytes if alone else watch.python_bytes
    figures: dict[str, Any] = {"wall": time.time() - since, "cpu": watch.cpu}
    figures["python_mib"] = peak >> 20
    if not alone:
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
    if name.startswith("graphframes"):
        found = smallest_named(found)
    return all(
        np.array_equal(found[column].to_numpy(), expected[column].to_numpy())
        for column in expected.column_names
    )


def smallest_named(found: pa.Table) -> pa.Table:
    """The same components, each named by its smallest node."""
    smallest = found.group_by("component").aggregate([("node", "min")])
    named = found.join(smallest, "component").select(["node", "node_min"])
    return named.rename_columns(["node", "component"]).sort_by("node")


def stored_edges(folder: Path, a: Keys, b: Keys, files: int) -> None:
    folder.mkdir()
    for i in range(files):
        pq.write_table(pa.table({"a": a[i::files], "b": b[i::files]}), folder / f"{i}.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(SOLVERS), help="solvers, by comma")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--solver", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.solver:
        print(json.dumps(measured(args.solver, args.folder, args.cores)))
        return
    with tempfile.TemporaryDirectory(prefix="components-") as name:
        figures = compare(Path(name), args.edges, args.only.split(","), args.cores)
    if args.json:
        args.json.write_text(json.dumps(figures))


def compare(folder: Path, edges: int, solvers: list[str], cores: int) -> list[dict[str, Any]]:
    """Solve the same edges by each solver and print what it took; the figures."""
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
    figures: list[dict[str, Any]] = []
    for solver in solvers:
        command = [sys.executable, __file__, "--solver", solver, "--folder", str(folder)]
        done = subprocess.run(
            [*command, "--cores", str(cores)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        r = {"way": solver, "units": size, "right": same(folder, solver)}
        r |= json.loads(done.stdout.splitlines()[-1])
        figures.append(r)
        spilt = r.get("shuffle_bytes", 0)
        print(
            f"{solver:12} {'yes' if r['right'] else 'NO':5} {r['wall']:7.1f} "
            f"{r['cpu']:7.1f} {r['cpu'] / size * 1e6:8.2f} {r.get('jobs', 0):5} "
            f"{spilt / 1e6:10.1f} {spilt / size:7.1f} {r.get('shuffle_rows', 0) / size:9.2f} "
            f"{r['python_mib']:10}",
            flush=True,
        )
    return figures


if __name__ == "__main__":
    main()
