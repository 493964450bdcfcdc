"""Work done at the same time."""

from __future__ import annotations

from threading import Barrier, Event

import pytest

from lake.parallel import beside, together


def test_what_each_gives_comes_in_their_order() -> None:
    second_is_done = Event()

    def first() -> int:
        assert second_is_done.wait(60)
        return 1

    def second() -> int:
        second_is_done.set()
        return 2

    assert together(first, second) == [1, 2]


def test_nothing_to_do_is_done() -> None:
    assert together() == []


def test_works_within_works_do_not_wait_for_each_other() -> None:
    """All of them are under way before any ends."""
    everyone = Barrier(4, timeout=60)

    def two() -> list[int]:
        return together(everyone.wait, everyone.wait)

    found = [place for places in together(two, two) for place in places]

    assert sorted(found) == [0, 1, 2, 3]


def test_the_first_that_raised_raises_once_all_have_ended() -> None:
    failed, ended = Event(), Event()

    def late() -> None:
        assert failed.wait(60)
        ended.set()
        raise ValueError("the first in order")

    def early() -> None:
        failed.set()
        raise KeyError("the first in time")

    with pytest.raises(ValueError, match="the first in order"):
        together(late, early)

    assert ended.is_set()


def test_what_is_done_beside_has_ended_at_the_end_and_raises_there() -> None:
    begun, ended = Event(), Event()

    def work() -> None:
        begun.set()
        ended.set()
        raise ValueError("beside")

    with pytest.raises(ValueError, match="beside"), beside(work):
        assert begun.wait(60)
    assert ended.is_set()


def test_what_the_inside_raised_is_raised_once_the_work_beside_has_ended() -> None:
    failed, ended = Event(), Event()

    def work() -> None:
        assert failed.wait(60)
        ended.set()
        raise ValueError("beside")

    def inside() -> None:
        failed.set()
        raise KeyError("inside")

    with pytest.raises(KeyError), beside(work):
        inside()
    assert ended.is_set()
