"""One writer a lake: a lease object that one run holds, renews and gives back.

`_control/lease.json` says who writes. It is made by put_new and changed by compare-and-swap only,
so of any number of runs started at once one gets it; the others raise LeaseHeld at once, having
touched nothing. It is never removed: its **epoch** grows by one with each taking.

* The holder renews every third of the **ttl**, and at each `Lease.check`, which a run calls before
  each commit. A holder that lost its lease (it was paused, cut off) learns it there: LeaseLost.
  What it sends off after a good check is beyond the lease, so check late; a commit that carries
  the epoch can be refused even then.
* A lease is free when it was given back, or when it was not renewed for its ttl and the second
  the store's clock may be off. That age is measured **by the store's own clock** at both ends, so
  runners whose clocks disagree do not steal from each other. The times written into the lease are
  for people only.
* On one host nobody waits for a dead process: a holder whose process id, with its start time, is
  no longer there (same boot, same process namespace, so containers do not misjudge each other) is
  replaced at once, and the new holder waits `SETTLE_SECONDS`, because the JVM of a killed Python
  driver was seen to live, and so to commit, for 3 s more.
* A store that ignores conditions would let two runs in, silently. So each taking is proved: two
  conditional writes that must be refused.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from lake.errors import CommitError, LeaseHeld, StorageError
from lake.io.objects import Objects, canonical_uri

TTL_SECONDS = 60.0
#: How long a JVM outlives its killed Python driver: 2.4 to 3.0 s measured.
SETTLE_SECONDS = 5.0
#: S3 tells whole seconds.
CLOCK_STEP_SECONDS = 1.0
_TAKINGS = 10

log = logging.getLogger(__name__)


class LeaseLost(CommitError):
    """Another run took the lease over; nothing more may be written."""


class Process(msgspec.Struct, frozen=True):
    """A process, told from any other that ever had its number, as far as the host can tell."""

    host: str
    pid: int
    boot: str | None = None
    namespace: str | None = None
    started: int | None = None


class Holding(msgspec.Struct, frozen=True):
    """The body of the lease object."""

    owner: Process
    run: str
    epoch: int
    ttl: float
    since: datetime
    heartbeat: int
    renewed_at: datetime
    expires_at: datetime
    released: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Found:
    holding: Holding
    etag: str


class Lease:
    """The right to write to the lake at `root`, as a context manager.

    `run` names the run to others. `clock` (the current time in UTC) is only written down, never
    relied on. Raises LeaseHeld on entering while another run holds the lease, and StorageError
    when the store fails or does not honour conditional writes.
    """

    def __init__(
        self,
        objects: Objects,
        root: str,
        *,
        run: str,
        ttl: float = TTL_SECONDS,
        settle: float = SETTLE_SECONDS,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.uri = f"{canonical_uri(root).rstrip('/')}/_control/lease.json"
        self._objects, self._run, self._clock = objects, run, clock
        self._ttl, self._settle = ttl, settle
        self._owner = this_process()
        self._holding: Holding | None = None
        self._one_at_a_time = threading.Lock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)

    @property
    def epoch(self) -> int:
        """How often this lake's lease was taken, this time included."""
        assert self._holding is not None, "the lease was not taken"
        return self._holding.epoch

    def __enter__(self) -> Self:
        dead_before = self._take()
        try:
            self._prove()
            if dead_before:
                time.sleep(self._settle)
        except BaseException:
            self._give_back()
            raise
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._heart.join()
        self._give_back()

    def _give_back(self) -> None:
        try:
            self._renew(released=True)
        except (LeaseLost, StorageError) as failure:
            # The work is done or has its own error; the next run waits for the ttl at most.
            log.warning("The lease could not be given back: %s", failure)

    def check(self) -> None:
        """Renew the lease: it is ours for a whole ttl from now.

        Raises LeaseLost if another run took it over, StorageError if the store cannot be asked.
        Costs two requests in S3.
        """
        self._renew()

    def _take(self) -> bool:
        """Make the lease ours; True if it was taken from a process that died just now."""
        for _ in range(_TAKINGS):
            found = self._read()
            free = found is None or self._is_free(found.holding)
            if found is not None and not free and not _is_dead(found.holding.owner, self._owner):
                raise _held(found.holding)
            mine = self._first(found)
            body = msgspec.json.encode(mine)
            if found is None:
                won = self._objects.put_new(self.uri, body)
            else:
                won = self._objects.replace(self.uri, body, found.etag)
            if won:
                self._holding = mine
                return not free
        raise StorageError(f"{self.uri} changes faster than it can be read; run again.")

    def _first(self, found: _Found | None) -> Holding:
        now = self._clock()
        return Holding(
            owner=self._owner,
            run=self._run,
            epoch=found.holding.epoch + 1 if found else 1,
            ttl=self._ttl,
            since=now,
            heartbeat=0,
            renewed_at=now,
            expires_at=now + timedelta(seconds=self._ttl),
        )

    def _is_free(self, holding: Holding) -> bool:
        if holding.released:
            return True
        # Asked after the body was read: a renewal in between makes the lease younger, not older.
        age = self._objects.age(self.uri)
        return age is not None and age > holding.ttl + CLOCK_STEP_SECONDS

    def _prove(self) -> None:
        """Two writes that a store must refuse; where one is done, it writes our own lease."""
        body = msgspec.json.encode(self._holding)
        if self._objects.put_new(self.uri, body) or self._objects.replace(self.uri, body, "0" * 32):
            raise StorageError(
                f"The store of {self.uri} ignores conditional writes (If-None-Match, If-Match), so "
                "two runs could write at once. Use a store or a version that honours them."
            )

    def _renew(self, *, released: bool = False) -> None:
        with self._one_at_a_time:
            mine, found = self._holding, self._read()
            assert mine is not None, "the lease was not taken"
            if found is None or not _is_same(found.holding, mine):
                raise _lost(self.uri, found)
            now = self._clock()
            renewed = msgspec.structs.replace(
                found.holding,
                heartbeat=found.holding.heartbeat + 1,
                renewed_at=now,
                expires_at=now if released else now + timedelta(seconds=self._ttl),
                released=released,
            )
            if not self._objects.replace(self.uri, msgspec.json.encode(renewed), found.etag):
                raise _lost(self.uri, self._read())

    def _beat(self) -> None:
        """Renew until the lease is given back or lost; a store that is away is tried again."""
        while not self._over.wait(self._ttl / 3):
            try:
                self._renew()
            except LeaseLost as lost:
                log.error("%s", lost)  # noqa: TRY400 - a sentence, not a traceback
                return
            except StorageError as away:
                log.warning("The lease could not be renewed: %s", away)

    def _read(self) -> _Found | None:
        found = self._objects.get(self.uri)
        if found is None:
            return None
        try:
            return _Found(msgspec.json.decode(found[0], type=Holding), found[1])
        except msgspec.DecodeError as error:
            raise StorageError(
                f"{self.uri} is not a lease. If no run is working on this lake, remove it."
            ) from error


def this_process() -> Process:
    """The running process, as others on the host can look it up."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    known = boot.exists() and namespace.is_symlink()
    return Process(
        host=socket.gethostname(),
        pid=os.getpid(),
        boot=boot.read_text().strip() if known else None,
        namespace=str(namespace.readlink()) if known else None,
        started=_started(os.getpid()) if known else None,
    )


def _is_dead(owner: Process, me: Process) -> bool:
    """Whether the owner surely ended: it lived where we live and its process is not there now."""
    if owner.boot is None or (owner.boot, owner.namespace) != (me.boot, me.namespace):
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, so it is there
        pass
    try:
        return _started(owner.pid) != owner.started
    except FileNotFoundError:  # hidden from us, or gone since; the lease's age will tell
        return False


def _started(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None for a zombie."""
    # The name of the program, in brackets, may itself hold spaces and brackets.
    state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(rest[18])


def _is_same(found: Holding, mine: Holding) -> bool:
    return (found.epoch, found.owner, found.released) == (mine.epoch, mine.owner, False)


def _held(by: Holding) -> LeaseHeld:
    return LeaseHeld(
        f"Another run is writing to this lake: {by.run} on {by.owner.host}, process "
        f"{by.owner.pid}, since {_said(by.since)}; its lease runs until {_said(by.expires_at)} and "
        "is renewed while it works. Nothing was changed. Start again when it is done; should it "
        f"have died, its lease is free {by.ttl + CLOCK_STEP_SECONDS:.0f} s after the last renewal."
    )


def _lost(uri: str, found: _Found | None) -> LeaseLost:
    by = f"{found.holding.run} on {found.holding.owner.host} has it" if found else "it was removed"
    return LeaseLost(
        f"This run lost its lease {uri}: {by}. It stopped before its next commit; start again "
        "when no other run is working."
    )


def _said(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
