"""Configuration: one YAML file, accepted as a whole or refused as a whole.

``load`` reads a file into a frozen ``Config`` of plain values. It refuses what it does not know,
converts nothing and reports every fault at once, each with its line. ``conf/example.yaml`` shows
every setting with its default; ``Config.json_schema()`` describes them for editors.

Decisions where a reader might expect otherwise:

- The ``identifiers`` block replaces Segment's ten types, it does not add to them. A type listed
  without ``limit`` or ``normalise`` keeps the default of its name.
- Relative paths are relative to the file as it was named, not to what a symbolic link points at:
  a configuration mounted into a container is such a link.
- ``${VAR}`` alone is read as YAML would read its value where a number or a switch is wanted; an
  empty one leaves the setting out.
- No message shows a value of ``storage``, of ``identity.blocked``, of the overrides, or one that
  came from the environment.
"""

from lake.config.configuration import Config
from lake.config.loading import NOT_YET, load
from lake.config.models import (
    Blocked,
    BlockedValues,
    Caps,
    Identifier,
    Identity,
    ProfilesSync,
    Quality,
    Shared,
    Source,
    Spark,
    Storage,
)
from lake.config.overrides import Override
from lake.config.traits import Trait

__all__ = [
    "NOT_YET",
    "Blocked",
    "BlockedValues",
    "Caps",
    "Config",
    "Identifier",
    "Identity",
    "Override",
    "ProfilesSync",
    "Quality",
    "Shared",
    "Source",
    "Spark",
    "Storage",
    "Trait",
    "load",
]
