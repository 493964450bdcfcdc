"""A key that two identifiers share joins nobody; see also tests/nights/test_incremental.py."""

from __future__ import annotations

from lake.identity.ids import identifier_key
from tests.support.collisions import colliding


def test_a_pair_with_one_key_can_be_crafted() -> None:
    one, two = colliding("user_id")
    assert one != two
    assert identifier_key("user_id", one) == identifier_key("user_id", two)
