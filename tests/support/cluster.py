"""A real Spark cluster for tests: a standalone master and workers on loopback, from pyspark.

Its Python sees the installed packages, but not the project, as on a cluster where only
`--py-files` brings it. An editable install puts the project on the path by a `.pth` file, and
`python -S` reads none; a small script in the cluster's folder starts it so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.s3 import ends_with_parent, free_ports

READY_SECONDS = 180
END_SECONDS = 10
PACKAGES = Path(sysconfig.get_paths()["purelib"])
SPARK_HOME = PACKAGES / "pyspark"


@dataclass(frozen=True)
class SparkCluster:
    """Where the master listens, and the Python its drivers and executors run."""

    master_url: str
    python: Path
    folder: Path
    cores: int

    def submit(
        self,
        script: Path | str,
        *args: str,
        py_files: Sequence[Path | str] = (),
        jars: Sequence[Path | str] = (),
        conf: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """What `spark-submit` in client mode printed and returned; its code is not checked."""
        settings = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.executor.memory": "1g",
            "spark.pyspark.python": str(self.python),
            "spark.ui.enabled": "false",
            "spark.port.maxRetries": "100",
            # Work starts when every worker has its executor, not on the first that is up.
            "spark.cores.max": str(self.cores),
            "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
            **(conf or {}),
        }
        command = [str(SPARK_HOME / "bin" / "spark-submit"), "--master", self.master_url]
        for name, value in settings.items():
            command += ["--conf", f"{name}={value}"]
        if py_files:
            command += ["--py-files", ",".join(map(str, py_files))]
        if jars:
            command += ["--jars", ",".join(map(str, jars))]
        return subprocess.run(
            [*command, str(script), *args],
            cwd=self.folder,
            env={**_environment(self.folder), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextmanager
def running_cluster(
    folder: Path, workers: int = 2, cores: int = 1, memory: str = "2g"
) -> Iterator[SparkCluster]:
    """A master with so many workers registered; logs, work and scratch files below `folder`."""
    python = _python_without_project(folder)
    master, page, *pages = free_ports(2 + workers)
    url = f"spark://127.0.0.1:{master}"
    with ExitStack() as processes:
        processes.enter_context(
            _running(folder, "master.Master", "--port", str(master), "--webui-port", str(page))
        )
        for number, own_page in enumerate(pages):
            own = folder / f"worker-{number}"
            size = ("-c", str(cores), "-m", memory, "-d", str(own))
            processes.enter_context(
                _running(folder, "worker.Worker", "--webui-port", str(own_page), *size, url)
            )
        _wait_for_workers(folder, page, workers)
        yield SparkCluster(url, python, folder, workers * cores)


@contextmanager
def _running(folder: Path, name: str, *options: str) -> Iterator[None]:
    """One daemon of Spark; asked to end first, so that a worker ends its executors."""
    start = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}"]
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ends_with_parent([*start, "--host", "127.0.0.1", *options]),
            cwd=folder,
            env=_environment(folder),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_workers(folder: Path, page: int, workers: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as answer:
                if json.load(answer)["aliveworkers"] == workers:
                    return
        except (urllib.error.URLError, OSError, ValueError):
            pass
        time.sleep(0.2)
    logs = "\n".join(path.read_text()[-2000:] for path in sorted(folder.glob("*.log")))
    raise RuntimeError(f"the cluster did not start:\n{logs}")


def _python_without_project(folder: Path) -> Path:
    """A script that runs this Python with its packages and what PYTHONPATH adds, no `.pth`."""
    script = folder / "python"
    script.write_text(
        "#!/bin/sh\n"
        f'PYTHONPATH="{PACKAGES}${{PYTHONPATH:+:$PYTHONPATH}}"\n'
        "export PYTHONPATH\n"
        f'exec "{sys.executable}" -S "$@"\n'
    )
    script.chmod(0o755)
    return script


def _environment(folder: Path) -> dict[str, str]:
    """This environment without what would show the project, or another Spark, to the cluster."""
    hidden = ("PYTHON", "SPARK_", "PYSPARK_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {
        **kept,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_LOCAL_DIRS": str(folder / "scratch"),
    }
