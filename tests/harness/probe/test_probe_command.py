"""`callquake probe`: what its options make of a target, what it tells of a call, and how it exits."""

import asyncio
import json
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from edge_peer import Sessions, running_edge
from sip_peer import running_sip_edge

from harness import cli
from harness.commands import probe
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError
from harness.model.plan import IceServer, IceSpec, SipSpec, StreamSpec, TargetSpec
from harness.model.records import CallRecord, Cause, MediaStats, Outcome, SetupTimes
from harness.probe import words
from harness.probe.call import Probed
from harness.probe.plan import Wish, call_plan

pytestmark = pytest.mark.loopback

ROOT = Path(__file__).resolve().parents[3]


def options(*said):
    return cli.build_parser().parse_args(["probe", *said])


def test_options_say_what_a_scenarios_target_says():
    said = options(
        "http://h/o", "--dialect", "whip", "--header", "X-A: b: c", "--header", "Y:d",
        "--ice-policy", "relay", "--ice-server", "turn:t", "--ice-server", "turns:t", "--ice-username", "u",
        "--ice-credential", "p",
    )  # fmt: skip
    assert probe.target_of(said) == TargetSpec(
        "http://h/o",
        dialect="whip",
        headers={"X-A": "b: c", "Y": "d"},
        ice=IceSpec("relay", (IceServer(("turn:t", "turns:t"), "u", "p"),)),
    )
    said = options(
        "sips:a@h", "--srtp", "required", "--codec", "pcma", "--sip-username", "1", "--sip-password", "w",
        "--sip-register", "--sip-any-certificate", "--sip-from", "sip:me@h",
    )  # fmt: skip
    account = SipSpec("sip:me@h", username="1", password="w", register=True, transport="tls", tls_verify=False)
    spec = probe.target_of(said)
    assert (spec.codec, spec.srtp, spec.sip) == ("PCMA", "required", account)
    said = options("ws://h/m", "--dialect", "telnyx", "--stream-parameter", "a=b=c")
    assert probe.target_of(said).stream == replace(StreamSpec(), parameters={"a": "b=c"})


def test_a_scenario_file_is_an_address_too():
    assert probe.target_of(options(str(ROOT / "scenarios" / "smoke.yaml"))).transport == "webrtc"
    with pytest.raises(ScenarioError, match=r"--codec: .*smoke\.yaml says what the target is"):
        probe.target_of(options(str(ROOT / "scenarios" / "smoke.yaml"), "--codec", "opus"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["http://h/o", "--dialect", "wipp"], "target.dialect: got 'wipp'; legal: pipecat, json"),
        (["http://h/o", "--codec", "PCMU"], "target.codec: got PCMU; legal for transport webrtc: opus"),
        (["http://h/o", "--header", "A: ${NO_SUCH_VARIABLE}"], "the environment variable NO_SUCH_VARIABLE is not set"),
        (["gopher://h"], "target.url: got 'gopher://h'"),
        (["http://h/o", "--say", "nothing-like-it"], "--say: 'nothing-like-it' is none of the corpus's"),
        (["http://h/o", "--timeout", "0"], "--timeout: got 0; legal: seconds above 0"),
        (["http://h/o", "--say-nothing", "--say", "x"], "--say-nothing: --say is given, too"),
        (["http://h/o", "--say-nothing", "--no-greeting"], "--say-nothing: with --no-greeting nobody"),
        (["http://h/o", "--record", "call.wav"], "--record: got call.wav; legal: a file in an existing folder"),
        (["http://h/o", "--record", "/no/such/place/x.flac"], "--record: got /no/such/place/x.flac"),
    ],
)
def test_a_wrong_option_is_told_before_any_call(said, expected, capsys):
    assert cli.main(["probe", *said]) == ExitCode.BAD_SCENARIO
    assert expected in capsys.readouterr().err


def test_help_teaches_by_examples(capsys):
    with pytest.raises(SystemExit):
        cli.main(["probe", "--help"])
    told = capsys.readouterr().out
    assert told.count("callquake probe ") >= 8
    assert "exit codes:" in told


def record(**changes):
    plan = call_plan(TargetSpec("http://h/o"), Wish("u"))
    call = CallRecord(
        call_id="c", index=0, worker="probe", caller="probe", persona=plan.persona, outcome=Outcome.COMPLETED,
        cause=Cause.NONE, detail="", transport="webrtc", codec="opus", due_at_ns=None, started_at_ns=0,
        connected_at_ns=1, ended_at_ns=2, arrival_lateness_ms=None, setup=SetupTimes(), greeting_ms=None,
        turns_planned=1, turns_answered=1, media=MediaStats(),
    )  # fmt: skip
    return replace(call, **changes)


@pytest.mark.parametrize(
    ("changes", "turns", "expected"),
    [
        ({}, 1, ExitCode.PASSED),
        ({"turns_answered": 0, "outcome": Outcome.DROPPED, "cause": Cause.NO_ANSWER}, 1, ExitCode.NO_DATA),
        ({"turns_planned": 0, "turns_answered": 0, "greeting_ms": 3.0}, 0, ExitCode.PASSED),
        ({"turns_planned": 0, "turns_answered": 0}, 0, ExitCode.NO_DATA),
        ({"outcome": Outcome.FAILED, "cause": Cause.ICE_FAILED}, 0, ExitCode.TARGET_UNREACHABLE),
        ({"outcome": Outcome.FAILED, "cause": Cause.GENERATOR_ERROR}, 0, ExitCode.VOID),
        ({"outcome": Outcome.LOST, "cause": Cause.NONE}, 0, ExitCode.VOID),
        ({"outcome": Outcome.INTERRUPTED, "cause": Cause.OPERATOR}, 0, ExitCode.INTERRUPTED),
    ],
)
def test_exit_codes(changes, turns, expected):
    assert probe.exit_code(record(**changes), [None] * turns) == expected


def test_a_call_that_failed_is_told_as_far_as_it_came():
    request = {"method": "POST", "url": "http://h/o", "status": 503, "reason": "Busy", "headers": {"Retry-After": "5"}}
    call = record(
        outcome=Outcome.FAILED,
        cause=Cause.SIGNALLING_REFUSED,
        detail="HTTP 503",
        connected_at_ns=None,
        codec=None,
        details={"requests": [{**request, "at_ns": 0, "took_ms": 1.25}]},
    )
    told = list(words.lines(Probed(call_plan(TargetSpec("http://h/o"), Wish("u")), call, [], "python")))
    assert told == [
        "http://h/o (webrtc, pipecat)",
        "  POST           http://h/o  503 Busy  1.2 ms",
        "                 Retry-After: 5",
        "  packets        0 sent, 0 received, 0 lost, 0 discarded; jitter not measured; round trip not measured",
        "  outcome        failed: signalling_refused: HTTP 503",
    ]


def run_probe(*said):
    """Probe an agent that greets; returns (exit code, what was printed), with URL put into `said`."""

    async def main():
        sessions = Sessions(greeting_s=0.4, quiet_ms=900)
        async with running_edge(sessions) as (_, url), running_sip_edge(sessions) as (_, (host, port)):
            places = {"URL": url, "WS": url.replace("http", "ws"), "SIP": f"sip:agent@{host}:{port}"}
            words_said = (re.sub("URL|WS|SIP", lambda found: places[found[0]], word) for word in said)
            command = [sys.executable, "-m", "harness.cli", "probe", *words_said]
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            told, _ = await process.communicate()
            return process.returncode, told.decode()

    return asyncio.run(main())


def test_a_real_call_is_told_in_words_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_TOKEN", "ek_very_secret")
    kept = tmp_path / "call.flac"
    code, told = run_probe(
        "URL/v1/realtime/calls", "--dialect", "openai", "--header", "Authorization: Bearer ${AGENT_TOKEN}",
        "--say", "italian-l1-delivery-time", "--record", str(kept), "--messages",
    )  # fmt: skip
    assert code == 0, told
    for expected in (
        "/v1/realtime/calls  201 Created",
        "Location: /v1/realtime/calls/",
        "set-up         signalling ",
        "ICE pair       127.0.0.1:",
        "DTLS           DTLSv1.2, ",
        "SRTP           SRTP_AE",
        "codec          opus, payload type",
        "greeting       heard ",
        "(italian-l1-delivery-time, 4.2 s)",
        "TTFB           ",
        'agent heard    "what are your opening hours" (stt, told at',
        'agent said     "Nine to five." (transcription, told at',
        "session.created",
        " lost, ",
        "outcome        completed",
        f"recording      {kept}",
    ):
        assert expected in told, told
    assert "ek_very_secret" not in told
    assert kept.read_bytes().startswith(b"fLaC")


def test_a_real_call_is_told_as_json():
    code, told = run_probe("URL/whip", "--dialect", "whip", "--say-nothing", "--json")
    found = json.loads(told)
    assert code == 0
    assert (found["schema_version"], found["turns"], found["target"]["dialect"]) == (1, [], "whip")
    call = found["call"]
    assert call["outcome"] == "completed"
    assert call["greeting_ms"] > 0
    assert call["details"]["ice"]["types"] == ["host", "host"]
    assert [request["method"] for request in call["details"]["requests"]] == ["POST", "DELETE"]


def test_a_sip_call_is_told_by_its_status_lines_and_descriptions():
    _code, told = run_probe("SIP", "--srtp", "required", "--say-nothing")
    for expected in (
        "(sip)",
        "RTP/SAVP",
        "a=crypto:1 AEAD_AES_128_GCM inline:(hidden)",
        "codec          PCMU",
        "SIP            by udp, Call-ID ",
        "200 OK at ",
        "BYE            answered after ",
        "outcome        completed",
    ):
        assert expected in told, told


def test_a_media_stream_is_told_by_its_connection():
    code, told = run_probe("WS/twilio", "--say-nothing")
    assert code == 0
    for expected in ("(media_stream, twilio)", "handshake ", "codec          PCMU", "stream         dialect twilio"):
        assert expected in told, told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_call_is_hung_up_and_what_there_is_told(number):
    async def main():
        sessions = Sessions(greeting_s=30.0)
        async with running_sip_edge(sessions) as (_, (host, port)):
            command = [sys.executable, "-m", "harness.cli", "probe", f"sip:agent@{host}:{port}", "--json"]
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            async with asyncio.timeout(60.0):
                while not sessions.made:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)
                process.send_signal(number)
                told, _ = await process.communicate()
            return process.returncode, json.loads(told)["call"]

    code, call = asyncio.run(main())
    assert code == ExitCode.INTERRUPTED
    assert (call["outcome"], call["sip"]["bye"]) == ("interrupted", "answered")
    assert call["sip"]["disconnect_delay_ms"] > 0


def test_nobody_there():
    code, told = run_probe("http://127.0.0.1:9/offer", "--say-nothing")
    assert code == ExitCode.TARGET_UNREACHABLE
    assert "outcome        failed: signalling_unreachable: http://127.0.0.1:9/offer: " in told
