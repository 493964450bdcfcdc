"""A configuration is accepted as a whole or refused as a whole, with every fault and its line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from textwrap import dedent
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lake.config import Config, Identifier, Identity, Override, load
from lake.config.environment import expanded
from lake.config.loading import not_available
from lake.errors import ConfigError

EXAMPLE = Path(__file__).resolve().parents[1] / "conf/example.yaml"

SMALLEST = """\
space: shop
root: ./lake
sources: {web: {path: ./landing/web}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and the current one, so that a message names only ``lake.yaml``."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def accepted(text: str, **environ: str) -> Config:
    Path("lake.yaml").write_text(text, encoding="utf-8")
    return load(Path("lake.yaml"), environ)


def refusal(text: str, **environ: str) -> list[str]:
    """The lines a file is refused with."""
    with pytest.raises(ConfigError) as error:
        accepted(text, **environ)
    return str(error.value).split("\n")


def smallest(more: str = "") -> str:
    """The smallest file, its three lines, and more from line 4 on."""
    return SMALLEST + dedent(more)


def identity(block: str) -> str:
    """The smallest file with an identity block, its settings from line 5 on."""
    lines = "".join(f"  {line}\n" for line in dedent(block).strip().splitlines())
    return smallest() + f"identity:\n{lines}"


# -- what is accepted ----------------------------------------------------------------------------


def test_the_smallest_file_gives_segments_defaults(folder: Path) -> None:
    config = accepted(SMALLEST)
    left_out = {"region": None, "last": None, "key": None}
    five = {"limit": 5, "window": "ever", "normalise": "exact", **left_out}
    assert config.model_dump() == {
        "space": "shop",
        "root": f"{folder}/lake",
        "sources": {"web": {"path": f"{folder}/landing/web"}},
        "line_limit": 1_048_576,
        "identity": {
            "strategy": "segment",
            "order_by": "received_at",
            "on_limit": "drop_lowest",
            "unknown_types": "add",
            "properties_email": True,
            "ios_idfa_needs_tracking": True,
            "identifiers": {
                "user_id": {**five, "limit": 1},
                "email": {**five, "normalise": "email"},
                "android.id": five,
                "android.idfa": five,
                "android.push_token": five,
                "anonymous_id": five,
                "ga_client_id": five,
                "ios.id": five,
                "ios.idfa": five,
                "ios.push_token": five,
            },
            "caps": {"merges": 100, "mappings": 1000},
            "blocked": {"builtin": True, "values": (), "patterns": (), "by_type": {}},
            "shared": {"mode": "off", "limits": {}},
            "overrides": None,
        },
        "traits": {},
        "computed": {},
        "audiences": {},
        "consent": False,
        "storage": {"endpoint": None, "region": None, "access_key": None, "secret_key": None},
        "quality": {"expectations": None},
        "profiles_sync": {"enabled": False},
        "spark": {"conf": {}},
    }


EVERYTHING = """\
space: shop
root: s3://bucket/lake/
sources:
  web: {path: s3a://bucket/landing/web}
  crm: {path: /srv/crm}
line_limit: 2048
identity:
  strategy: latest_wins
  order_by: timestamp
  on_limit: drop_conflict
  unknown_types: ignore
  properties_email: false
  ios_idfa_needs_tracking: false
  identifiers:
    user_id: {}
    email: {limit: null}
    phone: {limit: 2, normalise: phone, region: DE, window: annually}
    card: {normalise: digits, last: 4, key: cardNumber}
  caps: {merges: 0, mappings: 10}
  blocked:
    builtin: false
    values: [void, "0000"]
    patterns: ["^test-"]
    by_type: {email: {patterns: ["@localhost$"], values: [a@b]}}
  shared: {mode: limits, limits: {card: {user_id: 4}}}
  overrides: ./overrides.csv
traits:
  address.city: {rule: longest, sources: [crm, web], max_age: 90 days, type: string}
computed: {orders: event('Order').count()}
audiences: {buyers: trait('orders') > 0}
consent: true
storage:
  endpoint: http://127.0.0.1:8333
  region: local
  access_key: ${S3_KEY}
  secret_key: ${S3_SECRET}
quality: {expectations: expectations}
profiles_sync: {enabled: true}
spark: {conf: {spark.sql.shuffle.partitions: 64, spark.speculation: true, spark.x: a}}
"""

PAIRS = """\
rule,type_a,value_a,type_b,value_b
never_together,user_id,7,email,ann@example.org
always_together,user_id," 8 ",user_id,9

always_together,user_id,9,user_id,8
"""


@pytest.fixture
def everything(folder: Path) -> Config:
    (folder / "overrides.csv").write_text(PAIRS, encoding="utf-8-sig")
    (folder / "expectations").mkdir()
    return accepted(EVERYTHING, S3_KEY="12345", S3_SECRET="null")


def test_a_file_that_sets_everything_is_read_as_it_stands(everything: Config, folder: Path) -> None:
    plain = everything.model_dump(exclude={"storage": True, "identity": {"identifiers"}})
    assert plain == {
        "space": "shop",
        "root": "s3://bucket/lake",
        "sources": {"web": {"path": "s3a://bucket/landing/web"}, "crm": {"path": "/srv/crm"}},
        "line_limit": 2048,
        "identity": {
            "strategy": "latest_wins",
            "order_by": "timestamp",
            "on_limit": "drop_conflict",
            "unknown_types": "ignore",
            "properties_email": False,
            "ios_idfa_needs_tracking": False,
            "caps": {"merges": 0, "mappings": 10},
            "blocked": {
                "builtin": False,
                "values": ("void", "0000"),
                "patterns": ("^test-",),
                "by_type": {"email": {"values": ("a@b",), "patterns": ("@localhost$",)}},
            },
            "shared": {"mode": "limits", "limits": {"card": {"user_id": 4}}},
            "overrides": f"{folder}/overrides.csv",
        },
        "traits": {
            "address.city": {
                "rule": "longest",
                "sources": ("crm", "web"),
                "max_age": "90 days",
                "type": "string",
            }
        },
        "computed": {"orders": "event('Order').count()"},
        "audiences": {"buyers": "trait('orders') > 0"},
        "consent": True,
        "quality": {"expectations": f"{folder}/expectations"},
        "profiles_sync": {"enabled": True},
        "spark": {
            "conf": {
                "spark.sql.shuffle.partitions": "64",
                "spark.speculation": "true",
                "spark.x": "a",
            }
        },
    }
    assert everything.identity.identifiers == {
        "user_id": Identifier(limit=1),
        "email": Identifier(limit=None, normalise="email"),
        "phone": Identifier(limit=2, normalise="phone", region="DE", window="annually"),
        "card": Identifier(limit=5, normalise="digits", last=4, key="cardNumber"),
    }
    assert list(everything.identity.identifiers) == ["user_id", "email", "phone", "card"]


def test_overrides_are_sorted_and_each_pair_is_there_once(everything: Config) -> None:
    assert everything.overrides == (
        Override("always_together", "user_id", "8", "user_id", "9"),
        Override("never_together", "email", "ann@example.org", "user_id", "7"),
    )


def test_segments_order_of_priority_is_user_id_email_then_the_alphabet() -> None:
    names = list(Identity().identifiers)
    assert names == ["user_id", "email", *sorted(names[2:])]


def test_the_example_holds_the_defaults_and_nothing_else(folder: Path) -> None:
    (folder / "lake.yaml").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    example = load(Path("lake.yaml"), {})
    assert example == accepted(SMALLEST)
    assert list(example.identity.identifiers) == list(Identity().identifiers)
    assert example.fingerprint == accepted(SMALLEST).fingerprint


def test_the_example_shows_every_setting() -> None:
    shown = YAML(typ="safe").load(EXAMPLE.read_text(encoding="utf-8"))
    groups = {
        "Config": shown,
        "Source": shown["sources"]["web"],
        "Identity": shown["identity"],
        "Identifier": shown["identity"]["identifiers"]["user_id"],
        "Caps": shown["identity"]["caps"],
        "Blocked": shown["identity"]["blocked"],
        "Shared": shown["identity"]["shared"],
        "Storage": shown["storage"],
        "Quality": shown["quality"],
        "ProfilesSync": shown["profiles_sync"],
        "Spark": shown["spark"],
    }
    schema = Config.json_schema()
    described = {"Config": schema, **schema["$defs"]}
    assert {name: set(group) for name, group in groups.items()} == {
        name: set(described[name]["properties"]) for name in groups
    }


def test_a_type_keeps_the_defaults_of_its_name_when_it_is_listed(folder: Path) -> None:
    config = accepted(identity("identifiers: {email: {}, user_id: {}, app_id: {}}"))
    assert config.identity.identifiers == {
        "email": Identifier(limit=5, normalise="email"),
        "user_id": Identifier(limit=1),
        "app_id": Identifier(limit=5),
    }


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_off_without_quotes_is_a_mode_and_not_a_switch(folder: Path, mode: str) -> None:
    assert accepted(identity(f"shared: {{mode: {mode}}}")).identity.shared.mode == mode


@pytest.mark.parametrize(
    ("root", "uri"),
    [
        ("./lake", "file://{folder}/lake"),
        ("my lake", "file://{folder}/my lake"),
        ("a/../b", "file://{folder}/b"),
        ("/srv/lake", "file:///srv/lake"),
        ("file:///srv/lake", "file:///srv/lake"),
        ("s3://bucket", "s3a://bucket"),
        ("s3a://bucket/a/b/", "s3a://bucket/a/b"),
    ],
)
def test_the_root_has_one_address_for_spark(folder: Path, root: str, uri: str) -> None:
    config = accepted(SMALLEST.replace("./lake", root))
    assert config.root_uri == uri.format(folder=folder)


def test_paths_are_relative_to_the_file_as_it_was_named(folder: Path) -> None:
    (folder / "mounted").mkdir()
    (folder / "mounted" / "lake.yaml").write_text(SMALLEST, encoding="utf-8")
    (folder / "conf").mkdir()
    (folder / "conf" / "lake.yaml").symlink_to(folder / "mounted" / "lake.yaml")
    assert load(Path("conf/lake.yaml"), {}).root == f"{folder}/conf/lake"


def test_sources_on_disk_and_a_root_in_s3_go_together(folder: Path) -> None:
    assert accepted(SMALLEST.replace("./lake", "s3://bucket/lake")).root == "s3://bucket/lake"


def test_neighbours_with_a_common_beginning_are_apart(folder: Path) -> None:
    text = (
        "space: shop\nroot: s3://b1b/lake\nsources: {a: {path: s3://b1b/lake2}, b: {path: lake}}\n"
    )
    assert set(accepted(text).sources) == {"a", "b"}


def test_a_configuration_cannot_be_changed(folder: Path) -> None:
    config = accepted(SMALLEST)
    with pytest.raises(ValueError, match="Instance is frozen"):
        config.space = "other"


def test_a_configuration_survives_being_pickled(everything: Config) -> None:
    copy = pickle.loads(pickle.dumps(everything))
    assert copy == everything
    assert copy.fingerprint == everything.fingerprint


# -- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "environ", "text"),
    [
        ("a${X}c", {"X": "b"}, "abc"),
        ("${X:-d}", {}, "d"),
        ("${X:-d}", {"X": ""}, "d"),
        ("${X:-d}", {"X": "x"}, "x"),
        ("${X:-}", {}, ""),
        ("$${X}", {"X": "x"}, "${X}"),
        ("$$ $X $", {"X": "x"}, "$$ $X $"),
        ("${X}${Y}", {"X": "${Y}", "Y": "y"}, "${Y}y"),
    ],
)
def test_references_are_replaced_once(written: str, environ: dict[str, str], text: str) -> None:
    assert (expanded(written, environ).text, expanded(written, environ).faults) == (text, ())


@given(st.text())
def test_escaped_text_comes_back(text: str) -> None:
    result = expanded(text.replace("${", "$${"), {})
    assert (result.text, result.variables, result.faults) == (text, (), ())


@given(st.text(), st.text(), st.text())
def test_a_value_is_taken_letter_by_letter(before: str, value: str, after: str) -> None:
    # A dollar before a reference would make it an escape.
    before = before.replace("${", "").rstrip("$")
    after = after.replace("${", "")
    assert expanded(before + "${X}" + after, {"X": value}).text == before + value + after


@given(st.text(min_size=1))
def test_a_value_cannot_inject_yaml(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.getbasetemp() / "injection.yaml"
    file.write_text(smallest("spark:\n  conf:\n    a: ${X}\n    b: 'x ${X}'\n"), encoding="utf-8")
    conf = load(file, {"X": value}).spark.conf
    assert conf == {"a": value, "b": "x " + value}
    assert type(conf["a"]) is str


def test_numbers_and_switches_may_come_from_the_environment(folder: Path) -> None:
    text = identity(
        """
        properties_email: ${SWITCH}
        strategy: ${STRATEGY}
        identifiers: {email: {limit: "${LIMIT}"}, user_id: {limit: "${NONE}"}}
        caps: {merges: "${MERGES:-7}"}
        overrides: ${EMPTY:-}
        """
    )
    got = accepted(text, SWITCH="false", STRATEGY="components", LIMIT="3", NONE="null").identity
    assert got.properties_email is False
    assert got.strategy == "components"
    assert [rule.limit for rule in got.identifiers.values()] == [3, None]
    assert got.caps.merges == 7
    assert got.overrides is None


def test_a_secret_that_looks_like_a_number_stays_text(everything: Config) -> None:
    storage = everything.storage
    assert storage.access_key is not None
    assert storage.secret_key is not None
    assert storage.access_key.get_secret_value() == "12345"
    assert storage.secret_key.get_secret_value() == "null"


def test_every_missing_variable_is_reported_with_its_line(folder: Path) -> None:
    text = "space: ${A}\nroot: x${B}${C}\nsources: {web: {path: '${D'}}\nstorage:\n  region: ${A}\n"
    missing = "is not set, wanted its value or a default"
    assert refusal(text) == [
        f"lake.yaml:1: space: the environment variable A {missing}: ${{A:-default}}",
        f"lake.yaml:2: root: the environment variable B {missing}: ${{B:-default}}",
        f"lake.yaml:2: root: the environment variable C {missing}: ${{C:-default}}",
        "lake.yaml:3: sources.web.path: found an unfinished ${, "
        "wanted ${VAR} or ${VAR:-default} ($${ for a plain ${)",
        f"lake.yaml:5: storage.region: the environment variable A {missing}: ${{A:-default}}",
    ]


def test_a_reference_without_quotes_in_braces_is_explained(folder: Path) -> None:
    assert refusal(smallest("storage: {region: ${R}}\n"), R="x") == [
        "lake.yaml:4: not YAML: while parsing a flow mapping expected ',' or '}', but got '{'"
        "; inside {...} or [...], ${VAR} needs quotes"
    ]


# -- what is refused: the file -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["lake.yaml:1: found an empty file, wanted a mapping of settings"]),
        ("- a\n", ["lake.yaml:1: found no mapping, wanted a mapping of settings"]),
        ("space: a: b\n", ["lake.yaml:1: not YAML: mapping values are not allowed here"]),
        (
            "space: a\nroot: *sEcReT\n",
            ["lake.yaml:2: not YAML: found undefined alias (not shown)"],
        ),
        (
            "space: a\nroot: \x07\n",
            ["lake.yaml:1: not YAML: found a control character, wanted plain text"],
        ),
        (
            SMALLEST + "---\na: 1\n",
            [
                "lake.yaml:4: not YAML: expected a single document in the stream "
                "but found another document"
            ],
        ),
        (
            SMALLEST + "line_limit: !!python/none 1\n",
            ["lake.yaml:4: line_limit: found a YAML tag (!), wanted a plain value"],
        ),
        (
            SMALLEST + "spark: {conf: &a {b: *a}}\n",
            ["lake.yaml:4: spark.conf.b: found an alias that contains itself, wanted plain values"],
        ),
        (
            SMALLEST + "spark: {conf: {[a]: b}}\n",
            ["lake.yaml:4: spark.conf: found a list or a mapping as a key, wanted text"],
        ),
    ],
)
def test_what_is_no_configuration_at_all_is_refused(
    folder: Path, text: str, lines: list[str]
) -> None:
    assert refusal(text) == lines


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(Path("none.yaml"), {})
    assert str(error.value) == "none.yaml: cannot be read: No such file or directory"


def test_a_file_that_is_not_utf8_is_refused(folder: Path) -> None:
    Path("lake.yaml").write_bytes(b"space: \xff\n")
    with pytest.raises(ConfigError) as error:
        load(Path("lake.yaml"), {})
    assert str(error.value) == "lake.yaml: found bytes that are not UTF-8, wanted UTF-8 text"


def test_a_key_given_twice_is_refused_with_both_lines(folder: Path) -> None:
    text = identity("caps: {merges: 1}\nstrategy: segment\ncaps: {merges: 2}")
    assert refusal(text) == [
        "lake.yaml:7: identity.caps: found twice, first on line 5, wanted once"
    ]


def test_a_key_given_twice_does_not_hide_what_is_wrong_with_the_first(folder: Path) -> None:
    text = identity("caps: {merges: a}\ncaps: {merges: 2}")
    assert refusal(text) == [
        'lake.yaml:5: identity.caps.merges: found "a", wanted a whole number of at least 0',
        "lake.yaml:6: identity.caps: found twice, first on line 5, wanted once",
    ]


def test_everything_is_reported_at_once_by_line(folder: Path) -> None:
    text = """\
space: Shop
sources:
  web: {path: ./landing}
  app: {path: ./landing/app}
  bad: {}
identity:
  strategy: segmnt
  order: timestamp
  identifiers:
    user_id: {limit: 0}
    email: {last: 4}
  blocked: {patterns: ["(", ok]}
storage: {access_key: 12345}
line_limit: ${LINES}
"""
    known = (
        "strategy, order_by, on_limit, unknown_types, properties_email, "
        "ios_idfa_needs_tracking, identifiers, caps, blocked, shared, overrides"
    )
    place = "a folder, s3://bucket/prefix or s3a://bucket/prefix"
    assert refusal(text) == [
        f"lake.yaml:1: root: missing, wanted {place}",
        'lake.yaml:1: space: found "Shop", wanted a lower-case name: '
        "a letter, then letters, digits, _ or -; did you mean shop?",
        "lake.yaml:4: sources.app.path: found inside sources.web.path, wanted places apart",
        f"lake.yaml:5: sources.bad.path: missing, wanted {place}",
        'lake.yaml:7: identity.strategy: found "segmnt", '
        "wanted one of segment, latest_wins, components; did you mean segment?",
        f"lake.yaml:8: identity.order: unknown key, wanted one of {known}; did you mean order_by?",
        "lake.yaml:10: identity.identifiers.user_id.limit: "
        "found 0, wanted a whole number of at least 1 or null",
        "lake.yaml:11: identity.identifiers.email.last: "
        "found last while normalise is email, wanted normalise: digits or no last",
        "lake.yaml:12: identity.blocked.patterns[0]: "
        "found a pattern that RE2 refuses (missing ): (), wanted an RE2 pattern",
        "lake.yaml:13: storage.access_key: "
        "found a number (not shown), wanted text or null; put it in quotes",
        "lake.yaml:14: line_limit: the environment variable LINES is not set, "
        "wanted its value or a default: ${LINES:-default}",
    ]


# -- what is refused: single settings ------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("identity: []", "identity: found a list, wanted a mapping"),
        ("identity:", "identity: found nothing, wanted a mapping"),
        ('line_limit: "5"', 'line_limit: found "5", wanted a whole number of at least 1'),
        ("line_limit: 1.5", "line_limit: found 1.5, wanted a whole number of at least 1"),
        ("line_limit: true", "line_limit: found true, wanted a whole number of at least 1"),
        (
            "identity: {properties_email: yes}",
            'identity.properties_email: found "yes", wanted true or false; did you mean true?',
        ),
        (
            "identity: {shared: {mode: none}}",
            'identity.shared.mode: found "none", wanted one of off, auto, limits',
        ),
        (
            "identity: {identifiers: {}}",
            "identity.identifiers: found an empty mapping, wanted a mapping with at least 1 key",
        ),
        (
            "identity: {identifiers: {User: {}}}",
            "identity.identifiers.User: found another name, "
            "wanted a lower-case name: a letter, then letters, digits, _ or .",
        ),
        (
            "identity: {identifiers: {group_id: {}}}",
            "identity.identifiers.group_id: group_id names an account, not a person: "
            "it would make one profile of all members; "
            "accounts are built from it without any setting",
        ),
        (
            "identity: {identifiers: {phone: {normalise: phone, region: UK}}}",
            "identity.identifiers.phone.region: found no region with phone numbers, "
            "wanted an ISO 3166 code such as US; did you mean GB?",
        ),
        (
            "identity: {identifiers: {phone: {normalise: phone, region: us}}}",
            'identity.identifiers.phone.region: found "us", '
            "wanted two capital letters or null; did you mean US?",
        ),
        (
            "identity: {blocked: {values: [null]}}",
            "identity.blocked.values[0]: found nothing, wanted text; put it in quotes",
        ),
        (
            "identity: {blocked: {values: [15550100]}}",
            "identity.blocked.values[0]: found a number (not shown), wanted text; put it in quotes",
        ),
        (
            "identity: {blocked: {by_type: {email: {patterns: ['(?=a)']}}}}",
            "identity.blocked.by_type.email.patterns[0]: "
            "found a pattern that RE2 refuses (invalid perl operator: (?=), wanted an RE2 pattern",
        ),
        (
            "identity: {overrides: s3://bucket/pairs.csv}",
            "identity.overrides: found an address, wanted a local path",
        ),
        (
            "identity: {overrides: ~/pairs.csv}",
            "identity.overrides: found ~, wanted a path; ${HOME} can be used",
        ),
        (
            "storage: {endpoint: 'http://ann:sEcReT@host'}",
            "storage.endpoint: found text (not shown), "
            "wanted http:// or https:// and a host, without a user or a path or null",
        ),
        (
            "storage: {secret: sEcReT}",
            "storage.secret: unknown key, "
            "wanted one of endpoint, region, access_key, secret_key; did you mean secret_key?",
        ),
        ("spark: {conf: {a: [1]}}", "spark.conf.a: found a list, wanted text"),
        (
            "quality: {expectations: nowhere}",
            "quality.expectations: found no folder there, wanted a folder",
        ),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(folder: Path, line: str, said: str) -> None:
    assert refusal(SMALLEST + line + "\n") == [f"lake.yaml:4: {said}"]


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("gs://bucket/lake", "found an address of another kind"),
        ("s3n://key:sEcReT@bucket/lake", "found an address of another kind"),
        ("s3://key:sEcReT@bucket/lake", "found no valid bucket name"),
        ("s3:///lake", "found no valid bucket name"),
    ],
)
def test_an_address_that_is_no_bucket_is_refused_without_showing_it(
    folder: Path, root: str, said: str
) -> None:
    wanted = "wanted a folder, s3://bucket/prefix or s3a://bucket/prefix"
    assert refusal(SMALLEST.replace("./lake", root)) == [f"lake.yaml:2: root: {said}, {wanted}"]


# -- what is refused: between settings -----------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "a", "b", "said"),
    [
        ("lake", "in", "./x/../in", "3: sources.b.path: found the same place as sources.a.path"),
        ("lake", "in", "in/b", "3: sources.b.path: found inside sources.a.path"),
        ("lake", "in/a", "in", "3: sources.b.path: found around sources.a.path"),
        ("lake", "in", "lake/b", "3: sources.b.path: found inside root"),
        ("in/lake", "in", "other", "3: sources.a.path: found around root"),
        (
            "lake",
            "s3://b1b/in",
            "s3a://b1b/in/",
            "3: sources.b.path: found the same place as sources.a.path",
        ),
        ("s3a://b1b", "in", "s3://b1b/in", "3: sources.b.path: found inside root"),
    ],
)
def test_places_that_overlap_are_refused(
    folder: Path, root: str, a: str, b: str, said: str
) -> None:
    text = f"space: shop\nroot: {root}\nsources: {{a: {{path: '{a}'}}, b: {{path: '{b}'}}}}\n"
    assert refusal(text) == [f"lake.yaml:{said}, wanted places apart"]


def test_a_symbolic_link_does_not_hide_an_overlap(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "link").symlink_to(folder / "in")
    text = "space: shop\nroot: lake\nsources: {a: {path: in}, b: {path: link/b}}\n"
    assert refusal(text) == [
        "lake.yaml:3: sources.b.path: found inside sources.a.path, wanted places apart"
    ]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            "identifiers: {tel: {region: US}}",
            "identity.identifiers.tel.region: "
            "found a region while normalise is exact, wanted normalise: phone or no region",
        ),
        (
            "identifiers: {tel: {limit: null, window: daily}}",
            "identity.identifiers.tel.window: found a window without a limit, wanted a limit",
        ),
        (
            "shared: {mode: auto, limits: {email: {user_id: 4}}}",
            "identity.shared.limits: "
            "found limits while mode is auto, wanted mode: limits or no limits",
        ),
        (
            "shared: {mode: limits}",
            "identity.shared.mode: found limits, wanted the limits as well",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    folder: Path, block: str, said: str
) -> None:
    assert refusal(identity(block)) == [f"lake.yaml:5: {said}"]


def test_an_unknown_type_is_refused_while_unknown_types_are_ignored(folder: Path) -> None:
    block = """
        unknown_types: ignore
        identifiers: {email: {}, user_id: {}}
        blocked: {by_type: {emial: {}}}
        shared: {mode: limits, limits: {device: {user_id: 4}, email: {usr: 1}}}
        """
    said = "unknown type while unknown_types is ignore, wanted one of email, user_id"
    assert refusal(identity(block)) == [
        f"lake.yaml:7: identity.blocked.by_type.emial: {said}; did you mean email?",
        f"lake.yaml:8: identity.shared.limits.device: {said}",
        f"lake.yaml:8: identity.shared.limits.email.usr: {said}; did you mean user_id?",
    ]


def test_an_unknown_type_is_no_fault_while_unknown_types_are_added(folder: Path) -> None:
    config = accepted(identity("blocked: {by_type: {device: {values: [x]}}}"))
    assert config.identity.blocked.by_type["device"].values == ("x",)


def test_one_key_without_the_other_is_refused(folder: Path) -> None:
    assert refusal(smallest("storage:\n  access_key: sEcReT\n")) == [
        "lake.yaml:4: storage.secret_key: missing, wanted both keys or neither"
    ]


def test_a_judgement_is_withheld_while_what_it_rests_on_is_broken(folder: Path) -> None:
    block = """
        unknown_types: ignored
        identifiers: {email: 5}
        blocked: {by_type: {user_id: {}}}
        shared: {mode: limitz, limits: {user_id: {email: 4}}}
        """
    assert refusal(identity(block)) == [
        'lake.yaml:5: identity.unknown_types: found "ignored", '
        "wanted one of add, ignore; did you mean ignore?",
        "lake.yaml:6: identity.identifiers.email: found 5, wanted a mapping",
        'lake.yaml:8: identity.shared.mode: found "limitz", '
        "wanted one of off, auto, limits; did you mean limits?",
    ]


# -- overrides -----------------------------------------------------------------------------------


def overrides_refusal(csv: bytes, block: str = "") -> list[str]:
    Path("pairs.csv").write_bytes(csv)
    lines = refusal(identity(f"overrides: pairs.csv\n{block}"))
    start = "lake.yaml:5: identity.overrides: "
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


HEADER = b"rule,type_a,value_a,type_b,value_b\n"


def test_an_overrides_file_that_is_not_there_is_refused(folder: Path) -> None:
    assert refusal(identity("overrides: none.csv")) == [
        "lake.yaml:5: identity.overrides: "
        "cannot be read (No such file or directory), wanted a CSV file"
    ]


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        (b"", "line 1: found another header, wanted rule,type_a,value_a,type_b,value_b"),
        (
            b"always_together,user_id,sEcReT,user_id,8\n",
            "line 1: found another header, wanted rule,type_a,value_a,type_b,value_b",
        ),
        (b"\xff", "found bytes that are not UTF-8, wanted a CSV file in UTF-8"),
        (
            HEADER + b"\nalways,user_id,7,user_id,8\n",
            "line 3: found another rule, wanted always_together or never_together",
        ),
        (HEADER + b"never_together,user_id,7,user_id\n", "line 2: found 4 cells, wanted 5"),
        (
            HEADER + b"never_together,user_id, ,user_id,8\n",
            "line 2: value_a: found nothing, wanted a value",
        ),
        (
            HEADER + b"never_together,user_id,7,sEcReT,8\n",
            "line 2: type_b: found another text, "
            "wanted a lower-case name: a letter, then letters, digits, _ or .",
        ),
        (
            HEADER + b"never_together,user_id,7,user_id,7\n",
            "line 2: found an identifier paired with itself, wanted two identifiers",
        ),
        (
            HEADER + b'never_together,user_id,"7"x,user_id,8\n',
            "line 2: not CSV: ',' expected after '\"'",
        ),
        (
            HEADER + b"never_together,a,7,b,8\nalways_together,b,8,a,7\n",
            "line 3: line 2 has the other rule for this pair, wanted one rule",
        ),
    ],
)
def test_a_wrong_line_of_the_overrides_is_refused_without_its_values(
    folder: Path, csv: bytes, said: str
) -> None:
    assert overrides_refusal(csv) == [said]


def test_overrides_may_only_name_known_types_while_others_are_ignored(folder: Path) -> None:
    block = "unknown_types: ignore\nidentifiers: {user_id: {}}"
    csv = HEADER + b"always_together,usr_id,1,group_id,2\nalways_together,user_id,1,user_id,2\n"
    assert overrides_refusal(csv, block) == [
        "line 2: type_a: unknown type while unknown_types is ignore, "
        "wanted one of user_id; did you mean user_id?",
        "line 2: type_b: group_id names an account, not a person: it would make one profile of "
        "all members; accounts are built from it without any setting",
    ]


# -- secrets -------------------------------------------------------------------------------------


def test_no_message_shows_a_secret_wherever_it_was_put(folder: Path) -> None:
    text = """\
space: ${SECRET}
root: ${SECRET}://x
sources: {web: {path: in, limit: "${SECRET}"}}
line_limit: ${SECRET}
identity:
  strategy: ${SECRET}
  identifiers: {email: {limit: "${SECRET}", normalise: "x${SECRET}"}}
  blocked: {patterns: ["(${SECRET}"], builtin: "${SECRET}"}
storage: {endpoint: "${SECRET}", access_key: [sEcReT], secret_key: {sEcReT: 1}}
spark: {conf: {password: [sEcReT]}}
quality: {expectations: "${SECRET}"}
"""
    lines = refusal(text, SECRET="sEcReT")
    assert [line.split(": ")[1] for line in lines] == [
        "space",
        "root",
        "sources.web.limit",
        "line_limit",
        "identity.strategy",
        "identity.identifiers.email.limit",
        "identity.identifiers.email.normalise",
        "identity.blocked.builtin",
        "identity.blocked.patterns[0]",
        "storage.access_key",
        "storage.endpoint",
        "storage.secret_key",
        "spark.conf.password",
        "quality.expectations",
    ]
    assert "sEcReT" not in "\n".join(lines)


def test_a_refused_pattern_is_not_logged_beside_the_error(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refusal(identity("blocked: {patterns: ['(sEcReT']}"))
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_configuration_prints_no_secret_and_no_blocked_value(folder: Path) -> None:
    config = accepted(
        smallest(
            """\
            storage: {access_key: sEcReT, secret_key: sEcReT}
            spark: {conf: {spark.hadoop.fs.s3a.secret.key: sEcReT}}
            identity: {blocked: {values: [sEcReT], by_type: {email: {patterns: [sEcReT]}}}}
            """
        )
    )
    assert "sEcReT" not in f"{config!r} {config}"


# -- fingerprints --------------------------------------------------------------------------------


def test_a_fingerprint_is_the_same_in_every_folder(folder: Path) -> None:
    here = accepted(SMALLEST)
    (folder / "other").mkdir()
    (folder / "other" / "lake.yaml").write_text("# a comment\n" + SMALLEST, encoding="utf-8")
    there = load(folder / "other" / "lake.yaml", {})
    assert here.root != there.root
    assert here.fingerprint == there.fingerprint


#: A change here makes every lake resolve its identities anew: say so in the changelog.
FINGERPRINT = "771256d62ddf38e2"
RESOLUTION = "68fbf04f42f6c25b"


def test_fingerprints_never_change_by_themselves(folder: Path) -> None:
    config = accepted(SMALLEST)
    assert (config.fingerprint, config.resolution_fingerprint) == (FINGERPRINT, RESOLUTION)


def changes(more: str, **environ: str) -> tuple[bool, bool]:
    """Whether a setting changes the fingerprint, and that of the resolution."""
    before, after = accepted(SMALLEST), accepted(smallest(more), **environ)
    return (
        before.fingerprint != after.fingerprint,
        before.resolution_fingerprint != after.resolution_fingerprint,
    )


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ("storage: {access_key: a, secret_key: b}", (False, False)),
        ("spark: {conf: {spark.hadoop.fs.s3a.secret.key: a}}", (False, False)),
        ("identity: {strategy: segment}", (False, False)),
        ("line_limit: 5", (True, False)),
        ("profiles_sync: {enabled: true}", (True, False)),
        ("storage: {region: x}", (True, False)),
        ("spark: {conf: {spark.x: a}}", (True, False)),
        ("traits: {plan: {rule: first}}", (True, False)),
        ("identity: {properties_email: false}", (True, False)),
        ("identity: {ios_idfa_needs_tracking: false}", (True, False)),
        ("identity: {strategy: components}", (True, True)),
        ("identity: {order_by: timestamp}", (True, True)),
        ("identity: {on_limit: drop_conflict}", (True, True)),
        ("identity: {unknown_types: ignore}", (True, True)),
        ("identity: {caps: {merges: 1}}", (True, True)),
        ("identity: {caps: {mappings: 1}}", (True, True)),
        ("identity: {blocked: {builtin: false}}", (True, True)),
        ("identity: {blocked: {values: [a]}}", (True, True)),
        ("identity: {blocked: {patterns: [a]}}", (True, True)),
        ("identity: {blocked: {by_type: {email: {values: [a]}}}}", (True, True)),
        ("identity: {shared: {mode: auto}}", (True, True)),
        ("identity: {shared: {mode: limits, limits: {email: {user_id: 4}}}}", (True, True)),
        ("identity: {identifiers: {user_id: {}}}", (True, True)),
    ],
)
def test_a_fingerprint_follows_what_matters_to_it(
    folder: Path, more: str, changed: tuple[bool, bool]
) -> None:
    assert changes(more) == changed


@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [
        ("{a: {}, b: {}}", "{b: {}, a: {}}", (True, True)),
        ("{a: {}}", "{a: {limit: 5}}", (False, False)),
        ("{a: {}}", "{a: {limit: 4}}", (True, True)),
        ("{a: {}}", "{a: {window: daily}}", (True, True)),
        ("{a: {}}", "{a: {normalise: lower}}", (True, True)),
        ("{a: {}}", "{a: {key: b}}", (True, False)),
    ],
)
def test_the_order_of_identifiers_counts_and_their_keys_do_not_resolve(
    folder: Path, one: str, other: str, changed: tuple[bool, bool]
) -> None:
    a = accepted(identity(f"identifiers: {one}"))
    b = accepted(identity(f"identifiers: {other}"))
    assert changed == (
        a.fingerprint != b.fingerprint,
        a.resolution_fingerprint != b.resolution_fingerprint,
    )


def test_the_content_of_the_overrides_counts_and_not_their_order(folder: Path) -> None:
    def fingerprints(csv: bytes) -> tuple[str, str]:
        Path("pairs.csv").write_bytes(HEADER + csv)
        config = accepted(identity("overrides: pairs.csv"))
        return config.fingerprint, config.resolution_fingerprint

    one, two = b"always_together,a,1,b,2\n", b"never_together,a,1,b,3\n"
    assert fingerprints(one + two) == fingerprints(two + one + one)
    assert not set(fingerprints(one)) & set(fingerprints(two))


# -- JSON Schema ---------------------------------------------------------------------------------


def test_the_schema_is_draft_2020_12_and_accepts_what_is_accepted() -> None:
    schema = Config.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    validator = jsonschema.Draft202012Validator(schema)
    for text in (EXAMPLE.read_text(encoding="utf-8"), EVERYTHING, SMALLEST):
        assert list(validator.iter_errors(YAML(typ="safe").load(text))) == []


@pytest.mark.parametrize(
    ("more", "valid"),
    [
        ("line_limit: ${LINES:-5}", True),
        ("line_limit: many", False),
        ("identity: {strategy: '${S}'}", True),
        ("identity: {strategy: segmnt}", False),
        ("identity: {identifiers: {a.b: {limit: null}}}", True),
        ("identity: {identifiers: {A: {}}}", False),
        ("identity: {order: timestamp}", False),
        ("spark: {conf: {a: 1, b: true, c: d}}", True),
        ("spark: {conf: {a: [1]}}", False),
    ],
)
def test_the_schema_knows_right_from_wrong(more: str, valid: bool) -> None:
    values = YAML(typ="safe").load(smallest(more))
    assert jsonschema.Draft202012Validator(Config.json_schema()).is_valid(values) is valid


def test_every_setting_is_described() -> None:
    schema = Config.json_schema()
    groups: dict[str, Any] = {"Config": schema, **schema["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, group in groups.items()
        for key, setting in group.get("properties", {}).items()
        if not setting.get("description")
    ]
    assert silent == []
    assert json.loads(json.dumps(schema)) == schema


# -- what is not available -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (("identity.overrides", None), {"this setting is not available in this version": 1}),
        (("identity.strategy", "latest_wins"), {"latest_wins is not available in this version": 1}),
        (("identity.strategy", "segment"), {}),
        (("identity.properties_email", "false"), {"false is not available in this version": 1}),
        (
            ("identity.identifiers.*.window", "weekly"),
            {"weekly is not available in this version": 2},
        ),
        (("storage.region", None), {}),
    ],
)
def test_a_setting_that_is_not_built_yet_is_refused(
    refused: tuple[str, str | None], said: dict[str, int]
) -> None:
    values = {
        "identity": {
            "overrides": "x.csv",
            "strategy": "latest_wins",
            "properties_email": False,
            "identifiers": {"ios.id": {"window": "weekly"}, "email": {"window": "weekly"}},
        },
        "storage": {"region": None},
    }
    found = [fault.text for fault in not_available(values, (refused,))]
    assert {text: found.count(text) for text in found} == said
