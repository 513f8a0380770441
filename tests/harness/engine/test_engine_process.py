"""The engine process against a real responder: what goes wrong is said, and nothing is lost or left behind."""

import json
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from engine_bench import bench_clips, engine, is_alive, plan, responder, wait_for, write_wav_corpus

pytestmark = pytest.mark.loopback

HALF_SDP = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio x"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_wav_corpus(tmp_path_factory.mktemp("corpus"), bench_clips())


def test_a_mute_agent_gives_censored_turns_and_a_hang_up(tmp_path, corpus):
    with responder(tmp_path / "t", "--mute") as (url, _), engine(tmp_path, corpus) as bench:
        bench.place(plan(url, "c1", ["voiced-b"], greeting_timeout_ms=500, answer_timeout_ms=1500))
        bench.drain()
    (turn,) = bench.turns
    assert (turn["censored"], turn["ttfb_ms"], turn["onset_at_ns"]) == (True, None, None)
    assert turn["waited_ms"] == pytest.approx(1500, abs=200)
    assert (bench.calls["c1"]["outcome"], bench.calls["c1"]["cause"]) == ("dropped", "no_answer")


def test_no_target_fails_the_call_with_its_address(tmp_path, corpus):
    with socket.socket() as taken, engine(tmp_path, corpus) as bench:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        bench.place(plan(f"http://127.0.0.1:{port}/api/offer", "c1", ["voiced-b"]))
        bench.drain()
    record = bench.calls["c1"]
    assert (record["outcome"], record["cause"]) == ("failed", "signalling_unreachable")
    assert str(port) in record["detail"]
    assert record["connected_at_ns"] is None


@pytest.mark.parametrize(
    ("status", "body", "cause", "said"),
    [
        (503, b"full", "signalling_refused", "HTTP 503"),
        (200, b"not json", "signalling_refused", "no SDP"),
        (200, b'{"sdp":"v=0\\r\\n","type":"answer"}', "signalling_refused", "unusable"),
        (200, json.dumps({"sdp": HALF_SDP, "type": "answer"}).encode(), "signalling_refused", "unusable"),
    ],
)
def test_an_agent_that_answers_nonsense_fails_the_call_not_the_engine(tmp_path, corpus, status, body, cause, said):
    class Nonsense(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Nonsense)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with engine(tmp_path, corpus) as bench:
            bench.place(plan(f"http://127.0.0.1:{server.server_port}/api/offer", "c1", ["voiced-b"]))
            bench.drain()
            assert bench.stop() == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    record = bench.calls["c1"]
    assert (record["outcome"], record["cause"]) == ("failed", cause)
    assert said in record["detail"]


def test_an_agent_killed_in_a_call_is_media_lost_and_keeps_its_turns(tmp_path, corpus):
    with responder(tmp_path / "t", "--delay-ms", "300") as (url, process), engine(tmp_path, corpus) as bench:
        bench.place(plan(url, "c1", ["voiced-b"] * 30, media_timeout_ms=1500))
        bench.until(lambda b: len(b.turns) >= 1)
        process.kill()
        bench.drain()
    record = bench.calls["c1"]
    assert (record["outcome"], record["cause"]) == ("dropped", "media_lost")
    assert record["turns_answered"] >= 1


def test_stop_ends_open_calls_as_interrupted_and_the_process(tmp_path, corpus):
    with responder(tmp_path / "t") as (url, _), engine(tmp_path, corpus) as bench:
        for i in range(3):
            bench.place(plan(url, f"c{i}", ["speech-a"] * 20))
        # Not due for an hour: it must be dropped without a record of a call that never was.
        bench.place(plan(url, "later", ["speech-a"]), due_at_ns=2**62)
        bench.until(lambda b: len([m for m in b.of("milestone") if m["name"] == "turn_started"]) >= 1)
        assert bench.stop() == 0
    assert {c["outcome"] for c in bench.calls.values()} == {"interrupted"}
    assert set(bench.calls) == {"c0", "c1", "c2"}
    assert all(t["cut"] or t["ttfb_ms"] is not None for t in bench.turns)


def test_the_engine_leaves_when_its_worker_is_gone(tmp_path, corpus):
    with responder(tmp_path / "t") as (url, _), engine(tmp_path, corpus) as bench:
        bench.place(plan(url, "c1", ["speech-a"] * 20))
        bench.until(lambda b: b.of("milestone"))
        pid = bench.process.pid
        bench.sock.shutdown(socket.SHUT_RDWR)
        assert bench.process.wait(20) == 0
        assert not is_alive(pid)


def test_many_calls_leave_no_descriptor_thread_or_task_behind(tmp_path, corpus):
    with responder(tmp_path / "t", "--delay-ms", "200") as (url, _), engine(tmp_path, corpus) as bench:

        def used():
            pid = bench.process.pid
            return tuple(len(list(Path(f"/proc/{pid}/{kind}").iterdir())) for kind in ("fd", "task"))

        def batch(name, count):
            for i in range(count):
                bench.place(plan(url, f"{name}{i}", ["voiced-b"]))
            bench.drain()

        batch("warm", 8)
        before = used()
        batch("a", 12)
        # Keep-alive connections to the target may come and go; a leak would grow with the calls.
        wait_for(lambda: used()[0] <= before[0] + 4 and used()[1] <= before[1] + 2)
        assert bench.stop() == 0


def test_recording_holds_both_directions_at_their_times(tmp_path, corpus):
    with responder(tmp_path / "t", "--delay-ms", "800") as (url, _), engine(tmp_path, corpus) as bench:
        bench.place(plan(url, "c1", ["voiced-a"], record=True))
        bench.drain()
    (turn,) = bench.turns
    with av.open(str(tmp_path / bench.calls["c1"]["recording"])) as container:
        frames = [f.to_ndarray().reshape(-1, 2) for f in container.decode(audio=0)]
    stereo = np.concatenate(frames).astype(float)
    loud = np.abs(stereo) > 500
    caller_end = np.flatnonzero(loud[:, 0])[-1] / 16
    answers = np.flatnonzero(loud[:, 1]) / 16
    measured = answers[answers > caller_end][0] - caller_end
    assert measured == pytest.approx(turn["ttfb_ms"], abs=28)


def test_health_comes_every_second_and_adds_up(tmp_path, corpus):
    with responder(tmp_path / "t", "--delay-ms", "1500") as (url, _), engine(tmp_path, corpus) as bench:
        bench.place(plan(url, "c1", ["voiced-a", "voiced-b"]))
        bench.drain()
        bench.until(lambda b: b.of("health")[-1]["sample"]["calls_active"] == 0)
    samples = [m["sample"] for m in bench.of("health")]
    assert sum(s["packets_sent"] for s in samples) == bench.calls["c1"]["media"]["packets_sent"]
    assert sum(s["ticks"] for s in samples) >= bench.calls["c1"]["media"]["packets_sent"]
    assert all(s["cpu_ratio"] >= 0 for s in samples)


def test_gevent_in_the_engine_is_refused(tmp_path):
    import subprocess
    import sys

    code = "import gevent, sys; sys.argv=['x','--fd','0']; from harness.engine.__main__ import main; sys.exit(main())"
    a, b = socket.socketpair()
    with a, b:
        done = subprocess.run(
            [sys.executable, "-c", code.replace("'0'", f"'{b.fileno()}'")],
            pass_fds=[b.fileno()], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "gevent" in done.stderr


def test_sigint_is_left_to_the_load_generator(tmp_path, corpus):
    with engine(tmp_path, corpus) as bench:
        bench.until(lambda b: b.of("ready"))
        bench.process.send_signal(signal.SIGINT)
        assert bench.stop() == 0
