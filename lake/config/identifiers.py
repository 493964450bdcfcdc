"""Types of identifiers: their names and what Segment does with them by default."""

from __future__ import annotations

import re

from lake.language.spelling import did_you_mean

#: A type's name, as a regular expression that ``re``, pydantic and JSON Schema read alike.
TYPE_NAME = r"^[a-z][a-z0-9_.]*$"
TYPE_NAME_WORDS = "a lower-case name: a letter, then letters, digits, _ or ."

#: Segment's default identifiers of persons, in its default order of priority: user_id, email,
#: then by the alphabet. Its twelfth default, group_id, names an account.
SEGMENT_TYPES = (
    "user_id",
    "email",
    "android.id",
    "android.idfa",
    "android.push_token",
    "anonymous_id",
    "ga_client_id",
    "ios.id",
    "ios.idfa",
    "ios.push_token",
)

#: Segment's default limit of a type, and of one that was met only in ``context.externalIds``.
DEFAULT_LIMIT = 5

GROUP_ID = (
    "group_id names an account, not a person: it would make one profile of all members; "
    "accounts are built from it without any setting"
)


def default_limit(name: str) -> int:
    """Segment's limit of a type: one ``user_id``, five of every other, ever."""
    return 1 if name == "user_id" else DEFAULT_LIMIT


def type_fault(name: str, known_types: frozenset[str] | None) -> str | None:
    """What is wrong with the name of a person's identifier type where one is referred to.

    ``known_types`` are the only ones there are; None if others may be met. The name itself is
    not shown: a value may have slipped into its column.
    """
    if name == "group_id":
        return GROUP_ID
    if not re.fullmatch(TYPE_NAME, name):
        return f"found another text, wanted {TYPE_NAME_WORDS}"
    if known_types is None or name in known_types:
        return None
    wanted = f"wanted one of {', '.join(sorted(known_types))}"
    return f"unknown type while unknown_types is ignore, {wanted}{did_you_mean(name, known_types)}"
