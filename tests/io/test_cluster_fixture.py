"""The cluster for tests is a real one, and only `--py-files` brings the project to it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.support.cluster import SparkCluster

#: A whole night on the cluster (tests/nights) shows it in every run; this shows the fixture alone.
pytestmark = pytest.mark.soak

PROJECT = Path(__file__).resolve().parents[2]

PROBE = """
import json, os, sys
from pyspark.sql import SparkSession

def seen(rows):
    import msgspec, pyarrow
    list(rows)
    try:
        import lake.errors
        yield os.environ.get("SPARK_EXECUTOR_DIRS"), lake.errors.LeaseHeld.exit_code
    except ModuleNotFoundError:
        yield os.environ.get("SPARK_EXECUTOR_DIRS"), "no code of the project"

spark = SparkSession.builder.getOrCreate()
answers = spark.sparkContext.parallelize(range(8), 8).mapPartitions(seen).collect()
try:
    import lake.errors
    driver = "lake"
except ModuleNotFoundError:
    driver = "no code of the project"
answer = {"master": spark.sparkContext.master, "arguments": sys.argv[1:], "driver": driver,
          "executors": len({place for place, _ in answers}),
          "answers": [answer for _, answer in answers]}
print("ANSWER " + json.dumps(answer))
spark.stop()
"""


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    return script


@pytest.fixture
def project_zip(tmp_path: Path) -> Path:
    archive = tmp_path / "lake.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for source in sorted((PROJECT / "lake").rglob("*.py")):
            out.write(source, source.relative_to(PROJECT))
    return archive


def answered(stdout: str) -> object:
    return json.loads(stdout.partition("ANSWER ")[2].splitlines()[0])


def test_without_py_files_neither_driver_nor_executors_can_import_the_project(
    spark_cluster: SparkCluster, probe: Path
) -> None:
    done = spark_cluster.submit(probe, "--as-of", "2026-01-01")

    assert done.returncode == 0, done.stderr[-3000:]
    assert answered(done.stdout) == {
        "master": spark_cluster.master_url,
        "arguments": ["--as-of", "2026-01-01"],
        "driver": "no code of the project",
        "executors": 2,
        "answers": ["no code of the project"] * 8,
    }


def test_py_files_bring_the_project_to_driver_and_executors(
    spark_cluster: SparkCluster, probe: Path, project_zip: Path
) -> None:
    done = spark_cluster.submit(probe, py_files=[project_zip])

    assert done.returncode == 0, done.stderr[-3000:]
    assert answered(done.stdout) == {
        "master": spark_cluster.master_url,
        "arguments": [],
        "driver": "lake",
        "executors": 2,
        "answers": [75] * 8,
    }


def test_a_failing_script_is_reported_by_its_exit_code(
    spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import sys\nsys.exit(75)\n")

    assert spark_cluster.submit(script).returncode == 75
