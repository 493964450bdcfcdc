"""A lake and its landing zones as files: all that is needed without Spark."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO

from lake.config import Config
from lake.io.control import Control, Landed
from lake.io.delta import Tables
from lake.io.objects import Objects, objects_for
from lake.tables import INGEST_LEDGER


@dataclass(frozen=True)
class Access:
    """Access to an S3-compatible store, in plain text, never printed."""

    endpoint: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    region: str | None = None

    @classmethod
    def of(cls, config: Config) -> Access:
        """What the configuration says, its secrets revealed."""
        s = config.storage
        return cls(
            s.endpoint,
            s.access_key.get_secret_value() if s.access_key else None,
            s.secret_key.get_secret_value() if s.secret_key else None,
            s.region,
        )


@dataclass
class Place:
    """A lake and its landing zones as files: all that is needed without Spark."""

    config: Config

    @cached_property
    def access(self) -> Access:
        """Access to the store."""
        return Access.of(self.config)

    @cached_property
    def objects(self) -> Objects:
        """The store that holds the lake."""
        return objects_for(self.config.root, self.access)

    @cached_property
    def tables(self) -> Tables:
        """The lake's tables."""
        return Tables(self.config.root, self.access)

    @cached_property
    def control(self) -> Control:
        """The lake's control plane."""
        return Control(self.config.root, self.objects)

    def landed(self) -> list[Landed]:
        """Every landing object version that the ledger does not hold, by source and URI."""
        read = self.tables.query("select object, etag from ledger", ledger=(INGEST_LEDGER, None))
        known = set(zip(read["object"].to_pylist(), read["etag"].to_pylist(), strict=True))
        return [
            Landed(name, found)
            for name, source in sorted(self.config.sources.items())
            for found in objects_for(source.path, self.access).versions(source.path)
            if (found.uri, found.etag) not in known
        ]


@dataclass(frozen=True)
class LandingStore:
    """Opens landing objects wherever they lie; goes to the workers."""

    access: Access

    def open_stream(self, uri: str, etag: str) -> BinaryIO:
        """The bytes of exactly this version; ObjectChanged or ObjectMissing, then or later."""
        return objects_for(uri, self.access).open_stream(uri, etag)
