"""Fixture for tests on a real cluster: one standalone master and two workers a test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import SparkCluster, running_cluster


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A running cluster whose Python does not see the project."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
