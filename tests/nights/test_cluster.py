"""spark-submit to a real cluster: one zip, one list of jars, the same lake as a local night."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.nights.conftest import Lake
from tests.support.cluster import SparkCluster
from tests.support.nights import AS_OF, Site

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / "jars" / "lib"


def test_the_nightly_job_on_a_cluster_gives_what_a_local_night_gives(
    one_night: Lake, on_s3: Site, spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    packed = subprocess.run(
        [sys.executable, "-m", "bench.dist", str(tmp_path / "dist")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    job = tmp_path / "nightly.py"  # away from the checkout, which is to bring nothing
    shutil.copy(ROOT / "jobs" / "nightly.py", job)

    done = spark_cluster.submit(
        job,
        *("--config", str(on_s3.config), "--as-of", AS_OF.isoformat(), "--output", "json"),
        py_files=[packed],
        jars=sorted(JARS.glob("*.jar")),
        env=dict(on_s3.environment),
        timeout=900,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    record = json.loads(done.stdout)
    assert (record["status"], record["publication"]) == ("published", 1)
    assert on_s3.contents() == one_night.contents
    assert on_s3.counts() == one_night.site.counts()
    assert on_s3.leftovers() == one_night.site.leftovers()
