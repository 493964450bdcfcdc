"""Reading and writing declared tables: conformed, idempotent, with a settled outcome.

A commit carries a transaction (application, version). Delta skips a transaction it already
holds, so a step that is run again writes nothing. A write that raised may still have committed
(the answer can be lost on the way back); its outcome is read back from the table's own log and
never guessed. Spark's workers write the data files and deltalake commits them: it puts the
commit file conditionally, on disk and on S3, and needs no Spark job to know a table's state.

Tables are addressed by path under the lake's root. What a run stores for itself lies in
``_scratch`` (`lake.io.scratch`) and is dropped at its end.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import deltalake
import pyarrow as pa
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lake.errors import CommitError, LakeError
from lake.frames import ManyRows, Materialised, Storable, WorkerRows
from lake.io.files import File, Layout, written, written_apart
from lake.io.objects import canonical_uri, objects_for
from lake.io.rewriting import DataFile, rewritten
from lake.io.scratch import (
    Stored,
    opened,
    plain_layout,
    read_back,
    store_list,
    stored,
    stored_rows,
)
from lake.packing import sorted_by
from lake.ranges import in_ranges, most_ranges
from lake.schema import Column, Table
from lake.tables import IDENTITY_SETS

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lake.io.objects import Objects, StorageSettings


#: Folder of tables that live as long as one run.
SCRATCH = "_scratch"

#: The applications whose transactions change what tables hold.
STEPS = ("compact", "extract", "stitch", "publish")

#: As many files are opened each for itself; of more, the log's statistics skip most.
FEW_FILES = 64

#: Identity sets for which one more file of each sorted table is written, while there are tasks for
#: them; and the most that a worker is given, who holds their rows to sort them.
RANGE_SETS = 100_000
MOST_SETS = 500_000


@dataclass(frozen=True)
class Transaction:
    """Who commits and how many-th: Delta takes each (application, version) once."""

    application: str
    version: int


def storage_options(storage: StorageSettings | None) -> dict[str, str]:
    """deltalake's options for an S3-compatible store; none on disk and on AWS."""
    if storage is None or not storage.endpoint:
        return {}
    options = {
        "AWS_ENDPOINT_URL": storage.endpoint,
        "AWS_REGION": storage.region or "us-east-1",
        "AWS_ALLOW_HTTP": str(storage.endpoint.startswith("http:")).lower(),
        "aws_conditional_put": "etag",
    }
    if storage.access_key and storage.secret_key:
        options |= {
            "AWS_ACCESS_KEY_ID": storage.access_key,
            "AWS_SECRET_ACCESS_KEY": storage.secret_key,
        }
    return options


@dataclass(frozen=True)
class Tables:
    """The lake's tables as files, without Spark: versions, transactions, small reads."""

    root: str
    storage: StorageSettings | None = None

    def path(self, table: Table) -> str:
        """Where the table lies, as Spark addresses it."""
        return _for_spark(f"{self.root.rstrip('/')}/{table.path}")

    def uri(self, table: Table) -> str:
        """Where the table lies, as deltalake addresses it."""
        return self.path(table).replace("s3a://", "s3://")

    def open(self, table: Table, version: int | None = None) -> deltalake.DeltaTable | None:
        """The table's log at a version (default: newest); None if there is no such table."""
        options = storage_options(self.storage)
        try:
            return deltalake.DeltaTable(self.uri(table), version=version, storage_options=options)
        except TableNotFoundError:
            return None

    def version(self, table: Table) -> int | None:
        """The newest version, or None where the table does not exist."""
        opened = self.open(table)
        return None if opened is None else opened.version()

    def holds(self, table: Table, transaction: Transaction) -> bool:
        """Whether the table's log holds this transaction or a later one of its application."""
        opened = self.open(table)
        if opened is None:
            return False
        newest = opened.transaction_version(transaction.application)
        return newest is not None and newest >= transaction.version

    def last_transaction(self, table: Table, application: str) -> int | None:
        """The newest version this application committed, or None."""
        opened = self.open(table)
        return None if opened is None else opened.transaction_version(application)

    def transaction_at(self, table: Table, version: int, application: str) -> int | None:
        """The newest version of an application's own that this version of the table holds."""
        opened = self.open(table, version)
        return None if opened is None else opened.transaction_version(application)

    def notes(self, table: Table) -> dict[str, Any]:
        """The notes of the newest commit that carries any; empty if none does."""
        opened = self.open(table)
        for commit in opened.history(20) if opened else []:
            if text := commit.get("userMetadata"):
                found = json.loads(text)
                assert isinstance(found, dict)
                return found
        return {}

    def rows(self, table: Table, version: int | None = None) -> int:
        """Rows of a version, from the log's own counts."""
        opened = self.open(table, version)
        if opened is None:
            return 0
        counts = pa.table(opened.get_add_actions(flatten=True)).column("num_records").to_pylist()
        return sum(counts)

    def columns(self, table: Table, version: int | None = None) -> tuple[str, ...]:
        """The names of the columns of a version, those of a configuration too; none where there
        is no table."""
        opened = self.open(table, version)
        return () if opened is None else tuple(f.name for f in opened.schema().fields)

    def query(self, sql: str, **tables: tuple[Table, int | None]) -> pa.Table:
        """The answer of DataFusion to a query over tables at versions, as Arrow.

        DataFusion skips files by the log's statistics, and it is the one reader of deltalake
        that never aborts the interpreter at exit.
        """
        builder = deltalake.QueryBuilder()
        for name, (table, version) in tables.items():
            opened = self.open(table, version)
            if opened is None:
                return table.arrow.empty_table()
            builder = builder.register(name, opened)
        return answered(builder, sql)

    def any(self, table: Table, where: str) -> bool:
        """Whether a row of the newest version is as ``where`` says; false where there is no table.

        ``where`` is SQL of the product's own making, never a customer's value.
        """
        return bool(self.query(f"select 1 from t where {where} limit 1", t=(table, None)).num_rows)  # noqa: S608

    def files(self, table: Table, version: int | None = None) -> list[DataFile]:
        """The data files of a version, by address; none where there is no table."""
        opened = self.open(table, version)
        if opened is None:
            return []
        told = pa.table(opened.get_add_actions(flatten=True))
        by = table.partitioned_by
        parts = told.column(f"partition.{by[0]}").to_pylist() if by else [""] * told.num_rows
        found = zip(
            told.column("path").to_pylist(), told.column("size_bytes").to_pylist(), parts,
            strict=True,
        )  # fmt: skip
        files = [DataFile(f"{self.uri(table)}/{path}", size, str(p)) for path, size, p in found]
        return sorted(files, key=lambda file: file.uri)

    def create(self, table: Table) -> None:
        """Make the table, empty, with its declared properties; nothing if it exists."""
        if self.open(table) is not None:
            return
        deltalake.DeltaTable.create(
            self.uri(table),
            schema=table.arrow,
            mode="ignore",
            partition_by=list(table.partitioned_by) or None,
            configuration=dict(table.table_properties),
            storage_options=storage_options(self.storage),
        )

    def commit(
        self,
        table: Table,
        files: Sequence[File],
        mode: str,
        transaction: Transaction,
        notes: Mapping[str, Any],
        gone: Sequence[DataFile] = (),
        *,
        same_rows: bool = False,
    ) -> None:
        """Add files that lie in the table's folder and take out those that are ``gone``, in one
        commit; with mode ``overwrite`` they take the place of all others. ``same_rows`` says that
        the rows are those of before, in other files.

        Raises what deltalake raises, also where another commit came first: it is never rebased.
        """
        opened = self.open(table)
        assert opened is not None
        folder = f"{self.uri(table)}/"
        by = list(table.partitioned_by)
        now = time.time_ns() // 1_000_000
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.uri.removeprefix(folder),
                size=file.size,
                partition_values=dict.fromkeys(by, file.partition),
                modification_time=now,
                data_change=not same_rows,
                stats=file.statistics,
            )
            for file in files
        ]
        actions += [
            RemoveAction(
                file.uri.removeprefix(folder), not same_rows, now, file.size,
                dict.fromkeys(by, file.partition),
            )
            for file in gone
        ]  # fmt: skip
        opened.create_write_transaction(
            actions,
            mode,
            opened.schema() if same_rows else table.arrow,
            partition_by=by,
            commit_properties=_commit_properties(transaction, notes, max_commit_retries=0),
        )

    def is_as_at(self, table: Table, version: int) -> bool:
        """Whether no run has changed the table since a version; in other files it may be."""
        then, now = self.open(table, version), self.open(table)
        return (
            then is not None
            and now is not None
            and all(
                then.transaction_version(step) == now.transaction_version(step) for step in STEPS
            )
        )

    def tidied(self, table: Table, keep: Collection[int], now: datetime) -> int:
        """Remove data files that nobody may still ask for, and bound the log. How many files went.

        Kept are the files of the versions ``keep``, of the newest one, and whatever was in use
        within the table's retention. Files that no version names are what a run that was killed
        left behind: they go, so whoever calls this holds the lease and no run is unfinished. The
        log is written together in a checkpoint; its entries go once they are older than the
        table's log retention, unless a kept version needs them.
        """
        opened = self.open(table)
        if opened is None:
            return 0
        history = opened.history()
        lost = self._lost_files(table, [commit["version"] for commit in history])
        store = objects_for(self.root, self.storage)
        for uri in lost:
            store.delete(uri)
        held = sorted({*keep, opened.version()})
        removed = opened.vacuum(dry_run=False, keep_versions=held)
        opened = self.open(table)
        assert opened is not None
        opened.create_checkpoint()
        oldest = now.timestamp() - table.log_retention_days * 86_400
        stamps = {commit["version"]: commit["timestamp"] / 1000 for commit in history}
        if all(stamps.get(version, 0) > oldest for version in held):
            opened.cleanup_metadata()
        return len(lost) + len(removed)

    def _lost_files(self, table: Table, versions: Iterable[int]) -> list[str]:
        """Data files in the table's folder that none of its versions names."""
        every = objects_for(self.root, self.storage).versions(self.uri(table))
        found = {o.uri for o in every if o.uri.endswith(".parquet") and "/_delta_log/" not in o.uri}
        newest = {canonical_uri(file.uri) for file in self.files(table)}
        if not newest <= found:
            return []  # the listing spells addresses otherwise: nothing is known of any file
        for version in versions:
            found -= {canonical_uri(file.uri) for file in self.files(table, version)}
        return sorted(found)

    @property
    def scratch_folder(self) -> str:
        """Where what a run needs for itself lies."""
        return f"{self.root.rstrip('/')}/{SCRATCH}"

    def drop_scratch(self) -> None:
        """Remove all scratch tables."""
        objects_for(self.root, self.storage).delete_folder(self.scratch_folder)

    def append_rows(
        self, table: Table, rows: pa.Table, transaction: Transaction, notes: Mapping[str, Any]
    ) -> None:
        """Append rows at hand in one commit; nothing if the transaction is there already."""
        self.create(table)
        if self.holds(table, transaction):
            return
        deltalake.write_deltalake(
            self.uri(table),
            rows,
            mode="append",
            storage_options=storage_options(self.storage),
            commit_properties=_commit_properties(transaction, notes),
        )


def answered(builder: deltalake.QueryBuilder, sql: str) -> pa.Table:
    """The answer to a query. Not by pa.table: it imports pandas, a third of a lookup's time."""
    return pa.RecordBatchReader.from_stream(builder.execute(sql)).read_all()


def _commit_properties(
    transaction: Transaction, notes: Mapping[str, Any], max_commit_retries: int | None = None
) -> deltalake.CommitProperties:
    """What a commit says of itself: its transaction and notes."""
    return deltalake.CommitProperties(
        custom_metadata={"userMetadata": json.dumps(notes, sort_keys=True)},
        max_commit_retries=max_commit_retries,
        app_transactions=[deltalake.Transaction(transaction.application, transaction.version)],
    )


def plain_files(opened: deltalake.DeltaTable, path: str) -> list[str] | None:
    """The table's data files, if they are few and are all there is to know; otherwise None.

    Not so where a file's rows are partly deleted or its columns have other names (such a table
    asks for a higher protocol), and where Spark would take a path for a pattern.
    """
    if opened.protocol().min_reader_version > 1 or set(path) & set("*?[]{}\\%"):
        return None
    files = pa.table(opened.get_add_actions()).column("path").to_pylist()
    if len(files) > FEW_FILES:
        return None
    return sorted(f"{path}/{file}" for file in files)


def _own_name() -> str:
    """A name for files unlike any other writer's: a run that was taken for dead may still write."""
    return uuid4().hex[:12]


def _for_spark(uri: str) -> str:
    """An address as Spark spells it."""
    return uri.replace("s3://", "s3a://")


def _no_pattern(path: str) -> str:
    """A path that Spark takes as it is, whatever brackets are in it."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", path)


@dataclass(frozen=True)
class Placed:
    """Rows that lie in files of a table's folder already, which no commit names yet."""

    files: tuple[File, ...]


#: What can be written to a table.
Writable: TypeAlias = "Storable | Placed"


@dataclass
class Lake:
    """The lake as a run sees it: declared tables, read at versions, written once.

    ``before_commit`` is called with the name of each commit before it is made (the lease is
    checked there) and ``after_commit`` after it. Several threads may write, each its own tables.
    """

    spark: SparkSession
    tables: Tables
    run: str
    before_commit: Callable[[str], None]
    after_commit: Callable[[str, str], None]
    notes: dict[str, Any] = field(default_factory=dict)
    _storing: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The table at a version (default: newest); no rows where it does not exist yet.

        A table of few files is read by the files that its log names: Delta's reader starts some
        four Spark jobs to learn their names, which on a small lake is half of a night.
        """
        opened = self.tables.open(table, version)
        if opened is None:
            return self.empty(table)
        path = self.tables.path(table)
        files = plain_files(opened, path)
        if files is None:
            reader = self.spark.read.format("delta").option("versionAsOf", str(opened.version()))
            return reader.load(path).select(*table.names)
        return self._parquet(table.ddl, files, path).select(*table.names)

    def _parquet(self, schema: StructType | str, files: Iterable[str], base: str) -> DataFrame:
        """The rows of files below a folder, of these columns; none if there are no files."""
        paths = [_no_pattern(_for_spark(file)) for file in files]
        if not paths:
            # So that Spark knows it when it plans, and leaves out what would come of these rows.
            return self.spark.createDataFrame([], schema).where("false")
        return self.spark.read.schema(schema).option("basePath", base).parquet(*paths)

    def empty(self, table: Table) -> DataFrame:
        """No rows of the table's columns."""
        return self._parquet(table.ddl, (), self.tables.path(table))

    def stored(self, table: Table, since: int | None = None) -> Materialised:
        """The table, or what it has of batches after ``since``, for workers to read themselves. Of
        files the log's statistics skip what they can."""
        log, frame = self.tables.open(table), self.read(table)
        if since is not None:
            frame = frame.where(f"batch > {since}")
        if log is None or log.protocol().min_reader_version > 1:
            return Materialised(frame, self.tables.rows(table))
        told = pa.table(log.get_add_actions(flatten=True))
        paths, counts = (told.column(name).to_pylist() for name in ("path", "num_records"))
        every = since is None or not counts
        newest = counts if every else told.column("max.batch").to_pylist()
        own = {
            f"{self.tables.uri(table)}/{path}": rows
            for path, rows, batch in zip(paths, counts, newest, strict=True)
            if since is None or batch is None or batch > since
        }
        day = table.partitioned_by[0] if table.partitioned_by else None
        kernel = partial(opened, self._store, since=since, day=day)
        return Materialised(frame, sum(own.values()), tuple(sorted(own)), kernel)

    def append(self, table: Table, rows: Writable, transaction: Transaction) -> None:
        """Add the rows (see `replace`) in one commit, once."""
        self._write(table, rows, transaction, "append")

    def append_rows(
        self,
        table: Table,
        rows: Iterable[Mapping[str, Any]] | pa.Table,
        transaction: Transaction,
        **notes: Any,
    ) -> None:
        """Add rows that the driver holds in one commit, once, without Spark."""
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pylist([dict(row) for row in rows], schema=table.arrow)
        self.before_commit(table.name)
        self.tables.append_rows(table, rows, transaction, {"run": self.run, **notes})
        self.after_commit(table.name, "wrote")

    def replace(
        self,
        table: Table,
        rows: Writable,
        transaction: Transaction,
        more: tuple[Column, ...] = (),
    ) -> None:
        """Make the rows the table's whole content, in one commit, once.

        ``more`` are columns that the lake's configuration adds to the declared ones; the commit
        gives the table's schema too, so they come and go with the configuration. What a kernel
        makes is sorted by workers, unless it comes in the table's order.
        """
        self._write(table.extended(more), rows, transaction, "overwrite")

    def update(
        self,
        table: Table,
        keys: DataFrame,
        rows: Writable,
        transaction: Transaction,
        more: tuple[Column, ...] = (),
        named: str | None = None,
    ) -> None:
        """Put the rows (see `replace`) in the place of all whose key is among ``keys``, in one
        commit, once.

        ``keys`` has columns of the table, as many as make a key, none of them null; the first is
        the one that tells rows apart best. It is stored first, and every worker holds it. Files
        without such a row stay; what the others lose is written anew, which costs their size.
        ``more`` are columns that the configuration adds; the table must have them already. Keys
        that are ``named`` are stored once for all tables that are given them by this name.
        """
        table = table.extended(more)
        arranged = self._arranged(table, rows, few=True)

        def change() -> tuple[list[File], list[DataFile]]:
            gone = self._stored(named or f"{table.name}_keys", partial(stored_rows, keys)).files
            before = self.tables.files(table)
            added = self._files(table, arranged)
            changed = rewritten(
                self.spark, before, gone, keys.columns, self._store, self._layout(table)
            )
            return [*added, *changed.files], [f for f in before if f.uri in changed.replaced]

        self._commit(table, change, transaction, "append", "updated")

    def compact(self, table: Table) -> int:
        """Write the table's small files together; the rows stay as they are. How many files went.

        The commit repeats the notes of the one before it: it is still that run's answer.
        """
        opened = self.tables.open(table)
        if opened is None:
            return 0
        files = self.tables.files(table)
        layout = replace(self._layout(table), schema=None)
        made = rewritten(self.spark, files, (), table.grain, self._store, layout)
        gone = [file for file in files if file.uri in made.replaced]
        if gone:
            once, notes = Transaction("optimize", opened.version()), self.tables.notes(table)
            self.before_commit(table.name)
            self.tables.commit(table, made.files, "append", once, notes, gone, same_rows=True)
            self.after_commit(table.name, f"wrote {len(gone)} files as {len(made.files)} of")
        return len(gone)

    def scratch(self, name: str, rows: Storable, *, long_rows: bool = True) -> Materialised:
        """The rows stored for this run and read back: their lineage ends there.

        ``long_rows``: they may hold texts that calls brought.

        A restarted run finds the rows whole or stores them again; they are never read half.
        Raises CommitError if they cannot be stored.
        """
        write = partial(stored_rows, rows, long_rows=long_rows)
        return self.scratch_files(name, rows.schema, write)

    def write_apart(
        self, name: str, kind: str, rows: ManyRows, tables: Iterable[Table]
    ) -> tuple[Materialised, dict[str, Placed]]:
        """Rows of several kinds, written by one job: those of ``kind`` stored for this run under
        ``name`` (see `scratch`), those that are named as one of the ``tables`` placed in its
        folder, for a commit to take up.

        A restarted run that finds the former stored has none of the latter.
        """
        placed: dict[str, Placed] = {}
        layouts = {table.name: self._layout(table) for table in tables}
        for table in tables:
            table.check(rows.schemas[table.name])

        def write(store: Objects, folder: str) -> Stored:
            own = {kind: plain_layout(folder, long_rows=False), **layouts}
            files = written_apart(rows, store, own)
            placed.update({of: Placed(tuple(files[of])) for of in layouts})
            return Stored.of(files[kind])

        return self.scratch_files(name, rows.schemas[kind], write), placed

    def scratch_files(
        self,
        name: str,
        schema: StructType | str,
        write: Callable[[Objects, str], Stored],
    ) -> Materialised:
        """The same for whatever writes Parquet files of this schema below a folder it is given."""
        return self._read_back(schema, self._stored(name, write))

    def kept(self, name: str, schema: StructType | str) -> Materialised | None:
        """What an earlier step of this run stored under the name; None if nothing."""
        files = stored(self._store, self._listed(name))
        return None if files is None else self._read_back(schema, files)

    def _read_back(self, schema: StructType | str, files: Stored) -> Materialised:
        base = _for_spark(self.tables.scratch_folder)
        return read_back(self._parquet(schema, files.files, base), files, self._store)

    def _listed(self, name: str) -> str:
        return f"{self.tables.scratch_folder}/{self.run}/{name}.json"

    def _stored(self, name: str, write: Callable[[Objects, str], Stored]) -> Stored:
        """The files that are stored under this name, written now if they are not yet, once
        however many threads ask."""
        with self._storing[name]:
            files, verb = stored(self._store, self._listed(name)), "kept"
            if files is None:
                files, verb = self._stored_now(name, write), "wrote"
            self.after_commit(f"_{name}", verb)
        return files

    def _stored_now(self, name: str, write: Callable[[Objects, str], Stored]) -> Stored:
        store, listed = self._store, self._listed(name)
        try:
            files = write(store, f"{listed.removesuffix('.json')}/{_own_name()}")
        except LakeError:
            raise
        except Exception as failure:
            raise CommitError(
                f"_{name}: this run could not store its rows ({kinds(failure)}). Run again."
            ) from failure
        self.before_commit(f"_{name}")
        store_list(store, listed, files)
        return files

    @property
    def _store(self) -> Objects:
        """Where the workers put files."""
        return objects_for(self.tables.root, self.tables.storage)

    def drop_scratch(self) -> None:
        """Remove the run's scratch tables."""
        self.tables.drop_scratch()

    def _write(self, table: Table, rows: Writable, transaction: Transaction, mode: str) -> None:
        """One commit of conformed rows, made once; nothing if the table holds the transaction."""
        arranged = self._arranged(table, rows, few=False)

        def change() -> tuple[list[File], list[DataFile]]:
            return self._files(table, arranged), []

        self._commit(table, change, transaction, mode, "wrote")

    def _arranged(self, table: Table, rows: Writable, *, few: bool) -> Writable:
        """The rows conformed, and in the order of a sorted table.

        A ``few`` are not sorted across tasks, so that they make few files.
        """
        if isinstance(rows, Placed):
            return rows
        made = conformed(table, rows)
        if not table.sorted_by or table.partitioned_by:
            return made
        if isinstance(made, WorkerRows):
            ranges = None if few else self.ranges(self.tables.rows(IDENTITY_SETS))
            return made if made.in_order else sorted_by(made, table.sorted_by, ranges)
        if few:
            spread = made.repartition(table.sorted_by[0])
            return spread.sortWithinPartitions(*table.sorted_by)
        ranges = self.ranges(self.tables.rows(IDENTITY_SETS))
        return in_ranges(made, table.sorted_by, ranges)

    def _commit(
        self,
        table: Table,
        change: Callable[[], tuple[list[File], list[DataFile]]],
        transaction: Transaction,
        mode: str,
        verb: str,
    ) -> None:
        """Write the files that come and commit them with those that go, once."""
        if self.tables.holds(table, transaction):
            self.after_commit(table.name, "kept")
            return
        self.tables.create(table)
        try:
            files, gone = change()
            self.before_commit(table.name)
            notes = {"run": self.run, **self.notes}
            self.tables.commit(table, files, mode, transaction, notes, gone)
        except LakeError:
            raise
        except Exception as failure:
            self._settle(table, transaction, failure)
        self.after_commit(table.name, verb)

    def ranges(self, sets: int) -> int:
        """In how many ranges of their key rows of so many identity sets are written: all tables of
        people grow with these."""
        return max(1, min(most_ranges(self.spark), -(-sets // RANGE_SETS)), -(-sets // MOST_SETS))

    def _layout(self, table: Table) -> Layout:
        """How files of this run lie in the table's folder, before a commit names them."""
        name = f"part-{self.run}-{_own_name()}-"
        by = table.partitioned_by[0] if table.partitioned_by else None
        return Layout(
            self.tables.uri(table),
            name,
            schema=table.arrow,
            partitioned_by=by,
            statistics=table.with_statistics,
            long_rows=table.long_rows,
        )

    def _files(self, table: Table, rows: Writable) -> list[File]:
        """The rows as files in the table's folder that no commit names yet."""
        if isinstance(rows, Placed):
            return list(rows.files)
        return written(rows, self._store, self._layout(table))

    def _settle(self, table: Table, transaction: Transaction, failure: Exception) -> None:
        """A write that raised has committed if the table says so; otherwise the failure stands."""
        if not self.tables.holds(table, transaction):
            raise CommitError(
                f"{table.name}: the commit of this run was not made ({kinds(failure)}); "
                "the table is as before. Run again."
            ) from failure


def conformed(table: Table, rows: Storable) -> Storable:
    """The rows, with exactly the table's columns; raises what `Table.check` raises. What workers
    make keeps its order of columns, for files are written and read by name."""
    if isinstance(rows, WorkerRows):
        table.check(rows.schema)
        return rows
    return table.conform(rows)


def kinds(failure: Exception) -> str:
    """The kinds of a failure and of its causes, without their texts, which may quote a row."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PythonException

    if isinstance(failure, PythonException):
        raised = re.findall(r"^([A-Za-z_][\w.]*)(?::|$)", str(failure), re.MULTILINE)
        return f"{raised[-1]} in a Python worker" if raised else "a Python worker failed"
    if not isinstance(failure, Py4JJavaError):
        return type(failure).__name__
    names: list[str] = []
    cause = failure.java_exception
    while cause is not None and len(names) < 6:
        names.append(cause.getClass().getSimpleName())
        cause = cause.getCause()
    return " < ".join(names)
