"""A disjoint-set forest over small integers."""

from __future__ import annotations


class Forest:
    """Union by size with path halving: nearly constant time for a step."""

    __slots__ = ("parent", "size")

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))
        self.size = [1] * count

    def root(self, node: int) -> int:
        """The node that stands for the tree of ``node``."""
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, one: int, other: int) -> tuple[int, int]:
        """Put two trees together; the root that stays and the one that went (equal: one tree)."""
        one, other = self.root(one), self.root(other)
        if one == other:
            return one, one
        if self.size[one] < self.size[other]:
            one, other = other, one
        self.parent[other] = one
        self.size[one] += self.size[other]
        return one, other
