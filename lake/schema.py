"""What a table is: a value with a name, a grain and columns that explain themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lake.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


@dataclass(frozen=True)
class Column:
    """One column: its name, its type in Spark's DDL, and a sentence for its reader."""

    name: str
    type: str
    about: str
    nullable: bool = True
    #: Personal data get no statistics in the table's log.
    personal: bool = False


@dataclass(frozen=True)
class Table:
    """A declared Delta table.

    ``audience`` is ``published`` (pinned by a publication, readable by every Delta reader),
    ``state`` (internal, may be rebuilt from ``events``) or ``control``.
    """

    name: str
    about: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    writer: str
    audience: str = "state"
    rebuildable: bool = True
    partitioned_by: tuple[str, ...] = ()
    sorted_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    #: Whether a row may be long: it holds texts that calls brought, such as values of traits.
    #: Names of events, which moments hold, are taken for short.
    long_rows: bool = True
    #: Where it lies below the lake's root; by default, a folder of its name.
    path: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path or self.name)

    @property
    def ddl(self) -> str:
        """The columns as a Spark DDL schema string."""
        return ddl_of({c.name: c.type for c in self.columns})

    def extended(self, columns: tuple[Column, ...]) -> Table:
        """The table with further columns, which the configuration of a lake adds to it."""
        return replace(self, columns=(*self.columns, *columns))

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(c.name for c in self.columns)

    @property
    def table_properties(self) -> dict[str, str]:
        """Delta properties: reader protocol 1, retention, statistics without personal data.

        Statistics are kept in the table's log for as long as the log lives, so a minimum or a
        maximum of an e-mail column would outlive an erasure; ``dataSkippingStatsColumns`` names
        only columns that hold no personal data.
        """
        return {
            "delta.checkpointPolicy": "classic",
            "delta.dataSkippingStatsColumns": ",".join(self.with_statistics),
            "delta.deletedFileRetentionDuration": f"interval {self.retention_days} days",
            "delta.logRetentionDuration": f"interval {self.log_retention_days} days",
            **self.properties,
        }

    @property
    def retention_days(self) -> int:
        """How long files of older versions stay."""
        return 30 if self.audience == "published" else 7

    @property
    def log_retention_days(self) -> int:
        """How long older versions stay in the log: longer than their files."""
        return self.retention_days + 7

    @property
    def with_statistics(self) -> tuple[str, ...]:
        """Columns whose least and greatest value the log may hold: no personal data."""
        return tuple(c.name for c in self.columns if not c.personal and _has_statistics(c.type))

    def conform(self, frame: DataFrame) -> DataFrame:
        """The frame with exactly this table's columns, in order; raises what `check` raises."""
        self.check(frame.schema)
        return frame.select(*self.names)

    def check(self, schema: StructType | str) -> None:
        """Raises ContractError, naming every difference, if a column is missing, unexpected or of
        another type than this table's. Costs nothing: only the schema is looked at."""
        from pyspark.sql.types import StructType

        wanted = StructType.fromDDL(self.ddl)
        given = StructType.fromDDL(schema) if isinstance(schema, str) else schema
        assert isinstance(wanted, StructType)
        assert isinstance(given, StructType)
        found = {f.name: f.dataType for f in given.fields}
        differences = [
            f"missing column {f.name} {f.dataType.simpleString()}"
            for f in wanted.fields
            if f.name not in found
        ]
        differences += [f"unexpected column {n}" for n in found if n not in self.names]
        differences += [
            f"column {f.name} is {found[f.name].simpleString()}, not {f.dataType.simpleString()}"
            for f in wanted.fields
            if f.name in found and found[f.name].simpleString() != f.dataType.simpleString()
        ]
        if differences:
            raise ContractError(
                f"{self.name}: the frame does not match the table.\n  - "
                + "\n  - ".join(differences)
                + f"\nThe contract is in lake/tables.py, {self.name.upper()}."
            )

    @property
    def arrow(self) -> pa.Schema:
        """The columns as a pyarrow schema (times as microseconds in UTC), without Spark."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, arrow_type(c.type), c.nullable) for c in self.columns])


def _has_statistics(ddl: str) -> bool:
    """Whether Delta keeps a minimum and maximum for a column of this type."""
    return ddl.lower() in {"string", "bigint", "int", "date", "timestamp", "double"}


def arrow_type(ddl: str) -> pa.DataType:
    """The pyarrow type of a column type in Spark DDL.

    >>> arrow_type("array<struct<type:string,value:string>>")
    ListType(list<element: struct<type: string, value: string>>)
    """
    import pyarrow as pa

    plain = {
        "string": pa.string(),
        "bigint": pa.int64(),
        "int": pa.int32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "binary": pa.binary(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    text = ddl.strip()
    if text.lower() in plain:
        return plain[text.lower()]
    if text.startswith("decimal("):
        precision, scale = text.removeprefix("decimal(").removesuffix(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    kind, inner = text.split("<", 1)
    inner = inner.rsplit(">", 1)[0]
    match kind.strip().lower():
        case "array":
            return pa.list_(pa.field("element", arrow_type(inner)))
        case "map":
            key, value = split_top_level(inner)
            return pa.map_(arrow_type(key), arrow_type(value))
        case "struct":
            fields = [part.split(":", 1) for part in split_top_level(inner)]
            return pa.struct([pa.field(n.strip(), arrow_type(t)) for n, t in fields])
        case _:
            raise ValueError(f"no Arrow type for {ddl}")


def arrow_schema(ddl: str) -> pa.Schema:
    """The pyarrow schema of columns in Spark DDL."""
    import pyarrow as pa

    return pa.schema([(name, arrow_type(kind)) for name, kind in columns_in(ddl).items()])


def columns_in(ddl: str) -> dict[str, str]:
    """The columns in Spark DDL: each one's type.

    >>> columns_in("`day` date, seen array<struct<a:int,b:int>>")
    {'day': 'date', 'seen': 'array<struct<a:int,b:int>>'}
    """
    columns = (part.strip().split(maxsplit=1) for part in split_top_level(ddl))
    return {name.strip("`"): kind for name, kind in columns}


def ddl_of(columns: Mapping[str, str]) -> str:
    """Columns, by name their types, in Spark DDL."""
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())


def split_top_level(text: str) -> list[str]:
    """The parts of a comma-separated list, commas inside angle brackets left alone.

    >>> split_top_level("a:int,b:array<struct<x:int,y:int>>")
    ['a:int', 'b:array<struct<x:int,y:int>>']
    """
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "<") - (c == ">")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]
