"""What resolution reads and what it answers: plain immutable values, no behaviour.

An identifier is a pair ``(type, value)``; the value is normalised already, and the type is part
of the key: user 7 and device 7 are two identifiers.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum
from typing import Any, NamedTuple

Identifier = tuple[str, str]
Pair = tuple[Identifier, Identifier]


class Reason(StrEnum):
    """Why an identifier did not link: Segment's own texts, and one of ours at the end."""

    NO_IDENTIFIERS = "No matching identifiers on event"
    VALUE_LIMIT = "Identifier value limit exceeded"
    TIME_LIMIT = "Identifier value time limit exceeded"
    BLOCKED = "ID value blocked"
    MERGE_LIMIT = "Profile merge limit exceeded"
    MAPPING_LIMIT = "Identifier mapping limit exceeded"
    UNIQUE_LEGACY = "Identifier value set to unique (legacy)"
    VALUE_LIMIT_LEGACY = "Identifier value limit exceeded (legacy)"
    NEVER_TOGETHER = "Identifiers kept apart by an override"


class Sighting(NamedTuple):
    """An identity set on one UTC day, at that day's first call.

    ``at``: that call's time on the ordering clock, microseconds since 1970 UTC.
    ``order``: ``(received_at, timestamp, message_id)`` of that call, or whatever the total order
    is; only compared, never read.
    """

    identity_set: Hashable
    at: int
    order: tuple[Any, ...]
    identifiers: tuple[Identifier, ...]


class Part(NamedTuple):
    """A profile as it was created: one Segment ``segment_id``. Its founder names it for ever."""

    founder: Identifier
    created: Sighting


class Merge(NamedTuple):
    """``absorbed`` went into the older ``into``, both given by founder, because of ``sighting``."""

    into: Identifier
    absorbed: Identifier
    sighting: Sighting


class Mapped(NamedTuple):
    """An identifier came to a profile: to the ``part`` (by founder) that stood then."""

    identifier: Identifier
    part: Identifier
    sighting: Sighting


class Profile(NamedTuple):
    """A resolved profile. ``identifiers`` in order of priority, the other tuples in time.

    ``founder``, ``created``: of its oldest part, which is ``parts[0]``.
    """

    founder: Identifier
    created: Sighting
    identifiers: tuple[Identifier, ...]
    parts: tuple[Part, ...]
    merges: tuple[Merge, ...]
    mapped: tuple[Mapped, ...]


class Drop(NamedTuple):
    """An identifier of a set that ended outside the set's profile, and the latest reason."""

    identifier: Identifier
    reason: Reason


class SetOutcome(NamedTuple):
    """Where a set ended: an index into ``Resolution.profiles``, None where it has no profile.

    ``part``: the part of that profile (by founder) that its first call there had: before the merge,
    where it made one, and then the youngest of those that it merged.
    """

    identity_set: Hashable
    profile: int | None
    kept: tuple[Identifier, ...]
    dropped: tuple[Drop, ...]
    part: Identifier | None


class Violation(NamedTuple):
    """A rule that bound. ``apart``: the two final profiles it keeps apart, empty if just one.

    ``rule`` names the setting (``user_id: 1 ever``, ``caps.merges: 100``, ``never_together``);
    ``always_together over …`` means that the override joined what the rule would not.
    """

    identity_set: Hashable
    sighting: Sighting
    identifier: Identifier
    reason: Reason
    rule: str
    apart: tuple[int, ...]


class Resolution(NamedTuple):
    """The answer. Profiles by creation of their oldest part, sets by their first sighting."""

    profiles: tuple[Profile, ...]
    sets: tuple[SetOutcome, ...]
    violations: tuple[Violation, ...]
