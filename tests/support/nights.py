"""Whole nights for tests: a site is a landing zone, a lake and the configuration of both.

What readers see is compared as sorted Python values; the columns that tell where a line came
from (batch, object, etag, line) are left out, because they are what differs between two ways of
landing the same calls.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import deltalake
import pyarrow as pa

from jobs import PIPELINE, steps
from lake.config import load
from lake.io.delta import Tables
from lake.io.reader import Publication, opened
from lake.progress import Progress
from lake.run.night import night
from lake.run.place import Place
from lake.tables import (
    AUDIENCE_MEMBERS,
    DUPLICATE_CALLS,
    IDENTITY_CHANGES,
    IDENTITY_HISTORY,
    INGEST_LEDGER,
    PROFILE_REDIRECTS,
    PUBLISHED,
    REJECTED_CALLS,
    TABLES,
    table,
)
from tests.support.s3 import S3Server

CHECKOUT = Path(__file__).resolve().parents[2]
AS_OF = datetime(2026, 11, 5, tzinfo=UTC)
LINEAGE = frozenset(("batch", "object", "etag", "line"))
#: Tables whose rows depend on how many nights there were.
HISTORY = frozenset(
    t.name for t in (AUDIENCE_MEMBERS, IDENTITY_CHANGES, IDENTITY_HISTORY, PROFILE_REDIRECTS)
)

#: The rules of the demo's shop.
SHOP_IDENTITY: Mapping[str, Any] = {
    "strategy": "components",
    "unknown_types": "ignore",
    "identifiers": {
        "user_id": {"limit": 1},
        "email": {"limit": 5, "normalise": "email"},
        "phone": {"limit": 5, "normalise": "phone", "region": "US"},
        "anonymous_id": {"limit": 5},
        "ios.id": {"limit": 5},
        "android.id": {"limit": 5},
    },
    "blocked": {"values": ["noreply@example.com"]},
}

#: Tiny data in few tasks; for a few hundred rows neither plans nor expressions are compiled.
SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}

Row = tuple[Any, ...]
Contents = dict[str, list[Row]]


class Crash(BaseException):
    """What a test raises where a run is to end at once; nothing in the product catches it."""


@dataclass(frozen=True)
class Site:
    """A configuration file and what it says; ``server`` where the lake lies in S3."""

    config: Path
    root: str
    server: S3Server | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Place(load(self.config, {**os.environ, **self.environment}))

    @property
    def tables(self) -> Tables:
        return self.place.tables

    def run(
        self,
        as_of: datetime = AS_OF,
        on_step: Callable[[str], None] | None = None,
        until: str = "publish",
        told: TextIO | None = None,
        force: str | None = "incremental",
    ) -> dict[str, Any]:
        """A night in this process; its record. ``told`` gets its log lines.

        Incremental wherever it can be, which a small lake would not choose by itself.
        """
        return night(
            self.place.config,
            PIPELINE if until == "publish" else steps(until),
            as_of=as_of,
            force=force,
            progress=Progress(out=told) if told else Progress(quiet=True),
            on_step=on_step,
        )

    def publication(self, number: int | None = None) -> Publication:
        return opened(self.root, number, self.place.access)

    def contents(self, number: int | None = None) -> Contents:
        """Every published table of a publication, without lineage and without what tells how the
        publication came about: that differs between one night and three."""
        shown = self.publication(number)
        names = sorted(shown.versions.keys() - HISTORY)
        return {name: rows(shown.arrow(name)) for name in names}

    def state(self, name: str) -> list[Row]:
        """The newest version of any table, without lineage."""
        return rows(self.tables.query("select * from t", t=(table(name), None)))

    def dicts(self, name: str) -> list[dict[str, Any]]:
        """The newest version of any table, whole."""
        found = self.tables.query("select * from t", t=(table(name), None)).to_pylist()
        return [dict(row) for row in found]

    def tamper(self, name: str, column: str) -> None:
        """Change one column of one row of a table by hand."""
        opened = self.tables.open(table(name))
        assert opened is not None
        found = self.tables.query("select * from t", t=(table(name), None))
        values = found[column].to_pylist()
        values[0] = values[0] + 1 if isinstance(values[0], int) else f"{values[0]}0"
        schema = pa.schema(opened.schema())
        at = schema.get_field_index(column)
        changed = found.set_column(at, column, pa.array(values, schema.field(at).type))
        deltalake.write_deltalake(opened, changed.cast(schema), mode="overwrite")

    def counts(self) -> dict[str, int]:
        """Lines in all, and in each of the three places a line can be."""
        ledger = self.dicts(INGEST_LEDGER.name)
        names = ("lines", "accepted", "rejected", "duplicate")
        return {name: sum(row[name] for row in ledger) for name in names}

    def leftovers(self) -> list[tuple[Any, ...]]:
        """Every refused line and every lost copy, by what they are, not by where they lay."""
        refused = [(r["reason"], r["raw"], r["bytes"]) for r in self.dicts(REJECTED_CALLS.name)]
        lost = [(r["message_id"], r["payload_hash"]) for r in self.dicts(DUPLICATE_CALLS.name)]
        return [*sorted(refused), *sorted(lost)]

    def versions(self) -> dict[str, int | None]:
        return {t.name: self.tables.version(t) for t in TABLES}


def rows(found: pa.Table) -> list[Row]:
    """The rows as tuples of the columns that are not lineage, in an order of their own."""
    kept = [name for name in found.column_names if name not in LINEAGE]
    columns = [found[name].to_pylist() for name in kept]
    return sorted(zip(*columns, strict=True), key=repr)


def site(
    folder: Path,
    sources: Mapping[str, str | Path],
    *,
    identity: Mapping[str, Any] = SHOP_IDENTITY,
    root: str | None = None,
    server: S3Server | None = None,
    name: str = "lake",
    judged: bool = True,
    **settings: Any,
) -> Site:
    """Write ``<folder>/<name>.yaml``; the lake is ``<folder>/<name>`` where no root is given.

    Where it is not ``judged``, the quality gate asks next to nothing, which saves time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = root or str(folder / name)
    said: dict[str, Any] = {
        "space": "shop",
        "root": where.replace("s3://", "s3a://"),
        "sources": {source: {"path": str(path)} for source, path in sources.items()},
        "identity": dict(identity),
        "spark": {"conf": dict(SMALL)},
        **settings,
    }
    if not judged:
        said["quality"] = {"expectations": str(few_expectations(folder))}
    if server:
        said["storage"] = {
            "endpoint": server.endpoint,
            "access_key": "${TEST_S3_KEY}",
            "secret_key": "${TEST_S3_SECRET}",
        }
        keys = {"TEST_S3_KEY": server.access_key, "TEST_S3_SECRET": server.secret_key}
    else:
        keys = {}
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps(said, indent=1))  # JSON is YAML
    return Site(config, where, server, keys)


def few_expectations(folder: Path) -> Path:
    """A folder of suites that ask as little as a suite may."""
    suites = folder / "few_expectations"
    suites.mkdir(exist_ok=True)
    for t in PUBLISHED:
        asked = {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": t.grain[0]},
            "meta": {"severity": "block", "about": "A row is known by it."},
        }
        (suites / f"{t.name}.json").write_text(
            json.dumps({"name": t.name, "expectations": [asked]})
        )
    return suites


def copied(
    original: Site, folder: Path, name: str = "lake", *, judged: bool = True, **settings: Any
) -> Site:
    """The same lake once more, as it stands, over the same landing zone and more sources.

    ``settings`` take the place of the original's; ``sources`` come beside them.
    """
    said = json.loads(original.config.read_text())
    more = {n: {"path": str(path)} for n, path in settings.pop("sources", {}).items()}
    said |= {**settings, "sources": said["sources"] | more}
    if not judged:
        said["quality"] = {"expectations": str(few_expectations(folder))}
    said["root"] = str(folder / name)
    shutil.copytree(original.root, folder / name)
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps(said, indent=1))
    return Site(config, said["root"])


def commands(lake: Site, *arguments: str) -> list[str]:
    """The installed command on the lake's configuration, as a list to start."""
    command = str(Path(sys.executable).parent / "profile-lake")
    return [command, *arguments, "--config", str(lake.config)]


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with this checkout before any other."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **more}


def land(file: Path, calls: Iterable[Mapping[str, Any] | bytes]) -> None:
    """Write calls as lines, bytes as they are; plain NDJSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [c if isinstance(c, bytes) else json.dumps(c).encode() for c in calls]
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def files(root: str | Path) -> dict[str, tuple[int, int]]:
    """Size and last change of every file of a lake on disk but the lease."""
    found = {}
    for file in sorted(Path(root).rglob("*")):
        if file.is_file() and "lease.json" not in file.name:
            status = file.stat()
            found[str(file.relative_to(root))] = (status.st_size, status.st_mtime_ns)
    return found


def unpacked(body: bytes) -> tuple[bytes, bool]:
    """The text of a landing object and whether all of it could be read."""
    if not body.startswith(b"\x1f\x8b"):
        return body, True
    unzip = zlib.decompressobj(wbits=31)
    text = b""
    try:
        for byte in range(len(body)):
            text += unzip.decompress(body[byte : byte + 1])
    except zlib.error:
        return text, False
    return text, unzip.eof


def partition(pairs: Iterable[tuple[Any, Any]]) -> Counter[frozenset[Any]]:
    """(member, group) pairs as the groups' members, however the groups are named."""
    groups: dict[Any, set[Any]] = {}
    for member, group in pairs:
        groups.setdefault(group, set()).add(member)
    return Counter(frozenset(members) for members in groups.values())
