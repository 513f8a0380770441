"""Echo on a real line: a telephone that sends back what it hears, before the whole emulated agent."""

import asyncio
from collections import deque

import pytest
from edge_peer import until
from sip_peer import SipClient

from target_stack.__main__ import parser
from target_stack.app import Stack
from target_stack.config import config_from
from target_stack.telemetry.events import BargedIn, EchoFound

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]

# Packets of 20 ms between hearing something and sending it back.
DELAY = 8
GREETING = "Hello, thank you for calling the clinic, how can I help you today, please?"


def configured(switch):
    words = ["--profile", "emulated", "--port", "0", "--sip-port", "0", "--greeting", GREETING]
    return config_from(parser({}).parse_args(["up", *words, "--echo-detection", switch]), {})


async def events_of_a_call_with_echo(switch):
    stack = Stack(configured(switch))
    try:
        await stack.start()
        address = (await stack.start_sip()).udp
        await stack.load()
        host, _, port = address.partition(":")[2].rpartition(":")
        async with SipClient((host, int(port))) as client:
            call = await client.call()
            echoing = asyncio.create_task(_echo(call))
            events = stack._telemetry.events.recent
            await until(lambda: any(isinstance(e, BargedIn) for e in events) or _is_greeted(stack), "greeted", 30)
            assert not echoing.done()
            echoing.cancel()
            metrics = stack._metrics()
        return list(events), metrics
    finally:
        await stack.aclose()


def _is_greeted(stack):
    calls = list(stack._sip._calls)
    return bool(calls) and calls[0]._call.greeted.is_set()


async def _echo(call):
    waiting, taken = deque(), 0
    while True:
        heard = call.media.packets()[taken:]
        taken += len(heard)
        waiting.extend(heard)
        while len(waiting) > DELAY:
            call.media.send(call.remote, 0, waiting.popleft().payload)
        await asyncio.sleep(0.005)


def test_the_agents_own_voice_does_not_interrupt_it():
    events, metrics = asyncio.run(events_of_a_call_with_echo("on"))
    assert not [e for e in events if isinstance(e, BargedIn)]
    (found,) = [e for e in events if isinstance(e, EchoFound)]
    assert found.delay_ms == pytest.approx(DELAY * 20, abs=60)
    # µ-law and back.
    assert found.gain_db == pytest.approx(0, abs=3)
    assert "callquake_echoes_total 1" in metrics


@pytest.mark.slow
def test_with_the_detection_off_it_does():
    events, _ = asyncio.run(events_of_a_call_with_echo("off"))
    assert [e for e in events if isinstance(e, BargedIn)]
    assert not [e for e in events if isinstance(e, EchoFound)]
