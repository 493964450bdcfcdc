"""Two identifiers with one 64-bit key, as somebody hostile would craft them.

XXH64 reads 32 bytes at a time into four lanes, and what a lane holds after two rounds is
``rotl(rotl(seed + x*P2)*P1 + y*P2)*P1``: for any other x there is a y that makes it the same
(xxHash specification, "XXH64 algorithm"). One in three thousand such y is printable.
"""

from __future__ import annotations

import random
import string

import xxhash

_MASK = (1 << 64) - 1
_P1, _P2 = 11400714785074694791, 14029467366897019727
_LANE = 16  # the third lane starts from the seed itself


def colliding(kind: str) -> tuple[str, str]:
    """Two values of 64 characters whose keys under this type are the same."""
    dice = random.Random(kind)
    seed = xxhash.xxh64_intdigest(kind.encode(), seed=42)
    one = "".join(dice.choices(string.ascii_letters + string.digits, k=64)).encode()
    x, y = one[_LANE : _LANE + 8], one[_LANE + 32 : _LANE + 40]
    for _ in range(1_000_000):
        other = "".join(dice.choices(string.ascii_letters + string.digits, k=8)).encode()
        shift = (_round(seed, x) - _round(seed, other)) * pow(_P2, -1, 1 << 64)
        mate = ((int.from_bytes(y, "little") + shift) & _MASK).to_bytes(8, "little")
        if other != x and mate.isascii() and mate.decode().isprintable():
            two = bytearray(one)
            two[_LANE : _LANE + 8], two[_LANE + 32 : _LANE + 40] = other, mate
            return one.decode(), two.decode()
    raise AssertionError("no pair was found")


def _round(held: int, text: bytes) -> int:
    turned = (held + int.from_bytes(text, "little") * _P2) & _MASK
    return ((turned << 31 | turned >> 33) & _MASK) * _P1 & _MASK
