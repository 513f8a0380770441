"""The sockets under a SIP user agent, over loopback."""

import asyncio
import contextlib
import socket
import time

import pytest

from harness.model.clock import monotonic_ns
from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint, own_addresses

pytestmark = pytest.mark.loopback


@contextlib.asynccontextmanager
async def endpoint(on_event=None):
    """Yield (endpoint, its events)."""
    told = []
    made = SipEndpoint(UserAgent(AgentConfig(requests=frozenset({"OPTIONS"})), seed=1), on_event or told.append)
    try:
        yield made, told
    finally:
        await made.aclose()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def options(caller, flow):
    uri = f"sip:agent@{flow.remote[0]}:{flow.remote[1]}"
    caller.agent.request("OPTIONS", uri, flow, monotonic_ns())
    caller.flush()


def closed_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_closed_udp_port_is_told_in_a_round_trip_and_not_after_timer_f():
    async def scenario():
        async with endpoint() as (caller, told):
            flow = await caller.open_flow("udp", ("127.0.0.1", closed_udp_port()))
            began = time.monotonic()
            options(caller, flow)
            await until(lambda: told)
            assert time.monotonic() - began < 20
            assert (told[0].status, told[0].cause) == (503, "transport")
            assert told[0].reason == "Connection refused (told by ICMP)"
            assert caller.counts.unreachable == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_messages_carry_the_time_the_kernel_or_the_loop_saw_them(transport):
    async def scenario():
        async with endpoint() as (server, served), endpoint() as (caller, told):
            address = await server.listen("127.0.0.1")
            flow = await caller.open_flow(transport, address)
            before = monotonic_ns()
            options(caller, flow)
            # Busy for a while: what comes is read late, and was there all the same.
            time.sleep(0.2)  # noqa: ASYNC251 - blocks on purpose
            await until(lambda: served)
            late_ns = monotonic_ns() - served[0].at_ns
            assert before <= served[0].at_ns <= monotonic_ns()
            if transport == "udp":
                assert late_ns > 150_000_000
            served[0].request.respond(200, monotonic_ns())
            server.flush()
            await until(lambda: told)
            assert told[0].status == 200

    asyncio.run(scenario())


def test_several_who_dial_at_once_share_one_connection_and_hear_of_its_end():
    async def scenario():
        async with endpoint() as (caller, told):
            async with endpoint() as (server, _):
                address = await server.listen("127.0.0.1")
                flows = await asyncio.gather(*(caller.open_flow("tcp", address) for _ in range(5)))
                assert len(set(flows)) == 1
                await until(lambda: server.counts.connections == 1)
                for flow in flows:
                    options(caller, flow)
            # The server went away without an answer.
            await until(lambda: len(told) == 5)
            assert {(event.status, event.cause) for event in told} == {(503, "transport")}
            assert caller.counts.connections == 0
            with pytest.raises(ConnectionRefusedError):
                await caller.open_flow("tcp", address)

    asyncio.run(scenario())


def test_one_events_fault_is_no_others(caplog):
    seen = []

    def fail_first(event):
        seen.append(event)
        if len(seen) == 1:
            raise ValueError("broken")

    async def scenario():
        async with endpoint(fail_first) as (server, _), endpoint() as (caller, _):
            flow = await caller.open_flow("udp", await server.listen("127.0.0.1"))
            options(caller, flow)
            options(caller, flow)
            await until(lambda: len(seen) == 2)
            assert all(isinstance(event, events.RequestReceived) for event in seen)

    asyncio.run(scenario())
    assert "RequestReceived could not be handled" in caplog.text


def test_a_stream_that_is_no_sip_is_cut_and_counted():
    async def scenario():
        async with endpoint() as (server, _):
            reader, writer = await asyncio.open_connection(*await server.listen("127.0.0.1"))
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            writer.write(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            await until(lambda: server.counts.connections == 0)
            assert server.counts.bad_streams == 1
            writer.close()

    asyncio.run(scenario())


def test_a_wildcard_is_every_address_of_this_host():
    assert "127.0.0.1" in own_addresses("0.0.0.0")
    assert own_addresses("127.0.0.1") == ["127.0.0.1"]
