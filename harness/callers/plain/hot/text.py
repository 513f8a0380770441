"""Bytes: copied, compared, read as numbers; rows and places, as everything here."""

from typing import Any

from harness.callers.plain.hot.jit import compiled
from harness.callers.plain.hot.layout import DIGITS

_ZERO, _A, _NINE, _F = 48, 97, 57, 102
_UPPER_A, _UPPER_Z = 65, 90
_HASH_START, _HASH_FACTOR = 0x0BF29CE484222325, 0x100000001B3
_HASH_BITS = 0x0FFFFFFFFFFFFFFF


@compiled
def copy(to: Any, at: int, source: Any, begin: int, length: int) -> int:
    """Copy `length` bytes; return the place behind them."""
    for i in range(length):
        to[at + i] = source[begin + i]
    return at + length


@compiled
def equal(one: Any, at: int, other: Any, begin: int, length: int) -> bool:
    """Whether `length` bytes are the same."""
    for i in range(length):  # noqa: SIM110 - compiled, and a generator is not
        if one[at + i] != other[begin + i]:
            return False
    return True


@compiled
def put_hex(to: Any, at: int, number: int) -> int:
    """Write 60 bits as 16 hexadecimal digits; return the place behind them."""
    for i in range(DIGITS):
        digit = (number >> (4 * (DIGITS - 1 - i))) & 15
        to[at + i] = _ZERO + digit if digit < 10 else _A - 10 + digit
    return at + DIGITS


@compiled
def get_hex(row: Any, at: int) -> int:
    """Read 16 hexadecimal digits as `put_hex` writes them; -1 where there are none, or of more than 60 bits."""
    number = 0
    for i in range(DIGITS):
        byte = int(row[at + i])
        if _ZERO <= byte <= _NINE:
            digit = byte - _ZERO
        elif _A <= byte <= _F:
            digit = byte - _A + 10
        else:
            return -1
        if i == 0 and digit > 0:
            return -1
        number = number * 16 + digit
    return number


@compiled
def lower(byte: int) -> int:
    """Return an ASCII letter in lower case, anything else as it is."""
    return byte + 32 if _UPPER_A <= byte <= _UPPER_Z else byte


@compiled
def hash_of(row: Any, at: int, length: int) -> int:
    """Return 60 bits that differ where the bytes do (FNV-1a, cut); never 0."""
    number = _HASH_START
    for i in range(length):
        number = ((number ^ int(row[at + i])) * _HASH_FACTOR) & _HASH_BITS
    return number | 1


@compiled
def tag_of(secret: int, number: int) -> int:
    """Return a call's tag: 60 bits that nobody guesses who has not the secret (a keyed mix; RFC 3261 19.3)."""
    key = int(secret)
    mixed = (int(number) * 0x9E3779B97F4A7C1) & _HASH_BITS
    for _ in range(4):
        mixed = ((mixed ^ key) * _HASH_FACTOR) & _HASH_BITS
        mixed ^= mixed >> 29
        mixed = (mixed * 0x1CE4E5B9BF58476) & _HASH_BITS
        mixed ^= mixed >> 32
    return mixed
