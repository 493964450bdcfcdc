"""Fixtures of the tests on storage and on a cluster."""

from tests.support.fixtures_cluster import spark_cluster
from tests.support.fixtures_s3 import s3_prefix, s3_server

__all__ = ["s3_prefix", "s3_server", "spark_cluster"]
