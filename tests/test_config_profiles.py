"""What a configuration may say of traits, and where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.config import load
from lake.config.traits import PROFILE_COLUMNS
from lake.errors import ConfigError
from lake.tables import PROFILES

SMALLEST = """\
space: shop
root: ./lake
sources: {web: {path: ./landing/web}, crm: {path: ./landing/crm}}
"""


def refusal(folder: Path, block: str) -> list[str]:
    """The lines the smallest file with this block from line 4 on is refused with."""
    file = folder / "lake.yaml"
    file.write_text(SMALLEST + block)
    with pytest.raises(ConfigError) as error:
        load(file, {})
    return str(error.value).replace(f"{file}:", "").split("\n")


@pytest.mark.parametrize(
    ("trait", "said"),
    [
        (
            "name: {rule: latets}",
            'traits.name.rule: found "latets", wanted one of latest, first, most_frequent, '
            "longest, highest, lowest, never_empty, list; did you mean latest?",
        ),
        (
            "name: {sources: [web, cmr]}",
            "traits.name.sources[1]: unknown source, wanted one of crm, web; did you mean crm?",
        ),
        (
            "name: {max_age: 3 months}",
            'traits.name.max_age: found "3 months", '
            "wanted a time such as 12 hours, 90 days or 4 weeks or null",
        ),
        (
            "first-name: {}",
            "traits.first-name: found another name, wanted a name of letters, digits and _, or a "
            "path of such names with dots",
        ),
        (
            "calls: {type: integer}",
            "traits.calls.type: found the name of a column that profiles has anyway (calls), "
            "wanted no type",
        ),
    ],
)
def test_a_trait_is_refused_with_its_place(tmp_path: Path, trait: str, said: str) -> None:
    assert refusal(tmp_path, f"traits:\n  {trait}\n") == [f"5: {said}"]


def test_two_spellings_are_one_trait(tmp_path: Path) -> None:
    assert refusal(tmp_path, "traits:\n  first_name: {}\n  firstName: {}\n") == [
        "6: traits.firstName: found another spelling of first_name, wanted each trait once"
    ]


def test_two_traits_need_two_columns(tmp_path: Path) -> None:
    block = "traits:\n  a.b: {type: string}\n  a_b: {type: string}\n"
    assert refusal(tmp_path, block) == [
        "6: traits.a_b.type: found the column of a.b, wanted one column each"
    ]


def test_the_columns_no_trait_may_take_are_those_of_profiles() -> None:
    assert set(PROFILES.names) <= PROFILE_COLUMNS


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            "computed:\n  spent: event('Order').smu(property('total'))\n",
            "5:25: computed.spent: found 'smu', wanted a filter or a reducer: where, within, "
            "between, count, sum, avg, min, max, mode, first, last, unique, unique_count; "
            "did you mean sum?",
        ),
        (
            "computed:\n  n: event('Order').where(property('total') >).count()\n",
            "5:46: computed.n: found ')', wanted a number",
        ),
        (
            "computed: {n: event('Order').count()}\n"
            "audiences:\n  many: trait('n') > 2 AND\n        trait('m') > 3\n",
            "7:15: audiences.many: unknown trait 'm', wanted one of n",
        ),
        (
            "traits: {plan: {type: string}}\naudiences:\n  big: |  # a block\n"
            "    trait('plan') = 'a'\n    OR trait('plan') > 3\n",
            "8:22: audiences.big: found >, but 'plan' is a string, which takes exists, absent, =, "
            "!=, contains, omits, starts_with, ends_with, one_of, none_of",
        ),
        (
            "traits: {plan: {}}\naudiences: {pro: \"trait('plan') = 'pro'\"}\n",
            "5:25: audiences.pro: found a trait without a type; say its type under traits.plan, "
            "to compare it",
        ),
        (
            "computed: {n: event('A').count()}\naudiences: {x: 'trait(''n'') = ''a'''}\n",
            "5:32: audiences.x: found text, wanted a number",
        ),
        ("computed: {n: event('A).count()}\n", "4:21: computed.n: found a quotation that does not "
         "end, wanted its second quote"),
        (
            "computed: {calls: event('A').count()}\n",
            "4: computed.calls: found the name of a column of profiles, wanted another",
        ),
    ],
)  # fmt: skip
def test_an_expression_is_refused_at_its_character(tmp_path: Path, block: str, said: str) -> None:
    assert refusal(tmp_path, block) == [said]
