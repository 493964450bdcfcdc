"""Fixtures for tests on an S3 store: one server a test run, a fresh prefix a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.s3 import S3Server, running_s3


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running SeaweedFS with an empty bucket."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_prefix(s3_server: S3Server) -> str:
    """A prefix in the server's bucket that no other test uses, as an s3:// URI."""
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"
