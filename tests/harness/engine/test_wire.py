import random

import pytest

from harness.engine import wire
from harness.model.errors import LocalProtocolError

pytestmark = pytest.mark.unit

MESSAGES = [("hello", {"protocol": 1}), ("place", {"plan": {"x": "ü" * 500}, "due_at_ns": None}), ("stop", {})]


def test_whole_and_in_pieces():
    data = b"".join(wire.encode(kind, **fields) for kind, fields in MESSAGES)
    expected = [{"t": kind, **fields} for kind, fields in MESSAGES]
    assert wire.Decoder().feed(data) == expected
    decoder = wire.Decoder()
    assert [m for i in range(len(data)) for m in decoder.feed(data[i : i + 1])] == expected
    rng = random.Random(1)
    decoder, got, rest = wire.Decoder(), [], data
    while rest:
        size = rng.randrange(1, 90)
        got += decoder.feed(rest[:size])
        rest = rest[size:]
    assert got == expected


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", (2).to_bytes(4, "big") + b"[]", (2).to_bytes(4, "big") + b"{}"])
def test_a_foreign_peer_is_refused(data):
    with pytest.raises(LocalProtocolError):
        wire.Decoder().feed(data)


def test_nan_never_crosses():
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.encode("turn", value=float("nan"))
