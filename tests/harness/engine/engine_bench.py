"""Test bench: an engine process and a reference responder, spoken to over the wire like a Locust worker does."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from harness.calibrate.voice import voiced
from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.engine import wire
from harness.media.onset import window_levels_dbfs
from harness.model.codec import to_json
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, TargetSpec

LIMITS = CallLimits(
    connect_timeout_ms=20_000,
    greeting_timeout_ms=10_000,
    answer_timeout_ms=6_000,
    quiet_ms=250,
    media_timeout_ms=6_000,
)


def plan(url, call_id, turns, *, think_ms=100.0, record=False, **kwargs):
    return CallPlan(
        call_id=call_id,
        index=0,
        due_ms=None,
        caller="bench",
        persona=Persona("n", "p", "r", "a", "unlimited"),
        patience=kwargs.pop("patience", Patience("unlimited", 0.0, 1.0, 0)),
        turns=tuple(PlannedTurn(t, think_ms) for t in turns),
        target=TargetSpec(url, dialect=kwargs.pop("dialect", "pipecat")),
        limits=replace(LIMITS, **kwargs),
        record=record,
    )


class EngineBench:
    """One engine process; `records` collects what it sends until every placed call has ended."""

    def __init__(self, run_dir, corpus):
        ours, theirs = socket.socketpair()
        self.log = (run_dir / "engine.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.engine", "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=self.log,
        )
        theirs.close()
        self.sock = ours
        self.sock.settimeout(120)
        self.decoder = wire.Decoder()
        self.messages = []
        self.open_calls = set()
        self.send("hello", protocol=1, worker="w0", run_dir=str(run_dir), corpus=str(corpus))

    def send(self, kind, **fields):
        self.sock.sendall(wire.encode(kind, **fields))

    def place(self, call_plan, due_at_ns=None):
        self.open_calls.add(call_plan.call_id)
        self.send("place", plan=to_json(call_plan), due_at_ns=due_at_ns)

    def read(self):
        """Read once; False when the engine is gone."""
        data = self.sock.recv(65536)
        for message in self.decoder.feed(data):
            self.messages.append(message)
            if message["t"] == "call":
                self.open_calls.discard(message["record"]["call_id"])
        return bool(data)

    def until(self, condition):
        while not condition(self):
            assert self.read(), f"the engine is gone: {self.messages[-1:]}"

    def drain(self):
        self.until(lambda bench: not bench.open_calls)

    def of(self, kind):
        return [m for m in self.messages if m["t"] == kind]

    @property
    def turns(self):
        return [m["record"] for m in self.of("turn")]

    @property
    def calls(self):
        return {m["record"]["call_id"]: m["record"] for m in self.of("call")}

    def stop(self):
        self.send("stop")
        self.until(lambda bench: bench.of("stopped"))
        return self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.sock.close()
        self.log.close()


@contextlib.contextmanager
def engine(run_dir, corpus):
    bench = EngineBench(run_dir, corpus)
    try:
        yield bench
    finally:
        bench.close()


@contextlib.contextmanager
def responder(truth, *options):
    """Start a reference responder; yields (url, process)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.calibrate.responder", "--truth", str(truth), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip(), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def read_truth(path):
    return {(t["call"], t["turn"]): t for t in map(json.loads, path.read_text().splitlines())}


def write_wav_corpus(directory, clips):
    """Write a corpus of `clips`: id -> (samples at 48 kHz, speech_start_ms, speech_end_ms, transcript)."""
    import hashlib
    import wave

    directory.mkdir(parents=True, exist_ok=True)
    rows = []
    template = to_json_utterance()
    for name, (samples, start_ms, end_ms, transcript) in clips.items():
        path = directory / f"{name}.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(48_000)
            out.writeframes(samples.astype("<i2").tobytes())
        rows.append(
            {
                **template,
                "id": name,
                "base_id": name,
                "path": path.name,
                "transcript": transcript,
                "speech_start_ms": start_ms,
                "speech_end_ms": end_ms,
                "duration_ms": len(samples) / 48,
                "sample_rate": 48_000,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    whole = json.loads((load_corpus().directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**whole, "utterances": rows}))
    return directory


def to_json_utterance():
    """A clean utterance of the shipped manifest, to be filled in."""
    whole = json.loads((load_corpus().directory / "manifest.json").read_text())
    return dict(next(u for u in whole["utterances"] if u["noise"] == "clean"))


def continuous_speech(utterance_id, seconds):
    """Real speech of the shipped corpus without its pauses, ending abruptly: its end is beyond doubt to one packet."""
    corpus = load_corpus()
    samples = read_pcm(corpus.utterances[utterance_id], 48_000)
    levels = np.array(window_levels_dbfs(samples, 48_000))
    voiced_windows = [samples[i * 240 : (i + 1) * 240] for i in np.flatnonzero(levels > -30)]
    return np.concatenate(voiced_windows)[: int(seconds * 48_000)]


def bench_clips():
    """Utterances with exactly known edges: two of real speech, two synthetic, at various places within a packet."""
    speech = [u.id for u in load_corpus().utterances.values() if u.is_clean]
    sources = {
        "speech-a": (continuous_speech(speech[0], 1.1), 40.0),
        "speech-b": (continuous_speech(speech[-1], 0.9), 53.0),
        "voiced-a": (voiced(1033, 48_000), 47.0),
        "voiced-b": (voiced(700, 48_000), 60.0),
    }
    clips = {}
    for name, (samples, lead_ms) in sources.items():
        lead = np.zeros(int(lead_ms * 48), np.int16)
        # A last burst at full level, so that the end of speech is not a matter of opinion.
        body = np.concatenate([samples, voiced(60, 48_000)])
        end_ms = lead_ms + len(body) / 48
        # Nothing behind it: what Opus makes of a silent tail would be a voiced packet by its size.
        clips[name] = (np.concatenate([lead, body]), lead_ms, end_ms, "test words")
    return clips


def wait_for(condition, limit_s=30.0):
    """Wait for something outside our control; fails after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
