"""Whose clock, and how far apart: the offset is right to what it says, whatever the way there and back took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.cluster.clocks import Exchange, best_of, clock_id, drift_ms

pytestmark = pytest.mark.unit

S = 1_000_000_000


@given(
    offset_ns=st.integers(-(10**15), 10**15),
    asked_ns=st.integers(0, 10**15),
    ways_ns=st.lists(st.tuples(st.integers(0, S), st.integers(0, S)), min_size=1, max_size=10),
)
def test_the_offset_is_right_to_its_stated_error(offset_ns, asked_ns, ways_ns):
    exchanges = [Exchange(asked_ns, asked_ns + out + offset_ns, asked_ns + out + back) for out, back in ways_ns]
    for exchange in exchanges:
        assert abs(exchange.offset_ns - offset_ns) <= exchange.error_ns + 1
    assert best_of(exchanges).error_ns == min(e.error_ns for e in exchanges)


def test_drift_is_what_the_other_clock_gained():
    before = Exchange(0, 1_000_000, 0)
    after = Exchange(60 * S, 60 * S + 3_500_000, 60 * S)
    assert drift_ms(before, after) == 2.5


def test_one_boot_and_one_time_namespace_are_one_clock(tmp_path):
    boot = tmp_path / "boot_id"
    boot.write_text("aaaa\n")
    here, there = tmp_path / "here", tmp_path / "there"
    here.symlink_to("time:[1]")
    there.symlink_to("time:[2]")
    assert clock_id(boot, str(here)) == clock_id(boot, str(here))
    assert clock_id(boot, str(here)) != clock_id(boot, str(there))
    # A kernel without time namespaces.
    assert clock_id(boot, str(tmp_path / "none")) == "aaaa"
    # Where nothing tells, no two processes are taken to share a clock.
    assert clock_id(tmp_path / "none", str(here)) != clock_id(tmp_path / "none", str(here))
