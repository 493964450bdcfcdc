"""``always_together`` and ``never_together`` pairs, made ready for every strategy.

Always is an equivalence: pairs are closed transitively, also through an identifier that no call
ever carried. The identifiers of one class are a *bond*. Never holds between bonds: if ``a`` is
always with ``b``, and ``b`` never with ``c``, then ``a`` is never with ``c``.
Two identifiers in one bond that must never meet are a contradiction, refused at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lake.errors import ConfigError
from lake.identity.resolve.forest import Forest
from lake.identity.resolve.model import Identifier, Pair


class Overrides(NamedTuple):
    """``bond``: identifier → number of its class. ``foes``: class → classes it must not meet.

    An identifier that only appears in ``never_together`` is a class of its own.
    """

    bond: Mapping[Identifier, int]
    foes: Mapping[int, frozenset[int]]

    @classmethod
    def closed(cls, always: Iterable[Pair], never: Iterable[Pair]) -> Overrides:
        """Close the pairs. ConfigError where a pair is both always and never together."""
        always, never = list(always), list(never)
        number = {i: n for n, i in enumerate(dict.fromkeys(i for p in always + never for i in p))}
        forest = Forest(len(number))
        for one, other in always:
            forest.join(number[one], number[other])
        bond = {i: forest.root(n) for i, n in number.items()}
        foes: dict[int, set[int]] = {}
        for one, other in never:
            foes.setdefault(bond[one], set()).add(bond[other])
            foes.setdefault(bond[other], set()).add(bond[one])
        clashes = sum(mine in theirs for mine, theirs in foes.items())
        if clashes:
            raise ConfigError(
                f"overrides: {clashes} group(s) of always_together pairs contain a never_together "
                "pair; remove one of the two"
            )
        return cls(bond, {mine: frozenset(theirs) for mine, theirs in foes.items()})
