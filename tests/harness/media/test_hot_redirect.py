"""A call that goes on elsewhere or otherwise, in virtual time: what changes, and what must not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import reference_rtp as rtp
from hot_bench import FIRST_SEQUENCE, HotBench, clip_of
from test_hot_dtmf import Agent, tone

from harness.media import sockaddr
from harness.media.agreed import with_agreed
from harness.media.codecs import OPUS, PCMA, PCMU
from harness.media.hot.ear import ear_poll
from harness.media.hot.layout import RTP_HEADER_BYTES, Event
from harness.media.hot.rtcp import send_report
from harness.media.hot.senders import address_key, find_call, ssrc_key
from harness.media.recorder import Recorder
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.model.errors import GeneratorError, LocalProtocolError
from harness.protocols import sdes
from harness.protocols.audio_sdp import Format
from harness.protocols.offer_answer import Agreed

pytestmark = pytest.mark.unit

ELSEWHERE = ("127.0.0.2", 4321)


def redirected(bench, **said):
    bench.call.redirect(replace(bench.call.spec, **said))
    settle(bench)


def settle(bench):
    """Hand up what the loop has told of redirects."""
    for kind, at_ns, value in bench.told():
        bench.calls.on_event(kind, 0, 1, at_ns, value)


def key_of(address):
    name = np.zeros(28, np.uint8)
    packed = sockaddr.pack(address)
    name[: len(packed)] = np.frombuffer(packed, np.uint8)
    return int(address_key(0, name))


def destination(bench, *, row=0):
    """Return the address that the datagram of a slot is sent to."""
    start = bench.media.batch.headers[row, 0] - bench.media.names.ctypes.data
    if 0 <= start < bench.media.names.size:
        return sockaddr.unpack(bench.media.names.reshape(-1)[start : start + 28].tobytes())
    start = bench.media.batch.headers[row, 0] - bench.media.rtcp_names.ctypes.data
    return sockaddr.unpack(bench.media.rtcp_names.reshape(-1)[start : start + 28].tobytes())


def test_another_address_is_sent_to_and_heard_and_the_one_before_no_more():
    bench = HotBench()
    bench.call.play(clip_of("a", 6))
    bench.ticks(2)
    redirected(bench, remote=ELSEWHERE)
    packet = bench.tick()
    assert destination(bench) == ELSEWHERE
    # What is spoken goes on, and so do the numbers.
    assert (packet[RTP_HEADER_BYTES], rtp.parse_header(packet).sequence_number) == (2, (FIRST_SEQUENCE + 2) & 0xFFFF)
    assert find_call(bench.media, key_of(ELSEWHERE)) == 0
    assert find_call(bench.media, key_of(("127.0.0.1", 9))) == -1


def test_the_calls_of_a_phase_stay_sorted_by_where_they_go():
    bench = HotBench()
    port = SimpleNamespace(index=0, address=("127.0.0.1", 8))
    other = bench.calls.add(port, replace(bench.call.spec, remote=("127.0.0.1", 10), ssrc=1))
    phase = int(bench.row.phase)
    bench.media.members[phase, :2], bench.media.member_counts[phase] = (0, 1), 2
    bench.media.calls[1].phase = phase
    redirected(bench, remote=("127.0.0.1", 11))
    assert list(bench.media.members[phase, :2]) == [1, 0]
    assert other.spec.remote == ("127.0.0.1", 10)


def test_a_mark_that_another_call_has_is_refused_and_nothing_changes():
    bench = HotBench()
    port = SimpleNamespace(index=0, address=("", 8))
    bench.calls.add(port, replace(bench.call.spec, remote=ELSEWHERE))
    with pytest.raises(
        GeneratorError, match=r"two calls on the local port 8 have the remote address 127\.0\.0\.2:4321"
    ):
        redirected(bench, remote=ELSEWHERE)
    assert bench.call.spec.remote == ("127.0.0.1", 9)
    with pytest.raises(GeneratorError, match="is not numeric"):
        redirected(bench, remote=("agent.example", 1))
    # The mark of before is free for others, to whom the loop comes later.
    redirected(bench, remote=("127.0.0.3", 1))
    with pytest.raises(GeneratorError, match="all 2 calls of this engine are in use"):
        bench.calls.add(port, replace(bench.call.spec, remote=("127.0.0.1", 9)))


def test_the_source_a_call_is_known_by_may_change():
    bench = HotBench(by_ssrc=True, remote_ssrc=1)
    redirected(bench, remote_ssrc=2)
    assert [find_call(bench.media, ssrc_key(0, ssrc)) for ssrc in (1, 2)] == [-1, 0]


def test_there_and_back_before_the_loop_has_told_of_the_first():
    bench = HotBench()
    spec = bench.call.spec
    bench.call.redirect(replace(spec, remote=ELSEWHERE))
    bench.call.redirect(spec)
    settle(bench)
    bench.tick()
    assert destination(bench) == spec.remote
    port = SimpleNamespace(index=0, address=("", 8))
    with pytest.raises(GeneratorError, match="two calls"):
        bench.calls.add(port, spec)
    bench.calls.add(port, replace(spec, remote=ELSEWHERE))


def test_numbers_differ_each_way():
    bench = HotBench(payload_type=96, heard_payload_type=0)
    agent = Agent(bench)
    agent.packet(PCMU.silence, 0, payload_type=0)
    agent.packet(PCMU.silence, 160, payload_type=96)
    assert rtp.parse_header(bench.tick()).payload_type == 96
    assert bench.row.packets_received == 1
    redirected(bench, payload_type=97, heard_payload_type=98)
    agent.packet(PCMU.silence, 320, payload_type=98)
    assert rtp.parse_header(bench.tick()).payload_type == 97
    assert bench.row.packets_received == 2


KEYS = [sdes.Crypto(1, suite, bytes([i] * suite.material_bytes)) for i, suite in enumerate(sdes.SUITES * 2)]


@pytest.mark.parametrize(("one", "other"), [(0, 4), (2, 6), (0, 2), (2, 1), (None, 0), (2, None)])
def test_other_keys_from_one_packet_to_the_next(one, other):
    def sessions(which):
        if which is None:
            return {"outgoing": None, "incoming": None}
        return {"outgoing": outgoing_session(KEYS[which]), "incoming": incoming_session(KEYS[which])}

    bench, agent = HotBench(**sessions(one)), None
    agent = Agent(bench)
    for which in (one, other):
        if which is other:
            redirected(bench, **sessions(other))
        sealer = None if which is None else outgoing_session(KEYS[which])
        opener = None if which is None else incoming_session(KEYS[which])
        for _ in range(3):
            packet = bench.tick()
            assert rtp.parse_header(packet if opener is None else opener.unprotect(packet)).payload_type == 0
        for _ in range(3):
            agent.sequence += 1
            packet = rtp.pack_header(0, False, agent.sequence, 160 * agent.sequence, 0xBBBB) + PCMU.silence
            send(bench, packet if sealer is None else sealer.protect(packet))
    stats = bench.call.stats()
    assert (stats.packets_received, stats.packets_lost, stats.packets_discarded) == (6, 0, 0)


def send(bench, data):
    from harness.media.hot.incoming import take_media
    from harness.media.hot.jit import address_of

    array = np.frombuffer(data, np.uint8).copy()
    take_media(bench.media, 0, array, address_of(array), len(data), bench.now_ns)


def test_keys_that_stay_go_on_with_their_packet_index():
    """A re-offer with the same keys must not begin their packet index anew."""
    session = outgoing_session(KEYS[0])
    bench = HotBench(outgoing=session)
    opener = incoming_session(KEYS[0])
    # Beyond the sequence number's wrap, where only the roll-over counter tells the packets.
    for packet in bench.ticks(8):
        opener.unprotect(packet)
    redirected(bench, remote=ELSEWHERE)
    assert opener.unprotect(bench.tick())


def test_the_ear_goes_on_in_another_codec_too():
    bench, loud = HotBench(), tone()
    agent = Agent(bench)
    for i in range(20):
        agent.packet(PCMU.silence, 160 * i, payload_type=0)
    redirected(bench, remote=ELSEWHERE)
    for i in range(20, 24):
        agent.packet(loud, 160 * i, payload_type=0)
    assert [kind for kind, _, _ in bench.told()] == [Event.AGENT_ONSET]
    redirected(bench, codec=PCMA, payload_type=8)
    ear = bench.media.ears[0]
    assert ear.codec == PCMA.index
    assert bench.call.stats().packets_received == 24
    # Nobody hears that the codec changed: who was speaking speaks on, and has stopped when it is quiet for long enough.
    last_voiced_at_ns = int(ear.last_voiced_at_ns)
    for i in range(24, 28):
        agent.packet(PCMA.silence, 160 * i, payload_type=8)
    assert bench.told() == []
    assert ear_poll(ear, last_voiced_at_ns + int(ear.quiet_ns), bench.media.scratch) == last_voiced_at_ns


def test_another_codec_ends_what_is_spoken_and_its_silence_and_clock_are_its_own():
    bench = HotBench(first_timestamp=0)
    bench.call.play(clip_of("a", 9))
    bench.ticks(2)
    bench.call.listen(False)
    redirected(bench, codec=OPUS, payload_type=111)
    packets = bench.ticks(2)
    assert [packet[RTP_HEADER_BYTES:] for packet in packets] == [OPUS.silence] * 2
    assert [rtp.parse_header(packet).timestamp for packet in packets] == [320, 320 + 960]
    assert bench.media.ears[0].awaited == 0
    bench.call.play(clip_of("b", 2, codec=OPUS))
    assert bench.tick()[RTP_HEADER_BYTES] == 0


def test_what_a_call_keeps_for_life_is_named():
    bench = HotBench()
    with pytest.raises(LocalProtocolError, match="keeps its cname, quiet_ms"):
        bench.call.redirect(replace(bench.call.spec, cname="x", quiet_ms=1))


def test_digits_that_wait_are_forgotten_where_the_new_peer_takes_none():
    bench = HotBench(events_out=101)
    bench.call.send_dtmf("123")
    bench.tick()
    redirected(bench, events_out=None)
    assert rtp.parse_header(bench.tick()).payload_type == 0
    redirected(bench, events_out=96)
    bench.call.send_dtmf("4" * 63)
    assert rtp.parse_header(bench.tick()).payload_type == 96


def test_rtcp_goes_to_a_port_of_its_own_where_the_peer_has_one():
    bench = HotBench(rtcp_remote=("127.0.0.5", 4001))
    sent = []
    bench.media.ports[0].fd = -1
    flushed_to(bench, sent)
    bench.tick()
    redirected(bench, remote=ELSEWHERE, rtcp_remote=None)
    flushed_to(bench, sent)
    redirected(bench, rtcp_remote=("127.0.0.6", 1))
    flushed_to(bench, sent)
    assert sent == [("127.0.0.5", 4001), ELSEWHERE, ("127.0.0.6", 1)]


def flushed_to(bench, sent):
    send_report(bench.media, 0, bench.now_ns, bench.now_ns)
    sent.append(destination(bench))
    bench.media.batch.fill[0] = 0


def test_a_call_hears_anew_after_its_early_media():
    """Ringing, then at once the agent: one is not to hide the other."""
    # Speech varies: what does not is background.
    bench, loud = HotBench(), [tone(8000), tone(1500)]
    agent = Agent(bench)
    for i in range(20):
        agent.packet(loud[i % 2], 160 * i, payload_type=0)
    assert [kind for kind, _, _ in bench.told()] == [Event.AGENT_ONSET]
    bench.call.hear_anew()
    answered_at_ns = bench.now_ns
    for i in range(20, 40):
        agent.packet(loud[i % 2], 160 * i, payload_type=0)
    assert [(kind, at_ns) for kind, at_ns, _ in bench.told()] == [(Event.AGENT_ONSET, answered_at_ns)]


# --- from what SDP settled on --------------------------------------------------------------------------------------


def agreed(**said):
    plain = Agreed("127.0.0.1", 9, Format(8, "PCMA", 8000), None, None, None, True, 8)
    return replace(plain, **said)


def test_a_spec_follows_what_was_agreed_on():
    spec = HotBench().call.spec
    now = agreed(
        form=Format(96, "opus", 48_000, 2), heard_payload_type=111, events_out=101, events_in=110, rtcp_mux=False,
        rtcp=("agent.example", 4001), outgoing=KEYS[0], incoming=KEYS[1], ssrc=77,
    )  # fmt: skip
    first = with_agreed(spec, now, ELSEWHERE)
    assert (first.codec, first.payload_type, first.heard_payload_type) == (OPUS, 96, 111)
    assert (first.events_out, first.events_in) == (101, 110)
    assert (first.remote, first.rtcp_remote, first.remote_ssrc) == (ELSEWHERE, (ELSEWHERE[0], 4001), None)
    assert with_agreed(replace(spec, by_ssrc=True), now, ELSEWHERE).remote_ssrc == 77
    # A new key of the agent's, under the old tag: only what it is for begins anew.
    then = replace(now, incoming=KEYS[5], rtcp=None)
    second = with_agreed(first, then, ELSEWHERE, now)
    assert second.outgoing is first.outgoing
    assert second.incoming is not first.incoming
    assert second.rtcp_remote is None
    third = with_agreed(second, replace(then, outgoing=None, incoming=None), ELSEWHERE, then)
    assert (third.outgoing, third.incoming) == (None, None)


def test_a_recording_goes_on_in_another_codec():
    recorder = Recorder(0, PCMU)
    bench = HotBench(recorder=recorder)
    redirected(bench, codec=OPUS, payload_type=111)
    recorder.agent_payload(OPUS.silence, 0, 20_000_000)
    redirected(bench, codec=PCMA, payload_type=8)
    recorder.agent_payload(PCMA.silence, 160, 40_000_000)
    # At the recording's own rate, whatever the codec's.
    assert [(at, len(samples)) for at, samples, _ in recorder._agent_pieces()] == [(160, 160), (320, 160)]
    recorder.clip_started(clip_of("a", 2, codec=PCMU), 0)
    assert [len(samples) for _, samples in recorder._spoken()] == [320]
