"""How well profiles match real people: precision and recall over pairs of identifiers.

Two identifiers are a *true pair* where one person owns both, and a *predicted pair* where one
profile holds both. Precision is the share of predicted pairs that are true, recall the share of
true pairs that are predicted. Pairs are counted from the sizes of groups, never listed: a group
of n identifiers holds n (n - 1) / 2 of them, so the cost is one pass over the identifiers.

What counts:

- An identifier of nobody (``None`` in the truth: a kiosk, a blocked value) is in no pair. Which
  profile holds it is a matter of taste; whom it joins shows in the pairs of the others.
- An identifier of the truth without a profile (absent or ``None``) stands alone: it costs recall.
  Leave types that the rules do not extract out of the truth before scoring.
- An identifier that the truth does not know is in no pair, and is counted as ``unknown``.

Results are counts and ratios; they hold no identifier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Score:
    """Pairwise agreement of profiles with people; all fields are counts of what is judged.

    ``identifiers`` have an owner in the truth, ``missing`` of them have no profile, ``unknown``
    have a profile but are not in the truth.
    """

    true_pairs: int
    predicted_pairs: int
    correct_pairs: int
    identifiers: int
    missing: int
    unknown: int

    @property
    def precision(self) -> float:
        """Share of predicted pairs that are true; 1.0 where none is predicted."""
        return self.correct_pairs / self.predicted_pairs if self.predicted_pairs else 1.0

    @property
    def recall(self) -> float:
        """Share of true pairs that are predicted; 1.0 where there is none."""
        return self.correct_pairs / self.true_pairs if self.true_pairs else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.true_pairs + self.predicted_pairs
        return 2 * self.correct_pairs / both if both else 1.0


@dataclass(frozen=True)
class MixedProfiles:
    """Profiles that hold identifiers of more than one person.

    ``profiles`` is how many there are, ``people`` how many people have an identifier in one of
    them, ``identifiers`` how many owned identifiers they hold, ``largest`` how many people the
    worst one holds. All are 0 where no profile is mixed.
    """

    profiles: int
    people: int
    identifiers: int
    largest: int


def pairwise(predicted: Mapping[K, Hashable | None], truth: Mapping[K, Hashable | None]) -> Score:
    """Score of ``predicted`` (identifier to profile) against ``truth`` (identifier to person).

    >>> truth = {"a": "ann", "b": "ann", "c": "bob", "d": "bob", "kiosk": None}
    >>> score = pairwise({"a": 1, "b": 1, "c": 1, "d": 2, "kiosk": 1}, truth)
    >>> score.predicted_pairs, score.true_pairs, score.correct_pairs
    (3, 2, 1)
    >>> score.recall
    0.5
    """
    owners = {k: person for k, person in truth.items() if person is not None}
    judged = list(_judged(predicted, truth))
    return Score(
        true_pairs=_pairs(owners.values()),
        predicted_pairs=_pairs(profile for profile, _ in judged),
        correct_pairs=_pairs(judged),
        identifiers=len(owners),
        missing=len(owners) - len(judged),
        unknown=sum(p is not None and k not in truth for k, p in predicted.items()),
    )


def worst_profiles(
    predicted: Mapping[K, Hashable | None], truth: Mapping[K, Hashable | None]
) -> MixedProfiles:
    """How many profiles mix people, and how badly; counts only.

    >>> truth = {"a": "ann", "b": "bob", "c": "cid", "d": "cid", "kiosk": None}
    >>> worst_profiles({"a": 1, "b": 1, "c": 2, "d": 2, "kiosk": 2}, truth)
    MixedProfiles(profiles=1, people=2, identifiers=2, largest=2)
    """
    held: dict[Hashable, Counter[Hashable]] = {}
    for profile, person in _judged(predicted, truth):
        held.setdefault(profile, Counter())[person] += 1
    mixed = [people for people in held.values() if len(people) > 1]
    return MixedProfiles(
        profiles=len(mixed),
        people=len({person for people in mixed for person in people}),
        identifiers=sum(people.total() for people in mixed),
        largest=max((len(people) for people in mixed), default=0),
    )


def _judged(
    predicted: Mapping[K, Hashable | None], truth: Mapping[K, Hashable | None]
) -> Iterator[tuple[Hashable, Hashable]]:
    """(profile, person) of every identifier that has both."""
    for identifier, profile in predicted.items():
        person = truth.get(identifier)
        if profile is not None and person is not None:
            yield profile, person


def _pairs(labels: Iterable[Hashable]) -> int:
    """How many pairs carry the same label."""
    return sum(n * (n - 1) // 2 for n in Counter(labels).values())
