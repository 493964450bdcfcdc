"""The types that a declared trait may have, as the columns they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DDL: Final[Mapping[str, str]] = {
    "string": "string",
    "number": "double",
    "integer": "bigint",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
