"""A real S3 server for tests: SeaweedFS from its wheel, one process on loopback.

Ready in about 3 s. Ended by its process id with SIGKILL, because an orderly end takes 15 s and
its data go with the folder anyway.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from lake.errors import StorageError
from lake.io.objects import S3Objects

ACCESS_KEY = "devaccess"
SECRET_KEY = "devsecret"
READY_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """Where the server listens and what opens it. Has the attributes of `storage` settings."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str = "us-east-1"

    @property
    def objects(self) -> S3Objects:
        """The store, by the product's own client."""
        return S3Objects(self.endpoint, self.access_key, self.secret_key, self.region)


@contextmanager
def running_s3(folder: Path, bucket: str = "lake") -> Iterator[S3Server]:
    """A server with an empty bucket, its data and its log below `folder`.

    Tried again on other ports when one was taken between looking and listening.
    """
    for _ in range(3):
        folder.mkdir(parents=True, exist_ok=True)
        ports = free_ports(4)
        server = S3Server(f"http://127.0.0.1:{ports[3]}", ACCESS_KEY, SECRET_KEY, bucket)
        process = _started(folder, ports)
        try:
            if _is_ready(server, process):
                yield server
                return
        finally:
            process.kill()
            process.wait()
    log = (folder / "weed.log").read_text()[-2000:]
    raise RuntimeError(f"SeaweedFS did not start:\n{log}")


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free, as are those 10,000 higher, where SeaweedFS puts gRPC.

    Both lie below the range the kernel hands out to clients.
    """
    found: list[int] = []
    candidates = random.sample(range(11_000, 22_000), 500)
    for port in candidates:
        if len(found) < count and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def ends_with_parent(command: list[str]) -> list[str]:
    """The command, ended by the kernel when this process dies; as it is without setpriv."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _started(folder: Path, ports: list[int]) -> subprocess.Popen[bytes]:
    master, volume, filer, s3 = ports
    key = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    may = ["Admin", "Read", "List", "Tagging", "Write"]
    identities = {"identities": [{"name": "dev", "credentials": [key], "actions": may}]}
    (folder / "s3.json").write_text(json.dumps(identities))
    stored = folder / f"data-{s3}"
    stored.mkdir()
    options = (
        f"-dir={stored} -ip=127.0.0.1 -ip.bind=127.0.0.1"
        f" -master.port={master} -master.telemetry=false -master.electionTimeout=1s"
        f" -master.volumeSizeLimitMB=512 -volume.port={volume} -volume.max=20"
        f" -volume.preStopSeconds=0 -filer -filer.port={filer}"
        f" -s3 -s3.port={s3} -s3.config={folder / 's3.json'} -s3.port.iceberg=0 -s3.port.lance=0"
    )
    weed = str(Path(sys.executable).parent / "weed")
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(
            ends_with_parent([weed, "-logtostderr=true", "server", *options.split()]),
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _is_ready(server: S3Server, process: subprocess.Popen[bytes]) -> bool:
    """Whether a put succeeds in time: HTTP answers before volumes can take anything."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(StorageError, BotoCoreError, ClientError):
            with suppress(ClientError):  # it is there already, from the round before
                server.objects.client.create_bucket(Bucket=server.bucket)
            server.objects.put(f"s3://{server.bucket}/ready", b"ready")
            server.objects.delete(f"s3://{server.bucket}/ready")
            return True
        time.sleep(0.2)
    return False
