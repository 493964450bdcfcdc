"""Accounts and consent as readers see them, over a night of parts and two that join and settle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.verify import verify
from lake.progress import Progress
from tests.support.nights import AS_OF, Site, copied, land, site


def call(n: int, kind: str, anonymous: str, user: str | None = None, **more: Any) -> dict[str, Any]:
    return (
        {
            "type": kind,
            "messageId": f"{anonymous}{n}",
            "receivedAt": day(n).isoformat(),
            "anonymousId": anonymous,
        }
        | ({"userId": user} if user else {})
        | more
    )


def day(number: int) -> datetime:
    return datetime(2026, 10, number, tzinfo=UTC)


def consent(**said: Any) -> dict[str, Any]:
    return {"context": {"consent": {"categoryPreferences": said}}}


def in_name_of(group: Any) -> dict[str, Any]:
    return {"context": {"groupId": group}}


OF_NOBODY = {"type": "group", "messageId": "nobody", "groupId": "corp"}
ANN = [
    [
        call(1, "group", "phone", "ann", groupId="acme", traits={"name": "Acme", "size": 5}),
        call(2, "group", "phone", "ann", groupId="acme", traits={"name": "ACME", "size": None}),
        call(3, "group", "phone", "ann", groupId="beta", traits={}),
        call(4, "group", "tablet", groupId="acme"),
        call(5, "track", "phone", event="A", **consent(ads=True, mail=True, odd="yes")),
        call(6, "track", "tablet", event="A", **consent(ads=False, mail=True)),
    ],
    # The tablet turns out to be Ann's: what its owner said of ads contradicts what Ann said.
    [call(7, "track", "tablet", "ann", event="A")],
    # A new word settles it.
    [call(8, "track", "phone", "ann", **consent(ads=True))],
]
BOB = [
    [
        call(1, "group", "desk", "bob", groupId="corp"),
        call(2, "track", "desk", "bob", event="A", **in_name_of("corp")),
        call(3, "page", "sofa", name="Home", **in_name_of("corp")),
        call(4, "track", "desk", "bob", event="A", **in_name_of("club")),
        call(5, "track", "desk", "bob", event="A"),
        *(
            call(6 + n, "track", "desk", "bob", event="A", **in_name_of(said))
            for n, said in enumerate(("", None, {"corp": 1}, ["corp"], True))
        ),
        call(11, "group", "desk", "bob", groupId="", **in_name_of("corp")),
        OF_NOBODY | {"receivedAt": day(9).isoformat()},
    ],
    # The sofa turns out to be Bob's, a call comes late, and the club turns out to be an account.
    [
        call(12, "group", "sofa", "bob", groupId="club"),
        call(1, "track", "desk", "bob", event="A", **in_name_of("corp")) | {"messageId": "late"},
    ],
    # A copy that was received earlier takes the place of the call that names nobody.
    [OF_NOBODY | {"receivedAt": day(8).isoformat()}],
]
HOUSE = {"email": "house@x.com"}
CAT = [
    [
        call(1, "group", "left", groupId="pets"),
        call(2, "track", "left", event="A", **in_name_of("pets")),
        call(3, "group", "right", groupId="pets"),
        call(4, "page", "right", name="Home", **in_name_of("pets")),
        call(4, "track", "right", event="A", **in_name_of("pets")) | {"messageId": "again"},
    ],
    # An address that both tell makes them one.
    [call(6, "identify", "left", traits=HOUSE), call(7, "identify", "right", traits=HOUSE)],
    [call(8, "track", "left", event="A", **in_name_of("pets"))],
]
#: Whole families use it, so it links nobody from the fourth night on.
BLOCKED = {"blocked": {"by_type": {"email": {"values": list(HOUSE.values())}}}}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A lake after three nights of calls and one of another rule, with a publication of each."""
    folder = tmp_path_factory.mktemp("accounts")
    for n, calls in enumerate((*zip(ANN, BOB, CAT, strict=True), ())):
        land(folder / "web" / f"{n}.jsonl", [one for own in calls for one in own])
        rules = {} if calls else BLOCKED
        found = site(folder, {"web": folder / "web"}, identity=rules, judged=False, consent=True)
        found.run(AS_OF + timedelta(days=n))
    return found


def shown(
    found: Site, night: int, table: str, *columns: str, of: tuple[str, ...] = ()
) -> list[tuple[Any, ...]]:
    """The rows of a night's table by these columns; ``of`` some accounts only."""
    rows = found.publication(night).arrow(table).to_pylist()
    own = (row for row in rows if not of or row["group_id"] in of)
    return sorted(tuple(row[c] for c in columns) for row in own)


def test_group_calls_make_accounts_and_members(nights: Site) -> None:
    own = ("acme", "beta")
    assert shown(nights, 1, "accounts", "group_id", "traits", "calls", "members", of=own) == [
        ("acme", [("name", "ACME")], 3, 2),
        ("beta", [], 1, 1),
    ]
    before = [("acme", 1), ("acme", 2), ("beta", 1)]
    assert shown(nights, 1, "account_members", "group_id", "calls", of=own) == before
    joined = [("acme", 3), ("beta", 1)]
    assert shown(nights, 2, "account_members", "group_id", "calls", of=own) == joined
    one_each = [("acme", 1), ("beta", 1)]
    assert shown(nights, 3, "accounts", "group_id", "members", of=own) == one_each


def test_what_is_done_in_an_accounts_name_counts_for_it_and_for_its_members(nights: Site) -> None:
    own, columns = ("corp", "club"), ("group_id", "activity", "active_days")
    span = ("first_active", "last_active")

    # Only a group call makes an account: there is no row of the club, and the sofa is no member.
    corp = [("corp", 2, 2, day(2), day(3))]
    assert shown(nights, 1, "accounts", *columns, *span, of=own) == corp
    desk = [("corp", 1, 1, day(2), day(2))]
    assert shown(nights, 1, "account_members", *columns, *span, of=own) == desk

    both = [("club", 1, 1, day(4), day(4)), ("corp", 3, 3, day(1), day(3))]
    assert shown(nights, 2, "accounts", *columns, *span, of=own) == both
    assert shown(nights, 2, "account_members", *columns, *span, of=own) == both


def test_a_group_call_that_names_nobody_counts_once_whichever_copy_is_kept(nights: Site) -> None:
    for night in (1, 3):
        assert shown(nights, night, "accounts", "group_id", "calls", of=("corp",)) == [("corp", 2)]


def test_an_empty_group_id_and_one_of_another_type_name_no_account(nights: Site) -> None:
    named = {group for (group,) in shown(nights, 3, "accounts", "group_id")}
    assert named == {"acme", "beta", "corp", "club", "pets"}


def test_an_account_without_activity_has_none_since_never(nights: Site) -> None:
    columns = ("activity", "active_days", "first_active", "last_active")
    assert shown(nights, 3, "accounts", *columns, of=("beta",)) == [(0, 0, None, None)]


def test_people_who_are_parted_again_have_each_what_he_did_himself(nights: Site) -> None:
    columns = ("calls", "activity", "active_days", "first_active", "last_active")
    left, right = (1, 1, 1, day(2), day(2)), (1, 2, 1, day(4), day(4))
    assert shown(nights, 1, "account_members", *columns, of=("pets",)) == [left, right]
    one = [(2, 4, 3, day(2), day(8))]
    assert shown(nights, 3, "account_members", *columns, of=("pets",)) == one
    left = (1, 2, 2, day(2), day(8))
    assert shown(nights, 4, "account_members", *columns, of=("pets",)) == [right, left]


def test_a_sample_compares_the_accounts_that_it_tells_all_of(nights: Site, tmp_path: Path) -> None:
    altered = copied(nights, tmp_path)
    altered.tamper("accounts", "calls")
    found = verify(altered.place.config, sample=1.0, progress=Progress(quiet=True))
    compared = {t["table"]: (t["rows"], t["differences"]) for t in found["tables"]}
    # No sample holds the call of nobody, so it does not tell all of corp.
    assert compared["accounts"] == (4, 1)


def test_accounts_are_those_of_a_full_rebuild(nights: Site) -> None:
    found = verify(nights.place.config, progress=Progress(quiet=True))
    compared = {t["table"]: t["rows"] for t in found["tables"]}
    assert found["same"]
    assert (compared["accounts"], compared["account_activity"]) == (5, 7)


def test_the_last_word_on_consent_wins_and_parts_that_disagree_conflict(nights: Site) -> None:
    assert shown(nights, 1, "profile_consents", "category", "consent") == [
        ("ads", "denied"),
        ("ads", "granted"),
        ("mail", "granted"),
        ("mail", "granted"),
    ]
    assert shown(nights, 2, "profile_consents", "category", "consent", "message_id") == [
        ("ads", "conflict", "tablet6"),
        ("mail", "granted", "tablet6"),
    ]
    assert shown(nights, 2, "profiles_consented", "category") == [("mail",)]
    assert shown(nights, 3, "profile_consents", "category", "consent") == [
        ("ads", "granted"),
        ("mail", "granted"),
    ]
