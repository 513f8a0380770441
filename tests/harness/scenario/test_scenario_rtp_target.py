"""A target over plain RTP: what may be said of it, what may not, and what a plan takes from it."""

import pytest

from harness.media.codecs import CODECS
from harness.model.errors import ScenarioError
from harness.protocols.sdes import SUITES
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

FRAME = """\
name: rtp
target:
  url: {url}
{more}callers: [{{name: anyone, turns: 1}}]
load: {{arrivals: {{rate_per_minute: 60, calls: 1, distribution: uniform}}}}
"""


def prepared(tmp_path, address, *more, **options):
    path = tmp_path / "rtp.yaml"
    path.write_text(FRAME.format(url=address, more="".join(f"  {line}\n" for line in more)))
    return prepare(path, **options)


def target_of(tmp_path, address, *more, **options):
    return prepared(tmp_path, address, *more, **options).planner.plan_for_index(0).target


def test_an_address_without_signalling(tmp_path):
    target = target_of(tmp_path, "rtp://127.0.0.1:6000", "transport: rtp")
    assert (target.url, target.transport, target.codec) == ("rtp://127.0.0.1:6000", "rtp", "PCMU")
    assert (target.srtp, target.srtp_suites, target.source_ports) == ("off", (), "auto")


@pytest.mark.parametrize("word", ["off", '"off"', "Off", "OFF"])
def test_yaml_reads_a_bare_off_as_false_and_we_as_off(tmp_path, word):
    assert target_of(tmp_path, "http://h:1/", RTP, f"srtp: {word}").srtp == "off"


def test_a_bare_on_names_what_is_legal(tmp_path):
    with pytest.raises(ScenarioError, match="got True; legal: off, offered, required"):
        target_of(tmp_path, "http://h:1/", RTP, "srtp: on")


def test_everything_that_may_be_said(tmp_path):
    target = target_of(
        tmp_path,
        "http://127.0.0.1:9/call",
        "transport: rtp",
        "codec: g722",
        "srtp: required",
        "srtp_suites: [AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM]",
        "source_ports: per_call",
    )
    assert (target.codec, target.srtp, target.source_ports) == ("G722", "required", "per_call")
    assert target.srtp_suites == ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM")


def test_webrtc_speaks_opus(tmp_path):
    assert target_of(tmp_path, "http://127.0.0.1:9/o").codec == "opus"


@pytest.mark.parametrize("codec", [codec.name for codec in CODECS])
def test_every_codec_we_have_is_legal(tmp_path, codec):
    assert target_of(tmp_path, "rtp://h:1", "transport: rtp", f"codec: {codec}").codec == codec


@pytest.mark.parametrize("suite", [suite.name for suite in SUITES])
def test_every_suite_we_have_is_legal(tmp_path, suite):
    more = ("transport: rtp", "srtp: offered", f"srtp_suites: [{suite}]")
    assert target_of(tmp_path, "http://h:1/", *more).srtp_suites == (suite,)


RTP = "transport: rtp"
# Address, lines, line of the error, what the message must hold.
WRONG = {
    "webrtc by rtp": (
        "rtp://h:1",
        ["transport: webrtc"],
        4,
        ["target.transport: got webrtc", "legal for the address rtp://h:1: rtp"],
    ),
    "no port": ("rtp://h", [RTP], 3, ["target.url", "legal: rtp://host:port"]),
    "path": ("rtp://h:1/x?y", [RTP], 3, ["target.url", "rtp://"]),
    "port out of range": ("rtp://h:70000", [RTP], 3, ["target.url", "Port out of range", "port 1 to 65535"]),
    "scheme": ("sip://h:1", [RTP], 3, ["target.url", "https?://"]),
    "transport": ("http://h:1/", ["transport: rpt"], 4, ["target.transport", "legal: webrtc, rtp", "mean rtp?"]),
    "codec": ("http://h:1/", [RTP, "codec: G729"], 5, ["target.codec", "legal: PCMU, PCMA, G722, opus"]),
    "codec of webrtc": (
        "http://h:1/",
        ["codec: PCMU"],
        4,
        ["target.codec: got PCMU; legal for transport webrtc: opus"],
    ),
    "dialect": ("http://h:1/", [RTP, "dialect: json"], 5, ["target.dialect: got json", "leave it out"]),
    "srtp": ("http://h:1/", [RTP, "srtp: maybe"], 5, ["target.srtp", "legal: off, offered, required"]),
    "srtp of webrtc": ("http://h:1/", ["srtp: required"], 4, ["target.srtp: got required; webrtc is always encrypted"]),
    "srtp without signalling": ("rtp://h:1", [RTP, "srtp: offered"], 5, ["target.srtp", "no signalling", "off"]),
    "headers without signalling": ("rtp://h:1", [RTP, "headers: {a: b}"], 5, ["target.headers", "legal: none"]),
    "suite": (
        "http://h:1/",
        [RTP, "srtp: offered", "srtp_suites: [AES]"],
        6,
        ["target.srtp_suites[0]", "AEAD_AES_128"],
    ),
    "suites without srtp": ("http://h:1/", [RTP, "srtp_suites: [AEAD_AES_128_GCM]"], 5, ["with srtp: offered"]),
    "suite twice": (
        "http://h:1/",
        [RTP, "srtp: offered", "srtp_suites: [AEAD_AES_128_GCM, AEAD_AES_128_GCM]"],
        6,
        ["target.srtp_suites: a suite stands twice"],
    ),
    "no suite": ("http://h:1/", [RTP, "srtp: offered", "srtp_suites: []"], 6, ["target.srtp_suites", "at least 1"]),
    "source ports": (
        "http://h:1/",
        ["source_ports: many"],
        4,
        ["target.source_ports", "legal: auto, shared, per_call"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_may_not_be_said_names_line_path_and_legal_values(name, tmp_path):
    url, more, line, expected = WRONG[name]
    with pytest.raises(ScenarioError) as caught:
        prepared(tmp_path, url, *more)
    message = str(caught.value)
    assert f"rtp.yaml:{line}: " in message, message
    for part in expected:
        assert part in message, message


@pytest.mark.parametrize(
    ("more", "override", "expected"),
    [
        (
            ["transport: webrtc"],
            "rtp://h:1",
            "--target: got rtp://h:1, which does not go with the scenario's target.transport: got webrtc; legal",
        ),
        (
            [RTP, "srtp: required"],
            "rtp://h:1",
            "the scenario's target.srtp: got required; an rtp:// address has no signalling",
        ),
        (
            [RTP, "headers: {a: b}"],
            "rtp://h:1",
            "the scenario's target.headers: an rtp:// address is called without any request",
        ),
        ([RTP], "rtp://h", "--target: got 'rtp://h'"),
    ],
)
def test_an_override_must_fit_the_rest(more, override, expected, tmp_path):
    with pytest.raises(ScenarioError) as caught:
        prepared(tmp_path, "http://h:1/", *more, url=override)
    assert expected in str(caught.value)


def test_an_override_that_fits(tmp_path):
    assert target_of(tmp_path, "http://h:1/", RTP, url="rtp://127.0.0.1:5").url == "rtp://127.0.0.1:5"
