"""Our WebRTC caller and the project's own edge, with and without its data channel, in each SRTP profile."""

import asyncio

import pytest
from edge_peer import Sessions, running_edge
from interop_call import PROFILES, assert_good, callers, talk

from harness.callers.exchange import TranscriptChannel, UserTranscript
from harness.media.events import MediaLost

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dialect", ["json", "pipecat"])
def test_a_call_talks_and_listens(profile, dialect):
    async def scenario():
        sessions = Sessions(greeting_s=0.4)
        async with running_edge(sessions) as (_, base), callers(profile) as ours:
            caller = ours.caller(f"{base}/api/offer", dialect=dialect)
            try:
                await ours.connect(caller)
                seen = await talk(caller)
            finally:
                await caller.close()
            assert_good(seen)
            (session,) = sessions.made
            assert session.loud_samples > 0
            assert not any(isinstance(e, MediaLost) for e in caller.events)
            return {type(e) for e in caller.events}

    told = asyncio.run(scenario())
    if dialect == "json":
        assert not told & {TranscriptChannel, UserTranscript}
