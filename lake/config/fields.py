"""The kinds of values that settings have: names, places, patterns, numbers, secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import phonenumbers
import re2
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from lake.config.environment import typed
from lake.config.identifiers import GROUP_ID, TYPE_NAME, TYPE_NAME_WORDS
from lake.config.locations import local_path, located

SPACE = r"^[a-z][a-z0-9_-]{0,62}$"
SOURCE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
REGION = r"^[A-Z]{2}$"
TRAIT_NAME = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
AGE = r"^[1-9][0-9]{0,4} (hour|day|week)s?$"
ENDPOINT = r"^https?://[A-Za-z0-9._:\[\]-]+/?$"

#: What each pattern means, for a reader.
PATTERN_WORDS: Mapping[str, str] = {
    SPACE: "a lower-case name: a letter, then letters, digits, _ or -",
    SOURCE_NAME: "a name of letters, digits, _, . or -",
    TYPE_NAME: TYPE_NAME_WORDS,
    REGION: "two capital letters",
    TRAIT_NAME: "a name of letters, digits and _, or a path of such names with dots",
    NAME: "a name of letters, digits and _",
    AGE: "a time such as 12 hours, 90 days or 4 weeks",
    ENDPOINT: "http:// or https:// and a host, without a user or a path",
}


def _folder(info: ValidationInfo) -> Path:
    """The folder that relative paths are relative to: the file's, else the current one."""
    folder = (info.context or {}).get("folder", Path())
    assert isinstance(folder, Path)
    return folder


def _located(text: str, info: ValidationInfo) -> str:
    return located(text, _folder(info))


def _local(text: str, info: ValidationInfo) -> str:
    return local_path(text, _folder(info))


def _compiled(pattern: str) -> str:
    """The pattern, if RE2 takes it; else an error of type ``re2`` with RE2's reason."""
    options = re2.Options()
    options.log_errors = False  # its own log would print the pattern a second time
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PydanticCustomError("re2", "RE2 refuses it", {"reason": said}) from None
    return pattern


def _person_type(name: str) -> str:
    if name == "group_id":
        raise ValueError(GROUP_ID)
    return name


def _supported_region(region: str | None) -> str | None:
    """The region, if phone numbers of it are known; else ValueError."""
    if region is None or region in phonenumbers.SUPPORTED_REGIONS:
        return region
    hint = "; did you mean GB?" if region == "UK" else ""
    raise ValueError(
        f"found no region with phone numbers, wanted an ISO 3166 code such as US{hint}"
    )


def _text(value: object) -> object:
    """A number or a switch as Spark writes it; anything else as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Whole = Annotated[int, Field(ge=1)]
Switch = Annotated[bool, BeforeValidator(typed)]
Location = Annotated[str, AfterValidator(_located), Field(json_schema_extra={"format": "location"})]
LocalPath = Annotated[str, AfterValidator(_local)]
Pattern = Annotated[str, AfterValidator(_compiled)]
Secret = Annotated[SecretStr, Field(min_length=1)]
TypeName = Annotated[str, Field(pattern=TYPE_NAME), AfterValidator(_person_type)]
SourceName = Annotated[str, Field(pattern=SOURCE_NAME)]
SparkValue = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema({"anyOf": [{"type": kind} for kind in ("string", "number", "boolean")]}),
]
TraitName = Annotated[str, Field(pattern=TRAIT_NAME)]
Name = Annotated[str, Field(pattern=NAME)]
Age = Annotated[str, Field(pattern=AGE)]
SpaceName = Annotated[str, Field(pattern=SPACE)]
Endpoint = Annotated[str, Field(pattern=ENDPOINT)]
Region = Annotated[Annotated[str, Field(pattern=REGION)] | None, AfterValidator(_supported_region)]
Limit = Annotated[Whole | None, BeforeValidator(typed)]
Count = Annotated[Whole, BeforeValidator(typed)]
