"""Normalisers: what makes two spellings one identifier."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import ConfigError
from lake.identity.normalise import NAMES, normaliser, version


@pytest.mark.parametrize(
    ("name", "options", "sent", "normal"),
    [
        ("exact", {}, " \tAnn\u00a0", "Ann"),
        ("exact", {}, "e\u0301", "\u00e9"),
        ("exact", {}, "Ann Lee", "Ann Lee"),
        ("exact", {}, " \n", None),
        ("lower", {}, " ÄB ", "äb"),
        ("lower", {}, "A\u0308", "\u00e4"),
        ("email", {}, " Ann.Lee+shop@Example.COM ", "ann.lee+shop@example.com"),
        ("email", {}, "ann@localhost", "ann@localhost"),
        ("email", {}, "ann", None),
        ("email", {}, "@x.com", None),
        ("email", {}, "ann@", None),
        ("email", {}, "a@b@c.com", None),
        ("email", {}, "ann lee@x.com", None),
        ("email", {}, "ann@x.com\u2003b", None),
        ("email", {}, " ", None),
        ("phone", {"region": "US"}, "(415) 555-0132", "+14155550132"),
        ("phone", {"region": "US"}, "+44 20 7946 0958", "+442079460958"),
        ("phone", {"region": "GB"}, "020 7946 0958", "+442079460958"),
        ("phone", {"region": "DE"}, "00442079460958", "+442079460958"),
        ("phone", {}, "+442079460958", "+442079460958"),
        ("phone", {}, "020 7946 0958", None),
        ("phone", {"region": "US"}, "415-555-0132 x7", "+14155550132;ext=7"),
        ("phone", {"region": "US"}, "911", None),
        ("phone", {"region": "US"}, "ask me", None),
        ("digits", {}, "12-345 6", "123456"),
        ("digits", {"last": 7}, "+1 415 555 0132", "5550132"),
        ("digits", {"last": 7}, "911", "911"),
        ("digits", {}, "٣-٤", "34"),
        ("digits", {}, "none", None),
    ],
)
def test_a_value_is_normalised(
    name: str, options: dict[str, Any], sent: str, normal: str | None
) -> None:
    assert normaliser(name, options)(sent) == normal


OPTIONS: dict[str, dict[str, Any]] = {"phone": {"region": "US"}, "digits": {"last": 4}}


@pytest.mark.parametrize("name", NAMES)
@given(sent=st.one_of(st.text(max_size=20), st.text("0123456789+-@. aÄ\u0301ſİ", max_size=14)))
def test_what_comes_out_is_trimmed_composed_not_empty_and_stays_as_it_is(
    name: str, sent: str
) -> None:
    function = normaliser(name, OPTIONS.get(name, {}))
    normal = function(sent)

    assert normal is None or (
        normal
        and normal == normal.strip() == unicodedata.normalize("NFC", normal)
        and function(normal) == normal
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("soundex", {}, "there is no normaliser soundex; there are exact, lower"),
        ("exact", {"last": 1}, "takes no option last"),
        ("digits", {"last": "4"}, "takes no option last of this kind"),
        ("digits", {"last": True}, "takes no option last of this kind"),
        ("digits", {"last": 0}, "1 or more"),
        ("phone", {"region": "XX"}, "XX is no region"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        normaliser(name, options)


def test_every_normaliser_has_a_version_and_phones_that_of_their_plans() -> None:
    assert [version(name).split("+")[0] for name in NAMES] == ["1"] * 5
    assert version("phone").count(".") == 2
