"""An agent that hears itself, before the harness: it answers its own voice, and the call's record says so by sound."""

from dataclasses import replace

import pytest
from engine_bench import bench_clips, engine, plan, responder, write_wav_corpus
from test_engine_misconduct import evidence_of, fault, target

from harness.model.codec import to_json

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Callers who never come to say a word: the reference responder has only itself to answer."""
    run_dir = tmp_path_factory.mktemp("run")
    corpus = write_wav_corpus(tmp_path_factory.mktemp("corpus"), bench_clips())
    options = ("--delay-ms", "1000:1000", "--answer-ms", "600", "--greeting-ms", "600", "--sip-port", "0")
    with responder(run_dir / "truth", *options) as (url, process), engine(run_dir, corpus) as bench:
        _fixed, sip = (process.stdout.readline().strip() for _ in range(2))
        bench.send("fault", fault=to_json(fault("webrtc", "caller.echo", {"delay_ms": 200, "gain_db": -3})))
        bench.send("fault", fault=to_json(fault("sip", "caller.echo", {"delay_ms": 200, "gain_db": -3})))
        for name, record in (("webrtc", False), ("sip", False), ("spared", True)):
            call = plan(url, name, ["voiced-b"], think_ms=9_000, record=record, call_timeout_ms=6_500)
            transport = "sip" if name == "sip" else "webrtc"
            bench.place(replace(call, target=target(transport, url, sip), caller=name))
        bench.drain()
        for name in ("webrtc", "sip"):
            bench.send("end_fault", name=name)
        bench.until(lambda _: sum(message["is_over"] for message in bench.of("fault")) == 2)
        evidence = {name: evidence_of(bench, name) for name in ("webrtc", "sip")}
        assert bench.stop() == 0
    return evidence, bench.calls


@pytest.mark.parametrize("name", ["webrtc", "sip"])
def test_it_answers_itself_and_is_found_out(told, name):
    evidence, calls = told
    assert evidence[name]["touched"] > 50
    assert evidence[name]["calls"] == [name]
    echo = calls[name]["echo"]
    assert calls[name]["recording"]
    assert echo["self_answers"] >= 1
    assert echo["copies"] >= 2
    assert echo["gain_db"] == pytest.approx(-3, abs=2)


def test_a_call_without_echo_is_judged_too_and_cleared(told):
    _evidence, calls = told
    echo = calls["spared"]["echo"]
    assert (echo["copies"], echo["self_answers"]) == (0, 0)
