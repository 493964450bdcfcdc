"""One writer a lake: the lease, the same on disk and on a real S3 server."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake.errors import LeaseHeld, StorageError
from lake.io.lease import Lease, LeaseLost
from lake.io.objects import LocalObjects, Objects
from tests.support.s3 import S3Server

PROJECT = Path(__file__).resolve().parents[2]
ELSEWHERE = {"host": "elsewhere", "pid": 7, "boot": "another", "namespace": "n", "started": 1}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: Takes the lease, says so, and keeps it until a line (or the end) comes on standard input.
HOLDER = """
import pickle, sys
from lake.errors import LeaseHeld
from lake.io.lease import Lease
objects, root, options = pickle.loads(bytes.fromhex(sys.argv[1]))
sys.stdin.readline()
try:
    with Lease(objects, root, **options) as lease:
        print("took", lease.epoch, flush=True)
        sys.stdin.readline()
        lease.check()
        print("kept", flush=True)
except LeaseHeld as held:
    print("held", flush=True)
    sys.exit(held.exit_code)
"""


@dataclass(frozen=True)
class Place:
    """A store and the root of a lake in it."""

    objects: Objects
    root: str

    def lease(self, run: str = "ours", ttl: float = 60.0, settle: float = 0.0) -> Lease:
        return Lease(self.objects, self.root, run=run, ttl=ttl, settle=settle)

    @property
    def body(self) -> dict:
        found = self.objects.get(f"{self.root}/_control/lease.json")
        assert found is not None
        return json.loads(found[0])

    def write(self, body: dict) -> None:
        self.objects.put(f"{self.root}/_control/lease.json", json.dumps(body).encode())

    def held_elsewhere(self, **changes: object) -> None:
        """From now on, a process on another host has taken the lease and does not renew it."""
        with self.lease("theirs"):
            body = self.body
        self.write({**body, "owner": ELSEWHERE, **changes})


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return Place(LocalObjects(), str(tmp_path / "lake"))
    server: S3Server = request.getfixturevalue("s3_server")
    return Place(server.objects, request.getfixturevalue("s3_prefix"))


def test_the_lease_says_who_writes_and_until_when(tmp_path: Path) -> None:
    objects, root = LocalObjects(), str(tmp_path)
    with Lease(objects, root, run="00000007", clock=lambda: NOON) as lease:
        body = Place(objects, root).body
        owner = body.pop("owner")
        assert body == {
            "run": "00000007",
            "epoch": 1,
            "ttl": 60.0,
            "since": "2026-01-01T12:00:00Z",
            "heartbeat": 0,
            "renewed_at": "2026-01-01T12:00:00Z",
            "expires_at": "2026-01-01T12:01:00Z",
            "released": False,
        }
        assert owner["pid"] == os.getpid()
        assert lease.epoch == 1
    assert {**Place(objects, root).body, "owner": 0} == {
        **body,
        "owner": 0,
        "heartbeat": 1,
        "expires_at": "2026-01-01T12:00:00Z",
        "released": True,
    }


def test_a_second_run_is_refused_at_once_and_told_by_whom(place: Place) -> None:
    with place.lease("night 7") as first:
        started = time.monotonic()
        with pytest.raises(LeaseHeld) as caught, place.lease("night 8"):
            pytest.fail("two runs at once")
        assert time.monotonic() - started < 5
        first.check()

    assert caught.value.exit_code == 75
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    assert re.fullmatch(
        rf"Another run is writing to this lake: night 7 on \S+, process {os.getpid()}, "
        rf"since {moment}; its lease runs until {moment} and is renewed while it works. "
        r"Nothing was changed. Start again when it is done; should it have died, its lease is "
        r"free 61 s after the last renewal.",
        str(caught.value),
    )


def test_the_epoch_grows_by_one_with_each_taking(place: Place) -> None:
    epochs = []
    for _ in range(3):
        with place.lease() as lease:
            lease.check()
            epochs.append(lease.epoch)

    assert epochs == [1, 2, 3]


def test_a_lease_is_given_back_after_an_error_too(place: Place) -> None:
    with pytest.raises(ZeroDivisionError), place.lease():
        _ = 1 / 0

    assert place.body["released"] is True
    with place.lease() as lease:
        assert lease.epoch == 2


def test_a_lease_is_renewed_while_its_holder_works(place: Place) -> None:
    with place.lease(ttl=1.5):
        time.sleep(5)
        assert place.body["heartbeat"] >= 3
        with pytest.raises(LeaseHeld), place.lease():
            pytest.fail("two runs at once")


def test_a_lease_not_renewed_for_its_ttl_is_taken_over(place: Place) -> None:
    place.held_elsewhere(ttl=1.0)
    with pytest.raises(LeaseHeld), place.lease():
        pytest.fail("taken too early")
    time.sleep(3.5)
    with place.lease() as lease:
        assert lease.epoch == 2


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_runner_whose_clock_is_wrong_does_not_steal(place: Place, hours: int) -> None:
    def wrong() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    place.held_elsewhere()
    skewed = Lease(place.objects, place.root, run="skewed", clock=wrong)
    with pytest.raises(LeaseHeld), skewed:
        pytest.fail("taken from a live holder")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_dead_holder_whose_clock_was_wrong_does_not_block(place: Place, hours: int) -> None:
    expires = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    place.held_elsewhere(ttl=1.0, expires_at=expires)
    time.sleep(3.5)
    with place.lease() as lease:
        assert lease.epoch == 2


def test_a_holder_that_lost_its_lease_learns_it_at_the_next_check(place: Place) -> None:
    with place.lease("paused") as paused:
        paused.check()
        place.write({**place.body, "owner": ELSEWHERE, "run": "theirs", "epoch": 2})
        with pytest.raises(LeaseLost, match=r"lost its lease \S+: theirs on elsewhere has it"):
            paused.check()
    # Giving back what is another's changes nothing.
    assert (place.body["run"], place.body["epoch"], place.body["released"]) == ("theirs", 2, False)


def test_a_removed_lease_is_a_lost_one(place: Place) -> None:
    with place.lease() as lease:
        place.objects.delete(f"{place.root}/_control/lease.json")
        with pytest.raises(LeaseLost, match="it was removed"):
            lease.check()


def test_of_two_processes_started_at_once_one_works(place: Place) -> None:
    for round_ in range(3):
        with holder(place) as one, holder(place) as other:
            for process in (one, other):
                say(process)
            told = sorted([line(one), line(other)])
            assert told == ["held", f"took {round_ + 1}"]
            for process in (one, other):
                say(process)
            assert sorted([one.wait(30), other.wait(30)]) == [0, 75]


def test_a_killed_holder_on_this_host_is_replaced_without_waiting(place: Place) -> None:
    with holder(place) as killed:
        say(killed)
        assert line(killed) == "took 1"
        killed.send_signal(signal.SIGKILL)
        # Not waited for: a zombie is as dead as one that was.
        time.sleep(0.5)
        started = time.monotonic()
        with place.lease(settle=1.0) as lease:
            took = time.monotonic() - started
            lease.check()
            assert lease.epoch == 2
    assert 1.0 <= took < 10  # the ttl is 60


def test_a_paused_holder_is_alive_until_its_ttl_and_lost_after_it(place: Place) -> None:
    with holder(place, ttl=1.0) as paused:
        say(paused)
        assert line(paused) == "took 1"
        paused.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseHeld), place.lease():
            pytest.fail("taken from a live process")
        time.sleep(3.5)
        with place.lease() as lease:
            paused.send_signal(signal.SIGCONT)
            say(paused)
            assert line(paused) == ""
            assert paused.wait(30) == 1
            lease.check()
            assert lease.epoch == 2


def test_a_dead_process_of_another_container_is_not_judged_by_its_number(place: Place) -> None:
    with place.lease():
        owner = {**place.body["owner"], "namespace": "pid:[1]", "pid": 2**22 + 1}
    place.held_elsewhere(owner=owner)
    with pytest.raises(LeaseHeld), place.lease():
        pytest.fail("taken from a process that cannot be seen from here")


def test_a_number_that_another_process_has_now_is_a_dead_holder(place: Place) -> None:
    with place.lease():
        owner = {**place.body["owner"], "started": 1}
    place.held_elsewhere(owner=owner)
    with place.lease() as lease:
        assert lease.epoch == 3


def test_an_object_that_is_no_lease_stops_the_run(place: Place) -> None:
    place.objects.put(f"{place.root}/_control/lease.json", b"{}")

    with pytest.raises(StorageError, match=r"lease.json is not a lease\."), place.lease():
        pytest.fail("taken")


def test_a_store_that_ignores_conditions_is_refused(tmp_path: Path) -> None:
    class Careless(LocalObjects):
        def put_new(self, uri: str, body: bytes) -> bool:
            self.put(uri, body)
            return True

    with (
        pytest.raises(StorageError, match="ignores conditional writes"),
        Lease(Careless(), str(tmp_path), run="night"),
    ):
        pytest.fail("two runs could write at once")


# --- helpers ---------------------------------------------------------------------------------


@contextmanager
def holder(place: Place, ttl: float = 60.0) -> Iterator[subprocess.Popen[str]]:
    what = pickle.dumps((place.objects, place.root, {"run": "process", "ttl": ttl})).hex()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, what],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
