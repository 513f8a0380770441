"""A loop whose listeners fail, that dies, that is flooded; and who listens when."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest
import reference_rtcp as rtcp
from loop_lab import PlainPeer, rtp_packet, running_loop, spec, until

from harness.calibrate.voice import voiced
from harness.media import loop as loop_module
from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.events import MediaFailed
from harness.media.hot import layout, rings
from harness.media.hot.tell import tell
from harness.media.loop import MediaLoop
from harness.media.onset import AgentOnset
from harness.model.errors import GeneratorError
from harness.model.impairment import Impairment

pytestmark = pytest.mark.loopback


def ignore(*_):
    """Take nothing but media."""


def received(*calls):
    return [call.stats().packets_received for call in calls]


def test_who_does_not_listen_hears_no_onset_until_he_does():
    clip = encode_clip("a", voiced(400, 8000), 0, 400, PCMU)

    async def main():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", ignore)
                call = loop.add_call(port, spec(peer.address, post=posted))
                await until(lambda: call.stats().packets_sent)
                sequence = 0

                async def hear():
                    nonlocal sequence
                    for payload in [PCMU.silence] * 10 + list(clip.payloads) + [PCMU.silence] * 30:
                        peer.send(rtp_packet(sequence, payload), port)
                        sequence += 1
                        await asyncio.sleep(0.004)
                    await until(lambda: received(call) == [sequence])

                call.listen(False)
                # The command is served at the next wake-up, long before a packet sent after one of its own.
                sent = call.stats().packets_sent
                await until(lambda: call.stats().packets_sent > sent + 1)
                await hear()
                assert posted == []
                call.listen(True)
                sent = call.stats().packets_sent
                await until(lambda: call.stats().packets_sent > sent + 1)
                await hear()
                await until(lambda: any(isinstance(event, AgentOnset) for event in posted))

    asyncio.run(main())


def test_duplicates_that_the_emulated_network_makes_are_discarded():
    async def main():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", ignore)
                call = loop.add_call(port, spec(peer.address, impair_incoming=Impairment(duplicate_ratio=1.0)))
                await until(lambda: call.stats().packets_sent)
                for sequence in range(20):
                    peer.send(rtp_packet(sequence), port)
                await until(lambda: received(call) == [20] and call.stats().packets_discarded == 20)
                assert (await call.close()).packets_lost == 0

    asyncio.run(main())


def test_a_listener_that_raises_takes_nothing_from_the_others(caplog):
    async def main():
        posted = []

        def broken(*_):
            raise ValueError("listener broke")

        class Broken:
            append = staticmethod(broken)

        with PlainPeer() as peer:
            async with running_loop() as loop:
                ports = [loop.open_port("127.0.0.1", listener) for listener in (broken, lambda *w: posted.append(w))]
                calls = [loop.add_call(port, spec(peer.address, post=Broken)) for port in ports]
                await until(lambda: all(call.stats().packets_sent for call in calls))
                for port in ports:
                    peer.send(b"\x00stun", port)
                    peer.send(rtcp.pack_bye(1), port)
                await until(lambda: posted)
                # Its end is told behind all of that.
                for call in calls:
                    await call.close()
        return posted

    assert len(asyncio.run(main())) == 1
    assert caplog.text.count("listener broke") >= 3


def test_a_dead_loop_says_why_fails_its_calls_and_takes_no_new_ones(monkeypatch, caplog):
    real_run = loop_module.run
    dies = threading.Event()

    def run(media):
        """Run for real, and die as if the loop had when it is told to stop in the midst of its calls."""
        real_run(media)
        if threading.current_thread().name == "media-loop" and dies.is_set():
            raise MemoryError("no more")

    monkeypatch.setattr(loop_module, "run", run)

    async def main():
        posted = []
        with PlainPeer() as peer, contextlib.ExitStack() as stack:
            loop = MediaLoop(8)
            loop.start()
            stack.callback(loop.stop)
            port = loop.open_port("127.0.0.1", ignore)
            call = loop.add_call(port, spec(peer.address, post=posted))
            await until(lambda: call.stats().packets_sent)
            dies.set()
            loop._command(layout.Command.STOP)
            await until(lambda: posted)
            assert isinstance(loop.failure, MemoryError)
            assert posted == [MediaFailed("the media loop died: MemoryError('no more')")]
            with pytest.raises(GeneratorError, match="died: MemoryError"):
                loop.add_call(port, spec(peer.address, 2))
            # No goodbye will come: what was counted is told all the same.
            assert (await call.close()).packets_sent > 0
            port.close()
            assert port.sock.fileno() == -1

    asyncio.run(main())
    assert "the media loop died" in caplog.text


def test_events_and_datagrams_that_find_their_ring_full_are_counted():
    flood = 4096 + 500

    async def main():
        datagrams = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *what: datagrams.append(what))
                # Nobody reads the rings while this thread does nothing but send.
                deadline = time.monotonic() + 60
                while int(loop._media.counters[layout.Counter.PARCELS_LOST]) == 0:
                    for _ in range(flood // 10):
                        peer.send(b"\x00stun", port)
                    # On purpose: the event loop must not read meanwhile.
                    time.sleep(0.01)  # noqa: ASYNC251 - as above
                    assert time.monotonic() < deadline
                told = loop.take_stats()
                assert told.overflows > 0
                taken = told.datagrams_received
                await until(lambda: len(datagrams) >= 4096)
                assert len(datagrams) <= taken + loop.take_stats().datagrams_received
                # It goes on: room is made by reading.
                count = len(datagrams)
                peer.send(b"\x00more", port)
                await until(lambda: len(datagrams) > count and datagrams[-1][0] == b"\x00more")
                assert loop.take_stats().overflows == 0

    asyncio.run(main())


def test_an_event_for_a_full_ring_is_refused_and_counted():
    media = layout.new_media(2, 2, 4, 4, -1, -1)
    while rings.put_event(media.events, 1, 0, 0, 0, 0):
        pass
    assert int(media.counters[layout.Counter.EVENTS_LOST]) == 0
    tell(media, int(layout.Event.MEDIA_LOST), 0, 1, 2)
    assert int(media.counters[layout.Counter.EVENTS_LOST]) == 1


def test_events_are_taken_behind_the_datagrams_that_came_before_them():
    """A port's end that is told while its datagrams are being taken waits for the datagrams told before it."""

    async def main():
        loop = MediaLoop(4)
        order = []
        media = loop._media

        def datagram(_data, _source, at_ns):
            order.append(at_ns)
            if at_ns == 1:
                # What the loop's thread does meanwhile.
                put_parcel(media, port.index, 2)
                rings.put_event(media.events, int(layout.Event.PORT_REMOVED), -1, 0, 3, port.index)

        port = loop.open_port("127.0.0.1", datagram)
        put_parcel(media, port.index, 1)
        loop._on_bell()
        loop._on_bell()
        assert order == [1, 2]
        assert port.sock.fileno() == -1
        loop.stop()

    asyncio.run(main())


def put_parcel(media, port, at_ns):
    parcels = media.parcels
    at = rings.free_row(parcels.rows, parcels.cells)
    row = parcels.rows[at]
    row.kind, row.call, row.port, row.at_ns, row.length = int(layout.Parcel.DATAGRAM), -1, port, at_ns, 1
    parcels.names[at] = np.frombuffer(b"\x02\x00\x00\x09\x7f\x00\x00\x01".ljust(28, b"\0"), np.uint8)
    rings.publish(parcels.cells)
