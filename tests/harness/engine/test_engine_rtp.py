"""The engine over plain RTP against the reference responder: every codec, every way to set a call up, its records."""

from dataclasses import replace

import pytest
from engine_bench import bench_clips, engine, plan, read_truth, responder, write_wav_corpus

from harness.media.codecs import CODECS

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(400)]

WAYS = {
    "static": {"srtp": "off", "source_ports": "auto"},
    "static-shared": {"srtp": "off", "source_ports": "shared"},
    "sdp": {"srtp": "off", "source_ports": "auto"},
    "sdp-srtp": {"srtp": "required", "source_ports": "auto"},
    "sdp-own-ports": {"srtp": "offered", "source_ports": "per_call"},
}


def calls_to(sdp_url, static_url):
    for way, settings in WAYS.items():
        for codec in CODECS:
            url = static_url if way.startswith("static") else sdp_url
            call = plan(url, f"{way}-{codec.name}", ["voiced-b", "speech-a"], record=True)
            target = replace(call.target, url=url, transport="rtp", codec=codec.name, **settings)
            yield replace(call, target=target)


@pytest.fixture(scope="module")
def talked(tmp_path_factory):
    """All calls at once; returns (calls by name, turns, the responder's truth, run directory)."""
    run_dir = tmp_path_factory.mktemp("run")
    corpus = write_wav_corpus(tmp_path_factory.mktemp("corpus"), bench_clips())
    with responder(run_dir / "truth", "--delay-ms", "300:500") as (url, process), engine(run_dir, corpus) as bench:
        for call in calls_to(url, process.stdout.readline().strip()):
            bench.place(call)
        bench.drain()
        assert bench.stop() == 0
    return bench.calls, bench.turns, read_truth(run_dir / "truth"), run_dir


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.name)
@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_held_and_recorded_as_what_it_was(talked, way, codec):
    calls, turns, _truth, run_dir = talked
    record = calls[f"{way}-{codec.name}"]
    assert (record["outcome"], record["detail"]) == ("completed", "")
    assert (record["transport"], record["codec"], record["turns_answered"]) == ("rtp", codec.name, 2)
    assert (record["setup"]["signalling_ms"] is None) == way.startswith("static")
    assert record["setup"]["ice_ms"] is record["setup"]["dtls_ms"] is record["candidate_types"] is None
    media = record["media"]
    assert (media["packets_lost"], media["packets_discarded"], media["send_errors"]) == (0, 0, 0)
    assert record["greeting_ms"] > 0
    mine = [t for t in turns if t["call_id"] == record["call_id"]]
    assert [(t["codec"], t["censored"], t["transcript_channel"]) for t in mine] == [(codec.name, False, None)] * 2
    assert (run_dir / record["recording"]).stat().st_size > 10_000


def test_every_answer_was_given_where_one_was_heard(talked):
    _calls, turns, truth, _run_dir = talked
    for turn in turns:
        # The truth is the responder's own clock reads; it drew 300 to 500 ms, and a packet is 20.
        assert turn["ttfb_ms"] > 280, turn
        assert (turn["call_id"], turn["turn"]) in truth
