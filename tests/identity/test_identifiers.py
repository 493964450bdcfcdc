"""Extraction: the documented places, the switches, and what makes two sets the same."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw
from ruamel.yaml import YAML

from lake.errors import ConfigError
from lake.identity import normalise
from lake.identity.identifiers import (
    SEGMENT_DEFAULTS,
    Extraction,
    IdentifierRule,
    IdentitySet,
    IdentitySets,
    extractor,
    identifiers,
    set_key,
)
from lake.identity.shapes import Texts

CASES = YAML(typ="safe").load(Path(__file__).parents[1] / "cases" / "extraction.yaml")


def rules(given: dict[str, Any]) -> Extraction:
    """The rules of a case."""
    named = given.pop("identifiers", None)
    if named is not None:
        given["identifiers"] = tuple(
            IdentifierRule(**{**rule, "options": tuple(rule.get("options", {}).items())})
            for rule in named
        )
    return Extraction(**given)


def found(extraction: Extraction, body: dict[str, Any], **printed: Any) -> IdentitySet:
    """The set of a call's body."""
    nested = {
        k: json.dumps(body[k], **printed) if k in body else None
        for k in ("context", "traits", "properties")
    }
    return identifiers(
        extraction, body["type"], body.get("userId"), body.get("anonymousId"), **nested
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_a_call_has_the_identifiers_of_its_case(case: dict[str, Any]) -> None:
    expected = tuple(tuple(pair) for pair in case["found"])

    got = found(rules(dict(case.get("rules", {}))), case["call"])

    assert got == IdentitySet(expected, set_key(expected) if expected else None, None)


def test_segments_defaults_stand_in_its_order_of_priority() -> None:
    order = [rule.type for rule in SEGMENT_DEFAULTS]

    seen = {"ga_client_id", "user_id", "anonymous_id", "android.id", "email"}
    assert [t for t in order if t in seen] == [
        "user_id",
        "email",
        "android.id",
        "anonymous_id",
        "ga_client_id",
    ]


def test_keys_written_with_escapes_are_found() -> None:
    escaped = '{"\\u0064evice":{"type":"i\\u006fs","i\\u0064":"X"}}'

    got = identifiers(Extraction(), "track", None, None, context=escaped)

    assert got.identifiers == (("ios.id", "X"),)


def test_a_value_over_1000_characters_is_told_and_left_out() -> None:
    body = {"type": "identify", "userId": "u1", "traits": {"email": "x" * 1001}}

    got = found(Extraction(), body)

    assert (got.identifiers, got.too_long) == ((("user_id", "u1"),), "email")
    assert found(Extraction(), {**body, "traits": {"email": "x" * 1000}}).too_long is None


def test_broken_stored_text_tells_nothing() -> None:
    got = identifiers(Extraction(), "track", "u1", None, context="{", properties="")

    assert got.identifiers == (("user_id", "u1"),)


def test_a_set_key_is_the_same_everywhere_and_for_ever() -> None:
    pairs = (("email", "ä@x.com"), ("user_id", "u1"))

    # `printf '5:email7:ä@x.com7:user_id2:u1' | b2sum -l 128` says the same.
    assert set_key(pairs).hex() == "b3037ce55557b20f5382feab833fe55c"
    assert set_key(pairs[::-1]) == set_key((*pairs, pairs[0])) == set_key(pairs)


identifier = st.tuples(st.text("ab:1", max_size=3), st.text("ab:1", max_size=3))
sets = st.frozensets(identifier, max_size=3).map(lambda s: tuple(sorted(s)))


@given(sets, sets)
def test_two_sets_have_one_key_only_if_they_are_one(one: Any, other: Any) -> None:
    assert (set_key(one) == set_key(other)) == (one == other)


FINGERPRINT = Extraction().fingerprint


@pytest.mark.parametrize(
    "other",
    [
        Extraction(unknown_types="ignore"),
        Extraction(properties_email=False),
        Extraction(ios_idfa_needs_tracking=False),
        Extraction(SEGMENT_DEFAULTS[:-1]),
        Extraction((*SEGMENT_DEFAULTS[:-1], IdentifierRule("ios.push_token", "token"))),
        Extraction((*SEGMENT_DEFAULTS[:-1], IdentifierRule("ios.push_token", None, "lower"))),
        Extraction((*SEGMENT_DEFAULTS, IdentifierRule("n", None, "digits", (("last", 4),)))),
        Extraction((*SEGMENT_DEFAULTS, IdentifierRule("n", None, "digits", (("last", 5),)))),
    ],
)
def test_other_rules_have_another_fingerprint(other: Extraction) -> None:
    rest = [Extraction(), Extraction((*SEGMENT_DEFAULTS, IdentifierRule("n", None, "digits")))]

    assert other.fingerprint not in {r.fingerprint for r in rest}


def test_the_fingerprint_knows_the_rules_but_not_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Extraction(SEGMENT_DEFAULTS[::-1]).fingerprint == FINGERPRINT
    assert pickle.loads(pickle.dumps(Extraction())).fingerprint == FINGERPRINT

    newer = normalise._KINDS["exact"]._replace(version="2")
    monkeypatch.setitem(normalise._KINDS, "exact", newer)  # type: ignore[arg-type]
    assert Extraction().fingerprint != FINGERPRINT


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"identifiers": (IdentifierRule("group_id"),)}, "names an account"),
        ({"identifiers": (IdentifierRule("Phone"),)}, "not in lower case"),
        ({"identifiers": (IdentifierRule("a b"),)}, "holds a blank"),
        ({"identifiers": (IdentifierRule("a"), IdentifierRule("a", "b"))}, "named twice"),
        ({"identifiers": (IdentifierRule("a", None, "soundex"),)}, "no normaliser soundex"),
        ({"unknown_types": "maybe"}, "neither add nor ignore"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Extraction(**settings)


EXTERNAL = b'{"externalIds":[{"id":"e","type":"plan","collection":"users","encoding":"none"}]}'
TEXTS = [b"", b"null", b"7", b"{}", b'{"email":"a@x.com"}', b'{"\\u0065mail":"b@x.com"}',
         b'{"email":7}', b'{"email":[1]}', b'{"traits":{"email":"c@x.com"}}', b'{"device":null}',
         b'{"device":{"type":"ios","id":"d"}}', b'{"other":{"email":"f@x.com"}}',
         EXTERNAL]  # fmt: skip
told = st.sampled_from(TEXTS).map(Raw)
kinds = st.sampled_from(["identify", "track", "page", "screen", "group", "alias"])
own = st.sampled_from([None, "", "1", " 1 ", "a b", "e\u0301", "\u2003x", "x" * 1000, "x" * 1001])
calls = st.tuples(kinds, own, own, told, told, told)
RULES = [
    Extraction(),
    Extraction(properties_email=False),
    Extraction((IdentifierRule("email"), IdentifierRule("user_id"))),
    Extraction((IdentifierRule("user_id", None, "email"), IdentifierRule("anonymous_id"))),
    Extraction((IdentifierRule("user_id", "email"), IdentifierRule("anonymous_id", "email"))),
]


@given(st.lists(calls, max_size=150), st.sampled_from(RULES))
@example([("track", "u1", f"a{i}", *[Raw(b"")] * 3) for i in range(9)], RULES[0])
@example([("alias", "u1", "a1", *[Raw(b"")] * 3), ("page", None, None, *[Raw(b"")] * 3)], RULES[0])
def test_a_column_of_calls_has_the_identifiers_of_each_call_alone(
    sent: list[Any], extraction: Extraction
) -> None:
    columns = list(zip(*sent, strict=True)) if sent else [()] * 6

    got = extractor(extraction).column(*columns[:3], *map(Texts.of, columns[3:]))

    alone = [identifiers(extraction, *call) for call in sent]
    pairs = [pair for each in alone for pair in each.identifiers]
    assert got == IdentitySets(
        counts=[len(each.identifiers) for each in alone],
        types=[t for t, _ in pairs],
        values=[value for _, value in pairs],
        keys=[each.key for each in alone],
        too_long={row: each.too_long for row, each in enumerate(alone) if each.too_long},
    )
