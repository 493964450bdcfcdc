"""Lines of landing objects: what counts as one, however the object is packed, cut or damaged."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zlib
from contextlib import suppress
from itertools import cycle, pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lake.events.lines import HEAD, Block, LongLine, lines

ROOT = Path(__file__).resolve().parents[2]


class Chopped(io.BytesIO):
    """A stream whose reads give pieces of these sizes, in turn."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = cycle(sizes)

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(next(self._sizes), size or 1))


def read(content: bytes, sizes: list[int] | None = None, **limits: int) -> list[tuple[Any, ...]]:
    """Everything that comes out, blocks taken apart, in the order of the line numbers."""
    found: list[tuple[Any, ...]] = []
    for part in lines(Chopped(content, sizes or [1 << 20]), **limits):
        if isinstance(part, Block):
            found += zip(part.numbers, part.lines, strict=True)
        elif isinstance(part, LongLine):
            found.append((part.number, "long", part.head, part.bytes))
        else:
            found.append((part.number, "rest", part.head, part.bytes, part.detail))
    return sorted(found, key=lambda each: each[0])


def as_defined(text: bytes, limit: int) -> list[tuple[Any, ...]]:
    """The definition of a line, for a sound object's text."""
    found: list[tuple[Any, ...]] = []
    for number, ended in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = ended.removesuffix(b"\r")
        if len(line) > limit:
            found.append((number, "long", line[:HEAD], len(line)))
        elif line.strip(b" \t\r"):
            found.append((number, line))
    return found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", []),
        (b"\n\n", []),
        (b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (b"a\nb", [(1, b"a"), (2, b"b")]),
        (b"a\r\nb\r", [(1, b"a"), (2, b"b")]),
        (b"a\rb\n", [(1, b"a\rb")]),
        (b"\n \t\na\n\r\n\nb\n", [(3, b"a"), (6, b"b")]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", [(1, b"a"), (2, b"\xef\xbb\xbfb")]),
        (b"\xef\xbb\xbf", []),
        (b"\x1f", [(1, b"\x1f")]),
        (b"\x0b\n", [(1, b"\x0b")]),
    ],
)
def test_a_line_ends_in_lf_or_crlf_and_a_blank_one_only_counts(
    content: bytes, found: list[tuple[int, bytes]]
) -> None:
    assert read(content) == found
    assert read(gzip.compress(content)) == found


def test_gzip_is_known_by_its_first_bytes_and_may_have_many_members_and_padding() -> None:
    one, two = gzip.compress(b'{"a":1}\n{"b'), gzip.compress(b'":2}\n')

    assert read(one + two) == [(1, b'{"a":1}'), (2, b'{"b":2}')]
    assert read(one + b"\0" * 700 + two + b"\0" * 9) == [(1, b'{"a":1}'), (2, b'{"b":2}')]
    assert read(b" " + one)[0][1] == b" " + one.partition(b"\n")[0]


def test_a_line_over_the_limit_keeps_its_head_and_its_length() -> None:
    content = b"ab\n" + b"x" * 200_000 + b"\r\ncd\n" + b"y" * 101

    assert read(content, limit=100, block=100) == [
        (1, b"ab"),
        (2, "long", b"x" * HEAD, 200_000),
        (3, b"cd"),
        (4, "long", b"y" * 101, 101),
    ]
    assert read(b"x" * 100 + b"\r\n" + b"x" * 100, limit=100) == [(1, b"x" * 100), (2, b"x" * 100)]


def test_a_truncated_object_yields_its_complete_lines_and_one_rest() -> None:
    # Stored, not deflated: what is left of the object is what is left of its text.
    packed = gzip.compress(b"first\nsecond\nthird\n", 0)

    assert read(packed[:-12]) == [
        (1, b"first"),
        (2, b"second"),
        (3, "rest", b"th", 2, "the gzip data end too early"),
    ]
    assert read(packed[:-3]) == [
        (1, b"first"),
        (2, b"second"),
        (3, b"third"),
        (4, "rest", b"", 0, "the gzip data end too early"),
    ]
    assert read(packed[:2]) == [(1, "rest", b"", 0, "the gzip data end too early")]


def test_a_wrong_checksum_costs_the_unended_line_and_nothing_before_it() -> None:
    packed = bytearray(gzip.compress(b"first\nsecond\nunended"))
    packed[-6] ^= 1

    assert read(bytes(packed)) == [
        (1, b"first"),
        (2, b"second"),
        (3, "rest", b"unended", 7, "incorrect data check"),
    ]


def test_garbage_behind_a_member_is_the_rest() -> None:
    assert read(gzip.compress(b"first\n") + b"and more") == [
        (1, b"first"),
        (2, "rest", b"", 0, "incorrect header check"),
    ]


def test_a_long_line_that_the_damage_cuts_is_the_rest() -> None:
    packed = gzip.compress(b"a\n" + b"x" * 60_000, 0)

    assert read(packed[:-10_008], limit=1000, block=1000) == [
        (1, b"a"),
        (2, "rest", b"x" * 50_000, 50_000, "the gzip data end too early"),
    ]


def test_an_error_of_the_store_is_not_damage() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size) or self._fail()

        def _fail(self) -> bytes:
            raise OSError("the connection broke")

    with pytest.raises(OSError, match="the connection broke"):
        list(lines(Broken(b"a\nb")))


texts = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b"\t", b"\xef\xbb\xbf", b"\x1f\x8b"]),
        st.binary(max_size=12),
    ),
    max_size=30,
).map(b"".join)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(texts.filter(lambda t: not t.startswith(b"\x1f\x8b")), sizes, st.integers(1, 30))
@example(b"\r\n" * 9, [1], 1)
def test_text_gives_the_same_lines_however_it_is_cut(
    text: bytes, cut: list[int], block: int
) -> None:
    assert read(text, cut, limit=9, block=block) == as_defined(text, 9)


@given(texts, st.lists(st.integers(0, 60), max_size=4), sizes, st.integers(0, 3))
def test_members_cut_anywhere_give_the_lines_of_their_text(
    text: bytes, ends: list[int], cut: list[int], padding: int
) -> None:
    edges = [0, *sorted(ends), len(text)]
    members = [gzip.compress(text[a:b]) for a, b in pairwise(edges)]

    assert read((b"\0" * padding).join(members), cut, limit=9, block=7) == as_defined(text, 9)


def readable(packed: bytes) -> bytes:
    """All that zlib can unpack of one member: of the byte it stumbles over, symbol by symbol."""
    text = b""
    for end in range(len(packed) + 1):
        try:
            text = zlib.decompressobj(31).decompress(packed[:end])
        except zlib.error:
            member = zlib.decompressobj(31)
            member.decompress(packed[: end - 1])
            with suppress(zlib.error):
                text += member.decompress(packed[end - 1 : end], 1)
                while True:
                    text += member.decompress(member.unconsumed_tail, 1)
            return text
    return text


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.integers(1, 9), st.data(), sizes)
def test_a_damaged_object_gives_all_that_was_complete_and_one_rest_however_it_is_cut(
    noise: bytes, times: int, draw: st.DataObject, cut: list[int]
) -> None:
    packed = bytearray(gzip.compress((noise + b"\n") * times))
    at = draw.draw(st.integers(10, len(packed) - 1))
    packed[at] ^= draw.draw(st.integers(1, 255))
    text = readable(bytes(packed))
    *complete, unended = text.split(b"\n")

    found = read(bytes(packed), cut, block=5)
    whole = read(bytes(packed))

    assert found == whole
    good = as_defined(b"\n".join(complete), 1 << 20)
    if found[-1:] and found[-1][1] == "rest":
        assert found[:-1] == good
        assert found[-1][:4] == (len(complete) + 1, "rest", unended, len(unended))
    else:  # the flipped bit lay in the header's time or name, which nobody reads
        assert found == as_defined((noise + b"\n") * times, 1 << 20)


def test_300_mb_on_one_line_in_a_small_object_take_a_few_megabytes(tmp_path: Path) -> None:
    packed = tmp_path / "long.gz"
    with gzip.open(packed, "wb", compresslevel=1) as file:
        file.write(b'{"first":1}\n')
        for _ in range(300):
            file.write(b"x" * 1_000_000)
        file.write(b'\n{"last":1}\n')
    script = dedent(
        """
        import resource, sys
        from lake.events.lines import lines
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with open(sys.argv[1], "rb") as file:
            for part in lines(file):
                print(*part[:1], [len(x) for x in part[1:2]], part[2:])
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert after - before < 24 << 10, f"{(after - before) >> 10} MiB"
        """
    )

    result = subprocess.run(
        [sys.executable, "-c", script, str(packed)],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines() == [
        "[b'{\"first\":1}'] [1] ()",
        "2 [65536] (300000000,)",
        "[b'{\"last\":1}'] [1] ()",
    ]
