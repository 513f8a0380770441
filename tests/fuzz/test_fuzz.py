"""A short run of each fuzz target, the same inputs each time; `fuzz_run.py` is the long one (docs/ci.md)."""

import pytest
from fuzz_mutation import MOST_BYTES, Mutator
from fuzz_run import main
from fuzz_runner import MOST_CPU_S, TARGETS, Found, feed

from harness.model.errors import RemoteProtocolError

pytestmark = pytest.mark.unit

# Some tenths of a second each.
SHORT = {"sip user agents": 60, "plain sip calls": 60, "sip messages": 1200, "sdp": 1000}
OTHERS = 500


@pytest.mark.parametrize("kind", TARGETS, ids=lambda kind: kind.name)
def test_hostile_input_is_refused_or_read(kind):
    inputs = SHORT.get(kind.name, OTHERS)
    told = feed(kind, inputs, seed=20)
    assert told.inputs == inputs
    if kind.name == "sip user agents":
        assert told.notes["changed"] > inputs
    elif kind.name not in ("sip streams", "plain sip calls"):
        # Nearly right: some is refused; and not all, but where one of several readers always refuses.
        assert 0 < told.refused <= inputs


class _Target:
    """Does what an input says."""

    name = "a target"

    def __init__(self, seed):
        self.seed = seed

    def make(self, number):
        return number

    def feed(self, number):
        if number == 3:
            raise RemoteProtocolError(self.seed)
        if number == 5:
            raise KeyError("gone")
        if number == 7:
            for _ in range(100_000):
                pass

    def end(self):
        """Nothing is kept."""


def test_the_runner_finds_what_none_may_do():
    assert (feed(_Target, 5, "why").inputs, feed(_Target, 5, "why").refused) == (5, 1)
    with pytest.raises(Found, match="input 3: refused without a reason"):
        feed(_Target, 5, "")
    with pytest.raises(Found, match="input 5: KeyError"):
        feed(_Target, 6, "why")


def test_the_runner_finds_what_takes_too_long(monkeypatch):
    monkeypatch.setitem(MOST_CPU_S, _Target, 1e-4)
    with pytest.raises(Found, match=r"input 7: .* s of CPU"):
        feed(_Target, 1, "why", first=7)


def test_inputs_are_made_again_by_their_number():
    one, other = (Mutator([b"abc 12\r\n", b"xyz"], [b"word"], seed=1) for _ in range(2))
    made = [one.make(number) for number in range(500)]
    assert made == [other.make(number) for number in range(500)]
    assert len(set(made)) > 300
    assert max(map(len, made)) <= MOST_BYTES
    assert {b"abc 12\r\n", b"xyz"} & set(made)


def test_the_long_run_counts_what_it_fed(capsys):
    assert main(["--inputs", "40", "--seed", "1", "--target", "stun"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "seed 1"
    assert told[1].startswith("stun: 40 inputs, ")
    assert told[2].startswith("40 inputs in ")
