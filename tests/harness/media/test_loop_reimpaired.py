"""A network that breaks in the middle of a call, and is whole again: what each packet meets, and what is counted."""

import asyncio
import contextlib

import pytest
from loop_lab import running_loop, spec, until

from harness.media.codecs import PCMU
from harness.media.hot import impair, reimpair
from harness.media.hot.jit import make_table
from harness.media.impairment import BurstLoss, Impairment, Jitter, StagedRows, fill_row, stage_row

pytestmark = pytest.mark.loopback


@contextlib.asynccontextmanager
async def two_calls(**said):
    """Two calls that speak to each other; yields them."""
    async with running_loop() as loop:
        ports = [loop.open_port("127.0.0.1", lambda *_: None) for _ in range(2)]
        caller = loop.add_call(ports[0], spec(ports[1].address, 1, quiet_ms=500, **said))
        agent = loop.add_call(ports[1], spec(ports[0].address, 2, quiet_ms=500))
        await until(lambda: caller.stats().packets_received > 3 and agent.stats().packets_received > 3)
        yield caller, agent
        await caller.close()
        await agent.close()


async def more(count, packets):
    """Wait until `count()` has grown by `packets`."""
    before = count()
    await until(lambda: count() >= before + packets)


def test_a_partition_begins_and_ends_in_the_middle_of_a_call():
    async def talk():
        async with two_calls() as (caller, agent):
            assert caller.impair("outgoing", Impairment(loss_ratio=1.0))
            # What left before is heard; from the first that was lost on nothing is.
            await until(lambda: caller.impaired().lost > 0)
            heard = agent.stats().packets_received
            await more(lambda: caller.impaired().lost, 20)
            during = agent.stats().packets_received - heard
            assert caller.impair("outgoing", None)
            await more(lambda: agent.stats().packets_received, 10)
            lost = caller.impaired().lost
            await more(lambda: agent.stats().packets_received, 10)
            return during, lost, caller.impaired().lost, agent.stats().packets_lost

    during, lost, after, missing = asyncio.run(talk())
    assert during <= 1
    assert lost == after == missing >= 20


def test_incoming_delay_is_put_on_and_taken_off_and_its_count_stays_after_the_call():
    async def talk():
        async with two_calls() as (caller, agent):
            assert caller.impair("incoming", Impairment(delay_ms=60))
            await more(lambda: caller.impaired().delayed, 20)
            assert caller.impair("incoming", None)
            await more(lambda: caller.stats().packets_received, 20)
            delayed = caller.impaired().delayed
            await caller.close()
            return delayed, caller.impaired().delayed, agent.stats().packets_lost

    delayed, after, lost = asyncio.run(talk())
    assert delayed == after >= 20
    assert lost == 0


def test_a_call_with_a_bad_network_of_its_own_gets_it_back():
    own = Impairment(loss_ratio=0.5, seed=3)

    async def talk():
        async with two_calls(impair_outgoing=own) as (caller, _agent):
            assert caller.impair("outgoing", Impairment(delay_ms=20))
            await until(lambda: caller.impaired().delayed > 0)
            lost = caller.impaired().lost
            await more(lambda: caller.impaired().delayed, 20)
            assert caller.impaired().lost == lost
            assert caller.impair("outgoing", own)
            await more(lambda: caller.impaired().lost, 10)

    asyncio.run(talk())


def test_who_taps_a_call_hears_its_packets_and_no_more_once_it_lets_go():
    async def talk():
        heard = []
        async with two_calls() as (caller, _agent):
            caller.tap(lambda payload, _timestamp, _at_ns: heard.append(payload))
            await until(lambda: len(heard) >= 5)
            caller.tap(None)
            await more(lambda: caller.stats().packets_received, 10)
            count = len(heard)
            await more(lambda: caller.stats().packets_received, 10)
            return heard, count

    heard, count = asyncio.run(talk())
    assert len(heard) == count
    assert set(heard) == {PCMU.silence}


ALL = Impairment(
    loss_ratio=0.05,
    burst_loss=BurstLoss(0.1, 0.4, 0.01, 0.9),
    delay_ms=40,
    jitter=Jitter(20, "normal", "kept"),
    reorder_ratio=0.1,
    reorder_ms=50,
    duplicate_ratio=0.1,
    seed=11,
)


def test_what_is_taken_over_has_the_fates_of_its_seed():
    """A row that had a life before decides as one that is new, and goes on counting."""
    live, fresh, staged = (make_table(impair.IMPAIR, 1)[0] for _ in range(3))
    fill_row(live, Impairment(loss_ratio=0.7, seed=2))
    for i in range(50):
        impair.impair_decide(live, 20_000_000 * i, 172)
    packets, lost = live.packets, live.lost
    fill_row(fresh, ALL)
    stage_row(staged, ALL)
    reimpair._take_over(live, staged)
    told = [[int(impair.impair_decide(row, 20_000_000 * i, 172)) for i in range(100, 400)] for row in (live, fresh)]
    assert told[0] == told[1]
    assert (live.packets - packets, live.lost - lost) == (fresh.packets, fresh.lost)


def test_a_staged_row_is_taken_once_until_the_loop_frees_it():
    rows = make_table(impair.IMPAIR, 2)
    staged = StagedRows(rows)
    for at in (0, 1):
        assert staged.take() == at
        stage_row(rows[at], ALL)
    assert staged.take() == -1
    rows[0].active = 0
    assert staged.take() == 0
