"""Fixtures for all tests: a Spark session, an S3 server, a cluster, each made when first used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pyspark.sql import SparkSession

from lake.io.session import spark_session

pytest_plugins = ["tests.support.fixtures_s3", "tests.support.fixtures_cluster"]

# The same examples in every run, and no judgement by the clock: machines are noisy.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The session of the product, small and quick to start, for every test of this process."""
    os.environ.setdefault("PYSPARK_PYTHON", os.sys.executable)
    session = spark_session(
        "tests",
        conf={
            "spark.master": "local[2]",
            "spark.driver.memory": "3g",
            # C1 only: the tests are over before C2 pays.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
        },
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fetched data; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the evaluation data (../shared/data) is not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def doctest_spark(doctest_namespace: dict[str, object], request: pytest.FixtureRequest) -> None:
    """Doctests that name `spark` get the session."""
    if isinstance(request.node, pytest.DoctestItem):
        source = request.node.dtest.docstring if request.node.dtest else ""
        if source and "spark." in source:
            doctest_namespace["spark"] = request.getfixturevalue("spark")
