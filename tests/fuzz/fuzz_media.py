"""Fuzz targets of what comes with the media: SDP, STUN, telephone events, media-stream messages and frames."""

import contextlib
import uuid

from fuzz_mutation import Mutator
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from harness.model.errors import RemoteProtocolError
from harness.protocols import audio_sdp, dtmf, offer_answer, sdes, stun, webrtc_sdp
from harness.protocols.media_streams.audiosocket import AudioSocketAgent, AudioSocketCarrier, FrameReader, Kind, frame
from harness.protocols.media_streams.dialect import L16_8K
from harness.protocols.media_streams.dialects import DIALECTS
from harness.protocols.media_streams.stream import AgentEnd, CarrierEnd, Identity
from harness.protocols.media_streams.web_socket import WebSocketClient

KEY = "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
PLAIN = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 8 9 13 101\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\n"
    "a=rtcp:4001 IN IP4 127.0.0.1\r\na=sendrecv\r\na=ssrc:7 cname:x\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 VP8/90000\r\n"
)
SECURE = (
    "v=0\r\no=x 1 2 IN IP6 ::1\r\ns=a\r\nt=0 0\r\na=sendonly\r\nm=audio 5000 RTP/SAVP 111 0\r\nc=IN IP6 ::1\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtcp-mux\r\n"
    f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\na=crypto:2 AEAD_AES_128_GCM {KEY}|2^20|1:4 WSH=64\r\n"
)
WEBRTC = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\n"
    "c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host generation 0\r\na=end-of-candidates\r\na=ssrc:1 cname:c\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n"
)
SDP_WORDS = [
    b"a=",
    b"m=audio ",
    b"c=IN IP4 ",
    b"c=IN IP6 ",
    b"a=crypto:",
    b"inline:",
    b"a=rtpmap:",
    b"a=fmtp:",
    b"a=ptime:",
    b"RTP/SAVP",
    b"a=inactive\r\n",
    b"a=recvonly\r\n",
    b"a=candidate:",
    b"typ ",
    b"0.0.0.0",
    b"224.0.0.1",
    b"::",
    b"/",
    b"|",
    b"telephone-event",
]
OURS = (
    audio_sdp.Format(0, "PCMU", 8000),
    audio_sdp.Format(8, "PCMA", 8000),
    audio_sdp.Format(9, "G722", 8000),
    audio_sdp.Format(111, "opus", 48_000, 2),
)


class Sdp:
    """Offers and answers, of RTP and of WebRTC: what is legal is answered with what is legal."""

    name = "sdp"

    def __init__(self, seed):
        self._mutator = Mutator([t.encode() for t in (PLAIN, SECURE, WEBRTC)], SDP_WORDS, f"{self.name}{seed}")
        self._offer = audio_sdp.parse(SECURE.replace("sendonly", "sendrecv"))
        self._answerer = offer_answer.Answerer(
            "127.0.0.1",
            4000,
            OURS,
            sdes.SUITES,
            lambda suite: bytes(suite.material_bytes),
            events=True,
            comfort_noise=True,
        )

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        text = data.decode("utf-8", "replace")
        with contextlib.suppress(RemoteProtocolError):
            webrtc = webrtc_sdp.parse(text)
            assert webrtc.audio
            assert webrtc.data is None or webrtc.data.kind == "application"
        theirs = audio_sdp.parse(text)
        with contextlib.suppress(RemoteProtocolError):
            offer_answer.as_offerer(self._offer, theirs)
        with contextlib.suppress(RemoteProtocolError):
            offer_answer.agree(self._offer, theirs)
        answer = offer_answer.answer(theirs, self._answerer)
        # What we answer can be read by whoever offered, and settles the same on both sides.
        read = audio_sdp.parse(audio_sdp.build(answer))
        assert (read.host, read.port, read.direction) == (answer.host, answer.port, answer.direction)
        agreed = offer_answer.as_answerer(theirs, answer)
        assert agreed.form.name

    def end(self):
        """Nothing is kept."""


class Stun:
    """Binding messages; nobody without the key is authentic."""

    name = "stun"
    _KEY = b"k" * 24

    def __init__(self, seed):
        ids = b"t" * 12
        request = stun.request_attributes(b"them:us", 1, 7, is_controlling=True, use_candidate=True)
        seeds = [
            stun.seal(stun.Kind.REQUEST, ids, request, self._KEY),
            stun.success(ids, ("127.0.0.1", 4000), self._KEY),
            stun.success(ids, ("::1", 4000), self._KEY),
            stun.role_conflict(ids, self._KEY),
        ]
        # What the key holder signed: the type and all between length and signature.
        self._signed = {(s[:2], s[4 : stun.parse(s).integrity_at]) for s in seeds}
        words = [
            b"\x21\x12\xa4\x42",
            b"\x00\x08\x00\x14",
            b"\x80\x28\x00\x04",
            b"\x00\x20\x00\x08",
            b"\x00\x06\xff\xff",
            b"\x00\x09\x00\x00",
        ]
        self._mutator = Mutator(seeds, words, f"{self.name}{seed}")

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        with contextlib.suppress(RemoteProtocolError):
            dtmf.unpack(data)
        with contextlib.suppress(RemoteProtocolError):
            stun.mapped_address(data)
        message = stun.parse(data)
        if stun.is_authentic(message, data, self._KEY):
            assert (data[:2], data[4 : message.integrity_at]) in self._signed, "a forged message passes for authentic"

    def end(self):
        """Nothing is kept."""


class MediaStreams:
    """Both ends of a media stream in every dialect, messages as text or binary."""

    name = "media streams"

    def __init__(self, seed):
        self._ends = []
        seeds = []
        for dialect in DIALECTS.values():
            audio = next(iter(dialect.formats))
            carrier = CarrierEnd(dialect, audio, Identity("1", "2", {"a": "b"}))
            agent = AgentEnd(dialect)
            opened = carrier.open()
            for text in opened:
                agent.receive(text)
            payload = bytes(audio.packet_bytes)
            said = [*opened, carrier.dtmf("1", 20), carrier.mark_played("m"), carrier.cleared(), carrier.stop()]
            said += [agent.audio(payload), agent.mark("m"), agent.clear(), agent.hang_up()]
            seeds += [text.encode() if isinstance(text, str) else text for text in said if text is not None]
            self._ends.append((carrier, agent, dialect))
        words = [
            b"{",
            b"}",
            b"[",
            b"]",
            b'"',
            b":",
            b",",
            b"null",
            b"true",
            b"1e999",
            b"NaN",
            b'"event":',
            b'"media":',
            b'"payload":',
            b"\\ud800",
        ]
        self._mutator = Mutator(seeds, words, f"{self.name}{seed}")

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        text = data.decode("utf-8", "replace")
        refused = None
        for carrier, agent, dialect in self._ends:
            for end in (carrier, agent, AgentEnd(), AgentEnd(dialect)):
                for message in (text, data):
                    try:
                        end.receive(message)
                    except RemoteProtocolError as error:
                        refused = error
        if refused:
            raise refused

    def end(self):
        """Nothing is kept."""


class WebSocketFrames:
    """A server's octets to our client: handshake and frames, cut anywhere."""

    name = "websocket frames"

    def __init__(self, seed):
        server = WSConnection(ConnectionType.SERVER)
        client = WebSocketClient()
        server.receive_data(client.request("h", "/"))
        list(server.events())
        # Its key differs from that of the clients under test: the handshake they get is done for each anew.
        server.send(ws.AcceptConnection())
        said = (
            ws.TextMessage("hello ä"), ws.BytesMessage(b"\x00" * 200), ws.Ping(b"x"), ws.Pong(b"y"),
            ws.TextMessage("a", message_finished=False), ws.TextMessage("b"), ws.BytesMessage(b"z" * 70_000),
            ws.CloseConnection(1000, "bye"),
        )  # fmt: skip
        seeds = [server.send(event) for event in said]
        seeds += [b"".join(seeds[:6]), b"".join(seeds), b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"]
        words = [
            b"\x81",
            b"\x01",
            b"\x80",
            b"\x00",
            b"\x88\x02\x03\xe8",
            b"\x89\x7d",
            b"\x8a\x00",
            b"\x82\x7f" + b"\xff" * 8,
            b"\x82\x7e\xff\xff",
        ]
        self._mutator = Mutator(seeds, words, f"{self.name}{seed}")
        self._number = 0

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        self._number += 1
        server, client = WSConnection(ConnectionType.SERVER), WebSocketClient()
        request = client.request("h", "/", [("X", "1")], None)
        if self._number % 4:
            server.receive_data(request)
            list(server.events())
            client.receive(server.send(ws.AcceptConnection()))
        cut = self._number * 7919 % (len(data) + 1)
        for piece in (data[:cut], data[cut:], None):
            if piece is None or piece:
                client.receive(piece)
            assert isinstance(client.to_send, bytes)

    def end(self):
        """Nothing is kept."""


class AudioSockets:
    """Frames of AudioSocket, both ends."""

    name = "audiosocket"

    def __init__(self, seed):
        carrier, agent = AudioSocketCarrier(uuid.UUID(int=1), L16_8K), AudioSocketAgent()
        seeds = [
            carrier.open(),
            carrier.audio(bytes(320)),
            carrier.dtmf("1"),
            carrier.stop(),
            agent.audio(bytes(320)),
            frame(Kind.ERROR, b"\x01"),
        ]
        words = [bytes([kind]) + b"\x00\x02ab" for kind in Kind]
        self._carrier = carrier
        self._mutator = Mutator([*seeds, b"".join(seeds)], words, f"{self.name}{seed}")

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        reader, agent = FrameReader(), AudioSocketAgent()
        refused = None
        for piece in (data[: len(data) // 3], data[len(data) // 3 :]):
            for kind, payload in reader.feed(piece):
                for end in (self._carrier, agent):
                    try:
                        end.read(kind, payload)
                    except RemoteProtocolError as error:
                        refused = error
        if refused:
            raise refused

    def end(self):
        """Nothing is kept."""
