"""SQL that opens a publication in an engine: a view for each table, pinned to its version.

    _control/publications/00000003/views.duckdb.sql · views.spark.sql · views.trino.sql

Written beside each publication, derived from it, and never changed. Besides the tables there are
``events_with_profiles`` (every event with ``profile_id`` and ``segment_id``, as the reader's
``event_profiles`` has them) and, where Segment's tables are published, its event tables
(``profiles_sync.pages`` and so on), which are views of ours on ``events``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lake.io.delta import Tables
from lake.io.objects import Objects
from lake.schema import Table, split_top_level
from lake.segment_tables import FOLDER
from lake.tables import CREATED_PROFILES, EVENTS, SET_PROFILES, table

DIALECTS = ("duckdb", "spark", "trino")
_ALWAYS = (
    "segment_id", "user_id", "anonymous_id", "received_at", "sent_at",
    "timestamp", "original_timestamp", "context",
)  # fmt: skip
#: Segment's event tables: the type of their calls, and their columns besides `id` and the common.
EVENT_TABLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "identifies": ("identify", ("traits",)),
    "pages": ("page", ("name", "category", "properties")),
    "screens": ("screen", ("name", "category", "properties")),
    "groups": ("group", ("group_id", "traits")),
    "aliases": ("alias", ("previous_id",)),
    "tracks": ("track", ("event", "properties")),
}


def write_views(
    tables: Tables, objects: Objects, shown: Mapping[str, int], number: int, clock: str
) -> None:
    """Write the views of a publication, given the version of each of its tables."""
    folder = f"{tables.root.rstrip('/')}/_control/publications/{number:08d}"
    for dialect in DIALECTS:
        body = f"-- Publication {number}: every view shows it, whatever is published later.\n"
        body += "".join(f"{s};\n" for s in statements(dialect, tables, shown, clock))
        objects.put(f"{folder}/views.{dialect}.sql", body.encode())


def statements(dialect: str, tables: Tables, shown: Mapping[str, int], clock: str) -> Iterator[str]:
    """The statements of one dialect, in order, without semicolons."""
    synced = any(name.startswith(f"{FOLDER}_") for name in shown)
    if synced:
        yield f"create schema if not exists {FOLDER}"
    for name, version in sorted(shown.items()):
        opened = table(name)
        rows = _ROWS[dialect](tables, opened, version)
        if dialect == "trino":
            yield (
                "call lake.system.register_table(schema_name => 'tables', "
                f"table_name => '{name}', table_location => {_text(tables.uri(opened))})"
            )
        yield f"create or replace view {opened.path.replace('/', '.')} as\nselect * from {rows}"
    if {t.name for t in (EVENTS, SET_PROFILES, CREATED_PROFILES)} <= shown.keys():
        yield _with_profiles(dialect, clock)
        for name, (kind, own) in EVENT_TABLES.items() if synced else ():
            columns = ", ".join(map(_quoted(dialect), (*_ALWAYS, *own)))
            yield (
                f"create or replace view {FOLDER}.{name} as\n"
                f"select message_id as id, source as event_source_id, {columns}\n"
                f"from events_with_profiles where type = '{kind}'"
            )


def _with_profiles(dialect: str, clock: str) -> str:
    """Every event with its profile now and then: see `lake.io.reader.event_profiles`."""
    step, call = _order(dialect, "p.moment", clock), _order(dialect, "e", clock)
    last = {
        "duckdb": f"list_filter(c.path, lambda p: {step} < {call})[-1].segment_id",
        "spark": f"try_element_at(filter(c.path, p -> {step} < {call}), -1).segment_id",
        "trino": f"element_at(filter(c.path, p -> {step} < {call}), -1).segment_id",
    }[dialect]
    return (
        "create or replace view events_with_profiles as\n"
        f"select e.*, s.profile_id, coalesce({last}, s.segment_id) as segment_id\n"
        "from events e\n"
        "left join set_profiles s on e.identity_set = s.identity_set\n"
        "left join created_profiles c on c.segment_id = s.segment_id"
    )


def _order(dialect: str, call: str, clock: str) -> str:
    """The total order of calls, as `lake.clock.order_of` has it."""
    happened = f"coalesce({call}.{_quoted(dialect)('timestamp')}, {call}.received_at)"
    times = [f"{call}.received_at", happened]
    first, second = times if clock == "received_at" else times[::-1]
    if dialect == "spark":
        return f"named_struct('a', {first}, 'b', {second}, 'c', {call}.message_id)"
    return f"row({first}, {second}, {call}.message_id)"


def _duckdb(tables: Tables, opened: Table, version: int) -> str:
    """The table's files by name: DuckDB needs no extension for them."""
    files = [file.uri.removeprefix("file://") for file in tables.files(opened, version)]
    if not files:
        nothing = [f'cast(null as {duckdb_type(c.type)}) as "{c.name}"' for c in opened.columns]
        return f"(select {', '.join(nothing)}) where false"
    listed = ", ".join(map(_text, files))
    by = opened.partitioned_by
    parts = ", ".join(f"'{name}': date" for name in by)
    hive = f", hive_partitioning = true, hive_types = {{{parts}}}" if by else ""
    return f"read_parquet([{listed}], union_by_name = true{hive})"


def _spark(tables: Tables, opened: Table, version: int) -> str:
    return f"delta.`{tables.path(opened).replace('`', '``')}` version as of {version}"


def _trino(_tables: Tables, opened: Table, version: int) -> str:
    return f"lake.tables.{opened.name} for version as of {version}"


_ROWS: Mapping[str, Callable[[Tables, Table, int], str]] = {
    "duckdb": _duckdb,
    "spark": _spark,
    "trino": _trino,
}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(dialect: str) -> Callable[[str], str]:
    mark = "`" if dialect == "spark" else '"'
    return lambda name: f"{mark}{name}{mark}"


def duckdb_type(ddl: str) -> str:
    """DuckDB's type for a column type in Spark DDL.

    >>> duckdb_type("map<string,array<struct<type:string,at:timestamp>>>")
    'map(varchar, struct("type" varchar, "at" timestamptz)[])'
    """
    plain = {"string": "varchar", "int": "integer", "binary": "blob", "timestamp": "timestamptz"}
    kind, _, rest = ddl.strip().partition("<")
    inner = rest.removesuffix(">")
    match kind:
        case "array":
            return f"{duckdb_type(inner)}[]"
        case "map":
            return f"map({', '.join(map(duckdb_type, split_top_level(inner)))})"
        case "struct":
            fields = [part.partition(":") for part in split_top_level(inner)]
            named = [f'"{n.strip()}" {duckdb_type(t)}' for n, _, t in fields]
            return f"struct({', '.join(named)})"
        case _:
            return plain.get(kind, kind)
