"""Sessions start from archived classes, where there are any that fit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lake.io import session
from lake.io.session import class_archive, jars_folder


def java(*options: str) -> subprocess.CompletedProcess[str]:
    """A JVM that does nothing but start."""
    command = ["java", *options, "-version"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_an_archive_nothing_is_asked_of_the_jvm(tmp_path: Path) -> None:
    assert session._archived(class_archive(tmp_path)) == ""


def test_an_archive_that_does_not_fit_is_passed_over_without_a_word(tmp_path: Path) -> None:
    archive = class_archive(tmp_path)
    archive.write_bytes(os.urandom(100_000))
    plain, asked = java(), java(*session._archived(archive).split())
    assert (asked.returncode, asked.stdout) == (0, "")
    assert asked.stderr.splitlines()[0] == plain.stderr.splitlines()[0]


def test_an_archive_that_was_made_fits_the_sessions_that_start(spark: SparkSession) -> None:
    archive = class_archive(jars_folder())
    if not archive.is_file():
        pytest.skip("no classes are archived: `make classes` does")
    path = spark.sparkContext._jvm.java.lang.System.getProperty("java.class.path")
    # A JVM that must have it ends where it cannot, as one of other jars does.
    must = (f"-XX:SharedArchiveFile={archive}", "-Xshare:on", "-cp")
    assert java(*must, path).returncode == 0
    assert java(*must, str(archive.parent)).returncode != 0
