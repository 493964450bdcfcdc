"""What became of profiles between two publications, whichever they are, as the tables have it.

The kinds of change are those of ``identity_changes`` (`lake.identity.changes`), which tells them of
publications that follow each other; here they are told of any two.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lake.io.difference import Move, causes, moves
from lake.io.reader import Publication

KINDS = ("born", "grown", "merged", "split", "moved", "retired")
#: So many changes of a kind are printed for people; JSON has them all.
SHOWN = 10


class Changed(NamedTuple):
    """One change of one profile; ``cause_set``: a new identity set behind it, None: the rules."""

    profile_id: str
    change: str
    others: tuple[str, ...]
    identifiers: int
    cause_set: bytes | None


@dataclass(frozen=True)
class Difference:
    """Two publications and all that changed from the first to the second."""

    before: Publication
    now: Publication
    changes: tuple[Changed, ...]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """By kind of change: profiles, identifiers, and how many profiles by cause."""
        told: dict[str, dict[str, int]] = {}
        for kind in KINDS:
            own = [c for c in self.changes if c.change == kind]
            by = Counter("rules" if c.cause_set is None else "calls" for c in own)
            told[kind] = {
                "profiles": len(own),
                "identifiers": sum(c.identifiers for c in own),
                **{cause: by[cause] for cause in ("calls", "rules")},
            }
        return told


def difference(before: Publication, now: Publication) -> Difference:
    """Everything that became of profiles from one publication to another."""
    because = causes(before, now)
    found = sorted(changed(moves(before, now), because))
    return Difference(before, now, tuple(found))


def changed(moved: Iterable[Move], because: Mapping[str, bytes]) -> Iterator[Changed]:
    """The changes that the moves of identifiers make."""
    went: dict[str, dict[str | None, int]] = defaultdict(dict)
    came: dict[str, dict[str | None, int]] = defaultdict(dict)
    for was, becomes, identifiers in moved:
        if was is not None:
            went[was][becomes] = identifiers
        if becomes is not None:
            came[becomes][was] = identifiers
    whole = {p for p, to in went.items() if p not in to and len(set(to) - {None}) == 1}
    for profile in {*went, *came}:
        to, came_from = went.get(profile, {}), came.get(profile, {})
        for kind, others, count in _kinds(profile, to, came_from, whole):
            by = others[0] if kind == "merged" else profile
            yield Changed(profile, kind, others, count, because.get(by))


def _kinds(
    profile: str,
    to: Mapping[str | None, int],
    came: Mapping[str | None, int],
    whole: set[str],
) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """(kind, the profiles it went to or took from, identifiers) of each change of a profile."""
    others = tuple(sorted(p for p in to if p is not None and p != profile))
    taken = tuple(sorted(p for p in came if p is not None and p != profile and p not in whole))
    left = sum(to[p] for p in others)
    gone = bool(to) and not came
    if came and not to:
        yield "born", (), came.get(None, 0)
    elif came.get(None):
        yield "grown", (), came[None]
    if gone and len(others) == 1:
        yield "merged", others, left
    elif others:
        yield "split", others, left
    if taken:
        yield "moved", taken, sum(came[p] for p in taken)
    if gone and not others:
        yield "retired", (), to.get(None, 0)


def answer(found: Difference) -> dict[str, Any]:
    """A difference as JSON."""
    return {
        "from": found.before.number,
        "to": found.now.number,
        "counts": found.counts,
        "changes": [
            {
                **change._asdict(),
                "cause_set": None if change.cause_set is None else change.cause_set.hex(),
            }
            for change in found.changes
        ],
    }


def difference_text(found: Difference) -> str:
    """A difference as a person reads it."""
    said = [
        f"from publication {found.before.number} ({found.before.published_at:%Y-%m-%d %H:%M} UTC) "
        f"to {found.now.number} ({found.now.published_at:%Y-%m-%d %H:%M} UTC)",
        f"  {'':<9}{'profiles':>9}{'identifiers':>13}{'by calls':>10}{'by rules':>10}",
    ]
    for kind, n in found.counts.items():
        said.append(
            f"  {kind:<9}{n['profiles']:>9,}{n['identifiers']:>13,}"
            f"{n['calls']:>10,}{n['rules']:>10,}"
        )
    for kind in ("merged", "split", "moved", "retired"):
        own = [c for c in found.changes if c.change == kind]
        for change in own[:SHOWN]:
            others = f" {_PREPOSITION[kind]} {', '.join(change.others)}" if change.others else ""
            said.append(f"{change.profile_id} {kind}{others}, {change.identifiers} identifiers")
        if len(own) > SHOWN:
            said.append(f"… and {len(own) - SHOWN:,} more {kind}; --output json has all")
    return "\n".join(said)


_PREPOSITION = {"merged": "into", "split": "to", "moved": "from"}
