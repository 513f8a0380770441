"""Offers and answers of a dialog: codecs, numbers, keys, hold and resume, versions; against foreign descriptions."""

from dataclasses import replace

import pytest

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import audio_sdp, sdes
from harness.protocols.audio_sdp import Format
from harness.protocols.audio_session import AudioSession, Ours

pytestmark = pytest.mark.unit

PCMU, PCMA, G722, OPUS = (
    Format(0, "PCMU", 8000),
    Format(8, "PCMA", 8000),
    Format(9, "G722", 8000),
    Format(111, "opus", 48_000, 2),
)


class Keys:
    """Makes keys that tell which one they are."""

    def __init__(self, first):
        self.made = first

    def __call__(self, suite):
        self.made += 1
        return bytes([self.made]) * suite.material_bytes


def ours(host="192.0.2.1", port=4000, formats=(PCMU,), *, keys=0, **said):
    return Ours(host=host, port=port, formats=formats, new_material=Keys(keys), **{"session_id": 7, **said})


def pair(caller=None, agent=None):
    """Return two sides after an offer and its answer, with what each settled on."""
    one = AudioSession(caller or ours())
    other = AudioSession(agent or ours("192.0.2.2", 6000, keys=100))
    text, theirs = other.answer(one.offer())
    return one, other, one.accept(text), theirs


def line(text, start):
    return [found for found in text.split("\r\n") if found.startswith(start)]


def test_both_sides_settle_on_the_same():
    formats = (OPUS, PCMA, PCMU)
    *_, mine, theirs = pair(ours(formats=formats), ours("192.0.2.2", 6000, (PCMU, PCMA)))
    # The offerer's order decides.
    assert (mine.form, theirs.form) == (PCMA, PCMA)
    assert (mine.host, mine.port, theirs.host, theirs.port) == ("192.0.2.2", 6000, "192.0.2.1", 4000)
    assert (mine.events_out, mine.events_in, theirs.events_out, theirs.events_in) == (101, 101, 101, 101)
    assert (mine.sends, mine.hears, theirs.sends, theirs.hears) == (True, True, True, True)
    assert (mine.rtcp_mux, mine.rtcp, mine.ptime_ms) == (True, None, 20)


def test_an_offer_lists_codecs_by_preference_and_events_for_each_clock():
    text = AudioSession(ours(formats=(OPUS, G722, PCMU), comfort_noise=True)).offer()
    assert line(text, "m=") == ["m=audio 4000 RTP/AVP 111 9 0 110 101 13"]
    assert line(text, "a=rtpmap:1") == [
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:13 CN/8000",
    ]
    assert line(text, "a=fmtp:101") == ["a=fmtp:101 0-15"]
    # Who does not mux is told the one port that we listen at.
    assert line(text, "a=rtcp") == ["a=rtcp:4000", "a=rtcp-mux"]


@pytest.mark.parametrize(("codec", "number"), [(OPUS, 110), (G722, 101)])
def test_events_go_by_the_codecs_clock(codec, number):
    *_, mine, theirs = pair(ours(formats=(codec,)), ours("192.0.2.2", 6000, (codec,)))
    assert (mine.events_out, mine.events_in) == (number, number)
    assert (theirs.events_out, theirs.events_in) == (number, number)


def test_without_events_on_one_side_there_are_none():
    *_, mine, theirs = pair(agent=ours("192.0.2.2", 6000, events=False))
    assert (mine.events_out, mine.events_in, theirs.events_out) == (None, None, None)
    assert pair(ours(events=False))[2].events_out is None


# Asterisk's way with Opus: events on a clock that is not the codec's.
ODD_EVENTS = (
    "v=0\no=- 1 1 IN IP4 192.0.2.2\ns=-\nc=IN IP4 192.0.2.2\nt=0 0\nm=audio 6000 RTP/AVP 96 101\n"
    "a=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\n"
)


def test_events_on_another_clock_are_not_spoken():
    agreed = AudioSession(ours(formats=(OPUS,))).answer(ODD_EVENTS)[1]
    assert (agreed.events_out, agreed.events_in) == (None, None)


def test_the_answers_numbers_are_those_that_are_sent_with():
    """RFC 3264 5.1: each side sends with the numbers of the other's description."""
    session = AudioSession(ours(formats=(OPUS,)))
    session.offer()
    agreed = session.accept(ODD_EVENTS.replace("event/8000", "event/48000"))
    assert (agreed.form.payload_type, agreed.heard_payload_type) == (96, 111)
    assert (agreed.events_out, agreed.events_in) == (101, 110)
    # A re-offer keeps our own numbers.
    assert line(session.offer(), "m=") == ["m=audio 4000 RTP/AVP 111 110"]


def test_an_answerer_takes_the_offers_numbers_both_ways():
    text, agreed = AudioSession(ours(formats=(OPUS,))).answer(ODD_EVENTS.replace("event/8000", "event/48000"))
    assert line(text, "m=") == ["m=audio 4000 RTP/AVP 96 101"]
    assert (agreed.form.payload_type, agreed.heard_payload_type) == (96, 96)


PHONE = (
    "v=0\r\no=phone 11 12 IN IP4 203.0.113.5\r\ns=call\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\n"
    "m=audio 5004 RTP/AVP 18 8 0 13 101\r\na=fmtp:101 0-15\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:30\r\n"
    "a=rtcp:5010 IN IP4 203.0.113.6\r\nm=video 5006 RTP/AVP 34\r\n"
)


def test_static_types_need_no_rtpmap_and_the_rest_of_a_phones_offer_is_taken_note_of():
    session = AudioSession(ours(formats=(PCMU, PCMA), comfort_noise=True))
    text, agreed = session.answer(PHONE)
    assert line(text, "m=") == ["m=audio 4000 RTP/AVP 8 101 13", "m=video 0 RTP/AVP 34"]
    assert (agreed.form, agreed.events_out, agreed.ptime_ms) == (PCMA, 101, 30)
    assert (agreed.rtcp_mux, agreed.rtcp) == (False, ("203.0.113.6", 5010))
    assert line(text, "a=rtcp") == ["a=rtcp:4000"]
    # What was refused once stays in its place.
    assert line(session.offer("sendonly"), "m=") == ["m=audio 4000 RTP/AVP 8 101 13", "m=video 0 RTP/AVP 34"]


def test_rtcp_without_a_word_goes_to_the_next_port():
    agreed = AudioSession(ours(formats=(PCMA,))).answer(PHONE.replace("a=rtcp:5010 IN IP4 203.0.113.6\r\n", ""))[1]
    assert agreed.rtcp == ("203.0.113.5", 5005)


# --- a second offer ------------------------------------------------------------------------------------------------


def test_hold_and_resume_by_us():
    one, other, *_ = pair()
    text, theirs = other.answer(one.offer("sendonly"))
    mine = one.accept(text)
    assert line(text, "a=")[-1:] == ["a=recvonly"]
    assert (mine.sends, mine.hears, theirs.sends, theirs.hears) == (True, False, False, True)
    mine = one.accept(other.answer(one.offer("inactive"))[0])
    assert (mine.sends, mine.hears) == (False, False)
    mine = one.accept(other.answer(one.offer())[0])
    assert (mine.sends, mine.hears) == (True, True)


def test_who_is_held_and_holds_gets_nothing_back_by_the_others_resume():
    one, other, *_ = pair()
    text, theirs = other.answer(one.offer("sendonly"), "sendonly")
    assert line(text, "a=inactive") == ["a=inactive"]
    assert (theirs.sends, theirs.hears) == (False, False)
    text, theirs = other.answer(one.offer(), "sendonly")
    assert (theirs.sends, theirs.hears) == (True, False)
    assert one.accept(text).hears


def test_the_old_hold_by_a_zero_address_keeps_the_address_of_before():
    session = AudioSession(ours(formats=(PCMA,)))
    session.answer(PHONE)
    held = PHONE.replace("c=IN IP4 203.0.113.5", "c=IN IP4 0.0.0.0")
    text, agreed = session.answer(held)
    assert line(text, "a=recvonly") == ["a=recvonly"]
    assert (agreed.sends, agreed.hears, agreed.host, agreed.port) == (False, True, "203.0.113.5", 5004)
    _, agreed = session.answer(PHONE)
    assert (agreed.sends, agreed.hears) == (True, True)


def test_the_version_counts_up_with_each_change_and_with_nothing_else():
    one, other, *_ = pair()
    offers = [one.offer(), one.offer("sendonly"), one.offer("sendonly"), one.offer()]
    # The second one is narrowed to what was agreed: to the byte what the first was, here.
    assert [line(text, "o=")[0].split()[1:3] for text in offers] == [["7", v] for v in ("7", "8", "8", "9")]
    answers = [other.answer(text)[0] for text in offers]
    assert [line(text, "o=")[0].split()[2] for text in answers] == ["7", "8", "8", "9"]


def test_a_peer_that_moves_and_changes_its_codec_is_followed():
    session = AudioSession(ours(formats=(PCMU, PCMA)))
    session.answer(PHONE)
    moved = PHONE.replace("203.0.113.5", "203.0.113.9").replace("5004 RTP/AVP 18 8 0", "5100 RTP/AVP 0")
    _, agreed = session.answer(moved)
    assert (agreed.host, agreed.port, agreed.form) == ("203.0.113.9", 5100, PCMU)


def test_a_peer_that_only_lists_its_codecs_again_does_not_change_what_is_spoken():
    one, _, mine, _ = pair(ours(formats=(PCMA, PCMU)), ours("192.0.2.2", 6000, (PCMA, PCMU)))
    assert mine.form == PCMA
    again = PHONE.replace("18 8 0", "0 8")
    assert one.answer(again)[1].form == PCMA


def test_a_refused_re_offer_changes_nothing():
    one, other, before, _ = pair()
    one.offer("sendonly")
    one.withdraw()
    assert one.agreed == before
    with pytest.raises(LocalProtocolError, match="without an offer"):
        one.accept(other.offer())
    # Its number is spent.
    assert line(one.offer("sendonly"), "o=")[0].split()[2] == "8"
    assert line(one.offer(), "o=")[0].split()[2] == "9"


def test_an_answer_may_come_again_and_the_last_one_holds():
    """183 of one branch, 200 of another (RFC 3261 13.2.2.4)."""
    one = AudioSession(ours(formats=(PCMU, PCMA)))
    offer = one.offer()
    early = AudioSession(ours("192.0.2.3", 7000, (PCMA,))).answer(offer)[0]
    final = AudioSession(ours("192.0.2.4", 8000, (PCMU,))).answer(offer)[0]
    assert one.accept(early).form == PCMA
    assert (one.accept(final).host, one.agreed.form) == ("192.0.2.4", PCMU)


def test_delayed_offer():
    agent, caller = AudioSession(ours("192.0.2.2", 6000, (PCMA, PCMU))), AudioSession(ours())
    text, mine = caller.answer(agent.offer())
    assert (mine.form, agent.accept(text).form) == (PCMU, PCMU)


# --- keys ----------------------------------------------------------------------------------------------------------


def secure(*, host="192.0.2.1", keys=0, srtp="required", suites=(sdes.AES_GCM_128, sdes.AES_CM_80)):
    return ours(host, keys=keys, srtp=srtp, suites=suites)


def test_each_direction_has_a_key_and_re_offers_keep_both():
    one, other, mine, theirs = pair(secure(), secure(host="192.0.2.2", keys=100))
    assert (mine.outgoing, mine.incoming) == (theirs.incoming, theirs.outgoing)
    assert mine.outgoing.material != mine.incoming.material
    offer = one.offer("sendonly")
    assert line(offer, "m=") == ["m=audio 4000 RTP/SAVP 0 101"]
    text, held = other.answer(offer)
    assert (held.outgoing, held.incoming) == (theirs.outgoing, theirs.incoming)
    held = one.accept(text)
    assert (held.outgoing, held.incoming) == (mine.outgoing, mine.incoming)


def test_a_peer_that_offers_new_keys_changes_its_own_direction_alone():
    one, _, mine, _ = pair(secure(), secure(host="192.0.2.2", keys=100))
    fresh = AudioSession(secure(host="192.0.2.2", keys=50)).offer()
    text, now = one.answer(fresh)
    assert now.incoming.material == bytes([51]) * now.incoming.suite.material_bytes
    assert now.outgoing.material == mine.outgoing.material
    assert "inline" in line(text, "a=crypto")[0]


def test_another_suite_is_another_key():
    one, _, mine, _ = pair(secure(), secure(host="192.0.2.2", keys=100))
    _, now = one.answer(AudioSession(secure(host="192.0.2.2", keys=50, suites=(sdes.AES_CM_80,))).offer())
    assert now.outgoing.suite == sdes.AES_CM_80
    assert now.outgoing.material != mine.outgoing.material[:30]


def test_optional_keys_are_the_answerers_choice():
    assert pair(secure(srtp="optional"), secure(host="192.0.2.2", srtp="optional"))[2].outgoing is not None
    assert pair(secure(srtp="optional"))[2].outgoing is None


@pytest.mark.parametrize(
    ("caller", "agent", "reason"),
    [
        (ours(), secure(), "the peer speaks plain RTP; required here: SRTP"),
        (secure(), ours(), "RTP/SAVP without an a=crypto line that can be used"),
        (ours(formats=(G722,)), ours(), "no common codec: offered G722/8000"),
    ],
)
def test_offers_that_cannot_be_answered_change_nothing(caller, agent, reason):
    session = AudioSession(agent)
    with pytest.raises(RemoteProtocolError, match=reason):
        session.answer(AudioSession(caller).offer())
    assert session.agreed is None
    assert line(session.offer(), "o=")[0].split()[2] == "7"


def test_an_answer_that_cannot_be_used_leaves_what_held():
    one, other, mine, _ = pair()
    bad = other.answer(one.offer())[0].replace("m=audio 6000", "m=audio 0")
    with pytest.raises(RemoteProtocolError, match="refuses the audio"):
        one.accept(bad)
    assert one.agreed == mine


def test_srtp_has_three_settings():
    with pytest.raises(LocalProtocolError, match="legal: off, optional, required"):
        AudioSession(ours(srtp="maybe"))


def test_sdp_transform_reads_what_we_write():
    """A second opinion where it is installed (PyPI: sdp-transform)."""
    transform = pytest.importorskip("sdp_transform")
    text = AudioSession(secure()).offer()
    read = transform.parse(text)
    media = read["media"][0]
    assert (media["port"], media["protocol"], media["ptime"], media["direction"]) == (4000, "RTP/SAVP", 20, "sendrecv")
    assert [(r["payload"], r["codec"], r["rate"]) for r in media["rtp"]] == [
        (0, "PCMU", 8000),
        (101, "telephone-event", 8000),
    ]
    assert [c["suite"] for c in media["crypto"]] == ["AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"]
    assert (read["origin"]["sessionId"], read["origin"]["sessionVersion"]) == (7, 7)
    assert audio_sdp.parse(transform.write(read)) == replace(audio_sdp.parse(text), cname="")
