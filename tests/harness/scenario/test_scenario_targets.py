"""The target block of every transport: what may be said, what follows from it, and how each mistake is told."""

import json

import pytest

from harness.load.run_info import describe_run
from harness.model.codec import from_json, to_json
from harness.model.errors import ScenarioError
from harness.model.plan import IceServer, IceSpec, SipSpec, StreamSpec, TargetSpec
from harness.model.secrets import redact, with_secrets
from harness.scenario.check import prepare
from harness.scenario.loader import load_scenario
from harness.scenario.schema import json_schema

pytestmark = pytest.mark.unit

FRAME = """\
name: t
target:
  url: {url}
{more}callers: [{{name: anyone, turns: 1}}]
load: {{arrivals: {{rate_per_minute: 60, calls: 1, distribution: uniform}}}}
"""
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def write(tmp_path, url, *more):
    path = tmp_path / "t.yaml"
    path.write_text(FRAME.format(url=json.dumps(url), more="".join(f"  {line}\n" for line in more)))
    return path


def target_of(tmp_path, url, *more, override=None):
    return load_scenario(write(tmp_path, url, *more)).scenario.target_spec(override)


# --- what follows from the address ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "transport", "dialect", "codec"),
    [
        ("http://h/o", "webrtc", "pipecat", "opus"),
        ("https://h/o", "webrtc", "pipecat", "opus"),
        ("rtp://h:1", "rtp", "", "PCMU"),
        ("sip:agent@h", "sip", "", "PCMU"),
        ("sips:h:5061", "sip", "", "PCMU"),
        ("sip:+15551234@[::1]:5070;transport=tcp", "sip", "", "PCMU"),
        ("ws://h/media", "media_stream", "twilio", "PCMU"),
        ("wss://h:8443/media?x=1", "media_stream", "twilio", "PCMU"),
        ("audiosocket://h:9092", "media_stream", "audiosocket", "L16"),
    ],
)
def test_the_address_decides_what_is_not_said(url, transport, dialect, codec, tmp_path):
    spec = target_of(tmp_path, url)
    assert (spec.url, spec.transport, spec.dialect, spec.codec) == (url, transport, dialect, codec)
    assert ((spec.sip is None), (spec.stream is None)) == (transport != "sip", transport != "media_stream")
    assert from_json(TargetSpec, json.loads(json.dumps(to_json(spec)))) == spec


@pytest.mark.parametrize(
    ("url", "more", "hop"),
    [
        ("sip:a@h", [], "udp"),
        ("sips:a@h", [], "tls"),
        ("sips:a@h;transport=tcp", [], "tls"),
        ("sip:a@h;transport=TCP", [], "tcp"),
        ("sip:a@h;transport=tcp", ["sip: {transport: tls}"], "tls"),
        ("sip:a@h", ["sip: {proxy: 'sip:p:5070;lr;transport=tcp'}"], "tcp"),
        ("sip:a@h;transport=tcp", ["sip: {proxy: 'sip:p;lr'}"], "udp"),
    ],
)
def test_what_the_first_hop_of_a_sip_call_goes_by(url, more, hop, tmp_path):
    assert target_of(tmp_path, url, *more).sip.transport == hop


def test_all_that_may_be_said_of_sip(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    spec = target_of(
        tmp_path,
        "sips:agent@pbx.example:5061",
        "headers: {X-Campaign: spring}",
        "srtp: required",
        "source_ports: per_call",
        "sip:",
        "  from: sip:alice@example.org",
        "  proxy: sips:edge.example;lr",
        "  username: '1001'",
        "  password: ${PBX_PASSWORD}",
        "  register: true",
        "  tls_ca: ca.pem",
        "  session_expires_s: 1800",
        "  prack: false",
        "  codecs: [pcma, opus]",
    )
    assert (spec.codec, spec.srtp, spec.source_ports, spec.headers) == (
        "PCMA", "required", "per_call", {"X-Campaign": "spring"},
    )  # fmt: skip
    assert spec.sip == SipSpec(
        from_uri="sip:alice@example.org",
        proxy="sips:edge.example;lr",
        username="1001",
        password="${PBX_PASSWORD}",
        register=True,
        transport="tls",
        tls_ca=str(tmp_path / "ca.pem"),
        session_expires_s=1800,
        prack=False,
        codecs=("PCMA", "opus"),
    )


def test_all_that_may_be_said_of_ice(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    spec = target_of(
        tmp_path,
        "http://h/o",
        "ice:",
        "  policy: relay",
        "  servers:",
        "    - {urls: 'stun:stun.example'}",
        "    - {urls: ['turn:t.example:3478?transport=udp', 'turns:[::1]:5349'], username: u, credential: c}",
        "  tls_ca: ca.pem",
    )
    turn = IceServer(("turn:t.example:3478?transport=udp", "turns:[::1]:5349"), "u", "c")
    assert spec.ice == IceSpec("relay", (IceServer(("stun:stun.example",)), turn), str(tmp_path / "ca.pem"))


def test_all_that_may_be_said_of_a_stream(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    more = ("dialect: telnyx", "codec: pcma", "headers: {X-Key: k}", "stream: {parameters: {who: me}, ca: ca.pem}")
    spec = target_of(tmp_path, "wss://h/media", *more)
    assert (spec.dialect, spec.codec) == ("telnyx", "PCMA")
    assert spec.stream == StreamSpec({"who": "me"}, str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("dialect", ["pipecat", "json", "whip", "openai"])
def test_every_dialect_of_webrtc(dialect, tmp_path):
    assert target_of(tmp_path, "http://h/o", f"dialect: {dialect}").dialect == dialect


def test_whip_may_learn_its_relays_from_the_answer(tmp_path):
    assert target_of(tmp_path, "http://h/o", "dialect: whip", "ice: {policy: relay}").ice.policy == "relay"


# --- mistakes ------------------------------------------------------------------------------------------------------

HTTP, SIP, WS = "http://h/o", "sip:a@h", "ws://h/m"
# Address, lines, line of the error, what the message must hold.
WRONG = {
    "unknown scheme": ("ftp://h/", [], 3, ["target.url", "sips?:"]),
    "sip with slashes": ("sip://h:5060", [], 3, ["target.url", "sips?:"]),
    "sip port": ("sip:a@h:70000", [], 3, ["target.url", "'h:70000' is no host and port", "sip:user@host:port"]),
    "sip host": ("sip:a@h_%", [], 3, ["target.url", "no host and port"]),
    "sip user": ("sip:a<b@h", [], 3, ["target.url", "'a<b' is no user"]),
    "sip headers": ("sip:a@h?Subject=x", [], 3, ["target.url", "has no headers"]),
    "sip transport": ("sip:a@h;transport=sctp", [], 3, ["transport=sctp; legal for sip: udp, tcp, tls"]),
    "sips by udp": ("sips:a@h;transport=udp", [], 3, ["transport=udp; legal for sips: tcp, tls"]),
    "ws fragment": ("ws://h/m#x", [], 3, ["target.url", "no fragment"]),
    "ws port": ("ws://h:99999/m", [], 3, ["target.url", "Port out of range", "legal: ws://"]),
    "audiosocket without a port": ("audiosocket://h", [], 3, ["target.url", "all there is to AudioSocket"]),
    "secret in an address": ("http://h/${TOKEN}", [], 3, ["target.url", "legal: in headers"]),
    "transport of sip": (SIP, ["transport: webrtc"], 4, ["target.transport: got webrtc; legal for the address", "sip"]),
    "transport of http": (HTTP, ["transport: sip"], 4, ["target.transport: got sip; legal", "webrtc, rtp"]),
    "dialect": (HTTP, ["dialect: wipp"], 4, ["target.dialect: got 'wipp'", "whip", "did you mean whip?"]),
    "dialect of the other kind": (
        HTTP,
        ["dialect: twilio"],
        4,
        ["got twilio; legal for", "pipecat, json, whip, openai"],
    ),
    "dialect of a stream": (WS, ["dialect: json"], 4, ["got json; legal", "twilio, telnyx, plivo"]),
    "audiosocket over ws": (WS, ["dialect: audiosocket"], 4, ["got audiosocket; legal", "vonage, jambonz"]),
    "twilio over audiosocket": ("audiosocket://h:1", ["dialect: twilio"], 4, ["got twilio; legal", ": audiosocket"]),
    "dialect of sip": (SIP, ["dialect: json"], 4, ["target.dialect: got json; transport sip", "leave it out"]),
    "codec of webrtc": (HTTP, ["codec: L16"], 4, ["target.codec: got L16; legal for transport webrtc: opus"]),
    "codec of sip": (SIP, ["codec: L16"], 4, ["target.codec: got L16; legal for transport sip: PCMU, PCMA"]),
    "codec of twilio": (WS, ["codec: PCMA"], 4, ["in the dialect twilio: PCMU"]),
    "header we say": (SIP, ["headers: {Call-ID: x}"], 4, ["target.headers: the header 'Call-ID' is ours"]),
    "header of audiosocket": ("audiosocket://h:1", ["headers: {a: b}"], 4, ["target.headers", "legal: none"]),
    "srtp of a stream": (WS, ["srtp: offered"], 4, ["target.srtp: got offered; a media stream has no RTP"]),
    "ports of a stream": (WS, ["source_ports: shared"], 4, ["target.source_ports: got shared", "legal for it: auto"]),
    "impaired stream": (WS, ["impairments: {both: {loss_ratio: 0.1}}"], 4, ["target.impairments", "over TCP"]),
    "sip of webrtc": (HTTP, ["sip: {register: true}"], 4, ["target.sip: transport webrtc", "with transport sip"]),
    "ice of sip": (SIP, ["ice: {policy: host}"], 4, ["target.ice: transport sip", "legal: with transport webrtc"]),
    "stream of rtp": ("rtp://h:1", ["stream: {}"], 4, ["target.stream", "legal: with transport media_stream"]),
    "key of sip": (SIP, ["sip: {pasword: x}"], 4, ["target.sip.pasword: unknown key", "did you mean password?"]),
    "password alone": (SIP, ["sip: {password: x}"], 4, ["target.sip.password", "legal: with target.sip.username"]),
    "proxy": (SIP, ["sip: {proxy: 'http://p'}"], 4, ["target.sip.proxy: got 'http://p': not a SIP address"]),
    "sip by": (SIP, ["sip: {transport: ws}"], 4, ["target.sip.transport: got 'ws'; legal: udp, tcp, tls"]),
    "sips by tcp": ("sips:h", ["sip: {transport: tcp}"], 4, ["target.sip: transport: got tcp; legal", "tls"]),
    "ca without tls": (SIP, ["sip: {tls_verify: false}"], 4, ["target.sip: tls_verify: calls go by udp"]),
    "no such file": ("sips:h", ["sip: {tls_ca: no.pem}"], 4, ["target.sip.tls_ca: got 'no.pem': no such file"]),
    "no certificate": ("sips:h", ["sip: {tls_ca: t.yaml}"], 4, ["target.sip.tls_ca", "no certificate in it"]),
    "short session": (SIP, ["sip: {session_expires_s: 60}"], 4, ["target.sip.session_expires_s", "at least 90"]),
    "codecs twice": (SIP, ["sip: {codecs: [PCMU, pcmu]}"], 4, ["target.sip.codecs: a codec stands twice"]),
    "codecs that miss the codec": (
        SIP,
        ["codec: PCMA", "sip: {codecs: [PCMU]}"],
        5,
        ["codecs: got PCMU", "PCMA first"],
    ),
    "ice policy": (HTTP, ["ice: {policy: none}"], 4, ["target.ice.policy: got 'none'; legal: all, relay, host"]),
    "relay without turn": (HTTP, ["ice: {policy: relay}"], 4, ["target.ice: policy: got relay", "turn:host:port"]),
    "host with servers": (
        HTTP,
        ["ice: {policy: host, servers: [{urls: 'stun:h'}]}"],
        4,
        ["ice.servers", "policy: all"],
    ),
    "ice url": (
        HTTP,
        ["ice: {servers: [{urls: ['turn://h']}]}"],
        4,
        ["servers[0].urls[0]: got 'turn://h'; legal: stun:"],
    ),
    "turn over dtls": (
        HTTP,
        ["ice: {servers: [{urls: 'turns:h?transport=udp'}]}"],
        4,
        ["over DTLS", "turns:host:port"],
    ),
    "turn without account": (HTTP, ["ice: {servers: [{urls: 'turn:h'}]}"], 4, ["ice.servers[0].username: missing"]),
    "parameters of audiosocket": (
        "audiosocket://h:1",
        ["stream: {parameters: {a: b}}"],
        4,
        ["AudioSocket has no message"],
    ),
    "ca of ws": (WS, ["stream: {ca: t.pem}"], 4, ["target.stream", "ca: ws:// is not encrypted"]),
    "header of the handshake": (WS, ["headers: {upgrade: h2c}"], 4, ["target.headers", "a WebSocket's handshake"]),
    "name of a variable": (SIP, ["headers: {X-A: '${a b}'}"], 4, ["target.headers", "legal: ${NAME}"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_mistake_names_its_line_its_key_and_what_is_legal(name, tmp_path):
    url, more, line, expected = WRONG[name]
    (tmp_path / "t.pem").write_text(PEM)
    with pytest.raises(ScenarioError) as caught:
        prepare(write(tmp_path, url, *more))
    message = str(caught.value)
    assert f"t.yaml:{line}: " in message, message
    for part in expected:
        assert part in message, message


def test_a_caller_of_a_stream_has_no_packets_to_lose(tmp_path):
    path = write(tmp_path, WS)
    path.write_text(path.read_text().replace("turns: 1", "turns: 1, impairments: {both: {loss_ratio: 0.1}}"))
    with pytest.raises(ScenarioError, match=r"t\.yaml:4: callers\[0\]\.impairments: a media stream goes over TCP"):
        prepare(path)


# --- another address -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "more", "override", "expected"),
    [
        (HTTP, [], SIP, ("sip", "", "PCMU")),
        (SIP, ["codec: G722"], "http://h/o", "the scenario's target.codec: got G722; legal for transport webrtc: opus"),
        (HTTP, ["dialect: whip"], SIP, "target.dialect: got whip; transport sip has one dialect only"),
        (HTTP, [], WS, ("media_stream", "twilio", "PCMU")),
        (SIP, ["sip: {register: true}"], "sips:b@i", ("sip", "", "PCMU")),
        (SIP, ["sip: {register: true}"], "http://h/o", "target.sip: transport webrtc has no use for it"),
        (HTTP, ["impairments: {both: {delay_ms: 50, jitter: {ms: 20}}}"], "rtp://h:1", ("rtp", "", "PCMU")),
        (HTTP, ["impairments: {both: {loss_ratio: 0.1}}"], WS, "target.impairments: a media stream goes over TCP"),
        (HTTP, [], "sip:a@h:0", "--target: got 'sip:a@h:0'"),
        (HTTP, [], "gopher://h", "--target: got 'gopher://h': nobody can be called there; legal: http://"),
    ],
)
def test_an_override_takes_what_the_file_left_open_and_must_fit_the_rest(url, more, override, expected, tmp_path):
    path = write(tmp_path, url, *more)
    if isinstance(expected, str):
        with pytest.raises(ScenarioError) as caught:
            prepare(path, url=override)
        assert expected in str(caught.value)
    else:
        spec = prepare(path, url=override).planner.plan_for_index(0).target
        assert (spec.url, spec.transport, spec.dialect, spec.codec) == (override, *expected)


# --- secrets -------------------------------------------------------------------------------------------------------

SECRETS = (
    'headers: {Authorization: "Bearer ${AGENT_TOKEN}", X-Plain: "$${NOT}"}',
    'ice: {servers: [{urls: "turn:h", username: "${TURN_USER}", credential: "${TURN_WORD}"}]}',
)
VALUES = {"AGENT_TOKEN": "sk-very-secret", "TURN_USER": "turner", "TURN_WORD": "t0psecret"}


def test_a_plan_holds_names_and_the_call_their_values(tmp_path, monkeypatch):
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    target = prepare(write(tmp_path, HTTP, *SECRETS)).planner.plan_for_index(0).target
    assert not any(value in json.dumps(to_json(target)) for value in VALUES.values())
    filled, secrets = with_secrets(target, VALUES)
    assert filled.headers == {"Authorization": "Bearer sk-very-secret", "X-Plain": "${NOT}"}
    assert (filled.ice.servers[0].username, filled.ice.servers[0].credential) == ("turner", "t0psecret")
    assert secrets.hide("HTTP 401: no such key sk-very-secret") == "HTTP 401: no such key ${AGENT_TOKEN}"


def test_sip_and_stream_take_secrets_too():
    target = TargetSpec(
        "sip:h",
        sip=SipSpec(username="${U}", password="${P}!"),
        stream=StreamSpec({"key": "${K}"}),
    )
    filled, _ = with_secrets(target, {"U": "u", "P": "p", "K": "k"})
    assert (filled.sip.username, filled.sip.password, filled.stream.parameters) == ("u", "p!", {"key": "k"})
    with pytest.raises(ScenarioError, match="the environment variable P is not set"):
        with_secrets(target, {"U": "u", "P": "", "K": "k"})


def test_a_variable_that_is_not_set_is_told_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_TOKEN", VALUES["AGENT_TOKEN"])
    monkeypatch.setenv("TURN_USER", VALUES["TURN_USER"])
    monkeypatch.delenv("TURN_WORD", raising=False)
    path = write(tmp_path, HTTP, *SECRETS)
    with pytest.raises(ScenarioError) as caught:
        prepare(path)
    assert "target.ice.servers[0].credential: the environment variable TURN_WORD is not set" in str(caught.value)
    # Reading a file asks for none of them.
    assert load_scenario(path).scenario.name == "t"


@pytest.mark.parametrize(
    "lines",
    [
        ["sip: {username: u, password: 271828}"],
        ["headers: {X-Key: 271828}"],
        ["headers: {X-Key: '${AGENT_TOKEN}'}"],
    ],
)
def test_no_error_shows_a_secret(lines, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_TOKEN", "271828\n")
    with pytest.raises(ScenarioError) as caught:
        prepare(write(tmp_path, SIP, *lines))
    assert "271828" not in str(caught.value)


def test_run_json_shows_no_secret_whether_named_or_written_out(tmp_path):
    path = write(tmp_path, SIP, "headers: {X-Key: k3y}", "sip: {username: alice, password: w0rd}")
    info = json.dumps(describe_run(prepare(path), "run", {}, []))
    assert "k3y" not in info
    assert "w0rd" not in info
    assert info.count("(hidden)") == 4


def test_every_kind_of_secret_is_redacted():
    target = to_json(
        TargetSpec(
            HTTP,
            headers={"A": "s3cret"},
            sip=SipSpec(username="u", password="s3cret"),
            ice=IceSpec(servers=(IceServer(("turn:h",), "u", "s3cret"),)),
            stream=StreamSpec({"a": "s3cret"}),
        )
    )
    shown = redact(target)
    assert "s3cret" not in json.dumps(shown)
    assert "s3cret" in json.dumps(target)
    assert from_json(TargetSpec, shown).sip.username == "u"


def test_the_schema_for_editors_knows_every_block():
    definitions = json_schema()["$defs"]
    keys = set(definitions["Target"]["properties"])
    assert {"url", "transport", "dialect", "sip", "ice", "stream"} <= keys
    assert {"from", "register", "proxy", "tls_ca"} <= set(definitions["Sip"]["properties"])
    assert set(definitions["Ice"]["properties"]) == {"policy", "servers", "tls_ca"}


# --- the way around WebRTC -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "fallback", "after_ms"),
    [
        ((), "", 5_000),
        (("fallback: none",), "", 5_000),
        (("fallback: websocket",), "websocket", 5_000),
        (("fallback: wss://h:8443/stream", "fallback_after_s: 2.5"), "wss://h:8443/stream", 2_500),
    ],
)
def test_a_webrtc_target_may_name_a_websocket_to_fall_back_to(lines, fallback, after_ms, tmp_path):
    spec = target_of(tmp_path, "http://h/o", *lines)
    assert (spec.fallback, spec.fallback_after_ms) == (fallback, after_ms)
    assert from_json(TargetSpec, json.loads(json.dumps(to_json(spec)))) == spec


@pytest.mark.parametrize(
    ("url", "lines", "words"),
    [
        ("http://h/o", ("fallback: sip",), "target.fallback: got sip; legal: none, websocket, ws://"),
        ("http://h/o", ("fallback: ws://h:0/x",), "target.fallback: got 'ws://h:0/x': nobody can be called there"),
        ("sip:a@h", ("fallback: websocket",), "transport sip has no ICE that could fail; legal for it: none"),
        ("http://h/o", ("fallback: websocket", "fallback_after_s: 0"), "target.fallback_after_s"),
        ("http://h/o", ("fallback: websocket", "fallback_after_s: 15"), "no time is left for the fallback"),
    ],
)
def test_a_fallback_that_cannot_be_is_refused(url, lines, words, tmp_path):
    with pytest.raises(ScenarioError) as caught:
        prepare(write(tmp_path, url, *lines))
    assert words in str(caught.value)
