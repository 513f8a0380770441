"""Inputs that are nearly right: seeds of a protocol, changed at random by number, so that each can be made again."""

import random

# Where lengths, counts and signs go wrong.
NUMBERS = [
    b"0",
    b"-1",
    b"1",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"9" * 30,
    b"00",
    b"1e9",
]
ODD = [
    b"\x00",
    b"\xff",
    b"\x80",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\xd9\xa7",
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
]
# Of one input; longer ones are cut.
MOST_BYTES = 65_536
_REPEATS = (2, 3, 10, 100, 2000)


class Mutator:
    """A stream of inputs from `seeds`; `words` are what this protocol's parsers look for."""

    def __init__(self, seeds, words, seed):
        self._seeds = [bytes(s) for s in seeds]
        self._words = [bytes(w) for w in words] + NUMBERS + ODD
        self._seed = seed
        self._changes = (
            self._flip, self._drop, self._insert, self._replace, self._repeat, self._splice, self._number, self._swap,
            self._cut, self._noise,
        )  # fmt: skip

    def make(self, number):
        """Return input `number`; one in 50 is a seed unchanged, one in 50 nothing but noise."""
        rng = random.Random(f"{self._seed}:{number}")
        data = bytearray(rng.choice(self._seeds))
        kind = rng.randrange(50)
        if kind == 0:
            return bytes(data)
        if kind == 1:
            return rng.randbytes(rng.randrange(200))
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 12))):
            rng.choice(self._changes)(data, rng)
            del data[MOST_BYTES:]
        return bytes(data)

    def _span(self, data, rng, longest=40):
        at = rng.randrange(len(data) + 1)
        return at, min(len(data), at + rng.randrange(longest))

    def _flip(self, data, rng):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)

    def _drop(self, data, rng):
        at, end = self._span(data, rng)
        del data[at:end]

    def _insert(self, data, rng):
        at, _ = self._span(data, rng)
        data[at:at] = rng.choice(self._words)

    def _replace(self, data, rng):
        at, end = self._span(data, rng, 8)
        data[at:end] = rng.choice(self._words)

    def _repeat(self, data, rng):
        at, end = self._span(data, rng, 30)
        data[at:at] = bytes(data[at:end]) * rng.choice(_REPEATS)

    def _splice(self, data, rng):
        other = rng.choice(self._seeds)
        at, end = self._span(data, rng)
        start = rng.randrange(len(other) + 1)
        data[at:end] = other[start : start + rng.randrange(120)]

    def _number(self, data, rng):
        """Put an extreme in place of one of the numbers that are written out."""
        digits = [i for i, octet in enumerate(data) if 48 <= octet <= 57]
        if digits:
            at = end = rng.choice(digits)
            while end < len(data) and 48 <= data[end] <= 57:
                end += 1
            data[at:end] = rng.choice(NUMBERS)

    def _swap(self, data, rng):
        """Exchange two lines, or two halves where there are none."""
        lines = bytes(data).split(b"\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
        data[:] = b"\n".join(lines)

    def _cut(self, data, rng):
        del data[rng.randrange(len(data) + 1) :]

    def _noise(self, data, rng):
        at, end = self._span(data, rng)
        data[at:end] = rng.randbytes(rng.randrange(30))
