"""An utterance that its caller breaks off, or that ends with its call, is in the recording as far as it was sent."""

import asyncio

import numpy as np
import pytest
from loop_lab import PlainPeer, running_loop, spec, until

from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.recorder import Recorder
from harness.model.clock import monotonic_ns

pytestmark = pytest.mark.loopback

SECONDS = 5


@pytest.mark.parametrize("hangs_up", [False, True])
def test_the_recording_ends_where_the_peer_heard_the_last_of_it(hangs_up, tmp_path):
    loud = np.full(SECONDS * 8000, 8000, np.int16)

    async def run():
        recorder = Recorder(monotonic_ns(), PCMU)
        with PlainPeer() as peer:
            async with running_loop() as loop:
                call = loop.add_call(
                    loop.open_port("127.0.0.1", lambda *_: None), spec(peer.address, recorder=recorder)
                )
                call.play(encode_clip("long", loud, 0, 1000 * SECONDS, PCMU))
                await until(lambda: said(peer) > 20)
                if hangs_up:
                    await call.close()
                else:
                    call.stop_playing()
                    await until(lambda: peer.packets()[-1][1] == PCMU.silence)
                    await call.close()
            return recorder.write(tmp_path / "call.flac"), said(peer)

    def said(peer):
        return sum(payload != PCMU.silence for _, payload in peer.packets())

    sides, packets = asyncio.run(run())
    assert packets < 50 * SECONDS
    # It is told to fall silent between two packets.
    assert np.count_nonzero(np.abs(sides.caller) > 4000) / 160 == pytest.approx(packets, abs=2)
