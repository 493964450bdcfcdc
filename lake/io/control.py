"""The control plane: the plan of a run, its manifest, its record, and what is published now.

    _control/lease.json                  who is writing
    _control/runs/00000012/manifest.jsonl   the objects of this run, one a line
    _control/runs/00000012/plan.json     made once, never changed: nothing is decided after it
    _control/runs/00000012/run.json      how it ended
    _control/current.json                the newest publication, derived from `publications`

A plan without a record is an unfinished run; whoever comes next finishes it by the same plan.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lake.errors import StorageError
from lake.io.objects import Objects, ObjectVersion


@dataclass(frozen=True)
class Plan:
    """Everything a run needs to know, fixed before it starts.

    ``batch`` is the run's number where there are objects to read, else None. ``versions``: the
    version of each table before the run; one that does not exist yet is not named. ``inputs`` is a
    hash of what the publication depends on besides the events.

    ``full``: why everything is resolved and published anew; None where only what the night touches
    is. ``changed``: the parts of the rules that are not those of the last resolution;
    ``resolved``: the newest batch of that. ``published``: whether the rows of profiles are those
    that readers see, made by today's rules of what is published. ``told``: what the choice was
    made by, for people.
    """

    run: int
    as_of: datetime
    batch: int | None
    objects: int
    bytes: int
    versions: Mapping[str, int]
    publication: int
    inputs: str
    code: str
    config: str
    full: str | None
    changed: frozenset[str] = frozenset()
    resolved: int = 0
    published: bool = False
    told: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The run's name in commits, log lines and folders."""
        return f"{self.run:08d}"


@dataclass(frozen=True)
class Landed:
    """A version of a landing object and the source it belongs to."""

    source: str
    version: ObjectVersion


@dataclass(frozen=True)
class Control:
    """The objects under ``<root>/_control``."""

    root: str
    objects: Objects

    def _uri(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/_control/{name}"

    def last_run(self) -> int:
        """The number of the newest planned run; 0 before the first."""
        planned = [n for n in self.objects.children(self._uri("runs")) if n.isdigit()]
        for name in sorted(planned, reverse=True):
            if self.objects.get(self._uri(f"runs/{name}/plan.json")) is not None:
                return int(name)
        return 0

    def plan(self, run: int) -> Plan:
        """The plan of a run. Raises StorageError if it is gone."""
        fields = self._json(f"runs/{run:08d}/plan.json")
        if fields is None:
            raise StorageError(f"_control/runs/{run:08d}/plan.json is gone; restore it, run again.")
        fields["as_of"] = datetime.fromisoformat(fields["as_of"])
        fields["changed"] = frozenset(fields["changed"])
        return Plan(**fields)

    def write_plan(self, plan: Plan, landed: Iterable[Landed]) -> None:
        """Fix the plan, its manifest first. Raises StorageError if another run did so before."""
        lines = [
            json.dumps({"source": item.source, **_plain(dataclasses.asdict(item.version))})
            for item in landed
        ]
        body = "".join(f"{line}\n" for line in lines).encode()
        self.objects.put(self._uri(f"runs/{plan.name}/manifest.jsonl"), body)
        text = json.dumps(_plain(dataclasses.asdict(plan)), indent=1)
        if not self.objects.put_new(self._uri(f"runs/{plan.name}/plan.json"), text.encode()):
            raise StorageError(f"Run {plan.name} was planned by somebody else; run again.")

    def manifest(self, run: int) -> list[Landed]:
        """The objects of a run, as planned."""
        found = self.objects.get(self._uri(f"runs/{run:08d}/manifest.jsonl"))
        if found is None:
            raise StorageError(f"The manifest of run {run:08d} is gone; restore it, run again.")
        rows = [json.loads(line) for line in found[0].splitlines()]
        return [
            Landed(
                row.pop("source"),
                ObjectVersion(
                    **{**row, "last_modified": datetime.fromisoformat(row["last_modified"])}
                ),
            )
            for row in rows
        ]

    def record(self, run: int) -> dict[str, Any] | None:
        """How a run ended, or None while it has not."""
        return self._json(f"runs/{run:08d}/run.json")

    def write_record(self, run: int, record: dict[str, Any]) -> None:
        """Say how a run ended."""
        text = json.dumps(_plain(record), indent=1)
        self.objects.put(self._uri(f"runs/{run:08d}/run.json"), text.encode())

    def current(self) -> dict[str, Any] | None:
        """What readers see now, or None before the first publication."""
        return self._json("current.json")

    def write_current(self, current: dict[str, Any]) -> None:
        """Point readers at a publication, in one conditional write; never back to an older one."""
        uri, body = self._uri("current.json"), json.dumps(_plain(current), indent=1).encode()
        for _ in range(3):
            found = self.objects.get(uri)
            if found is None:
                if self.objects.put_new(uri, body):
                    return
                continue
            if json.loads(found[0])["publication"] >= current["publication"]:
                return
            if self.objects.replace(uri, body, found[1]):
                return
        raise StorageError("_control/current.json keeps changing; run again.")

    def _json(self, name: str) -> dict[str, Any] | None:
        found = self.objects.get(self._uri(name))
        if found is None:
            return None
        value = json.loads(found[0])
        assert isinstance(value, dict)
        return value


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: _plain_value(v) for k, v in fields.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return value.isoformat() if isinstance(value, datetime) else value
