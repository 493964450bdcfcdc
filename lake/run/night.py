"""The shell of a run: lease, plan, session, steps, record.

A run is planned once; nothing is decided after its plan. Whoever finds a plan without a record
finishes it by that plan, so a retry is the same run, and every commit that was made is kept.
If the configuration or the product changed in between, only the reading of the planned objects
is finished (it does not depend on how identities are resolved), the run is recorded as
superseded, and a new one is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from lake.config import Config
from lake.errors import GateClosed, LakeError
from lake.identity.identifiers import Extraction
from lake.io import publications
from lake.io.control import Control, Plan
from lake.io.delta import Lake, Tables, Transaction
from lake.io.lease import Lease
from lake.io.session import is_brief, spark_session
from lake.progress import Progress
from lake.quality import judge
from lake.run.place import Place
from lake.run.planning import code_version, facts_fingerprint, notes, planned
from lake.run.rules import extraction
from lake.tables import (
    EVENTS,
    IDENTITY_SETS,
    INGEST_LEDGER,
    PROFILES,
    RUNS,
    SHARED_VALUES,
    VIOLATIONS,
)

Step = Callable[["Night"], None]

#: What an incremental `stitch` leaves for `publish`, in scratch.
TOUCHED_PROFILES, TOUCHED_IDENTITIES = "touched_profiles", "touched_identities"
#: The identity sets of calls that were accepted and are not any more, in scratch.
RETOLD_SETS = "retold_sets"


def sets_since(batch: int) -> str:
    """The identity sets of calls of batches after this one, with what these add, in scratch. A full
    pass leaves those of all calls, since batch 0."""
    return f"sets_since_{batch}"


PUBLISHED, NOOP, BLOCKED, SUPERSEDED = "published", "noop", "blocked", "superseded"


@dataclass
class Night:
    """One run: its plan and everything its steps need."""

    place: Place
    plan: Plan
    lake: Lake
    progress: Progress
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.place.config

    @property
    def tables(self) -> Tables:
        """The lake's tables as files."""
        return self.place.tables

    def transaction(self, step: str) -> Transaction:
        """The transaction of this run's commits in a step."""
        return Transaction(step, self.plan.run)

    @cached_property
    def extraction(self) -> Extraction:
        """The rules by which identifiers are taken from calls."""
        return extraction(self.config)

    @property
    def facts(self) -> str:
        """A hash of what the facts per identity set depend on besides the events."""
        return facts_fingerprint(self.config)


def unfinished(control: Control) -> Plan | None:
    """The plan of the last run, if that run has no record."""
    last = control.last_run()
    return control.plan(last) if last and control.record(last) is None else None


def check_finished(control: Control, command: str) -> None:
    """Raises LakeError, which names the command to come back with, while a run is unfinished: its
    tables are half written, and its scratch, which the command would drop, holds what it read."""
    if plan := unfinished(control):
        raise LakeError(
            f"Run {plan.name} was not finished: `profile-lake run` first, then {command}."
        )


def night(
    config: Config,
    steps: Sequence[tuple[str, Step]],
    *,
    as_of: datetime | None = None,
    force: str | None = None,
    progress: Progress | None = None,
    on_step: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the steps of a night in order; the run record.

    An unfinished run is finished first, by its own plan; then what has landed since is planned
    and run. ``steps`` are named; a night that does not end with ``publish`` stays unfinished and
    the next one goes on with it. ``as_of`` (UTC; default: now) dates the publication of a new
    plan, ``force`` (full or incremental) says how much of the lake it resolves instead of leaving
    that to cost. ``on_step`` is called at every commit boundary with its name.

    Raises LeaseHeld if another run writes here, and any LakeError of a step.
    """
    told = progress or Progress()
    place = Place(config)
    when = as_of or datetime.now(UTC)
    step = on_step or (lambda _name: None)
    with Lease(place.objects, config.root, run="night") as lease:
        publications.point(place.tables, place.control)
        record: dict[str, Any] | None = None
        if plan := unfinished(place.control):
            told.say("finishing an unfinished run", run=plan.name)
            record = _run(place, plan, steps, lease, told, step)
        going_on = record is not None and record["status"] == "unfinished"
        if not going_on and (plan := planned(place, when, force)):
            step("plan")
            record = _run(place, plan, steps, lease, told, step)
        if record is None:
            place.tables.drop_scratch()  # a run that died after its record left them
            return _noop(place, told)
    if record["status"] == BLOCKED:
        raise GateClosed(_blocked_sentence(record))
    return record


def _run(
    place: Place,
    plan: Plan,
    steps: Sequence[tuple[str, Step]],
    lease: Lease,
    told: Progress,
    step: Callable[[str], None],
) -> dict[str, Any] | None:
    """The run's record; None if only its reading was finished, because the rules changed."""
    same = plan.config == place.config.fingerprint and plan.code == code_version()
    with _session(place, plan, lease, told, step) as run:
        if same and steps[-1][0] == "publish":
            judge.import_ahead()
        for name, work in steps if same else steps[:1]:
            with told.stage(name):
                work(run)
        if not same:
            told.say("the configuration changed: a new run follows", superseded=plan.name)
            run.lake.drop_scratch()
            record = {"run_id": plan.name, "status": SUPERSEDED, "publication": None}
            place.control.write_record(plan.run, record)
            return None
        if steps[-1][0] != "publish":
            return {**summary(run), "status": "unfinished"}
        record = finished(run, step)
        run.lake.drop_scratch()
        return record


@contextmanager
def _session(
    place: Place, plan: Plan, lease: Lease, told: Progress, step: Callable[[str], None]
) -> Iterator[Night]:
    def before(_name: str) -> None:
        lease.check()

    def after(name: str, verb: str) -> None:
        told.say(f"{verb} {name}")
        step(name)

    with told.stage("session"):
        conf, brief = place.config.spark.conf, is_brief(plan.bytes, place.tables.rows(EVENTS))
        spark = spark_session("profile-lake", storage=place.access, conf=conf, brief=brief)
    lake = Lake(spark, place.tables, plan.name, before, after, notes(place.config))
    yield Night(place, plan, lake, told)


def summary(run: Night) -> dict[str, Any]:
    """What a run did, as ``run --output json`` prints it."""
    plan, tables = run.plan, run.tables
    lines = {"read": 0, "accepted": 0, "rejected": 0, "duplicate": 0}
    if plan.batch is not None:
        total = tables.query(
            "select sum(lines) as read, sum(accepted) as accepted, sum(rejected) as rejected, "  # noqa: S608
            f"sum(duplicate) as duplicate from ledger where batch = {plan.batch}",
            ledger=(INGEST_LEDGER, None),
        ).to_pylist()
        lines = {k: int(v or 0) for k, v in (total[0] if total else lines).items()}
    return {
        "run_id": plan.name,
        "as_of": plan.as_of.isoformat(),
        "pass": run.outcome.get("pass", "full" if plan.full else "incremental"),
        "because": run.outcome.get("because", plan.full),
        "publication": publications.latest(tables) or None,
        "objects": plan.objects,
        "lines": lines,
        "sets": tables.rows(IDENTITY_SETS),
        "profiles": tables.rows(PROFILES),
        "violations": _violations(tables),
        "shared": _shared(tables),
        "seconds": dict(run.progress.seconds),
    }


def _violations(tables: Tables) -> dict[str, int]:
    """How often each reason kept an identifier from linking, over all history."""
    counted = tables.query(
        "select reason, count(*) as n from v group by reason order by n desc, reason",
        v=(VIOLATIONS, None),
    )
    return {row["reason"]: row["n"] for row in counted.to_pylist()} if counted.num_rows else {}


def _shared(tables: Tables) -> dict[str, int]:
    """How many values of each type link nothing because too many share them."""
    counted = tables.query(
        "select type, count(distinct identifier_key) as n from s group by type order by type",
        s=(SHARED_VALUES, None),
    )
    return {row["type"]: row["n"] for row in counted.to_pylist()} if counted.num_rows else {}


def finished(run: Night, step: Callable[[str], None]) -> dict[str, Any]:
    """Write the run's record and its row in ``runs``."""
    plan, outcome = run.plan, run.outcome
    record = {**summary(run), "status": outcome.get("status", PUBLISHED)}
    record["quality"] = outcome.get("quality", [])
    row = {
        "run": plan.name,
        "as_of": plan.as_of,
        "status": record["status"],
        "publication": record["publication"],
        "batch": plan.batch,
        "lines": record["lines"]["read"],
        "accepted": record["lines"]["accepted"],
        "rejected": record["lines"]["rejected"],
        "duplicate": record["lines"]["duplicate"],
        "sets": record["sets"],
        "profiles": record["profiles"],
        "seconds": sum(record["seconds"].values()),
        "code": plan.code,
        "config": plan.config,
    }
    run.lake.append_rows(RUNS, [row], run.transaction("run"))
    run.place.control.write_record(plan.run, record)
    step("record")
    return record


def _noop(place: Place, told: Progress) -> dict[str, Any]:
    tables = place.tables
    return {
        "run_id": None,
        "status": NOOP,
        "publication": publications.latest(tables) or None,
        "objects": 0,
        "lines": {"read": 0, "accepted": 0, "rejected": 0, "duplicate": 0},
        "sets": tables.rows(IDENTITY_SETS),
        "profiles": tables.rows(PROFILES),
        "violations": _violations(tables),
        "shared": _shared(tables),
        "seconds": dict(told.seconds),
    }


def _blocked_sentence(record: dict[str, Any]) -> str:
    broken = [
        f"{q['table']}: {q['expectation']}"
        for q in record["quality"]
        if not q["success"] and q["severity"] == "block"
    ]
    return (
        f"Run {record['run_id']} was not published: {'; '.join(broken)}. "
        "Readers still see the last publication. `profile-lake runs` shows the figures."
    )
