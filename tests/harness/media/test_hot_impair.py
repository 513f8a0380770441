"""Seeded packet fates: the statistics of every impairment, one fate for one seed in both modes, and the delay line."""

import ctypes
import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.media.hot import impair
from harness.media.hot.jit import INTERPRETED, address_of, make_table
from harness.media.impairment import Bandwidth, BurstLoss, Impairment, Jitter, fill_row

pytestmark = pytest.mark.unit

PACKETS = 100_000
TICK_NS = 20_000_000
NS_PER_MS = 1_000_000
OCTETS = 172  # 20 ms of G.711 with its RTP header


def fates(impairment, packets=PACKETS, octets=OCTETS):
    """Return the row and the delays in ns of packets every 20 ms."""
    row = make_table(impair.IMPAIR, 1)[0]
    fill_row(row, impairment)
    return row, np.array([impair.impair_decide(row, i * TICK_NS, octets) for i in range(packets)])


def field(row, name):
    """Return a field that may have the name of a numpy record's method."""
    return int(getattr(row, name) if INTERPRETED else row[name])


def runs_of(is_lost):
    return [len(list(group)) for lost, group in itertools.groupby(is_lost) if lost]


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.05, 0.5])
def test_random_loss_has_its_ratio_and_no_memory(ratio):
    row, delays = fates(Impairment(loss_ratio=ratio, seed=3))
    lost = delays == impair.LOST
    # Five standard deviations of a binomial draw.
    assert lost.mean() == pytest.approx(ratio, abs=5 * (ratio * (1 - ratio) / PACKETS) ** 0.5)
    assert np.corrcoef(lost[:-1], lost[1:])[0, 1] == pytest.approx(0, abs=5 / PACKETS**0.5)
    assert (row.packets, row.lost, row.delayed) == (PACKETS, lost.sum(), 0)


@pytest.mark.parametrize(("ratio", "survivors"), [(0.0, PACKETS), (1.0, 0)])
def test_no_loss_and_all_loss_are_exact(ratio, survivors):
    _, delays = fates(Impairment(loss_ratio=ratio))
    assert (delays == 0).sum() == survivors


def test_burst_loss_has_its_stationary_share_and_burst_length():
    burst_loss = BurstLoss(p=0.02, r=0.25)
    _, delays = fates(Impairment(burst_loss=burst_loss, seed=5))
    lost = delays == impair.LOST
    assert burst_loss.ratio == pytest.approx(0.02 / 0.27)
    assert lost.mean() == pytest.approx(burst_loss.ratio, rel=0.1)
    bursts = runs_of(lost)
    assert np.mean(bursts) == pytest.approx(1 / 0.25, rel=0.1)
    # The length of a burst is geometric: a quarter of them are single packets.
    assert bursts.count(1) / len(bursts) == pytest.approx(0.25, abs=0.05)


def test_both_states_lose_at_their_own_ratio():
    burst_loss = BurstLoss(p=0.1, r=0.1, loss_good=0.01, loss_bad=0.6)
    _, delays = fates(Impairment(burst_loss=burst_loss, seed=5))
    assert (delays == impair.LOST).mean() == pytest.approx(0.305, abs=0.015)


def test_a_call_meets_the_network_in_its_long_run_state():
    burst_loss = BurstLoss(p=0.01, r=0.01)
    row = make_table(impair.IMPAIR, 1)[0]
    states = []
    for seed in range(2000):
        fill_row(row, Impairment(burst_loss=burst_loss, seed=seed))
        states.append(row.is_bad)
    assert np.mean(states) == pytest.approx(0.5, abs=0.06)


def test_plain_delay_is_exact():
    row, delays = fates(Impairment(delay_ms=42.5), 1000)
    assert set(delays.tolist()) == {42_500_000}
    assert row.delayed == 1000


def test_uniform_jitter_fills_its_range_evenly():
    _, delays = fates(Impairment(delay_ms=50, jitter=Jitter(10), seed=7))
    ms = delays / NS_PER_MS
    assert 40 <= ms.min() < 40.1
    assert 59.9 < ms.max() <= 60
    counts, _ = np.histogram(ms, 20, (40, 60))
    assert counts.min() > 0.92 * PACKETS / 20
    assert counts.max() < 1.08 * PACKETS / 20


def test_normal_jitter_has_its_mean_deviation_and_shape():
    _, delays = fates(Impairment(delay_ms=100, jitter=Jitter(10, "normal"), seed=7))
    ms = delays / NS_PER_MS
    assert ms.mean() == pytest.approx(100, abs=0.2)
    assert ms.std() == pytest.approx(10, abs=0.2)
    assert (abs(ms - 100) < 10).mean() == pytest.approx(0.6827, abs=0.01)
    assert (abs(ms - 100) < 20).mean() == pytest.approx(0.9545, abs=0.01)


def test_jitter_never_sends_a_packet_into_the_past():
    _, delays = fates(Impairment(delay_ms=5, jitter=Jitter(30, "normal"), seed=7))
    assert delays.min() == 0


def test_order_is_kept_or_broken_as_asked():
    sent = np.arange(PACKETS) * TICK_NS
    _, free = fates(Impairment(delay_ms=60, jitter=Jitter(50), seed=9))
    _, kept = fates(Impairment(delay_ms=60, jitter=Jitter(50, reorder="kept"), seed=9))
    assert (np.diff(sent + free) < 0).mean() > 0.2
    assert (np.diff(sent + kept) >= 0).all()
    assert (kept >= free).all()


def test_reordered_packets_are_overtaken_by_the_next():
    row, delays = fates(Impairment(reorder_ratio=0.03, reorder_ms=30, seed=2))
    held = delays > 0
    assert set(delays[held].tolist()) == {30 * NS_PER_MS}
    assert held.mean() == pytest.approx(0.03, abs=0.003)
    assert row.reordered == held.sum()
    arrivals = np.arange(PACKETS) * TICK_NS + delays
    overtaken = (np.diff(arrivals) < 0).sum()
    # Of two in a row that are held, only the second is overtaken.
    assert held.sum() * 0.95 < overtaken <= held.sum()


def test_copies_have_their_ratio_and_a_delay_of_their_own():
    row = make_table(impair.IMPAIR, 1)[0]
    fill_row(row, Impairment(delay_ms=40, jitter=Jitter(20), duplicate_ratio=0.04, loss_ratio=0.5, seed=4))
    copies, delays = [], []
    for i in range(PACKETS):
        delay = impair.impair_decide(row, i * TICK_NS, OCTETS)
        if field(row, "copy"):
            assert delay != impair.LOST
            delays.append(delay)
            copies.append(row.copy_delay_ns)
    assert len(copies) == row.duplicated
    assert len(copies) / (PACKETS - row.lost) == pytest.approx(0.04, abs=0.005)
    assert min(copies) >= 20 * NS_PER_MS
    assert max(copies) <= 60 * NS_PER_MS
    assert np.corrcoef(copies, delays)[0, 1] == pytest.approx(0, abs=0.1)


def test_a_bottleneck_queues_and_then_drops():
    # 172 octets and 28 of headers are 1,600 bits: 25 ms at 64 kbit/s, so that every fifth packet finds no room.
    row, delays = fates(Impairment(bandwidth=Bandwidth(64, queue_ms=100)), 10_000)
    assert delays[:5].tolist() == [25 * NS_PER_MS + i * 5 * NS_PER_MS for i in range(5)]
    passed = delays[delays != impair.LOST]
    assert len(passed) / 10_000 == pytest.approx(0.8, abs=0.01)
    assert passed.max() <= (100 + 25) * NS_PER_MS
    assert row.lost == row.queue_lost == 10_000 - len(passed)


def test_a_wide_bottleneck_only_takes_its_time():
    _, delays = fates(Impairment(bandwidth=Bandwidth(1000)), 1000)
    assert set(delays.tolist()) == {1_600_000}


EVERYTHING = Impairment(
    loss_ratio=0.01,
    burst_loss=BurstLoss(0.01, 0.3, 0.001, 0.9),
    delay_ms=30,
    jitter=Jitter(15, "normal", "kept"),
    reorder_ratio=0.01,
    duplicate_ratio=0.01,
    bandwidth=Bandwidth(90),
    seed=123_456_789_012,
)


def digest_of_everything():
    """Return one value for the fates of 40,000 packets under all impairments at once, and every field of the rows."""
    digest = hashlib.sha256()
    for jitter in (Jitter(15, "normal", "kept"), Jitter(9999, "uniform")):
        row = make_table(impair.IMPAIR, 1)[0]
        fill_row(
            row, Impairment(**{name: getattr(EVERYTHING, name) for name in EVERYTHING.__slots__} | {"jitter": jitter})
        )
        for i in range(20_000):
            if i % 50 == 0:
                digest.update(f"{impair.impair_report(row, i * TICK_NS, 80)}\n".encode())
            delay = impair.impair_decide(row, i * TICK_NS, OCTETS)
            digest.update(f"{delay} {field(row, 'copy')} {row.copy_delay_ns}\n".encode())
        digest.update(repr([field(row, name) for name in impair.IMPAIR.names]).encode())
    return digest.hexdigest()


def test_one_seed_has_one_fate_and_another_has_another():
    first, again = fates(EVERYTHING, 5000)[1], fates(EVERYTHING, 5000)[1]
    assert first.tolist() == again.tolist()
    others = [fates(Impairment(loss_ratio=0.5, seed=seed), 2000)[1] == impair.LOST for seed in range(8)]
    for one, other in itertools.combinations(others, 2):
        assert (one == other).mean() == pytest.approx(0.5, abs=0.07)


def test_both_modes_decide_the_same_bit_for_bit():
    """The other mode runs in a process of its own: the mode is chosen when the package is imported."""
    mode = "compiled" if INTERPRETED else "python"
    if mode == "compiled":
        pytest.importorskip("numba")
    code = "import test_hot_impair; print(test_hot_impair.digest_of_everything())"
    environment = os.environ | {
        "CALLQUAKE_MEDIA": mode,
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    }
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert told.stdout.strip() == digest_of_everything(), told.stderr


# --- the delay line


def put(line, due_ns, call=0, packet=b"packet", direction=impair.OUTGOING, at_ns=0):
    source = np.frombuffer(packet, np.uint8).copy()
    return impair.line_put(line, due_ns, call, direction, at_ns, address_of(source), len(source))


def take(line, now_ns):
    """Return (call, bytes) of everything due, in order."""
    taken = []
    while (slot := impair.line_due(line, now_ns)) >= 0:
        row = line.slots[slot]
        taken.append((int(row.call), ctypes.string_at(impair.line_address(line, slot), int(row.length))))
        impair.line_free(line, slot)
    return taken


def test_packets_come_out_when_due_first_due_first():
    line = impair.new_delay_line(64)
    assert impair.line_next_due_ns(line) == impair.NEVER_NS
    for due in (30, 10, 20):
        assert put(line, due, call=due, packet=bytes([due]) * 3) == 0
    assert impair.line_next_due_ns(line) == 10
    assert take(line, 9) == []
    assert take(line, 20) == [(10, b"\x0a" * 3), (20, b"\x14" * 3)]
    assert impair.line_next_due_ns(line) == 30
    assert take(line, 1000) == [(30, b"\x1e" * 3)]
    assert impair.line_next_due_ns(line) == impair.NEVER_NS


def test_packets_due_at_one_instant_keep_their_order():
    line = impair.new_delay_line(64)
    for i in range(50):
        put(line, 7, call=i)
    assert [call for call, _ in take(line, 7)] == list(range(50))


def test_the_line_sorts_like_sorting_through_many_puts_and_takes():
    line = impair.new_delay_line(256)
    rng = np.random.default_rng(11)
    waiting, order = [], 0
    for now in range(400):
        for _ in range(rng.integers(0, 4)):
            due = now + int(rng.integers(0, 60))
            assert put(line, due, call=order) == 0
            waiting.append((due, order))
            order += 1
        expected = sorted(entry for entry in waiting if entry[0] <= now)
        waiting = [entry for entry in waiting if entry[0] > now]
        assert [call for call, _ in take(line, now)] == [call for _, call in expected]
    assert order > 400


def test_a_full_line_refuses_and_counts():
    line = impair.new_delay_line(4)
    assert [put(line, 5, call=i) for i in range(6)] == [0, 0, 0, 0, 1, 1]
    assert line.state[0].full == 2
    assert len(take(line, 5)) == 4
    assert put(line, 6) == 0


def test_a_packet_longer_than_a_slot_is_refused():
    line = impair.new_delay_line(4)
    assert put(line, 5, packet=bytes(impair.LINE_SLOT_BYTES)) == 0
    assert put(line, 5, packet=bytes(impair.LINE_SLOT_BYTES + 1)) == 1
    assert line.state[0].full == 1


def test_packets_of_an_ended_call_are_forgotten_and_their_slots_used_again():
    line = impair.new_delay_line(4)
    for call in (1, 2, 1, 2):
        put(line, 5, call=call)
    impair.line_forget(line, 1)
    assert [call for call, _ in take(line, 5)] == [2, 2]
    assert [put(line, 6, call=3) for _ in range(4)] == [0, 0, 0, 0]
