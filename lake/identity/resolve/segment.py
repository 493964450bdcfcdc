"""Segment's per-event fold: match, then create, add or merge into the oldest; on a broken limit
drop an identifier of the call and try again.

    ids = identifiers of the call
    loop:  P = profiles that own one of ids;  new = the ids that nobody owns
           nothing new and one profile: done, nothing is checked
           a limit or a never_together pair would break on P ∪ ids: drop from ids, report, loop
    no P: create a profile · one: add · several: merge all into the oldest, then add
    caps last: a merge or a mapping beyond a cap is left out and reported, the call still resolves

Where Segment's documentation is silent or says two things, this is what happens:

- *Which identifier is dropped.* ``drop_lowest``: the lowest-priority identifier of the call,
  whoever broke the limit; that is Segment's text. ``drop_conflict``: the lowest among the new
  values of a broken type and the identifiers that some profile owns; other new ones survive.
  Within a type the value that sorts last is the lowest.
- *When limits are checked.* Only when a call adds an identifier or a merge, and only for a type
  of which it would make a profile hold more than each of its profiles held before.
- *Windows* roll: 1, 7, 30, 365 days back from the call, on the ordering clock; a value added
  exactly that long ago no longer counts. Nothing is ever evicted.
- *A merge* counts the values both sides added within the window, each at its own time.
- *At the merge cap* nothing of that call merges: it resolves to the profile of its
  highest-priority owned identifier and adds its new ones there. The cap counts all profiles
  merged in, also through others. A merge whose profile would pass the mapping cap is left out
  in the same way.
- *At the mapping cap* new identifiers are added from the strongest down while there is room.

Overrides. As soon as one identifier of an ``always_together`` class is on a profile, every other
one joins that profile when it is first seen, before its call is looked at and over all limits and
caps; where that breaks a limit, it is reported. A call drops such identifiers together. A
``never_together`` pair binds like a limit: the call that would unite the two loses an identifier
by the same rule.

Sightings instead of calls: with windows and at the mapping cap a repeated call can matter, so a
set counts once for each day, at that day's first call. With limits "ever" and no cap reached only
a set's first sighting matters: what a call lost, it would lose again, since profiles only grow.

Cost: nearly linear in the identifiers of all sightings; a sighting that loses d of k identifiers
costs d · k.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from lake.identity.resolve.answer import Step, answer
from lake.identity.resolve.fold import Fold
from lake.identity.resolve.model import Resolution, Sighting
from lake.identity.resolve.rules import Rules
from lake.identity.resolve.universe import Universe


def segment(sightings: Iterable[Sighting], rules: Rules) -> Resolution:
    """Fold the sightings (of one or of many raw components) under the rules' limits and caps."""
    universe = Universe(sightings, rules)
    fold = Fold(universe, rules)
    last: dict[Hashable, Step] = {}
    losses: list[Step] = []
    for sighting in universe.sightings:
        key = sighting.identity_set
        before = last.get(key)
        # A set that is wholly on one profile stays so, and can change nothing any more.
        if before is not None and not before.lost:
            continue
        if members := universe.members[key]:
            step = last[key] = Step(sighting, *fold.take(sighting, members))
            if step.lost:
                losses.append(step)
    return answer(universe, fold, last, losses)
