"""TURN servers that a WHIP agent names itself (RFC 9725 4.6): before the offer, or with the answer and a PATCH."""

import asyncio

import pytest
from coturn import PASSWORD, USER, running_coturn
from interop_call import callers, talk
from sdp_agents import WhipAgent

from harness.callers.setup_failure import SetupFailure
from harness.model.plan import IceSpec
from harness.model.records import Cause

pytestmark = pytest.mark.peer

TOKEN = {"Authorization": "Bearer let-me-in"}


@pytest.fixture(scope="module")
def coturn():
    with running_coturn() as server:
        yield server


def link(server, transport="udp", password=PASSWORD):
    return f'<{server.url(transport)}>; rel="ice-server"; username="{USER}"; credential="{password}"'


def called(policy="relay", **options):
    """Call a WHIP agent that says `options`; returns what the call saw, which relay, and what the agent was asked."""

    async def scenario():
        async with WhipAgent(**options) as agent, callers() as ours:
            caller = ours.caller(agent.url, dialect="whip", headers=TOKEN, ice=IceSpec(policy))
            try:
                await ours.connect(caller)
                seen = await talk(caller)
            finally:
                await caller.close()
            assert len(agent.ended) == 1
            return seen, caller.relay, [method for method, _, _ in agent.seen]

    return asyncio.run(scenario())


def test_servers_named_before_the_offer(coturn):
    seen, relay, asked = called(links=[link(coturn)])
    assert seen.candidate_types == ("relay", "host")
    assert relay.server == coturn.url("udp")
    assert seen.heard
    assert asked == ["OPTIONS", "POST", "DELETE"]


@pytest.mark.parametrize("no_trickle", [False, True])
def test_servers_named_with_the_answer(coturn, no_trickle):
    seen, _relay, asked = called(links=[link(coturn, "tcp")], no_options=True, no_trickle=no_trickle)
    assert seen.candidate_types == ("relay", "host")
    assert seen.heard
    assert seen.setup.gather_ms > 0
    assert asked == ["OPTIONS", "POST", "PATCH", "DELETE"]


def test_what_is_wrong_with_named_servers_is_told(coturn):
    def failed(**options):
        with pytest.raises(SetupFailure) as caught:
            called(**options)
        assert caught.value.cause is Cause.ICE_FAILED
        return caught.value.detail

    assert "neither target.ice nor http://127.0.0.1" in failed()
    for no_options in (False, True):
        detail = failed(links=[link(coturn, password="wrong")], no_options=no_options)
        assert "401" in detail
