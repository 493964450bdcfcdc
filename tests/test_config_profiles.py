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
