"""Calls and ports that come and go: whose packet is whose, what an end leaves behind, what is refused."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
import reference_rtcp as rtcp
from loop_lab import PlainPeer, clip_of, rtp_packet, running_loop, spec, until

from harness.media.codecs import PCMU
from harness.media.events import RemoteBye
from harness.media.hot import layout
from harness.media.loop import MediaLoop
from harness.media.recorder import Recorder
from harness.model.errors import GeneratorError

pytestmark = pytest.mark.loopback


def ignore(*_):
    """Take nothing but media."""


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def received(*calls):
    return [call.stats().packets_received for call in calls]


# --- whose packet is it --------------------------------------------------------------------------------------------


def test_calls_of_one_address_are_told_apart_by_their_own_ssrc_or_the_announced_one():
    async def main():
        with PlainPeer() as peer, PlainPeer() as elsewhere:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", ignore)
                own = loop.add_call(port, spec(peer.address, 1, by_ssrc=True))
                announced = loop.add_call(port, spec(peer.address, 2, by_ssrc=True, remote_ssrc=77))
                await until(lambda: own.stats().packets_sent and announced.stats().packets_sent)
                for sequence in range(3):
                    peer.send(rtp_packet(sequence, ssrc=77), port)
                # A source is known by its number, wherever it sends from.
                elsewhere.send(rtp_packet(0, ssrc=1), port)
                peer.send(rtcp.pack_bye(1), port)
                peer.send(rtp_packet(0, ssrc=2), port)
                await until(lambda: received(own, announced) == [1, 3])
                await until(lambda: loop.take_stats().unknown_source)
                assert received(own, announced) == [1, 3]

    asyncio.run(main())


def test_a_call_by_address_takes_any_source_of_it_and_nobody_elses():
    async def main():
        with PlainPeer() as peer, PlainPeer() as stranger:
            async with running_loop() as loop:
                datagrams = []
                port = loop.open_port("127.0.0.1", lambda *what: datagrams.append(what))
                call = loop.add_call(port, spec(peer.address))
                await until(lambda: call.stats().packets_sent)
                stranger.send(rtp_packet(0), port)
                peer.send(rtp_packet(1, ssrc=5), port)
                peer.send(rtp_packet(9000, ssrc=6), port)
                await until(lambda: received(call) == [2])
                assert loop.take_stats().unknown_source == 1
                assert datagrams == []

    asyncio.run(main())


def test_a_call_of_any_source_hears_a_peer_behind_nat_while_it_has_the_port_to_itself():
    async def main():
        with PlainPeer() as announced, PlainPeer() as real, PlainPeer() as third:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", ignore)
                call = loop.add_call(port, spec(announced.address, any_source=True))
                await until(lambda: call.stats().packets_sent)
                real.send(rtp_packet(0), port)
                await until(lambda: received(call) == [1])
                other = loop.add_call(port, spec(third.address, 9))
                await until(lambda: other.stats().packets_sent)
                real.send(rtp_packet(1), port)
                third.send(rtp_packet(0), port)
                await until(lambda: received(call, other) == [1, 1])

    asyncio.run(main())


def test_a_port_may_ask_for_the_media_of_unknown_senders_to_begin_a_call():
    async def main():
        datagrams = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *what: datagrams.append(what), tells_unknown=True)
                peer.send(rtp_packet(0, ssrc=3), port)
                await until(lambda: datagrams)
                assert datagrams[0][:2] == (rtp_packet(0, ssrc=3), peer.address)
                call = loop.add_call(port, spec(peer.address, 3, by_ssrc=True))
                await until(lambda: call.stats().packets_sent)
                peer.send(rtp_packet(1, ssrc=3), port)
                await until(lambda: received(call) == [1])
                assert len(datagrams) == 1

    asyncio.run(main())


def test_two_calls_that_could_not_be_told_apart_are_refused_with_the_remedy():
    async def main():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port, other = (loop.open_port("127.0.0.1", ignore) for _ in range(2))
                call = loop.add_call(port, spec(peer.address))
                with pytest.raises(GeneratorError, match=rf"remote address 127.0.0.1:{peer.address[1]}.*per_call"):
                    loop.add_call(port, spec(peer.address, 2))
                loop.add_call(port, spec(peer.address, 3, by_ssrc=True))
                with pytest.raises(GeneratorError, match="SSRC 0x00000003"):
                    loop.add_call(port, spec(peer.address, 4, by_ssrc=True, remote_ssrc=3))
                loop.add_call(other, spec(peer.address, 2))
                # Its place is free again when the call has ended.
                await call.close()
                loop.add_call(port, spec(peer.address, 2))

    asyncio.run(main())


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_full_engine_refuses_and_goes_on():
    async def main():
        with PlainPeer() as peer:
            async with running_loop(2) as loop:
                ports = [loop.open_port("127.0.0.1", ignore) for _ in range(2)]
                with pytest.raises(GeneratorError, match="all 2 media ports"):
                    loop.open_port("127.0.0.1", ignore)
                calls = [loop.add_call(port, spec(peer.address)) for port in ports]
                with pytest.raises(GeneratorError, match="all 2 calls"):
                    loop.add_call(ports[0], spec(("127.0.0.1", 9), 5))
                await calls[1].close()
                calls[1] = loop.add_call(ports[1], spec(peer.address))
                await until(lambda: all(call.stats().packets_sent for call in calls))

    asyncio.run(main())


def test_what_cannot_be_reached_is_refused_and_costs_no_place():
    async def main():
        with PlainPeer() as peer:
            async with running_loop(1) as loop:
                with pytest.raises(GeneratorError, match=r"no UDP port on 192\.0\.2\.1"):
                    loop.open_port("192.0.2.1", ignore)
                with pytest.raises(GeneratorError, match=f"no UDP port on 127.0.0.1 {peer.address[1]}"):
                    loop.open_port("127.0.0.1", ignore, port=peer.address[1])
                port = loop.open_port("127.0.0.1", ignore)
                with pytest.raises(GeneratorError, match=r"agent\.example"):
                    loop.add_call(port, spec(("agent.example", 5004)))
                call = loop.add_call(port, spec(peer.address))
                await until(lambda: call.stats().packets_sent)

    asyncio.run(main())


# --- ends ----------------------------------------------------------------------------------------------------------


def test_close_says_goodbye_counts_and_may_be_called_again():
    async def main():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", ignore)
                call = loop.add_call(port, spec(peer.address))
                peer.send(rtp_packet(0), port)
                await until(lambda: call.stats().packets_received)
                told = await asyncio.gather(call.close(), call.close())
                assert told[0] == told[1] == await call.close() == call.stats()
                # Everything sent is counted, and nothing comes after the goodbye.
                assert peer.reports()[-1] == rtcp.pack_bye(0xAAAA)
                assert len(peer.packets()) == told[0].packets_sent
                call.play(clip_of("late", 5))
                call.listen(False)
                call.stop_playing()
                last = loop.add_call(port, spec(peer.address, 6))
                await until(lambda: last.stats().packets_sent > 3)
                assert len([1 for header, _ in peer.packets() if header.ssrc == 0xAAAA]) == told[0].packets_sent

    asyncio.run(main())


def test_a_closed_port_ends_its_calls_and_no_later_socket_hears_of_them():
    async def main():
        with PlainPeer() as peer, PlainPeer() as bystander:
            async with running_loop() as loop:
                port, other = (loop.open_port("127.0.0.1", ignore) for _ in range(2))
                calls = [loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True)) for ssrc in (1, 2, 3)]
                stays = loop.add_call(other, spec(peer.address, 4))
                await until(lambda: all(call.stats().packets_sent for call in calls))
                fd = port.sock.fileno()
                port.close()
                port.close()
                with pytest.raises(GeneratorError, match="is closed"):
                    loop.add_call(port, spec(peer.address, 5))
                await until(lambda: port.sock.fileno() < 0)
                # A new port on the same row and, most likely, the same descriptor.
                again = loop.open_port("127.0.0.1", ignore)
                assert (again.index, again.sock.fileno()) == (port.index, fd)
                new = loop.add_call(again, spec(bystander.address, 7))
                stopped = [call.stats() for call in calls]
                sent = stays.stats().packets_sent
                await until(lambda: stays.stats().packets_sent > sent + 3 and new.stats().packets_sent > 3)
                assert [await call.close() for call in calls] == stopped
                assert {rtcp.pack_bye(ssrc) for ssrc in (1, 2, 3)} <= set(peer.reports())
                assert {header.ssrc for header, _ in bystander.packets()} == {7}
                assert stays.stats().send_errors == new.stats().send_errors == 0

    asyncio.run(main())


def test_a_stopped_loop_has_closed_its_ports_and_kept_the_last_counts():
    async def main():
        with PlainPeer() as peer:
            before = open_descriptors()
            loop = MediaLoop(8)
            loop.start()
            port = loop.open_port("127.0.0.1", ignore)
            call = loop.add_call(port, spec(peer.address))
            await until(lambda: call.stats().packets_sent > 2)
            loop.stop()
            assert port.sock.fileno() == -1
            assert not [thread for thread in threading.enumerate() if thread.name == "media-loop"]
            last = call.stats()
            assert last.packets_sent > 2
            assert await call.close() == last
            port.close()
            port.send(b"too late", peer.address)
            loop.stop()
            assert open_descriptors() == before

    asyncio.run(main())


def test_what_the_last_call_of_a_row_left_behind_is_not_the_next_ones():
    async def main():
        with PlainPeer() as peer:
            async with running_loop(1) as loop:
                port = loop.open_port("127.0.0.1", ignore)
                first, second = [], []
                old_recorder, new_recorder = (Recorder(time.monotonic_ns(), PCMU) for _ in range(2))
                old = loop.add_call(port, spec(peer.address, post=first, recorder=old_recorder))
                old.play(clip_of("a", 40))
                for sequence in range(4):
                    peer.send(rtp_packet(sequence), port)
                await until(lambda: received(old) == [4] and first)
                await old.close()
                told = len(first)
                new = loop.add_call(port, spec(peer.address, 8, post=second, recorder=new_recorder, cname="new"))
                # Events of a call that is over, as they would cross with its end.
                for kind in (layout.Event.SPEECH_STARTED, layout.Event.REMOTE_BYE, layout.Event.AGENT_ONSET):
                    loop._calls.on_event(kind, 0, 1, time.monotonic_ns(), 0)
                loop._calls.on_agent_audio(0, 1, PCMU.silence, 0, time.monotonic_ns())
                await until(lambda: new.stats().packets_sent > 5)
                assert second == []
                assert new_recorder._runs == []
                assert len(first) == told
                header, payload = next(packet for packet in peer.packets() if packet[0].ssrc == 8)
                assert (header.sequence_number, header.marker, payload) == (0, False, PCMU.silence)
                assert new.stats().packets_received == new.stats().packets_lost == 0
                peer.send(rtcp.pack_bye(1), port)
                await until(lambda: [type(event) for event in second] == [RemoteBye])

    asyncio.run(main())
